"""One idempotency key, sent again and again and at the same time: one effect, one answer, whoever dies meanwhile."""

from collections import Counter
from datetime import UTC, datetime

from tests.faults import nemesis
from tests.faults.checker import Checker
from tests.faults.clients import Clients
from tests.faults.farthing import Farthing

KEYS = 300
AT_ONCE = 8
PAUSE_SECONDS = 0.01  # between two keys of one caller, so that death finds them at work


class TestKeysSentAtOnce:
    def test_have_one_effect_and_one_answer_though_the_server_is_killed(self, farthing: Farthing, seed: int) -> None:
        shop = farthing.shop(customers=5, funds="100.00")
        keys = tuple(f"{'use' if number % 2 else 'res'}-{number}" for number in range(KEYS))
        clients = Clients(
            farthing.directory / "keys",
            shop,
            "keys",
            seed=seed,
            processes=2,
            tasks=AT_ONCE // 2,
            keys=keys,
            timestamp=datetime.now(UTC).isoformat(),
            pause=PAUSE_SECONDS,
        )
        clients.start()
        try:
            clients.get_going()
            nemesis.torment(farthing, [nemesis.kill_web], seed=seed)
            clients.wait()
        finally:
            clients.abandon()
        operations = list(clients.operations())
        assert set(Counter(each.keys[0] for each in operations).values()) == {AT_ONCE}
        farthing.drain()
        checker = Checker(farthing, shop, operations)
        verdict = checker.check()
        assert verdict.is_green, str(verdict)
        assert verdict.acknowledged == KEYS * AT_ONCE
        assert verdict.retried > 0  # or nothing was in flight when the server died
        assert {len(rows) for rows in checker.rows.values()} == {1}
        assert {key for _, key in checker.rows} == set(keys)

"""What is durable when a batch returns, against the real database and real competition for it."""

import threading
from collections import Counter as Tally
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db.models import Sum

from billing.models import Charge, Counter, UnsettledWallet
from charging import answers, commands, engine, execution, plans, store
from charging.arrays import Smallints, Uuids
from charging.book import Event, Reservation
from charging.channel import Channel, complete
from charging.commands import Command, Correct, Refund
from charging.outcomes import Done, Refused
from charging.plans import Plans
from charging.store import Skipped, Transient
from entitlements.models import Reservation as ReservationRow
from merchants import ids
from metering.models import UsageEvent
from tests import parallel
from tests.charging.books import DOLLAR
from tests.charging.sellers import Seller, json_bytes, seller

pytestmark = pytest.mark.django_db(transaction=True)

MILL = 1_000_000  # nanos; the price of a unit


@pytest.fixture
def channel() -> Iterator[Channel]:
    opened = store.connect(execution.database_url())
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


def run(channel: Channel, *commands: Command, wait: bool = True, is_repeated: bool = False) -> list[Any]:
    return complete(channel, store.run(channel, commands, Plans(), wait=wait, is_repeated=is_repeated))


class TestRun:
    def test_writes_event_charge_counter_and_wallet_together(self, channel: Channel) -> None:
        shop = seller()
        [outcome] = run(channel, shop.record(quantity="2.5", metadata={"job": "7"}))
        event = UsageEvent.objects.get()
        charge = Charge.objects.get()
        assert event.id.bytes == outcome.answer.id
        assert (event.properties, event.metadata) == ([[charge.metric_id.hex, "2.5", None]], {"job": "7"})
        assert (charge.source_id, charge.seq, charge.gross, charge.invoice_id.bytes) == (
            event.id,
            1,
            2_500_000,
            outcome.answer.invoice_id,
        )
        assert Counter.objects.get().gross == 2_500_000
        wallet = shop.wallet()
        assert (wallet.balance, wallet.spent, wallet.charge_seq) == (100 * DOLLAR, 2_500_000, 1)
        assert UnsettledWallet.objects.get().wallet_id == wallet.id

    def test_returns_an_event_once_though_several_commands_of_a_batch_ask_for_it(self, channel: Channel) -> None:
        shop = seller()
        [used] = run(channel, shop.record(quantity=3))
        event = used.answer
        named = (event.customer_id, shop.merchant_id)
        commands_ = [
            Correct(ids.new_raw(event.id[15]), *named, None, b"0" * 16, event.id, "A mistake", is_void=True),
            *[Refund(ids.new_raw(event.id[15]), *named, event.id, "") for _ in range(2)],
        ]
        assert [isinstance(each, Done) for each in run(channel, *commands_[1:], commands_[0])] == [True, False, False]
        assert sorted(Charge.objects.values_list("gross", flat=True)) == [-3 * MILL, 3 * MILL]

    def test_carries_counters_from_one_transaction_to_the_next(self, channel: Channel) -> None:
        shop = seller()
        for _ in range(3):
            run(channel, shop.record(quantity="0.000000400"))
        assert Counter.objects.get().quantity == Decimal("0.0000012")
        assert Charge.objects.aggregate(total=Sum("gross"))["total"] == 1  # 1.2 nanos, rounded in total

    def test_takes_two_round_trips_once_the_price_book_is_known(
        self, channel: Channel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop = seller(customers=5)
        catalogue = Plans()
        complete(channel, store.run(channel, [shop.record(0)], catalogue))
        waits: Tally[str] = Tally()
        for name in ("hear", "finish"):
            original = getattr(Channel, name)
            monkeypatch.setattr(
                Channel, name, lambda self, name=name, original=original: (waits.update([name]), original(self))[1]
            )
        mixed = [shop.record(n % 5) for n in range(40)] + [shop.hold(n) for n in range(5)]
        complete(channel, store.run(channel, mixed, catalogue))
        assert waits == {"hear": 1, "finish": 1}

    def test_answers_a_replay_byte_for_byte(self, channel: Channel) -> None:
        shop = seller()
        body = json_bytes(shop.usage(quantity="3", metadata={"b": "2", "a": "1"}))
        [first] = run(channel, commands.parse_usage(body, shop.merchant_id))
        [again] = run(channel, commands.parse_usage(body, shop.merchant_id))
        assert again.replayed
        assert answers.encode(answers.usage_event(again.answer)) == answers.encode(answers.usage_event(first.answer))
        assert Charge.objects.count() == 1

    def test_finds_the_same_key_twice_in_one_batch(self, channel: Channel) -> None:
        shop = seller()
        body = json_bytes(shop.usage())
        first, again = run(channel, *(commands.parse_usage(body, shop.merchant_id) for _ in range(2)))
        assert not first.replayed
        assert again.replayed

    def test_refuses_one_without_harm_to_its_neighbours(self, channel: Channel) -> None:
        shop = seller(funds_nanos=10 * MILL)
        outcomes = run(channel, shop.record(quantity=6), shop.record(quantity=5), shop.record(quantity=4))
        assert [type(outcome) for outcome in outcomes] == [Done, Refused, Done]
        assert shop.wallet().spent == 10 * MILL
        assert UsageEvent.objects.count() == 2

    def test_tries_one_by_one_when_the_database_refuses_the_batch(self, channel: Channel) -> None:
        shop = seller()
        good, bad = shop.record(), shop.record()
        bad.id = good.id  # the primary key will refuse the second
        outcomes = run(channel, good, bad)
        assert isinstance(outcomes[0], Done)
        assert outcomes[1].error.status == 500
        assert UsageEvent.objects.count() == 1
        assert isinstance(run(channel, shop.record())[0], Done)

    def test_answers_a_single_command_that_the_database_refuses(self, channel: Channel) -> None:
        shop = seller()
        good, bad = shop.record(), shop.record()
        bad.id = good.id
        run(channel, good)
        assert run(channel, bad)[0].error.status == 500
        assert isinstance(run(channel, shop.record())[0], Done)

    def test_says_who_does_not_exist(self, channel: Channel) -> None:
        shop, other = seller(), seller()
        command = shop.record()
        command.customer_id = other.record().customer_id
        assert run(channel, command)[0].error.status == 404
        command.customer_id = bytes(15) + b"\1"
        assert run(channel, command)[0].error.status == 404

    def test_skips_a_customer_that_another_transaction_holds(self, channel: Channel) -> None:
        shop = seller(customers=2)
        held = shop.record(0).customer_id
        with psycopg.connect(execution.database_url()) as other:
            other.execute("SELECT FROM customers_book WHERE customer_id = %s FOR UPDATE", [str(_uuid(held))])
            outcomes = run(channel, shop.record(0), shop.record(1), wait=False)
        assert isinstance(outcomes[0], Skipped)
        assert isinstance(outcomes[1], Done)

    def test_reads_balances_only_after_the_wait_for_the_lock(self, channel: Channel) -> None:
        shop = seller(funds_nanos=10 * MILL)
        customer_id = str(_uuid(shop.record().customer_id))
        other = psycopg.connect(execution.database_url())
        other.execute("SELECT FROM customers_book WHERE customer_id = %s FOR NO KEY UPDATE", [customer_id])
        results: list[Any] = []
        waiter = threading.Thread(target=lambda: results.extend(run(channel, shop.record(quantity=6))))
        waiter.start()
        with psycopg.connect(execution.database_url()) as probe:
            while not probe.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                probe.rollback()
        other.execute(
            "UPDATE billing_wallet SET spent = 5000000 WHERE customer_id = %s AND kind = 'prepaid'", [customer_id]
        )
        other.commit()
        waiter.join()
        other.close()
        assert results[0].error.code == "INSUFFICIENT_FUNDS"

    def test_hears_of_a_lost_connection_and_works_on_a_new_one(self, channel: Channel) -> None:
        shop = seller()
        command = shop.record()
        with psycopg.connect(execution.database_url(), autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'farthing-lane' AND datname = current_database()"
            )
        with pytest.raises(Transient):
            run(channel, command)
        assert channel.closed
        fresh = store.connect(execution.database_url())
        assert isinstance(run(fresh, command)[0], Done)
        fresh.close()


class TestReservations:
    def test_are_captured_over_several_transactions(self, channel: Channel) -> None:
        shop = seller()
        [granted] = run(channel, shop.hold(quantity=100, maxUses=3))
        com = answers.granted(granted.answer, b"\0" * 16)["id"]
        for quantity in (10, 20):
            run(channel, shop.record(quantity=quantity, entitlementId=com))
        row = ReservationRow.objects.get()
        assert (row.state, row.used_count, row.captured, row.held) == ("open", 2, 30 * MILL, row.granted - 30 * MILL)
        run(channel, shop.record(quantity=5, entitlementId=com, final=True))
        row.refresh_from_db()
        assert (row.state, row.captured, row.held) == ("captured", 35 * MILL, 0)
        assert (shop.wallet().held, shop.wallet().spent) == (0, 35 * MILL)
        assert Charge.objects.aggregate(total=Sum("captured"))["total"] == 35 * MILL

    def test_may_have_as_many_uses_as_the_table_can_hold(self, channel: Channel) -> None:
        shop = seller()
        [granted] = run(channel, shop.hold(quantity=100))
        ReservationRow.objects.update(max_uses=32_767, used_count=1_500)
        com = answers.granted(granted.answer, b"\0" * 16)["id"]
        assert isinstance(run(channel, shop.record(entitlementId=com))[0], Done)
        assert ReservationRow.objects.get().used_count == 1_501

    def test_are_granted_once_under_one_key_and_once_for_one_lost_answer(self, channel: Channel) -> None:
        shop = seller()
        keyed, keyless = shop.hold(quantity=10, key="k"), shop.hold(quantity=10)
        first = run(channel, keyed, keyless)
        again = run(channel, keyed, keyless, is_repeated=True)
        assert [done.answer.id for done in first] == [done.answer.id for done in again]
        assert shop.wallet().held == 20 * MILL

    def test_stop_counting_when_due_before_any_sweep(self, channel: Channel, admin_connection: Any) -> None:
        shop = seller(funds_nanos=10 * MILL)
        run(channel, shop.hold(quantity=10))
        assert run(channel, shop.record(quantity=10))[0].error.code == "INSUFFICIENT_FUNDS"
        admin_connection.execute("UPDATE entitlements_reservation SET expires_at = clock_timestamp()")
        assert isinstance(run(channel, shop.record(quantity=10))[0], Done)
        row = ReservationRow.objects.get()
        assert (row.state, row.released, row.held) == ("expired", 10 * MILL, 0)

    def test_answer_a_replay_as_they_were_granted(self, channel: Channel) -> None:
        shop = seller()
        command = shop.hold(quantity=10, key="k", maxUses=2)
        [first] = run(channel, command)
        said = answers.encode(answers.granted(first.answer, command.customer_id))
        com = answers.granted(first.answer, command.customer_id)["id"]
        run(channel, shop.record(quantity=3, entitlementId=com))
        [again] = run(channel, command)
        assert answers.encode(answers.granted(again.answer, command.customer_id)) == said


class TestRaces:
    def test_charge_each_key_once_and_answer_all_alike(self) -> None:
        shop = seller()
        commands = [shop.record() for _ in range(20)]

        def work(number: int) -> list[bytes]:
            order = commands[number:] + commands[:number]
            said = {c.key: _event(execution.execute_one(c)) for c in order}
            execution.hang_up()
            return [answers.encode(answers.usage_event(said[c.key])) for c in commands]

        results = parallel.run(8, work)
        assert all(result == results[0] for result in results), results
        assert Charge.objects.count() == 20
        assert shop.wallet().spent == 20 * MILL

    def test_grant_exactly_what_the_wallet_holds(self) -> None:
        shop = seller(funds_nanos=100 * MILL)
        assert self._granted(shop, _engine_reservation) == 100
        assert shop.wallet().held == 100 * MILL

    def test_would_be_seen_if_reservations_checked_before_they_locked(self) -> None:
        shop = seller(funds_nanos=100 * MILL)
        wallet_id = shop.wallet().id
        assert self._granted(shop, lambda _: _naive_reservation(wallet_id)) > 100

    @staticmethod
    def _granted(shop: Seller, reserve: Any) -> int:
        """Race 16 threads for 400 reservations of a mill each, and count the grants."""

        def work(_: int) -> int:
            granted = sum(reserve(shop) for _ in range(25))
            execution.hang_up()
            return granted

        return sum(parallel.run(16, work))


def _engine_reservation(shop: Seller) -> bool:
    [outcome] = execution.execute([shop.hold(quantity=1)])
    return isinstance(outcome, Done) and isinstance(outcome.answer, Reservation)


def _naive_reservation(wallet_id: Any) -> bool:
    """The bug everybody writes: look, then hold. In cents of its own, as CHECKs would catch it in the wallet's."""
    with psycopg.connect(execution.database_url(), autocommit=True) as connection:
        row = connection.execute("SELECT charge_seq FROM billing_wallet WHERE id = %s", [wallet_id]).fetchone()
        assert row is not None
        if row[0] >= 100:
            return False
        connection.execute("SELECT pg_sleep(0.002)")
        connection.execute("UPDATE billing_wallet SET charge_seq = charge_seq + 1 WHERE id = %s", [wallet_id])
        return True


def _event(done: Done) -> Event:
    assert isinstance(done.answer, Event)
    return done.answer


def _uuid(key: bytes) -> Any:
    import uuid

    return uuid.UUID(bytes=key)


class TestWhatGoesWrong:
    def test_with_one_command_does_not_fail_its_neighbours(
        self, channel: Channel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop = seller(customers=2)
        bad, decide = shop.record(0), engine.decide

        def decide_or_fail(book: Any, command: Any, catalogue: Any) -> Any:
            if command is bad:
                raise KeyError("a bug")
            return decide(book, command, catalogue)

        monkeypatch.setattr(engine, "decide", decide_or_fail)
        outcomes = run(channel, shop.record(1), bad, shop.record(1))
        assert [type(outcome) for outcome in outcomes] == [Done, Refused, Done]
        assert outcomes[1].error.status == 500
        assert UsageEvent.objects.count() == 2

    def test_at_the_commit_is_seen_and_leaves_nothing_behind(self, channel: Channel, admin_connection: Any) -> None:
        shop = seller(customers=2)
        poison = shop.record(0)
        admin_connection.execute(
            "CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF NEW.idempotency_key = '{poison.key}' THEN RAISE 'late'; END IF; RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER refuse_late AFTER INSERT ON metering_usageevent DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION refuse_late()"
        )
        try:
            outcomes = run(channel, shop.record(1), poison)
        finally:
            admin_connection.execute("DROP TRIGGER refuse_late ON metering_usageevent; DROP FUNCTION refuse_late")
        assert [type(outcome) for outcome in outcomes] == [Done, Refused]
        assert (UsageEvent.objects.count(), Charge.objects.count()) == (1, 1)
        assert isinstance(run(channel, shop.record(0))[0], Done)

    def test_with_a_process_that_stands_still_frees_its_customers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if not _has_transaction_timeout():
            pytest.skip("PostgreSQL 17 and newer end a transaction that takes too long")
        shortly = store.SESSION.replace(str(store.TRANSACTION_TIMEOUT_MS), "300")
        monkeypatch.setattr(store, "SESSION", shortly)
        shop = seller()
        frozen = store.connect(execution.database_url())
        key = shop.record().customer_id
        frozen.say(store._LOCK, [Smallints([key[15]]), Uuids([key])])
        complete(frozen, frozen.hear())
        monkeypatch.undo()
        other = store.connect(execution.database_url())
        try:
            assert isinstance(run(other, shop.record())[0], Done)  # the lock's own timeout is longer
        finally:
            frozen.close()
            other.close()

    def test_with_the_memory_of_price_books_is_nothing(self, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plans, "PLANS_MAX", 1)
        monkeypatch.setattr(plans, "METRICS_MAX", 1)
        first, second, known = seller(), seller(), Plans()
        for wanted in ([first.record()], [first.record(), second.record()], [first.record()]):
            outcomes = complete(channel, store.run(channel, wanted, known))
            assert {type(outcome) for outcome in outcomes} == {Done}


def _has_transaction_timeout() -> bool:
    with psycopg.connect(execution.database_url()) as connection:
        return connection.info.server_version >= 170_000


class TestReplays:
    def test_of_the_same_try_are_no_replays(self, channel: Channel) -> None:
        """The answer to a commit may be lost: then the batch runs again, and this is its first answer."""
        shop = seller()
        event, hold = shop.record(), shop.hold()
        run(channel, event, hold)
        assert [outcome.replayed for outcome in run(channel, event, hold, is_repeated=True)] == [False] * 2

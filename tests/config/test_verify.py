"""manage.py verify: what it answers, and that it answers right while others write."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import InternalError, connection
from django.utils import timezone

from billing import settlement
from charging import execution
from config.management.commands import verify
from merchants import verification
from tests import parallel
from tests.billing import buyers, worlds
from tests.billing.buyers import Buyer, utc
from tests.config.test_run_jobs import subscribed

pytestmark = pytest.mark.django_db(transaction=True)


def answer(*options: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it wrote."""
    out = io.StringIO()
    try:
        call_command("verify", *options, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def buyer() -> Buyer:
    buyer = subscribed(at=utc(2026, 1, 31))
    buyer.use(buyer.subscription.plan_version.prices.get(), 3)
    buyers.settle()
    return buyer


class TestVerify:
    def test_says_that_the_books_are_right(self, buyer):
        code, said = answer()
        assert code == 0
        assert f"{len(verify.CHECKS)} checks, 0 broken: the books are right." in said

    def test_is_right_about_a_house_where_nothing_happened(self):
        assert answer()[0] == 0

    def test_ends_with_one_and_names_who_is_wrong(self, buyer, admin_connection):
        admin_connection.execute("SET session_replication_role = replica")
        admin_connection.execute("UPDATE billing_posting SET amount = amount + 1 WHERE amount = 1500000000")
        code, said = answer()
        assert code == 1
        assert "BROKEN balance_is_postings" in said
        assert f"{verification.culprit('acc', buyer.prepaid.id, None)}: balance 98500000000, ledger 98499999999" in said
        assert "2 broken: the books ARE NOT RIGHT." in said

    def test_says_the_same_in_json(self, buyer, admin_connection):
        admin_connection.execute("UPDATE billing_wallet SET held = 1 WHERE kind = 'credit'")
        code, said = answer("--json")
        report = json.loads(said)
        assert (code, report["ok"], len(report["checks"])) == (1, False, len(verify.CHECKS))
        (broken,) = [check for check in report["checks"] if check["state"] == "BROKEN"]
        assert (broken["name"], broken["offenders"]) == ("held_is_reserved", 1)
        assert broken["culprits"] == [verification.culprit("acc", buyer.credit.id, "held 1, reserved 0")]

    def test_names_five_and_counts_the_rest(self, buyer, admin_connection):
        for _ in range(3):
            subscribed(at=utc(2026, 1, 31))
        admin_connection.execute("UPDATE billing_wallet SET held = 1")
        _, said = answer("--json")
        (broken,) = [check for check in json.loads(said)["checks"] if check["state"] == "BROKEN"]
        assert (broken["offenders"], len(broken["culprits"])) == (8, 5)

    def test_writes_nothing(self, buyer):
        def write() -> verification.Found:
            connection.cursor().execute("DELETE FROM billing_unsettledwallet")
            return verification.Found(0, [])

        with pytest.raises(InternalError, match="read-only"):
            verification.run([verification.Check(name="vandal", says="", find=write)])


class TestWhatIsLate:
    @pytest.fixture
    def late(self) -> Buyer:
        late = subscribed(at=timezone.now() - timedelta(minutes=5))
        late.use(late.subscription.plan_version.prices.get(), 1)
        late.set_clock(None)
        return late

    def test_is_told_but_says_nothing_about_the_books(self, late):
        code, said = answer()
        assert code == 0
        assert "late   settled_in_time" in said

    def test_counts_as_broken_once_the_wait_is_over(self, late):
        assert answer("--wait", "0")[0] == 1

    def test_is_waited_for(self, late, monkeypatch):
        monkeypatch.setattr(verify, "POLL_SECONDS", 0.01)
        run = verification.run

        def run_and_work(checks):
            results = run(checks)
            buyers.settle()
            return results

        monkeypatch.setattr(verification, "run", run_and_work)
        assert answer("--wait", "30")[0] == 0


@pytest.mark.slow
class TestUnderLoad:
    def test_finds_nothing_wrong_at_any_instant(self):
        world = worlds.world()
        several = [
            world.busy,
            *[buyers.subscribe(world.busy.merchant, world.busy.plan, at=worlds.FEBRUARY) for _ in range(2)],
        ]
        rounds, writers = 25, len(several)

        def work(number: int) -> list[str]:
            if number < writers:
                for _ in range(rounds):
                    worlds.record(several[number], (world.calls, 3), (world.minutes, 1))
                execution.hang_up()
            elif number == writers:
                for _ in range(rounds):
                    settlement.settle_due(buckets=buyers.EVERYWHERE, now=timezone.now())
            else:
                results = [result for _ in range(4) for result in verification.run(verify.CHECKS)]
                return [str(result) for result in results if result.is_broken]
            return []

        assert parallel.run(writers + 2, work) == [[]] * (writers + 2)
        execution.hang_up()
        connection.close()
        assert answer()[0] == 0

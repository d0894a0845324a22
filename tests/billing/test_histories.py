"""The history of a balance: every movement once, newest first, each with the balance that it left."""

from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from billing import histories, lapses, settlement
from billing.histories import InvalidPlace, Movement, Place
from billing.models import Settlement
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import DOLLAR, new_buyer, use
from tests.billing.test_credits import DAY, give

UTC = ZoneInfo("UTC")


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer(balance="10")


def settle(at=NOW) -> None:
    settlement.settle_due(buckets=buyers.EVERYWHERE, now=at)


def read(buyer: Buyer, limit: int = 100, after: Place | None = None, span: str = "hour", zone=UTC) -> histories.Page:
    return histories.page(buyer.prepaid, after=after, limit=limit, span=span, zone=zone)


def whole(buyer: Buyer, **options) -> list[Movement]:
    return read(buyer, **options).rows


def told(rows: list[Movement]) -> list[tuple[str, float, float]]:
    return [(row.kind, row.amount / DOLLAR, row.balance / DOLLAR) for row in rows]


class TestPage:
    def test_tells_every_kind_of_movement_with_the_balance_it_left(self, buyer):
        give(buyer, expires_at=NOW + DAY)
        use(buyer, 4)
        settle()
        buyer.top_up("3")
        buyer.set_clock(NOW + DAY)
        lapses.expire_due(now=NOW + DAY)
        assert told(whole(buyer)) == [
            ("credit_expired", -3, 13),
            ("top_up_received", 3, 16),
            ("usage", -2, 13),
            ("credit_granted", 5, 15),
            ("top_up_received", 10, 10),
        ]
        assert buyer.prepaid.balance == 13 * DOLLAR

    def test_is_empty_for_a_wallet_that_nothing_moved(self, db):
        found = read(new_buyer(balance="0"))
        assert (found.rows, found.following) == ([], None)

    def test_sums_use_by_the_hour_and_names_its_charges(self, buyer):
        for minute in (0, 20, 40, 60):
            use(buyer, 1)
            settle(NOW + timedelta(minutes=minute))
        rows = whole(buyer)
        assert told(rows) == [("usage", -0.5, 8), ("usage", -1.5, 8.5), ("top_up_received", 10, 10)]
        assert [(row.first_seq, row.last_seq, row.charges) for row in rows] == [(4, 4, 1), (1, 3, 3), (0, 0, 0)]
        assert rows[1].since == rows[1].until == NOW  # the buyer's clock stands still

    def test_sums_use_by_the_day_of_a_zone(self, buyer):
        for hour in (0, 8, 13):  # NOW is noon in UTC, and half past five in the afternoon there
            use(buyer, 1)
            settle(NOW + timedelta(hours=hour))
        assert [row.charges for row in whole(buyer, span="day")] == [1, 2, 0]
        assert [row.charges for row in whole(buyer, span="day", zone=ZoneInfo("Asia/Kolkata"))] == [2, 1, 0]
        assert [row.charges for row in whole(buyer, span="none")] == [1, 1, 1, 0]

    def test_sums_no_use_over_another_movement(self, buyer):
        use(buyer, 1)
        settle()
        buyer.top_up("1")
        use(buyer, 1)
        settle()
        assert [row.kind for row in whole(buyer)] == ["usage", "top_up_received", "usage", "top_up_received"]

    def test_tells_a_credit_wallets_history_too(self, db):
        buyer = new_buyer(term="in_arrears")
        use(buyer, 2)
        settle()
        (row,) = histories.page(buyer.credit, after=None, limit=9, span="hour", zone=UTC).rows
        assert (row.amount, row.balance) == (-DOLLAR, -DOLLAR)


class TestPlace:
    def test_goes_on_where_the_page_before_ended_whatever_happens_meanwhile(self, buyer):
        for number in range(6):
            use(buyer, number + 1)
            settle(NOW + timedelta(hours=number))
            buyer.top_up("1")
        at_once = whole(buyer)
        found, rows = read(buyer, 4), []
        while True:
            rows += found.rows
            if found.following is None:
                break
            buyer.top_up("1")
            use(buyer, 1)
            settle()
            found = read(buyer, 4, Place.read(str(found.following)))
        assert told(rows) == told(at_once)
        assert rows[-1].balance == rows[-1].amount

    def test_splits_very_busy_use_rather_than_read_for_ever(self, buyer, monkeypatch):
        monkeypatch.setattr(histories, "ROWS_READ_MAX", 3)
        for _ in range(7):
            use(buyer, 1)
            settle()
        found = read(buyer)
        rows = found.rows
        while found.following is not None:
            found = read(buyer, after=found.following)
            rows += found.rows
        assert sum(row.charges for row in rows) == 7
        assert [row.charges for row in rows] == [3, 3, 1, 0]
        assert rows[-1].balance == rows[-1].amount == 10 * DOLLAR

    @pytest.mark.parametrize("text", ["", "x", "0~1", "0~1~2", f"{'0' * 32}~-1~0", f"{'0' * 32}~{2**63}~0"])
    def test_is_refused_where_no_page_gave_it(self, text):
        with pytest.raises(InvalidPlace):
            Place.read(text)


class TestEverything:
    def test_is_all_pages_one_after_the_other(self, buyer, monkeypatch):
        monkeypatch.setattr(histories, "BATCH", 2)
        for number in range(5):
            use(buyer, 1)
            settle(NOW + timedelta(hours=number))
            buyer.top_up("1")
        rows = [row for batch in histories.everything(buyer.prepaid, span="none", zone=UTC) for row in batch]
        assert rows[0].balance == buyer.prepaid.balance
        assert all(row.balance - row.amount == before.balance for row, before in pairwise(rows))
        assert (len(rows), rows[-1].balance - rows[-1].amount) == (11, 0)


def test_settlements_have_ids_in_the_order_of_their_charges(buyer):
    for _ in range(3):
        use(buyer, 1)
        settle()
    made = list(Settlement.objects.order_by("id").values_list("first_seq", flat=True))
    assert made == [1, 2, 3]

"""Lots of credit: drawn in their order, given back in the reverse one."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing import lots, rating
from billing.lots import Draw, Lot
from billing.models import CreditLot, LotDraw
from customers import books
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import DOLLAR, assert_settled, new_buyer, price_of, use


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer()


class TestLots:
    def test_are_drawn_by_priority_then_expiry_then_age(self, buyer):
        first = CreditLot.objects.get()
        add = {
            "late": {"expires_at": NOW + timedelta(days=9)},
            "soon": {"expires_at": NOW + timedelta(days=2)},
            "preferred": {"priority": -1},
        }
        lots_by_name = {"first": first}
        for name, columns in add.items():
            buyer.top_up("1")
            lots_by_name[name] = CreditLot.objects.exclude(id__in=[lot.id for lot in lots_by_name.values()]).get()
            CreditLot.objects.filter(id=lots_by_name[name].id).update(**columns)
        use(buyer, 7)
        buyers.settle()
        left = {name: CreditLot.objects.get(id=lot.id).remaining for name, lot in lots_by_name.items()}
        assert left == {"preferred": 0, "soon": 0, "late": 0, "first": 100 * DOLLAR - DOLLAR // 2}
        assert sum(LotDraw.objects.values_list("amount", flat=True)) == 7 * DOLLAR // 2
        assert_settled(buyer.prepaid)

    def test_get_refunds_back_where_they_were_drawn_last(self, buyer):
        buyer.top_up("1")
        (event,) = use(buyer, 201)
        buyers.settle()
        assert list(CreditLot.objects.order_by("created_at", "id").values_list("remaining", flat=True)) == [
            0,
            DOLLAR // 2,
        ]
        buyer.refund(event)
        buyers.settle()
        assert list(CreditLot.objects.order_by("created_at", "id").values_list("remaining", flat=True)) == [
            100 * DOLLAR,
            DOLLAR,
        ]
        assert_settled(buyer.prepaid)

    def test_make_room_for_more_than_was_ever_drawn(self, buyer):
        """Re-rating can take a total below what refunds had returned already."""
        with transaction.atomic():
            _, now = books.lock(buyer.bucket, buyer.customer.id)
            buyers.charge(
                buyer.subscription,
                price_of(buyer),
                rating.Totals(-DOLLAR, 0, -DOLLAR, 0),
                source_id=buyer.customer.id,
                wallet_id=buyer.prepaid.id,
                period_start=buyer.subscription.period_start,
                quantity=Decimal(0),
                created_at=now,
            )
        buyers.settle()
        assert buyer.prepaid.balance == 101 * DOLLAR
        assert_settled(buyer.prepaid)

    lot_lists = st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda pair: Lot("x", max(pair), min(pair))), max_size=6
    )

    @given(lot_lists, st.integers(0, 500))
    def test_are_drawn_completely_and_in_order(self, lots_in_order, amount):
        lots_in_order = [lot._replace(id=str(number)) for number, lot in enumerate(lots_in_order)]
        draws, short = lots.draw(lots_in_order, amount)
        assert sum(draw.amount for draw in draws) + short == amount
        assert short == max(0, amount - sum(lot.remaining for lot in lots_in_order))
        taken = dict(draws)
        untouched = [lot for lot in lots_in_order if taken.get(lot.id, 0) < lot.remaining]
        assert all(int(draw.lot_id) <= int(untouched[0].id) for draw in draws if untouched)

    @given(lot_lists, st.integers(0, 500))
    def test_take_back_no_more_than_was_drawn(self, lots_in_order, amount):
        lots_in_order = [lot._replace(id=str(number)) for number, lot in enumerate(lots_in_order)]
        draws, surplus = lots.give_back(lots_in_order, amount)
        room = {lot.id: lot.amount - lot.remaining for lot in lots_in_order}
        assert all(0 < -draw.amount <= room[draw.lot_id] for draw in draws)
        assert sum(-draw.amount for draw in draws) + surplus == amount
        assert surplus == max(0, amount - sum(room.values()))

    def test_draws_compare_as_plain_values(self):
        assert lots.draw([Lot("a", 5, 5)], 3) == ([Draw("a", 3)], 0)

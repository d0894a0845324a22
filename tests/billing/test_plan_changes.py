"""Changes of plan: one subscription, each use by the plan of its time, and every fee for as long as it was agreed."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import invoicing, plan_changes, revenue, trueups
from billing.models import Charge, FeeOccurrence, Invoice, Plan, PlanChange, PriceVersion, UnusedPart
from merchants.errors import Conflict, NotFound, Unprocessable
from metering.periods import Period
from tests import factories
from tests.billing import buyers, owing
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import CENT, DOLLAR, GRACE, invoices, lines, pass_time

JUNE = utc(2026, 6, 1)
MIDDLE = utc(2026, 6, 16)
JULY = utc(2026, 7, 1)
AUGUST = utc(2026, 8, 1)


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


def seat(product, amount: str, *, name: str = "Seat", term: str = "in_advance", cadence: str = "P1M") -> PriceVersion:
    return factories.price(fee=factories.fee(product=product, name=name), unit_price=amount, term=term, cadence=cadence)


def plan(product, *prices: PriceVersion, **version) -> Plan:
    return factories.plan(product=product, prices=list(prices), name="Another", **version)


def change(buyer: Buyer, to: Plan, effective: str = "now") -> PlanChange:
    of = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id}
    made = plan_changes.make(**of, plan_id=to.id, effective=effective)
    buyer.reload()
    return made


def preview(buyer: Buyer, to: Plan, effective: str = "now") -> plan_changes.Preview:
    of = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id}
    return plan_changes.preview(**of, plan_id=to.id, effective=effective)


def charged(buyer: Buyer) -> list[tuple[str, int]]:
    rows = Charge.objects.filter(customer_id=buyer.customer.id).order_by("created_at", "seq")
    return [(row.kind, row.gross) for row in rows]


def cents(nanos: int) -> int:
    return round(nanos / CENT)


# Who publishes it -> term, both prices, start, change, end of the period; what is given back and charged, in cents.
PUBLISHED = {
    "Stripe, Prorations: from 10 to 20 dollars a month halfway through the period": (
        ("in_advance", "10", "20", JUNE, MIDDLE, JULY), (-500, 1000),
    ),
    "Autumn, Proration: from 20 to 50 dollars a month halfway through the cycle": (
        ("in_advance", "20", "50", JUNE, MIDDLE, JULY), (-1000, 2500),
    ),
    "Lago, Upgrades and downgrades: 100 euros a month in arrears, 200 from 15 January on": (
        ("in_arrears", "100", "200", utc(2026, 1, 1), utc(2026, 1, 15), utc(2026, 2, 1)), (4516, 10968),
    ),
    "Samsung, Manage subscription plan: from 30 to 60 dollars on 16 September, 15 days are left": (
        ("in_advance", "30", "60", utc(2026, 9, 1), utc(2026, 9, 16), utc(2026, 10, 1)), (-1500, 3000),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_comes_to_what_others_publish(product, name):
    (term, old, new, start, at, end), (first, second) = PUBLISHED[name]
    buyer = buyers.buyer(seat(product, old, term=term), at=start, balance="1000")
    buyer.set_clock(at)
    change(buyer, plan(product, seat(product, new, term=term)))
    pass_time(buyer, end)
    found = Charge.objects.filter(customer_id=buyer.customer.id, created_at__lte=end).exclude(
        period_start__in=[start, end], kind="fee"
    )
    before = [row for row in Charge.objects.filter(kind="fee", period_start=start) if term == "in_arrears"]
    assert sorted(cents(row.gross) for row in [*found, *before]) == [first, second]


class TestAtOnce:
    @pytest.fixture
    def buyer(self, product):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE)
        buyer.set_clock(MIDDLE)
        return buyer

    def test_is_one_subscription_with_another_plan(self, product, buyer):
        new = plan(product, seat(product, "20"))
        made = change(buyer, new)
        assert (buyer.subscription.plan_id, buyer.subscription.status) == (new.id, "active")
        assert (made.status, made.effective_at) == ("applied", MIDDLE)
        assert (buyer.subscription.period_start, buyer.subscription.period_end) == (JUNE, JULY)

    def test_gives_back_what_is_left_to_the_wallet_that_paid_it_and_charges_the_rest(self, product, buyer):
        change(buyer, plan(product, seat(product, "20")))
        assert charged(buyer) == [("fee", 10 * DOLLAR), ("unused", -5 * DOLLAR), ("fee", 10 * DOLLAR)]
        assert buyer.prepaid.available == 85 * DOLLAR
        part = FeeOccurrence.objects.get(period_start=MIDDLE)
        assert (part.period_end, part.whole_start, part.whole_end) == (JULY, JUNE, JULY)
        assert UnusedPart.objects.get().used_until == MIDDLE

    @pytest.mark.parametrize("is_settled_before", [True, False])
    def test_is_revenue_of_the_plan_that_charged_it(self, product, buyer, is_settled_before):
        old = buyer.subscription.plan_id
        if is_settled_before:
            buyers.settle()
        new = plan(product, seat(product, "20"))
        change(buyer, new)
        buyers.settle()
        span = {"start": MIDDLE - timedelta(days=99), "end": AUGUST, "width": "week"}
        by_plan = revenue.revenue(merchant_id=buyer.merchant.id, group_by="plan", **span)
        sums = {row.plan_id: 0 for row in by_plan}
        for row in by_plan:
            sums[row.plan_id] += row.net
        assert sums == {old: 5 * DOLLAR, new.id: 10 * DOLLAR}
        assert sum(row.net for row in revenue.revenue(merchant_id=buyer.merchant.id, **span)) == 15 * DOLLAR

    def test_puts_both_parts_on_the_invoice_of_the_period(self, product, buyer):
        change(buyer, plan(product, seat(product, "20", name="Seat plus")))
        pass_time(buyer, JULY + GRACE)
        first = invoices(buyer)[0]
        assert [(line.description, line.gross // DOLLAR) for line in lines(first)] == [
            ("Unused part: Seat", -5),
            ("Seat", 10),
            ("Seat plus", 10),
        ]
        assert (first.status, first.grand_total) == ("paid", 15 * DOLLAR)

    def test_charges_the_new_fee_in_full_from_the_next_period_on(self, product, buyer):
        change(buyer, plan(product, seat(product, "20")))
        pass_time(buyer, JULY)
        assert charged(buyer)[-1] == ("fee", 20 * DOLLAR)

    def test_leaves_alone_a_fee_that_both_plans_have(self, product):
        price = seat(product, "10")
        buyer = buyers.buyer(price, at=JUNE)
        buyer.set_clock(MIDDLE)
        change(buyer, plan(product, price, seat(product, "6", name="Support")))
        pass_time(buyer, JULY)
        assert charged(buyer) == [
            (kind, amount * DOLLAR) for kind, amount in [("fee", 10), ("fee", 3), ("fee", 10), ("fee", 6)]
        ]

    def test_charges_a_one_time_fee_once_in_a_subscriptions_life(self, product):
        setup = seat(product, "3", name="Setup", cadence="P0D")
        buyer = buyers.buyer(setup, at=JUNE)
        buyer.set_clock(MIDDLE)
        dearer = factories.price(fee=setup.price.fee, unit_price="5", term="in_advance", cadence="P0D")
        other = seat(product, "2", name="Onboarding", cadence="P0D")
        change(buyer, plan(product, dearer, other))
        assert charged(buyer) == [("fee", 3 * DOLLAR), ("fee", 2 * DOLLAR)]

    def test_gives_back_of_a_longer_period_than_the_plans(self, product):
        buyer = buyers.buyer(seat(product, "365", cadence="P1Y"), at=JUNE, balance="1000")
        pass_time(buyer, JULY + GRACE)
        buyer.set_clock(AUGUST)
        change(buyer, plan(product, seat(product, "1")))
        assert ("unused", -304 * DOLLAR) in charged(buyer)

    def test_there_and_back_comes_to_the_time_in_each(self, product):
        cheap, dear = seat(product, "30"), seat(product, "60", name="Dear")
        buyer = buyers.buyer(cheap, at=JUNE, balance="1000")
        first, second = buyer.plan, plan(product, dear)
        for day, to in ((11, second), (21, first)):
            buyer.set_clock(utc(2026, 6, day))
            change(buyer, to)
        assert sum(amount for _, amount in charged(buyer)) == (10 + 20 + 10) * DOLLAR

    def test_owes_on_the_invoice_what_the_wallet_does_not_cover(self, product, buyer):
        change(buyer, plan(product, seat(product, "1000")))
        assert buyer.credit.spent == 500 * DOLLAR
        assert buyer.prepaid.available == 95 * DOLLAR

    def test_rates_use_by_the_plan_of_its_time_also_when_it_comes_late(self, product):
        metric = factories.metric(product=product)
        old, new = (factories.price(metric=metric, unit_price=amount) for amount in ("0.01", "0.02"))
        buyer = buyers.buyer(old, at=JUNE)
        buyer.use(old, 10)
        buyer.set_clock(MIDDLE)
        change(buyer, plan(product, new))
        buyer.use(new, 10)
        buyer.use(old, 5, at=MIDDLE - timedelta(seconds=1))
        assert [amount // CENT for _, amount in charged(buyer)] == [10, 20, 5]

    def test_prorates_what_is_agreed_at_least(self, product):
        metric = factories.metric(product=product)
        old, new = (
            factories.price(metric=metric, properties={"unitPrice": "1", "minimumCharge": least}, term="in_arrears")
            for least in ("30", "60")
        )
        buyer = buyers.buyer(old, at=JUNE)
        buyer.set_clock(MIDDLE)
        change(buyer, plan(product, new))
        found = trueups.shortfalls(buyer.subscription, Period(JUNE, JULY))
        assert [each.due for each in found] == [Decimal(15), Decimal(30)]

    def test_taxes_what_is_made_up_at_the_rate_of_the_plan_that_asks_for_it(self, product):
        buyer = buyers.buyer(seat(product, "0"), at=JUNE, default_tax_rate=Decimal(10))
        buyer.set_clock(MIDDLE)
        least = {"unitPrice": "1", "minimumCharge": "60"}
        price = factories.price(metric=factories.metric(product=product), properties=least, term="in_arrears")
        change(buyer, plan(product, price, default_tax_rate=Decimal(20)))
        pass_time(buyer, JULY + GRACE)
        row = Charge.objects.get(kind="trueup")
        assert (row.net, row.tax) == (30 * DOLLAR, 6 * DOLLAR)


class TestInTheInstantThatAFeeFellDue:
    """What was charged a moment before is given back whole, and the new plan's fee charged in full."""

    @pytest.mark.parametrize("is_same_price", [True, False])
    @pytest.mark.parametrize(
        ("at", "cadence", "trial_days"),
        [(JUNE, "P1M", None), (JULY, "P1M", None), (JUNE + timedelta(days=7), "P1W", None), (MIDDLE, "P1M", 15)],
    )
    def test_charges_the_new_plan_alone(self, product, at, cadence, trial_days, is_same_price):
        old, setup = seat(product, "10", cadence=cadence), seat(product, "3", name="Setup", cadence="P0D")
        agreed = {"trial_days": trial_days} if trial_days else {}
        buyer = buyers.buyer(old, setup, at=JUNE, balance="1000", subscription=agreed)
        pass_time(buyer, at)
        paid = buyer.prepaid.available
        new = factories.next_version(old, "20") if is_same_price else seat(product, "20", cadence=cadence)
        to = plan(product, new, setup)
        assert [cents(each.gross) for each in preview(buyer, to).amounts] == [-1000, 2000]
        change(buyer, to)
        assert charged(buyer)[-2:] == [("unused", -10 * DOLLAR), ("fee", 20 * DOLLAR)]
        assert buyer.prepaid.available == paid - 10 * DOLLAR
        assert owing.broken() == set()

    def test_goes_on_with_the_new_fee_and_shares_it_out_by_time(self, product):
        old = seat(product, "10")
        buyer = buyers.buyer(old, at=JUNE, balance="1000")
        pass_time(buyer, JULY)
        change(buyer, plan(product, factories.next_version(old, "31")))
        pass_time(buyer, JULY + timedelta(days=1))
        change(buyer, plan(product, factories.next_version(old, "62")))
        assert charged(buyer)[3:] == [
            ("fee", 31 * DOLLAR),
            ("unused", -30 * DOLLAR),
            ("fee", 60 * DOLLAR),
        ]
        pass_time(buyer, AUGUST + GRACE)
        assert [invoice.grand_total for invoice in invoices(buyer)][:2] == [10 * DOLLAR, 61 * DOLLAR]
        assert owing.broken() == set()


class TestAtTheEndOfThePeriod:
    def test_shares_nothing_out(self, product):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE)
        buyer.set_clock(MIDDLE)
        new = plan(product, seat(product, "20"))
        made = change(buyer, new, "period_end")
        assert (made.status, made.effective_at, buyer.subscription.plan_id) == ("scheduled", JULY, buyer.plan.id)
        pass_time(buyer, JULY)
        assert buyer.reload().plan_id == new.id
        assert charged(buyer) == [("fee", 10 * DOLLAR), ("fee", 20 * DOLLAR)]
        assert PlanChange.objects.get().status == "applied"
        pass_time(buyer, AUGUST + GRACE)
        assert [invoice.grand_total for invoice in invoices(buyer)[:2]] == [10 * DOLLAR, 20 * DOLLAR]

    def test_may_have_another_cadence_whose_periods_begin_then(self, product):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE, balance="1000")
        buyer.set_clock(MIDDLE)
        change(buyer, plan(product, seat(product, "100", cadence="P1Y"), billing_cadence="P1Y"), "period_end")
        assert [invoice.period_end for invoice in invoices(buyer)] == [JULY, utc(2027, 7, 1)]
        pass_time(buyer, JULY + GRACE)
        assert (buyer.reload().period_start, buyer.subscription.period_end) == (JULY, utc(2027, 7, 1))
        assert charged(buyer)[-1] == ("fee", 100 * DOLLAR)

    def test_can_be_called_off(self, product):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE)
        made = change(buyer, plan(product, seat(product, "100", cadence="P1Y"), billing_cadence="P1Y"), "period_end")
        named = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id, "change_id": made.id}
        for _ in range(2):
            assert plan_changes.cancel(**named).status == "cancelled"
        assert [invoice.period_end for invoice in invoices(buyer)] == [JULY, AUGUST]
        pass_time(buyer, JULY)
        assert charged(buyer) == [("fee", 10 * DOLLAR)] * 2

    def test_cannot_be_called_off_once_it_has_come(self, product):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE)
        made = change(buyer, plan(product), "period_end")
        buyer.set_clock(JULY)
        with pytest.raises(Conflict, match="in force"):
            plan_changes.cancel(merchant_id=buyer.merchant.id, subscription_id=buyer.subscription.id, change_id=made.id)

    def test_does_not_come_to_a_subscription_that_ends_before(self, product):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE)
        change(buyer, plan(product, seat(product, "20")), "period_end")
        buyer.set_clock(MIDDLE)
        buyer.terminate()
        assert PlanChange.objects.get().status == "cancelled"
        assert charged(buyer) == [("fee", 10 * DOLLAR)]


class TestPreview:
    @pytest.mark.parametrize("effective", ["now", "period_end"])
    def test_tells_what_would_be_and_changes_nothing(self, product, effective):
        buyer = buyers.buyer(seat(product, "10"), at=JUNE)
        buyer.set_clock(MIDDLE)
        before = (charged(buyer), buyer.prepaid.spent, buyer.reload().updated_at)
        new = plan(product, seat(product, "20"))
        shown = preview(buyer, new, effective)
        assert (charged(buyer), buyer.prepaid.spent, buyer.reload().updated_at) == before
        assert not PlanChange.objects.exists()
        change(buyer, new, effective)
        pass_time(buyer, shown.change.effective_at)
        made = charged(buyer)[1:]
        assert sorted((amount.kind, amount.gross) for amount in shown.amounts) == sorted(made)
        assert shown.total == sum(amount for _, amount in made)


class TestWhatIsRefused:
    @pytest.fixture
    def buyer(self, product):
        return buyers.buyer(seat(product, "10"), at=JUNE)

    def test_another_merchants_plan(self, buyer):
        other = factories.product(merchant=factories.merchant())
        with pytest.raises(NotFound):
            change(buyer, plan(other))

    @pytest.mark.parametrize(
        ("version", "code"),
        [
            ({"currency": "EUR"}, "CURRENCY_MISMATCH"),
            ({"tax_behavior": "inclusive"}, "TAX_BEHAVIOR_DIFFERS"),
            ({"billing_cadence": "P1Y"}, "CADENCE_DIFFERS"),
        ],
    )
    def test_a_plan_that_does_not_go_on_from_this_one(self, product, buyer, version, code):
        with pytest.raises(Unprocessable) as refused:
            change(buyer, plan(product, **version))
        assert refused.value.code == code

    def test_a_plan_of_another_product(self, buyer):
        with pytest.raises(Unprocessable) as refused:
            change(buyer, plan(factories.product(merchant=buyer.merchant)))
        assert refused.value.code == "PLAN_OF_ANOTHER_PRODUCT"

    def test_what_is_held_changing_its_price_in_between(self, product, buyer):
        held = factories.metric(product=product, aggregation="TIME_WEIGHTED_SUM")
        with pytest.raises(Unprocessable) as refused:
            change(buyer, plan(product, factories.price(metric=held, term="in_arrears")))
        assert refused.value.code == "HELD_OVER_CHANGE"

    def test_the_plan_it_has(self, buyer):
        with pytest.raises(Conflict) as refused:
            change(buyer, buyer.plan)
        assert refused.value.code == "SAME_PLAN"

    def test_a_second_one_in_the_same_instant(self, product, buyer):
        change(buyer, plan(product))
        with pytest.raises(Conflict) as refused:
            change(buyer, plan(product))
        assert refused.value.code == "PLAN_CHANGED_JUST_NOW"

    def test_a_second_one_while_one_is_to_come(self, product, buyer):
        change(buyer, plan(product), "period_end")
        with pytest.raises(Conflict) as refused:
            change(buyer, plan(product))
        assert refused.value.code == "PLAN_CHANGE_SCHEDULED"

    def test_one_of_a_subscription_that_has_ended(self, product, buyer):
        buyer.terminate()
        with pytest.raises(Conflict) as refused:
            change(buyer, plan(product))
        assert refused.value.code == "ALREADY_TERMINATED"
        assert invoicing.bill_due(now=JULY) == 0
        assert Invoice.objects.filter(status="cancelled").count() == 1

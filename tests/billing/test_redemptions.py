"""What coupons take off: a percentage at once and exactly, an amount as the invoice closes, and neither too often."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing import redemptions
from billing.models import Charge, Counter, Coupon, CouponClaim, CouponUse, Redemption
from charging import execution
from customers import books
from merchants.errors import Conflict
from tests import factories, parallel
from tests.billing import buyers, worlds
from tests.billing.buyers import Buyer
from tests.billing.invoiced import APRIL, CENT, DOLLAR, FEBRUARY, GRACE, MARCH, START, invoices, lines, pass_time
from tests.billing.invoiced import subscribe as subscribed

FLEXPRICE = "docs.flexprice.io/docs/invoices/calculation"
LAGO = "getlago.com/docs/guide/coupons: before tax; an amount once is used up invoice by invoice"


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


@pytest.fixture
def calls(product):
    return factories.price(metric=factories.metric(product=product, name="Calls"), unit_price="1")


@pytest.fixture
def minutes(product):
    metric = factories.metric(product=product, name="Minutes")
    return factories.price(metric=metric, unit_price="1", term="in_arrears")


@pytest.fixture
def seat(product):
    fee = factories.fee(product=product, name="Seat")
    return factories.price(fee=fee, unit_price="20", term="in_advance", cadence="P1M")


def percentage(product, percent: str, code: str = "PART", **columns) -> str:
    return factories.coupon(merchant=product.merchant, code=code, percent_off=Decimal(percent), **columns).code


def amount(product, dollars: str, code: str = "AMOUNT", **columns) -> str:
    nanos = int(Decimal(dollars) * DOLLAR)
    return factories.coupon(merchant=product.merchant, code=code, amount_off=nanos, currency="USD", **columns).code


def redeem(buyer: Buyer, code: str) -> Redemption:
    asked = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id, "code": code}
    made = redemptions.redeem(**asked).redemption
    buyer.reload()
    return made


def subscribe(*prices, code: str | None = None, **options) -> Buyer:
    """With a coupon from the start, where one is named."""
    return subscribed(*prices, subscription={"coupon_code": code}, **options)


def off(buyer: Buyer) -> list[tuple]:
    """What coupons took off in whole dollars: net, tax, by the number of the invoice."""
    numbers = {invoice.id: invoice.sequence_number for invoice in invoices(buyer)}
    rows = Charge.objects.filter(customer_id=buyer.customer.id, kind="coupon")
    return sorted((numbers[row.invoice_id], row.net / DOLLAR, row.tax / DOLLAR) for row in rows)


@pytest.mark.django_db(transaction=True)
class TestTheEngine:
    @pytest.fixture(autouse=True)
    def _hang_up(self):
        yield
        execution.hang_up()

    def test_takes_a_percentage_off_at_once(self, product, calls, seat):
        buyer = subscribe(calls, seat, code=percentage(product, "25"), balance="100")
        assert buyer.prepaid.available == 85 * DOLLAR
        worlds.record(buyer, (calls, 3), at=START)
        assert buyer.prepaid.available == 85 * DOLLAR - 225 * CENT
        assert Counter.objects.get().discount == 25

    def test_neither_drifts_nor_doubles_however_use_is_chopped(self, product):
        price = factories.price(metric=factories.metric(product=product), unit_price="0.000000007")
        buyer = subscribe(price, code=percentage(product, "33.3333"), default_tax_rate=Decimal("7.7"), fee_rate="0.1")
        for quantity in ("1", "0.5", "12", "1", "1000", "3.7"):
            worlds.record(buyer, (price, quantity), at=START)
        exact = Decimal("1018.2") * 7 * (1 - Decimal("0.333333"))
        counter = Counter.objects.get()
        assert (counter.net, counter.gross) == (round(exact), round(exact * Decimal("1.077")))
        assert sum(Charge.objects.values_list("gross", flat=True)) == counter.gross

    def test_holds_what_remains_for_reservations(self, product, calls):
        buyer = subscribe(calls, code=percentage(product, "25", duration="forever"), balance="100")
        worlds.reserve(buyer, calls, 40)
        assert buyer.prepaid.held == 30 * DOLLAR + 4  # each of five uses may tip a rounding

    def test_counts_on_no_percentage_that_ends_with_the_period(self, product, calls):
        buyer = subscribe(calls, code=percentage(product, "25"), balance="100")
        buyer.set_clock(FEBRUARY - timedelta(minutes=10))  # a reservation lives for a quarter of an hour
        worlds.reserve(buyer, calls, 40)
        assert buyer.prepaid.held == 40 * DOLLAR + 4

    def test_takes_it_off_what_is_rated_after_the_fact_and_made_up_to_a_minimum(self, product):
        metric = factories.metric(product=product, aggregation="UNIQUE_COUNT")
        agreed = {"unitPrice": "2", "minimumCharge": "10"}
        price = factories.price(metric=metric, properties=agreed, term="in_arrears")
        buyer = subscribe(price, code=percentage(product, "50", duration="forever"))
        for value in ("7", "7", "8"):
            worlds.record(buyer, (price, value), at=START)
        pass_time(buyer, FEBRUARY + GRACE)
        assert [(line.kind, line.net) for line in lines(invoices(buyer)[0]) if line.net] == [
            ("rerate", 2 * DOLLAR),
            ("trueup", 3 * DOLLAR),
        ]


class TestAPercentage:
    @pytest.mark.parametrize(
        ("duration", "periods", "discounted"),
        [("once", 1, [True, False, False]), ("repeating", 2, [True, True, False]), ("forever", None, [True] * 3)],
    )
    def test_holds_for_its_periods(self, product, seat, minutes, duration, periods, discounted):
        code = percentage(product, "50", duration=duration, periods=periods)
        buyer = subscribe(seat, minutes, code=code, balance="1000")
        pass_time(buyer, MARCH + GRACE / 2)
        fees = Charge.objects.filter(kind="fee").order_by("period_start").values_list("gross", flat=True)
        assert [gross == 10 * DOLLAR for gross in fees] == discounted

    def test_redeemed_later_waits_for_a_period_that_nothing_was_charged_in(self, product, calls):
        buyer = subscribe(calls, balance="1000")
        code = percentage(product, "50")
        buyer.use(calls, 10)
        assert redeem(buyer, code).starts_at == FEBRUARY
        buyer.use(calls, 10, at=START)
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(calls, 10, at=FEBRUARY)
        assert [round(counter.gross / DOLLAR) for counter in Counter.objects.order_by("period_start")] == [20, 5]

    def test_redeemed_before_anything_was_charged_holds_for_the_period(self, product, calls):
        buyer = subscribe(calls)
        assert redeem(buyer, percentage(product, "50")).starts_at == START

    def test_late_use_is_charged_as_its_period_was(self, product, calls):
        buyer = subscribe(calls, code=percentage(product, "50"), balance="1000")
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(calls, 10, at=START)
        assert Charge.objects.get(kind="usage").gross == 5 * DOLLAR

    def test_takes_its_part_off_true_ups(self, product):
        agreed = {"unitPrice": "1", "minimumCharge": "10"}
        price = factories.price(metric=factories.metric(product=product), properties=agreed, term="in_arrears")
        buyer = subscribe(price, code=percentage(product, "20", duration="forever"))
        pass_time(buyer, FEBRUARY + GRACE)
        assert invoices(buyer)[0].subtotal == 8 * DOLLAR
        buyer.use(price, 4, at=START)
        buyer.use(price, 10, at=FEBRUARY)
        pass_time(buyer, MARCH + GRACE)
        assert sum(Charge.objects.filter(period_start=START).values_list("net", flat=True)) == 8 * DOLLAR

    def test_is_named_on_the_line(self, product, seat):
        buyer = subscribe(seat, code=percentage(product, "12.5"))
        pass_time(buyer, FEBRUARY + GRACE)
        assert lines(invoices(buyer)[0])[0].description == "Seat (12.5% off, coupon PART)"

    def test_is_one_at_a_time(self, product, calls):
        buyer = subscribe(calls, code=percentage(product, "50"))
        with pytest.raises(Conflict) as refusal:
            redeem(buyer, percentage(product, "10", "ALWAYS", duration="forever"))
        assert refusal.value.code == "DISCOUNT_EXISTS"
        assert Redemption.objects.count() == CouponClaim.objects.count() == 1
        pass_time(buyer, FEBRUARY + GRACE)
        assert redeem(buyer, "ALWAYS").starts_at == FEBRUARY
        assert len(buyer.subscription.discounts) == 2


class TestAnAmount:
    def test_comes_off_the_invoice_as_it_closes(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "5"))
        buyer.use(minutes, 20)
        pass_time(buyer, FEBRUARY + GRACE / 2)
        assert off(buyer) == []
        pass_time(buyer, FEBRUARY + GRACE)
        assert off(buyer) == [(1, -5, 0)]
        used, coupon = lines(invoices(buyer)[0])
        assert (coupon.description, coupon.kind, coupon.metric_id) == (
            "Coupon AMOUNT: Minutes",
            "coupon",
            used.metric_id,
        )
        assert (invoices(buyer)[0].subtotal, invoices(buyer)[0].unpaid_amount) == (15 * DOLLAR, 15 * DOLLAR)

    def test_is_before_tax_and_as_published_examples_have_it(self, product, minutes, seat):
        """60 of use, as 80 and a quarter off, and a fee of 20; ten off both: 70, and 8.25 % on it."""
        buyer = subscribe(minutes, seat, code=amount(product, "10"), default_tax_rate=Decimal("8.25"))
        buyer.use(minutes, 60)
        pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0]
        assert (invoice.subtotal, round(Decimal(invoice.total_tax) / DOLLAR, 2)) == (70 * DOLLAR, Decimal("5.78")), (
            FLEXPRICE
        )

    def test_is_shared_by_tax_rates_and_wallets(self, product, calls, minutes):
        bm = buyers.ids.text("bm", minutes.price.billable_metric_id)
        buyer = subscribe(calls, minutes, code=amount(product, "10"), customer={"tax_rates": {bm: "20"}})
        buyer.use(calls, 30)
        buyer.use(minutes, 10)
        pass_time(buyer, FEBRUARY + GRACE)
        assert off(buyer) == [(1, -7.5, 0), (1, -2.5, -0.5)]
        assert buyer.prepaid.available == 7750 * CENT
        assert invoices(buyer)[0].unpaid_amount == 9 * DOLLAR

    def test_is_with_tax_where_prices_include_it(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "12"), default_tax_rate=Decimal(20), tax_behavior="inclusive")
        buyer.use(minutes, 36)
        pass_time(buyer, FEBRUARY + GRACE)
        assert off(buyer) == [(1, -10, -2)]
        assert invoices(buyer)[0].grand_total == 24 * DOLLAR

    def test_given_once_is_carried_on_until_it_is_used_up(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "50"))
        for at in (FEBRUARY, MARCH, APRIL):
            buyer.use(minutes, 20)
            pass_time(buyer, at + GRACE)
        assert [net for _, net, _ in off(buyer)] == [-20, -20, -10], LAGO
        assert [invoice.grand_total for invoice in invoices(buyer)[:3]] == [0, 0, 10 * DOLLAR]
        (redeemed,) = redemptions.of_subscription(merchant_id=buyer.merchant.id, subscription_id=buyer.subscription.id)
        assert redeemed.remaining == 0

    def test_given_for_periods_is_lost_where_a_period_does_not_take_it(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "50", duration="repeating", periods=2))
        for at in (FEBRUARY, MARCH, APRIL):
            buyer.use(minutes, 60 if at == MARCH else 20)
            pass_time(buyer, at + GRACE)
        assert off(buyer) == [(1, -20, 0), (2, -50, 0)]

    def test_leaves_nothing_of_what_it_takes_whole(self, product):
        metric = factories.metric(product=product)
        price = factories.price(metric=metric, unit_price="0.333333333", term="in_arrears")
        buyer = subscribe(price, code=amount(product, "5"), default_tax_rate=Decimal("7.7"), fee_rate="0.1")
        buyer.use(price, "1.234567891")
        pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0]
        assert (invoice.subtotal, invoice.total_tax, invoice.grand_total, invoice.status) == (0, 0, 0, "paid")

    def test_counts_what_was_returned(self, product, minutes, seat):
        """20 of a fee, and last month's use given back: only what remains of the invoice can be taken off it."""
        buyer = subscribe(minutes, seat, balance="1000")
        event = buyer.use(minutes, 15)
        pass_time(buyer, FEBRUARY + GRACE)
        redeem(buyer, amount(product, "100"))
        buyer.refund(event)
        pass_time(buyer, MARCH + GRACE)
        assert off(buyer) == [(2, -5, 0)]
        assert invoices(buyer)[1].subtotal == 0

    def test_follows_the_order_of_redemption(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "5"))
        buyer.set_clock(START + timedelta(days=1))
        redeem(buyer, amount(product, "50", "SECOND"))
        buyer.use(minutes, 20)
        pass_time(buyer, FEBRUARY + GRACE)
        assert list(CouponUse.objects.order_by("amount").values_list("amount", flat=True)) == [5 * DOLLAR, 15 * DOLLAR]

    def test_is_taken_off_the_last_invoice_too_and_once(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "5"))
        buyer.use(minutes, 20)
        buyer.set_clock(START + timedelta(days=1))
        buyer.terminate()
        assert off(buyer) == [(1, -5, 0)]
        with transaction.atomic(), pytest.raises(Exception, match="coupon_used_once_per_invoice"):
            CouponUse.objects.create(**CouponUse.objects.values().get() | {"id": buyer.customer.id})


class TestTheLastRedemption:
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("left", [1, 2])
    def test_goes_to_exactly_one_of_those_who_race_for_it(self, product, calls, left):
        code = percentage(product, "50", max_redemptions=left)
        plan = subscribe(calls).plan
        racers = [buyers.subscribe(product.merchant, plan, at=START) for _ in range(5)]

        def race(number: int) -> str:
            try:
                redeem(racers[number], code)
            except Conflict as refusal:
                return refusal.code
            return "REDEEMED"

        assert sorted(parallel.run(5, race)) == ["COUPON_EXHAUSTED"] * (5 - left) + ["REDEEMED"] * left
        assert CouponClaim.objects.get().redeemed == Redemption.objects.count() == left
        assert sum(racer.reload().discounts is not None for racer in racers) == left

    @pytest.mark.django_db(transaction=True)
    def test_is_not_spent_twice_by_one_subscription(self, product, calls):
        code = percentage(product, "50", max_redemptions=1)
        buyer = subscribe(calls)
        parallel.run(4, lambda number: redeem(buyer, code))
        assert (CouponClaim.objects.get().redeemed, Redemption.objects.count()) == (1, 1)

    def test_is_given_back_by_what_is_undone(self, product, calls):
        buyer, code = subscribe(calls), percentage(product, "50", max_redemptions=1)
        with transaction.atomic():
            books.lock(buyer.bucket, buyer.customer.id)
            assert redemptions.apply(buyer.subscription, code, START).is_new
            transaction.set_rollback(True)
        buyer.reload()
        assert redeem(buyer, code)
        assert Coupon.objects.get().code == code


class TestWhatIsEasilyLost:
    def test_a_coupon_that_was_withdrawn_is_answered_as_before(self, product, calls):
        buyer = subscribe(calls)
        code = amount(product, "5")
        first = redeem(buyer, code)
        Coupon.objects.filter(code=code).update(deleted_at=START)
        assert redeem(buyer, code) == first

    def test_a_final_invoice_of_the_next_period_has_its_coupon_as_well(self, product, minutes):
        buyer = subscribe(minutes, code=amount(product, "5", duration="forever"))
        buyer.set_clock(FEBRUARY - timedelta(seconds=30))
        buyer.use(minutes, 20, at=FEBRUARY + timedelta(seconds=60))
        buyer.terminate()
        assert (2, -5, 0) in off(buyer)

"""One plan in several currencies: everything after the subscription is in one of them, at its own figures."""

from decimal import Decimal
from fractions import Fraction

import pytest

from billing import add_ons, catalogue, money, plan_changes, plans, redemptions, rollouts, subscriptions
from billing.add_ons import NewAddOn
from billing.models import Charge, Invoice, PlanChange, PlanVersion, PriceVersion, Wallet
from billing.plans import NewPlan
from billing.price_terms import NewPrice
from billing.subscriptions import NewSubscription
from merchants.audit import SYSTEM
from merchants.errors import Conflict, Unprocessable, ValidationFailed
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import CENT, DOLLAR, GRACE, pass_time
from tests.factories import NOW

JUNE = utc(2026, 6, 1)
MIDDLE = utc(2026, 6, 16)
JULY = utc(2026, 7, 1)


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


def sell(product, *, name: str = "Requests", **members) -> PriceVersion:
    """Price a new metric, by default at a cent or a little less."""
    new = {
        "display_name": name,
        "payment_term": "instant",
        "model": "standard",
        "properties": {"unitPrice": "0.01"},
        "currency_options": {"EUR": {"unitPrice": "0.009"}, "GBP": {"unitPrice": "0.008"}},
        "metric_id": factories.metric(product=product, name=name).id,
    }
    merchant_id = product.merchant.id
    return catalogue.create_price(merchant_id=merchant_id, new=NewPrice(**new | members), actor=SYSTEM, now=NOW)


def charge_for(product, amount: str = "10", *, name: str = "Seat", **options: str) -> PriceVersion:
    """A monthly fee in advance."""
    return sell(
        product,
        name=name,
        metric_id=None,
        fee_id=factories.fee(product=product, name=name).id,
        payment_term="in_advance",
        billing_cadence="P1M",
        properties={"unitPrice": amount},
        currency_options={currency: {"unitPrice": figure} for currency, figure in options.items()},
    )


def plan(product, *sold: PriceVersion, currency: str = "USD", name: str = "Everywhere") -> PlanVersion:
    new = NewPlan(name=name, currency=currency, product_id=product.id, prices=[price.price_id for price in sold])
    return plans.create(merchant_id=product.merchant.id, new=new, actor=SYSTEM, now=NOW)


def subscribe(product, version: PlanVersion, currency: str | None = None, **options) -> Buyer:
    wanted = {"currency": currency, **options.pop("subscription", {})}
    return buyers.subscribe(product.merchant, version.plan, at=JUNE, subscription=wanted, **options)


def edit(price: PriceVersion, **changes) -> PriceVersion:
    applies_to = changes.pop("applies_to", "new_subscriptions")
    named = {"merchant_id": price.price.merchant_id, "price_id": price.price_id, "applies_to": applies_to}
    return catalogue.update_price(**named, changes=changes, actor=SYSTEM, now=MIDDLE)


def currencies(version: PlanVersion) -> list[str]:
    return [version.currency, *version.other_currencies]


def charged(buyer: Buyer) -> list[tuple[str, int]]:
    rows = Charge.objects.filter(customer_id=buyer.customer.id).order_by("created_at", "seq")
    pots = dict(Wallet.objects.values_list("id", "currency"))
    return [(pots[row.wallet_id], row.gross // CENT) for row in rows]


class TestAPrice:
    def test_has_options_which_are_versions_by_themselves(self, product):
        price = sell(product)
        assert price.options == {"EUR": {"unitPrice": "0.009"}, "GBP": {"unitPrice": "0.008"}}
        rows = PriceVersion.objects.filter(price_id=price.price_id).order_by("currency")
        assert [(row.currency, row.number, row.model, row.payment_term) for row in rows] == [
            (currency, 1, "standard", "instant") for currency in ("", "EUR", "GBP")
        ]

    def test_keeps_its_options_until_others_are_given(self, product):
        price = sell(product)
        assert edit(price, properties={"unitPrice": "0.02"}).options == price.options
        assert edit(price, currency_options={"EUR": {"unitPrice": "0.5"}}).options == {"EUR": {"unitPrice": "0.5"}}
        last = edit(price, currency_options={})
        assert (last.options, last.number) == ({}, 4)
        assert edit(price, currency_options={}).number == 4

    @pytest.mark.parametrize(
        ("options", "field", "code"),
        [
            ({"EURO": {"unitPrice": "1"}}, "currencyOptions.EURO", "INVALID_CURRENCY"),
            ({"eur": {"unitPrice": "1"}}, "currencyOptions.eur", "INVALID_CURRENCY"),
            ({"EUR": {"unitPrice": "x"}}, "currencyOptions.EUR.properties.unitPrice", "INVALID_PRICE"),
            ({"EUR": {"tiers": []}}, "currencyOptions.EUR.properties.tiers", "UNKNOWN_FIELD"),
            ({"EUR": None}, "currencyOptions.EUR.properties", "INVALID_PRICE"),
            ({"EUR": {"unitPrice": "-1"}}, "paymentTerm", "INVALID_PAYMENT_TERM"),
            ({each: {"unitPrice": "1"} for each in [*money.EXPONENTS][:21]}, "currencyOptions", "TOO_MANY_CURRENCIES"),
        ],
    )
    def test_refuses_options_that_are_none(self, product, options, field, code):
        with pytest.raises(ValidationFailed) as refused:
            sell(product, currency_options=options)
        assert (refused.value.errors[0]["field"], refused.value.errors[0]["code"]) == (field, code)
        assert not PriceVersion.objects.exists()

    def test_of_another_model_asks_for_options_of_it(self, product):
        price = sell(product)
        with pytest.raises(ValidationFailed, match=r"currencyOptions\.EUR"):
            edit(price, model="package", properties={"packageSize": "10", "packagePrice": "1"})

    def test_that_is_a_percentage_is_of_one_currency(self, product):
        metric = factories.metric(product=product, unit="USD")
        with pytest.raises(Unprocessable) as refused:
            sell(
                product,
                metric_id=metric.id,
                model="percentage",
                properties={"percentage": "0.1"},
                currency_options={"EUR": {"percentage": "0.1"}},
            )
        assert refused.value.code == "CURRENCY_MISMATCH"


class TestAPlan:
    def test_is_on_offer_in_what_all_its_prices_have(self, product):
        both = [sell(product), charge_for(product, EUR="9")]
        assert currencies(plan(product, *both)) == ["USD", "EUR"]
        assert currencies(plan(product, both[0])) == ["USD", "EUR", "GBP"]
        assert currencies(plan(product, both[0], charge_for(product, name="Help"))) == ["USD"]
        assert currencies(plan(product)) == ["USD"]

    def test_follows_its_prices(self, product):
        price, seat = sell(product), charge_for(product)
        made = plan(product, price, seat)
        edit(seat, currency_options={"GBP": {"unitPrice": "8"}})
        newest = plans.get(merchant_id=product.merchant.id, plan_id=made.plan_id)
        assert (newest.number, currencies(newest)) == (2, ["USD", "GBP"])
        edit(price, currency_options={})
        assert currencies(plans.get(merchant_id=product.merchant.id, plan_id=made.plan_id)) == ["USD"]

    def test_has_one_set_of_figures_for_its_own_currency(self, product):
        price = sell(product)
        with pytest.raises(ValidationFailed) as refused:
            plan(product, price, currency="EUR")
        assert refused.value.errors[0]["code"] == "CURRENCY_STATED_TWICE"
        plan(product, seat := charge_for(product, EUR="9"))
        with pytest.raises(ValidationFailed, match="own currency"):
            edit(seat, currency_options={"USD": {"unitPrice": "9"}})
        assert PlanVersion.objects.filter(plan__name="Everywhere", is_option=False).count() == 1


class TestASubscription:
    def test_is_in_the_currency_it_was_made_in(self, product):
        made = plan(product, sell(product), charge_for(product, EUR="9"))
        abroad, here = subscribe(product, made, "EUR"), subscribe(product, made)
        assert (abroad.subscription.currency, here.subscription.currency) == ("EUR", "USD")
        assert (abroad.prepaid.currency, abroad.credit.currency) == ("EUR", "EUR")
        assert (charged(abroad), charged(here)) == ([("EUR", 900)], [("USD", 1000)])
        used = abroad.subscription.plan_version.prices.get(price__billable_metric__isnull=False)
        abroad.use(used, 10)
        pass_time(abroad, JULY + GRACE)
        assert charged(abroad) == [("EUR", 900), ("EUR", 9), ("EUR", 900)]
        assert set(Invoice.objects.filter(customer_id=abroad.customer.id).values_list("currency", flat=True)) == {"EUR"}

    def test_waits_for_a_payment_in_its_currency(self, product):
        buyer = subscribe(product, plan(product, charge_for(product, EUR="9")), "EUR", balance="0")
        buyers.top_up(product.merchant, buyer.customer, "100", "USD")
        assert buyer.reload().status == "pending_payment"
        buyer.top_up("9")
        assert buyer.reload().status == "active"

    def test_names_the_currencies_there_are(self, product):
        made = plan(product, sell(product))
        with pytest.raises(Unprocessable, match="USD, EUR, GBP") as refused:
            subscribe(product, made, "CHF")
        assert refused.value.code == "CURRENCY_NOT_OFFERED"
        assert refused.value.details == {"field": "currency", "currencies": ["USD", "EUR", "GBP"]}

    def test_is_found_again_but_not_in_another_currency(self, product):
        made = plan(product, sell(product))
        buyer = subscribe(product, made, "EUR")
        of = {"merchant_id": product.merchant.id, "customer": buyer.customer.id, "now": JUNE}
        new = NewSubscription(name="A", plan_id=made.plan_id, started_at=JUNE)
        for currency in (None, "EUR"):
            again = subscriptions.create(**of, new=NewSubscription(**{**vars(new), "currency": currency}))
            assert (again.is_new, again.subscription.id) == (False, buyer.subscription.id)
        with pytest.raises(Conflict, match="this plan in EUR"):
            subscriptions.create(**of, new=NewSubscription(**{**vars(new), "currency": "USD"}))

    def test_redeems_amounts_of_its_own_currency(self, product):
        buyer = subscribe(product, plan(product, sell(product)), "EUR")
        for currency, code in (("USD", "HERE"), ("EUR", "THERE")):
            factories.coupon(merchant=product.merchant, code=code, amount_off=DOLLAR, currency=currency)
        named = {"merchant_id": product.merchant.id, "subscription_id": buyer.subscription.id}
        with pytest.raises(Unprocessable, match="in USD, the subscription in EUR"):
            redemptions.redeem(**named, code="HERE")
        assert redemptions.redeem(**named, code="THERE").is_new

    def test_comes_to_the_minimum_of_its_own_currency(self, product):
        least = {"unitPrice": "0.01", "minimumCharge": "5"}
        price = sell(
            product,
            payment_term="in_arrears",
            properties=least,
            currency_options={"EUR": {**least, "minimumCharge": "4"}},
        )
        spend = sell(
            product,
            name="Spend",
            metric_id=None,
            fee_id=factories.fee(product=product).id,
            model="commitment",
            payment_term="in_arrears",
            properties={"minimumSpend": "20"},
            currency_options={"EUR": {"minimumSpend": "19"}},
        )
        made = plan(product, price, spend)
        for currency, in_all in (("USD", 2000), ("EUR", 1900)):
            buyer = subscribe(product, made, currency)
            pass_time(buyer, JULY + GRACE)
            assert sum(amount for _, amount in charged(buyer)) == in_all

    def test_pays_for_a_fee_what_it_costs_in_its_currency(self, product):
        seat = charge_for(product, EUR="9")
        buyer = subscribe(product, plan(product, seat), "EUR")
        found = catalogue.fee_price(
            merchant_id=product.merchant.id, fee_id=seat.price.fee_id, subscription_id=buyer.subscription.id
        )
        assert (found.currency, found.version.properties) == ("EUR", {"unitPrice": "9"})


class TestLater:
    """What comes to a subscription after it was made comes in its currency, or not at all."""

    def test_the_plan_changes_to_the_same_currency_of_another(self, product):
        first, second = (plan(product, charge_for(product, name=name, EUR="9"), name=name) for name in ("A", "B"))
        buyer = subscribe(product, first, "EUR")
        buyer.set_clock(MIDDLE)
        of = {"merchant_id": product.merchant.id, "subscription_id": buyer.subscription.id}
        plan_changes.make(**of, plan_id=second.plan_id, effective="now")
        assert charged(buyer) == [("EUR", 900), ("EUR", -450), ("EUR", 450)]
        assert buyer.reload().plan_version.currency == "EUR"
        only_here = plan(product, charge_for(product, name="C"))
        with pytest.raises(Unprocessable, match="on offer in USD, the subscription is in EUR"):
            plan_changes.make(**of, plan_id=only_here.plan_id, effective="period_end")

    def test_new_prices_are_those_of_its_currency(self, product):
        seat = charge_for(product, EUR="9", GBP="8")
        made = plan(product, seat)
        three = [subscribe(product, made, currency) for currency in ("USD", "EUR", "GBP")]
        for each in three:
            each.set_clock(MIDDLE)
        new = {"EUR": {"unitPrice": "18"}}
        edit(seat, properties={"unitPrice": "20"}, currency_options=new, applies_to="next_period")
        found = rollouts.reach(plans.get(merchant_id=product.merchant.id, plan_id=made.plan_id))
        assert (found.subscribers, found.left_out) == (2, 1)
        assert rollouts.carry_on(now=MIDDLE) == 2
        for each, amounts in zip(three, ([1000, 2000], [900, 1800], [800, 800]), strict=True):
            pass_time(each, JULY)
            assert [amount for _, amount in charged(each)] == amounts
        assert set(PlanChange.objects.values_list("to_version__currency", flat=True)) == {"USD", "EUR"}

    def test_an_add_on_costs_what_it_does_in_its_currency(self, product):
        buyer = subscribe(product, plan(product, sell(product)), "EUR")
        buyer.set_clock(MIDDLE)
        of = {"merchant_id": product.merchant.id, "subscription_id": buyer.subscription.id}
        seat = charge_for(product, EUR="9")
        add_ons.attach(**of, new=NewAddOn(price_id=seat.price_id, quantity=Decimal(2)))
        assert charged(buyer) == [("EUR", 900)]
        with pytest.raises(Unprocessable, match="no option for EUR"):
            add_ons.attach(**of, new=NewAddOn(price_id=charge_for(product, name="Help").price_id))


TIERS = {
    "USD": [("10", "0.011", "1"), ("25", "0.0073", "0"), (None, "0.001", "2.5")],
    "EUR": [("8", "0.0097", "0"), ("30", "0.00651", "0.77"), (None, "0.0009", "0")],
}


def graduated(currency: str) -> dict[str, object]:
    return {
        "tiers": [{"upTo": end, "unitPrice": each, "flatFee": flat} for end, each, flat in TIERS[currency]],
        "includedUnits": "3",
    }


def costs(currency: str, quantity: Decimal) -> int:
    """What so much costs in nanos, by the plainest arithmetic: tier by tier, in fractions."""
    left, start, total = max(Fraction(quantity) - 3, Fraction(0)), Fraction(0), Fraction(0)
    for end, each, flat in TIERS[currency]:
        if left <= 0:
            break
        part = left if end is None else min(left, Fraction(end) - start)
        total += part * Fraction(each) + Fraction(flat)
        left, start = left - part, start + part
    nanos = total * 10**9
    return (2 * nanos.numerator + nanos.denominator) // (2 * nanos.denominator)


@pytest.mark.parametrize(
    "quantities",
    [
        ["2.999"],
        ["3", "0.001"],
        ["11", "2", "0.5"],
        ["13", "15.0001"],
        ["33", "0.0000001"],
        ["0.7", "99.9", "12.3456789"],
    ],
)
def test_a_graduated_price_costs_in_each_currency_what_its_own_tiers_say(product, quantities):
    options = {"EUR": graduated("EUR")}
    made = plan(product, sell(product, model="graduated", properties=graduated("USD"), currency_options=options))
    for currency in TIERS:
        buyer = subscribe(product, made, currency)
        [sold] = buyer.subscription.plan_version.prices.select_related("price")
        for quantity in quantities:
            buyer.use(sold, quantity)
        assert buyer.prepaid.spent == costs(currency, sum(map(Decimal, quantities)))
        assert buyer.prepaid.currency == currency

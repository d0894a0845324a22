"""A merchant with a past, made by the product itself: the engine charges, settlement settles, invoicing invoices."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing import (
    add_ons,
    alerts,
    catalogue,
    credit_notes,
    credits,
    invoice_payments,
    lapses,
    manual_lines,
    payouts,
    plan_changes,
    redemptions,
    rerating,
    rollouts,
    voiding,
    withdrawals,
)
from billing.add_ons import NewAddOn
from billing.alerts import NewAlert
from billing.credit_notes import NewCreditNote, To
from billing.credits import NewCredit
from billing.documents import files
from billing.invoice_payments import How
from billing.manual_lines import NewLine
from billing.models import CreditNote, Document, PlanChange, PriceVersion, Wallet
from billing.payments import attempts, authorizations, checkout, disputes, links, one_off, refunds
from billing.payments.authorizations import NewAuthorization
from billing.payments.links import NewLink
from billing.payments.one_off import NewPayment
from billing.payments.provider import DisputeFacts, DisputeState
from billing.payments.provider import Line as AccountLine
from billing.payouts import NewPayout
from charging import afterwards, execution
from charging.commands import Correct, Line, MeterEvent, Metering, Property, RecordUsage, Refund, Release, Reserve
from charging.outcomes import Done
from entitlements import budgets, features, granting, issuing, purchasing
from entitlements.budgets import NewBudget
from entitlements.granting import NewGrant
from entitlements.issuing import NewEntitlement
from entitlements.models import Entitlement, Feature
from entitlements.purchasing import NewPurchase
from merchants import audit, ids
from merchants.audit import SYSTEM
from merchants.models import Product
from metering.models import BillableMetric
from tests import factories
from tests.billing import buyers
from tests.billing import owing as owers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, GRACE, MARCH, START, invoices, lines, pass_time
from tests.billing.payments import paying

_keys = itertools.count(1)


@dataclass
class World:
    """Three customers of one merchant: a busy one, one who left, and one who pays in another currency."""

    calls: PriceVersion
    tokens: PriceVersion
    minutes: PriceVersion
    users: PriceVersion
    storage: PriceVersion
    busy: Buyer
    gone: Buyer
    abroad: Buyer
    unsold: BillableMetric


def world() -> World:
    """Two periods of usage in advance and in arrears, fees, reservations, refunds, late events and invoices."""
    product = factories.product(merchant=factories.merchant(fee_rate="0.05"))
    calls, tokens, minutes = (
        factories.price(metric=factories.metric(product=product, name=name), unit_price=unit_price, term=term)
        for name, unit_price, term in (
            ("Calls", "0.000333333", "instant"),
            ("Tokens", "0.000000007", "instant"),
            ("Minutes", "0.0123", "in_arrears"),
        )
    )
    of_users = factories.metric(product=product, name="Users", aggregation="UNIQUE_COUNT")
    users = factories.price(metric=of_users, unit_price="0.5", term="in_arrears")
    agreed = {"unitPrice": "0.5", "minimumCharge": "1.999999999"}
    storage = factories.price(metric=factories.metric(product=product, name="Storage"), properties=agreed)
    seat, setup = (
        factories.price(fee=factories.fee(product=product, name=name), unit_price=amount, term=term, cadence=cadence)
        for name, amount, term, cadence in (("Seat", "7", "in_advance", "P1M"), ("Setup", "3", "in_advance", "P0D"))
    )
    least = factories.price(
        fee=factories.fee(product=product, name="Commitment"), model="commitment", properties={"minimumSpend": "25"},
        term="in_arrears",
    )  # fmt: skip
    prices = [calls, tokens, minutes, users, storage, seat, setup, least]
    plan = factories.plan(product=product, prices=prices, default_tax_rate=Decimal("7.7"))
    busy, gone = (buyers.subscribe(product.merchant, plan, at=START) for _ in range(2))
    yen = factories.plan(
        product=product, prices=prices, currency="JPY", tax_behavior="inclusive", default_tax_rate=Decimal(10)
    )
    abroad = buyers.subscribe(product.merchant, yen, at=START, balance="5000")
    unsold = factories.metric(product=product, name="Unsold")
    half, five = (
        factories.coupon(merchant=product.merchant, code=code, **worth)
        for code, worth in (
            ("HALF", {"percent_off": Decimal("12.5"), "duration": "repeating", "periods": 2, "max_redemptions": 2}),
            ("FIVE", {"amount_off": 5 * 10**9, "currency": "USD", "duration": "once"}),
        )
    )
    for buyer, coupon in ((busy, five), (gone, half), (gone, five), (abroad, half)):
        redemptions.redeem(merchant_id=product.merchant.id, subscription_id=buyer.subscription.id, code=coupon.code)
    made = World(calls, tokens, minutes, users, storage, busy, gone, abroad, unsold)
    _give_credit(busy)
    alerts.create(
        merchant_id=product.merchant.id, wallet_id=busy.prepaid.id, new=NewAlert(threshold=10**9), actor=SYSTEM
    )
    _live(made)
    _pay_back(gone)
    _entitle(product)
    _peak(product)
    _owe(product)
    _pay(product)
    _check_out(product)
    _move()
    _regret(product)
    _think_better(product)
    _outgrow(product)
    for document in Document.objects.order_by("id")[:2]:
        files.of(document, START)
    return made


def _pay(product: Product) -> None:
    """Payments of a customer, some of which went back, could not go back, are on their way back, or are disputed."""
    wallet = paying.pot(product.merchant, "CHF")
    named = {"merchant_id": product.merchant_id, "actor": audit.SYSTEM}
    for card in ("test_success", "test_refund_fails", "test_decline"):
        attempt = attempts.submit(paying.begun(wallet, card))
        if attempt.state == "succeeded":
            refunds.refund(**named, attempt_id=attempt.id, amount=4 * paying.DOLLARS)
    attempts.submit(paying.begun(wallet, "test_3ds"))
    for spent, state in ((0, "open"), (0, "won"), (6, "lost")):
        attempt = attempts.submit(paying.begun(wallet))
        if spent:
            wallet.refresh_from_db()
            Wallet.objects.filter(id=wallet.id).update(held=wallet.balance - 4 * paying.DOLLARS)
        facts = {"ref": f"dispute {state}", "payment_ref": attempt.provider_ref, "amount": 1000, "currency": "CHF"}
        # One of them in an account that is kept in another currency.
        taken = AccountLine(ref="out", amount=-1050, fee=1500, currency="EUR", charged=-1000, exchange_rate="1.05")
        for each in ("open", state):
            told = DisputeFacts(state=DisputeState(each), **facts, lines=(taken,) if state == "lost" else ())
            disputes.apply(merchant_id=product.merchant_id, provider="test", facts=told)
    Wallet.objects.filter(id=wallet.id).update(held=0)


def _check_out(product: Product) -> None:
    """A link that is paid once and for one order, a payment that waits for its payer, and an invitation accepted."""
    merchant_id, named = product.merchant_id, {"actor": audit.SYSTEM, "now": factories.NOW}
    new = NewLink(amount=9 * paying.DOLLARS, currency="USD", description="A report", max_uses=1)
    link = links.create(merchant_id=merchant_id, new=new, **named)
    session = one_off.begin_by_link(link=link, payer_name="Grace", payer_email="g@example.com", now=factories.NOW)
    checkout.pay(session, source="test_decline")
    checkout.pay(session, source="test_success")
    order = {"order_id": "o-1", "amount": new.amount, "currency": "USD", "payment_id": None}
    links.confirm(merchant_id=merchant_id, link_id=link.id, **order, now=factories.NOW)
    for card in ("test_3ds", None):
        asked = one_off.ask(
            merchant_id=merchant_id, new=NewPayment(amount=5 * paying.DOLLARS, currency="EUR"), key=card
        )
        if card:
            checkout.pay(asked.session, source=card)
    plan = factories.plan(product=factories.product(merchant=product.merchant), currency="AUD")
    invited, _ = authorizations.create(
        merchant_id=merchant_id, new=NewAuthorization(email="ada@example.com", plan_id=plan.id), **named
    )
    authorizations.accept(found=invited, about={"name": "Ada", "address": {}, "tax_id": ""}, now=factories.NOW)


def _owe(product: Product) -> None:
    """A month on credit of a customer who has a line put on the invoice by hand, and then is credited some of it."""
    hours = factories.price(metric=factories.metric(product=product, name="Hours"), unit_price="2.5", term="in_arrears")
    plan = factories.plan(product=product, prices=[hours], currency="GBP", default_tax_rate=Decimal(20))
    owing = buyers.subscribe(product.merchant, plan, at=START)
    record(owing, (hours, "7.001"))
    line = {"currency": "GBP", "quantity": Decimal(3), "subscription_id": owing.subscription.id}
    for name, unit_price in (("Setup", "9.999"), ("Goodwill", "-1")):
        new = NewLine(name=name, unit_price=Decimal(unit_price), **line)
        manual_lines.add(merchant_id=product.merchant_id, new=new)
    pass_time(owing, FEBRUARY + GRACE)
    first = invoices(owing)[0]
    named = {"merchant_id": product.merchant_id, "actor": audit.SYSTEM}
    amounts = {lines(first)[0].id: 5 * 10**9}
    reason = CreditNote.Reason.GOODWILL
    credit_notes.issue(**named, new=NewCreditNote(invoice_id=first.id, reason=reason, amounts=amounts))
    credit_notes.issue(**named, new=NewCreditNote(invoice_id=first.id, reason=reason, amounts=amounts, to=To.BALANCE))
    owers.card(owing)
    invoice_payments.pay(
        merchant_id=product.merchant_id, invoice_id=first.id, how=How(amount=8 * 10**9, from_balance=False)
    )
    back = {lines(first)[0].id: 2 * 10**9}
    credit_notes.issue(**named, new=NewCreditNote(invoice_id=first.id, reason=reason, amounts=back, to=To.CARD))
    record(owing, (hours, 3))
    pass_time(owing, MARCH + GRACE)
    second = {**named, "invoice_id": invoices(owing)[1].id}
    voiding.void(**second, reason="A mistake")
    third = voiding.regenerate(**second)
    invoice_payments.pay(merchant_id=product.merchant_id, invoice_id=third.id, how=How(amount=3 * 10**9))
    voiding.write_off(**{**named, "invoice_id": third.id}, reason="Insolvent")


def _pay_back(buyer: Buyer) -> None:
    """Pay money back to a customer, put some back that was not paid, and pay the merchant."""
    named = {"merchant_id": buyer.merchant.id, "actor": SYSTEM}
    wallet = paying.pot(buyer.merchant)
    attempts.submit(paying.begun(wallet, amount=3 * 10**9))
    paying.paid_by_hand(wallet, 5 * 10**9)
    # To the card and by hand; put back; by hand, which somebody still has to do.
    for dollars, states in ((4, ("approved", "paid")), (1, ("rejected",)), (1, ("approved",))):
        made, _ = withdrawals.request(**named, wallet_id=wallet.id, amount=dollars * 10**9)
        for state in states:
            withdrawals.move(**named, withdrawal_id=made.id, to=state)
        for each in withdrawals.refunds_of(made):
            refunds.submit(each)
    for amount in (10**9, 10**9 + 13 * 10**7):
        payouts.create(**named, new=NewPayout(currency="USD", amount=amount))
    payouts.carry_out_due(now=datetime.now(UTC) + timedelta(minutes=1))


def _give_credit(buyer: Buyer) -> None:
    """Give credit that is used, that expires unused, that is taken back, and that is left."""
    days = {"used": 0, "lost": 1, "void": 0, "left": 0}
    for name, days_left in days.items():
        new = NewCredit(
            amount=10**9 if name != "used" else 10**6,
            name=name,
            priority=10 if name == "used" else 90,
            expires_at=START + timedelta(days=days_left) if days_left else None,
        )
        wallet = buyer.prepaid
        lot, _ = credits.grant(merchant_id=buyer.merchant.id, wallet_id=wallet.id, new=new, actor=SYSTEM)
        if name == "void":
            credits.void(merchant_id=buyer.merchant.id, wallet_id=wallet.id, credit_id=lot.id, actor=SYSTEM)


def _give_back(product: Product) -> None:
    """A month of a customer whose rebates come to more than what is charged."""
    returned = factories.price(
        metric=factories.metric(product=product, name="Returned"),
        properties={"unitPrice": "-0.333"},
        term="in_arrears",
    )
    kept = factories.price(metric=factories.metric(product=product, name="Kept"), unit_price="1", term="in_arrears")
    plan = factories.plan(product=product, prices=[returned, kept], currency="CHF", default_tax_rate=Decimal("8.1"))
    giving = buyers.subscribe(product.merchant, plan, at=START)
    record(giving, (returned, 10), (kept, 2))
    pass_time(giving, FEBRUARY + GRACE)


def _move() -> None:
    """A customer of another merchant on trial, who then moves to another plan with an add-on, and back at its end."""
    product = factories.product(merchant=factories.merchant())
    metric, held = (
        factories.metric(product=product, name=name, aggregation=way)
        for name, way in (("Pages", "SUM"), ("Gigabytes", "TIME_WEIGHTED_SUM"))
    )
    small, large, stored = (
        factories.price(metric=metric, unit_price="0.01"),
        factories.price(metric=metric, properties={"unitPrice": "0.005", "minimumCharge": "9"}),
        factories.price(metric=held, unit_price="0.1", term="in_arrears"),
    )
    basic, extra, support = (
        factories.price(fee=factories.fee(product=product, name=name), unit_price=amount, term=term, cadence="P1M")
        for name, amount, term in (
            ("Basic", "7", "in_advance"),
            ("Pro", "19", "in_advance"),
            ("Help", "5", "in_arrears"),
        )
    )
    first = factories.plan(product=product, prices=[small, stored, basic, support], currency="CHF")
    second = factories.plan(product=product, prices=[large, stored, extra], currency="CHF")
    mover = buyers.subscribe(product.merchant, first, at=START, subscription={"trial_days": 3})
    of = {"merchant_id": product.merchant_id, "subscription_id": mover.subscription.id}
    record(mover, (small, 100), (stored, 10))
    ends = START + timedelta(days=3)
    pass_time(mover, ends)
    record(mover, (small, 40))
    pass_time(mover, ends + timedelta(days=9))
    seats = factories.price(
        fee=factories.fee(product=product, name="Seats"), unit_price="3", term="in_advance", cadence="P1M"
    )
    added = add_ons.attach(**of, new=NewAddOn(price_id=seats.price_id, quantity=Decimal(4)))
    early = record(mover, (small, 7))
    pass_time(mover, ends + timedelta(days=10))
    plan_changes.make(**of, plan_id=second.id, effective="now")
    record(mover, (large, 30), (stored, 5))
    record(mover, (small, 3), at=ends + timedelta(days=8))
    correct(mover, early, (small, 8))
    pass_time(mover, ends + timedelta(days=20))
    add_ons.end(**of, add_on_id=added.id)
    plan_changes.make(**of, plan_id=first.id, effective="period_end")
    mover.reload()
    rerating.rate_due()
    pass_time(mover, mover.subscription.period_end + GRACE)
    record(mover, (small, 2))
    _give_back(product)
    _roll_out(product)
    _sell_abroad(product)


def _sell_abroad(product: Product) -> None:
    """Two customers of one plan in two currencies, whose figures are edited in both."""
    metric, fee = factories.metric(product=product, name="Lines"), factories.fee(product=product, name="Desk")
    used = factories.price(metric=metric, unit_price="0.01", term="in_arrears")
    desk = factories.price(fee=fee, unit_price="11", term="in_advance", cadence="P1M")
    other = factories.option(used, "EUR", "0.009")
    factories.option(desk, "EUR", "9.5")
    plan = factories.plan(product=product, prices=[used, desk], currency="CHF", name="Everywhere")
    of = {"merchant_id": product.merchant_id, "applies_to": "next_period", "actor": SYSTEM, "now": START}
    here = buyers.subscribe(product.merchant, plan, at=START)
    abroad = buyers.subscribe(product.merchant, plan, at=START, subscription={"currency": "EUR"})
    changes = {"properties": {"unitPrice": "0.02"}, "currency_options": {"EUR": {"unitPrice": "0.018"}}}
    catalogue.update_price(price_id=used.price_id, changes=changes, **of)
    for at in (START, START + rollouts.SETTLED_AFTER):
        rollouts.carry_on(now=at)
    for each, price in ((here, used), (abroad, other)):
        record(each, (price, 1000))
        pass_time(each, FEBRUARY)
        record(each, (price, 700))
        pass_time(each, FEBRUARY + GRACE)


def _roll_out(product: Product) -> None:
    """Two customers whose plan's prices are edited twice: both move once, and the second edit leaves one alone."""
    used = factories.price(metric=factories.metric(product=product, name="Tokens"), unit_price="0.01")
    year = factories.price(
        fee=factories.fee(product=product, name="Year"), unit_price="120", term="in_advance", cadence="P1Y"
    )
    plan = factories.plan(product=product, prices=[used, year], currency="CHF", name="Yearly")
    two = [buyers.subscribe(product.merchant, plan, balance="900", at=START) for _ in range(2)]
    of = {"merchant_id": product.merchant_id, "applies_to": "next_period", "actor": SYSTEM, "now": START}

    def edit(price: PriceVersion, amount: str) -> PriceVersion:
        made = catalogue.update_price(price_id=price.price_id, changes={"properties": {"unitPrice": amount}}, **of)
        for at in (START, START + rollouts.SETTLED_AFTER):
            rollouts.carry_on(now=at)
        return made

    edit(year, "240")
    dearer = edit(used, "0.02")
    for each in two:
        record(each, (used, 10))
        pass_time(each, FEBRUARY)
        record(each, (dearer, 10))
        record(each, (used, 3), at=FEBRUARY - timedelta(minutes=1))
        pass_time(each, FEBRUARY + GRACE)
    edit(used, "0.03")
    [stays, *_] = PlanChange.objects.filter(subscription_id=two[0].subscription.id, status="scheduled")
    plan_changes.cancel(merchant_id=product.merchant_id, subscription_id=stays.subscription_id, change_id=stays.id)


def _regret(product: Product) -> None:
    """A customer who has left, of whose use some is taken back, more is charged, and some is corrected only now."""
    call, minute = (
        factories.price(metric=factories.metric(product=product, name=name), unit_price="0.25", term=term)
        for name, term in (("Regretted", "instant"), ("Late", "in_arrears"))
    )
    plan = factories.plan(product=product, prices=[call, minute], currency="CHF", default_tax_rate=Decimal("8.1"))
    left = buyers.subscribe(product.merchant, plan, at=START)
    events = [record(left, (call, number), (minute, 10 * number)) for number in (1, 2, 3, 4)]
    ended = START + timedelta(days=2)
    pass_time(left, ended)
    left.terminate()
    correct(left, events[0])
    refund(left, events[1])
    pass_time(left, ended + GRACE)
    correct(left, events[2], (call, 3), (minute, 50))
    pass_time(left, ended + 2 * GRACE)
    correct(left, events[3])


def _outgrow(product: Product) -> None:
    """A customer with units beside those of their plan, who moves to one that includes fewer; a use is taken back.

    Some are held meanwhile, and go back to the grant they came from.
    """
    pages = factories.metric(product=product, name="Outgrown")
    feature = features.create(
        merchant_id=product.merchant_id,
        product_id=product.id,
        key="outgrown",
        name="Outgrown",
        type="metered",
        metric_id=pages.id,
        now=START,
    )
    template = {"type": "metered", "usagePeriod": {"interval": "P1M"}, "isSoftLimit": True}
    first, second = (
        factories.plan(product=product, prices=[price], currency="CHF")
        for price in (
            factories.price(
                metric=pages, feature_id=feature.id, entitlement_template=template | {"issueAfterReset": units}
            )
            for units in (10, 5)
        )
    )
    mover = buyers.subscribe(product.merchant, first, at=START)
    entitlement = Entitlement.objects.get(customer_id=mover.customer.id)
    new = NewGrant(amount=Decimal(20), key="beside", fingerprint=b"0" * 16)
    granting.create(merchant_id=product.merchant_id, entitlement_id=entitlement.id, new=new)
    price = first.versions.get().prices.get()
    early = record(mover, (price, 25))
    held = reserve(mover, price, 3)
    mover.set_clock(START + timedelta(days=1))
    of = {"merchant_id": product.merchant_id, "subscription_id": mover.subscription.id}
    plan_changes.make(**of, plan_id=second.id, effective="now")
    record(mover, (price, 2), reservation_id=held, final=True)
    correct(mover, early)


def _think_better(product: Product) -> None:
    """A customer who moves to another version of a fee in the instant they were charged it."""
    fee = factories.price(
        fee=factories.fee(product=product, name="Rethought"), unit_price="4", term="in_advance", cadence="P1M"
    )
    first, second = (
        factories.plan(product=product, prices=[price], currency="CHF")
        for price in (fee, factories.next_version(fee, "5"))
    )
    mover = buyers.subscribe(product.merchant, first, at=START)
    of = {"merchant_id": product.merchant_id, "subscription_id": mover.subscription.id}
    plan_changes.make(**of, plan_id=second.id, effective="now")


def _entitle(product: Product) -> None:
    """Two months of a customer who is entitled to images by their plan, with grants besides; in a third currency."""
    images = factories.metric(product=product, name="Images")
    feature = features.create(
        merchant_id=product.merchant_id,
        product_id=product.id,
        key="images",
        name="Images",
        type="metered",
        metric_id=images.id,
        now=START,
    )
    template = {
        "type": "metered",
        "usagePeriod": {"interval": "P1M"},
        "issueAfterReset": 100,
        "resetMaxRollover": 20,
        "isSoftLimit": True,
        "preserveOverageAtReset": True,
    }
    price = factories.price(metric=images, unit_price="0.02", feature_id=feature.id, entitlement_template=template)
    plan = factories.plan(product=product, prices=[price], currency="EUR")
    entitled = buyers.subscribe(product.merchant, plan, at=START)
    entitlement = Entitlement.objects.get(customer_id=entitled.customer.id)
    own = {"merchant_id": product.merchant_id, "entitlement_id": entitlement.id}
    record(entitled, (price, "60.5"))
    spent = reserve(entitled, price, 30)
    record(entitled, (price, 20), reservation_id=spent)
    record(entitled, (price, 5), (price, 25), reservation_id=spent, final=True)
    bought, lost = (
        granting.create(**own, new=NewGrant(amount=Decimal(50), key=name, fingerprint=b"0" * 16, priority=priority))
        for name, priority in (("bought", 1), ("lost", 0))
    )
    sale = NewPurchase(amount=Decimal(5), price=10**9, key="sold", fingerprint=b"0" * 16)
    session = purchasing.purchase(**own, new=sale).session
    assert session is not None
    checkout.pay(session, source="test_success")
    refund(entitled, record(entitled, (price, 10)))
    granting.void(**own, grant_id=lost.id)
    entitled.set_clock(FEBRUARY + timedelta(days=1))
    record(entitled, (price, 30), at=FEBRUARY - timedelta(days=1))
    amended = record(entitled, (price, 40))
    correct(entitled, amended, (price, 25), (price, 1))
    correct(entitled, amended, (price, 24))
    correct(entitled, record(entitled, (price, 3)))
    record(entitled, (price, 200))
    record(entitled, (price, 1))
    granting.create(**own, new=NewGrant(amount=Decimal(50), key="more", fingerprint=b"0" * 16))
    reserve(entitled, price, 15)
    issuing.issue(
        merchant_id=product.merchant_id,
        customer_id=entitled.customer.id,
        new=NewEntitlement(feature_id=_switch(product).id, template={"type": "boolean"}),
    )
    assert bought.amount


def _peak(product: Product) -> None:
    """A customer who is charged by what use comes to, some of which was corrected; in a currency of their own."""
    seats, reports = (
        factories.price(metric=factories.metric(product=product, name=name, aggregation=way), unit_price="3")
        for name, way in (("Seats", "MAX"), ("Reports", "COUNT"))
    )
    buyer = buyers.subscribe(product.merchant, factories.plan(product=product, prices=[seats, reports], currency="SEK"))
    record(buyer, (seats, 4), (reports, 10))
    record(buyer, (seats, 7), (reports, 10), (seats, 5))
    correct(buyer, record(buyer, (seats, 9), (reports, 10)), (seats, 8))
    refund(buyer, record(buyer, (seats, 11), (reports, 1)))


def _switch(product: Product) -> Feature:
    return features.create(merchant_id=product.merchant_id, product_id=product.id, key="sso", name="SSO", now=START)


def _live(made: World) -> None:
    calls, tokens, minutes, busy = made.calls, made.tokens, made.minutes, made.busy
    for quantity in (1, 2, "3.5"):
        record(busy, (calls, quantity), (minutes, quantity))
    record(busy, (tokens, 12345), (tokens, 1))
    refund(busy, record(busy, (calls, 40), (minutes, 4)))
    spent, released, held = (reserve(busy, calls, 1000), reserve(busy, calls, 50), reserve(busy, calls, 7))
    record(busy, (calls, 300), reservation_id=spent)
    record(busy, (calls, 900), reservation_id=spent, final=True)  # more than was left of it
    record(busy, (calls, 2), reservation_id=held)
    run(Release(busy.customer.id.bytes, busy.merchant.id.bytes, released))
    buyers.settle()
    refund(busy, record(busy, (calls, 5)))
    record(made.gone, (calls, 10))
    late = record(made.gone, (minutes, 3))
    made.gone.set_clock(START + timedelta(days=2))
    refund(made.gone, late)
    made.gone.terminate()
    for quantity in (100_000, 250):
        record(made.abroad, (calls, quantity), (minutes, quantity))
    for buyer in (busy, made.abroad):
        pass_time(buyer, FEBRUARY + GRACE / 2)
        record(buyer, (calls, 8), at=FEBRUARY - timedelta(minutes=1))
        record(buyer, (calls, 9))
        record(buyer, (made.users, 1), (made.users, 2), at=START)
        pass_time(buyer, FEBRUARY + GRACE)
        record(buyer, (minutes, 1), at=START)
        record(buyer, (made.users, 3), (made.users, 2), at=START)
        rerating.rate_due()
        record(buyer, (made.users, 7))
        record(buyer, (made.storage, 3), at=START)  # after it was made up for: taken back as March closes
    lapses.expire_due(now=FEBRUARY + GRACE)
    buyers.settle()
    _limit(made)
    meter(busy, calls.price.billable_metric, made.unsold)
    meter(made.gone, calls.price.billable_metric)
    meter(made.gone)
    record(busy, (calls, 11), (minutes, 1), metadata={"agent": "y"})
    refund(busy, record(busy, (calls, 5), metadata={"agent": "x"}))
    wrong = record(busy, (calls, 21), (minutes, 2), metadata={"agent": "x"})
    correct(busy, wrong, (calls, 12), (minutes, 2))
    correct(busy, record(busy, (calls, 6), metadata={"agent": "x"}))
    record(busy, (calls, 3), reservation_id=reserve(busy, calls, 20, metadata={"agent": "x"}), metadata={"agent": "z"})


def _limit(made: World) -> None:
    """Set a budget of each kind; they count what comes."""
    calls = made.calls.price.billable_metric_id
    kinds: list[dict[str, Any]] = [
        {"currency": "USD", "window": "month"},
        {"currency": "USD", "window": "total", "scope": "agent"},
        {"metric_id": calls, "window": "day", "scope": "agent", "value": "x"},
    ]
    for kind in kinds:
        new = NewBudget(name="Cap", limit=10**15, **kind)
        budgets.create(merchant_id=made.busy.merchant.id, customer_id=made.busy.customer.id, new=new)


def run(command):
    """Carry out a command that must succeed."""
    (outcome,) = execution.execute([command])
    assert isinstance(outcome, Done), outcome
    return outcome.answer


def record(buyer: Buyer, *used: tuple, at: datetime | None = None, **options) -> bytes:
    """Record one event through the engine; returns its id."""
    now = buyers.books.Book.objects.get(customer_id=buyer.customer.id).test_clock
    event_id = ids.new_raw(buyer.bucket)
    properties = tuple(Property(price.price.billable_metric_id.bytes, Decimal(quantity)) for price, quantity in used)
    run(
        RecordUsage(
            event_id,
            buyer.customer.id.bytes,
            buyer.merchant.id.bytes,
            f"event-{next(_keys)}",
            b"0" * 16,
            at or now,
            properties,
            **options,
        )
    )
    return event_id


def meter(buyer: Buyer, *metrics: BillableMetric) -> None:
    """Record a meter event that counts for four of each metric."""
    now = buyers.books.Book.objects.get(customer_id=buyer.customer.id).test_clock
    properties = tuple(Property(metric.id.bytes, Decimal(4), None, {"model": "large"}) for metric in metrics)
    event = Metering(MeterEvent("completion", "api", "a customer", b"{}"), untimed=True)
    named = (ids.new_raw(buyer.bucket), buyer.customer.id.bytes, buyer.merchant.id.bytes, f"event-{next(_keys)}")
    run(RecordUsage(*named, b"0" * 16, now, properties, metering=event))


def reserve(buyer: Buyer, price: PriceVersion, quantity: int, **options: Any) -> bytes:
    """Reserve units through the engine; returns the reservation's id."""
    reservation_id = ids.new_raw(buyer.bucket)
    line = Line(price.price.billable_metric_id.bytes, Decimal(quantity), None)
    named = (reservation_id, buyer.customer.id.bytes, buyer.merchant.id.bytes)
    run(Reserve(*named, None, b"0" * 16, (line,), 5, 900, **options))
    return reservation_id


def correct(buyer: Buyer, event_id: bytes, *used: tuple) -> None:
    """Have an event say something else through the engine, or nothing at all."""
    properties = tuple(Property(price.price.billable_metric_id.bytes, Decimal(quantity)) for price, quantity in used)
    named = (ids.new_raw(buyer.bucket), buyer.customer.id.bytes, buyer.merchant.id.bytes)
    command = Correct(*named, None, b"0" * 16, event_id, "A mistake", not used, properties=properties or None)
    afterwards.execute(command, buyer.subscription.id)


def refund(buyer: Buyer, event_id: bytes) -> None:
    """Return an event's charges through the engine."""
    command = Refund(ids.new_raw(buyer.bucket), buyer.customer.id.bytes, buyer.merchant.id.bytes, event_id, "")
    afterwards.execute(command, buyer.subscription.id)

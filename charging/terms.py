"""Under which agreement, price, period, tax and pot a command is charged. Pure."""

from datetime import datetime
from decimal import Decimal

import msgspec

from billing import rating, spells
from billing.discounts import of_use
from billing.money import from_nanos
from billing.prices import PlanVersion, PriceVersion
from billing.rating import Accumulator, Totals
from charging.book import Book, Catalogue, Charge, Counter, Reservation, Subscription, Wallet
from merchants import ids
from merchants.errors import InsufficientFunds, NotFound, Unprocessable
from metering import periods

NO_OPEN_INVOICE = "NO_OPEN_INVOICE"
AHEAD_SECONDS_MAX = 300  # that use may be dated into the future: clocks differ

_NOTHING = Accumulator()
_UNCHARGED = Totals()


class Terms(msgspec.Struct, frozen=True, gc=False):
    """Under which agreement, price book, period and invoice a command is charged."""

    subscription: Subscription
    plan: PlanVersion
    period_start: datetime
    period_end: datetime
    invoice_id: bytes


def nothing(field: str) -> NotFound:
    return NotFound(f"{field} names nothing that exists here.", details={"field": field})


def unratable(refusal: rating.Unratable, at: str, index: int) -> Unprocessable:
    """Say where in a request the use is that has no price: a price stands with its quantity, metadata for them all."""
    field = {"price": f"{at}.price", "property": at}.get(refusal.member, refusal.member)
    details = {**(refusal.details or {}), "index": index, "field": field}
    return Unprocessable(refusal.message, code=refusal.code, details=details)


def terms_of(
    book: Book, metric_id: bytes, at: datetime, catalogue: Catalogue, reservation: Reservation | None = None
) -> Terms:
    """Find the one subscription that sells a metric, and where in its life an instant falls."""
    subscription, plan = _subscription(book, metric_id, at, catalogue, reservation)
    if reservation is None:  # one that was granted is good
        check_running(subscription)
    if subscription.ending_at is not None and book.now >= subscription.ending_at:
        raise _ended()
    return terms_in(book, subscription, plan, at)


def check_running(subscription: Subscription) -> None:
    """Refuse new use under a subscription that is paused; raises Unprocessable."""
    if subscription.status == "paused":
        raise Unprocessable("The subscription is paused.", code="SUBSCRIPTION_PAUSED")


def terms_in(book: Book, subscription: Subscription, plan: PlanVersion, at: datetime) -> Terms:
    """Find where in a subscription's life an instant falls.

    What happened in it may be corrected also while it is about to be ended; new use is refused then by ``terms_of``.
    """
    if subscription.status == "pending_payment":
        raise Unprocessable("The subscription waits for its first payment.", code="SUBSCRIPTION_NOT_ACTIVE")
    if at < subscription.started_at:
        raise Unprocessable("timestamp lies before the subscription starts.", code="BEFORE_SUBSCRIPTION")
    if subscription.ending_at is not None and at >= subscription.ending_at:
        raise _ended()
    invoice_id = subscription.invoice_id
    if subscription.period_start <= at < subscription.period_end:
        start, end = subscription.period_start, subscription.period_end
    else:
        start, end = _period(subscription, plan, at)
        if at >= subscription.period_end:
            invoice_id = subscription.next_invoice_id or invoice_id
    if invoice_id is None:
        raise Unprocessable("The subscription has no open invoice.", code=NO_OPEN_INVOICE)
    return Terms(subscription, plan, start, end, invoice_id)


def _ended() -> Unprocessable:
    return Unprocessable("The subscription has ended.", code="NO_ACTIVE_SUBSCRIPTION")


def _period(subscription: Subscription, plan: PlanVersion, at: datetime) -> periods.Period:
    """Find the billing period of an instant, by the plan that was in force then."""
    started_at = subscription.started_at
    if subscription.spells is None:
        spell = spells.Spell(plan.id, started_at, subscription.trial_ends_at or started_at, plan.cadence)
    else:
        spell = spells.at(spells.read(subscription.spells), at)
    return spells.period_of(spell, started_at, subscription.timezone, at)


def _subscription(
    book: Book, metric_id: bytes, at: datetime, catalogue: Catalogue, reservation: Reservation | None
) -> tuple[Subscription, PlanVersion]:
    for subscription in book.subscriptions:
        if reservation is not None:
            if subscription.id == reservation.subscription_id:
                return subscription, catalogue.plans[reservation.plan_version_id]
            continue
        plan = catalogue.plans[subscription.plan_version_at(at)]
        if plan.price_for_metric(metric_id) is not None:
            return subscription, plan
    if catalogue.metric_merchants.get(metric_id) != book.merchant_id:
        raise nothing("billableMetricId")
    raise Unprocessable(
        "The customer has no active subscription that prices this metric.", code="NO_ACTIVE_SUBSCRIPTION"
    )


def agreement(book: Book, subscription_id: bytes) -> Subscription:
    """Find the subscription that an event was charged under; raises Unprocessable where no invoice of it is open."""
    for subscription in book.subscriptions:
        if subscription.id == subscription_id:
            return subscription
    ended = book.ended.get(subscription_id)
    if ended is None or ended.invoice_id is None:
        raise Unprocessable("The subscription has no open invoice.", code=NO_OPEN_INVOICE)
    return ended


def price_in(book: Book, plan: PlanVersion, metric_id: bytes, index: int, catalogue: Catalogue) -> PriceVersion:
    price = plan.price_for_metric(metric_id)
    if price is not None:
        return price
    field = f"properties.{index}.billableMetricId"
    if catalogue.metric_merchants.get(metric_id) != book.merchant_id:
        raise nothing(field)
    raise Unprocessable(
        "All metrics of one event must be priced by the same subscription.",
        code="METRIC_NOT_PRICED",
        details={"index": index, "field": field},
    )


def pot(book: Book, subscription: Subscription, price: PriceVersion) -> Wallet:
    prepaid = price.term == "instant"
    return book.wallets[subscription.prepaid_wallet_id if prepaid else subscription.credit_wallet_id]


def tax_rate(book: Book, terms: Terms, price: PriceVersion) -> Decimal:
    """Percent; the customer's rate for the metric, for the plan, for everything, or else the plan's own."""
    if terms.subscription.tax_exempt:
        return Decimal(0)
    rates = book.tax_rates
    if rates:
        metric = ids.text("bm", price.metric_id) if price.metric_id else ""
        for name in (metric, ids.text("plan", terms.plan.plan_id), "default"):
            if name in rates:
                return Decimal(rates[name])
    return terms.plan.default_tax_rate


def new_counter(book: Book, terms: Terms, price: PriceVersion) -> Counter:
    """Open the counter of a price in a period: from now on its rates are what they are today."""
    return Counter(
        terms.subscription.id,
        price.id,
        terms.period_start,
        terms.period_end,
        tax_rate(book, terms, price),
        book.fee_rate,
        _NOTHING,
        _UNCHARGED,
        discount=discount_at(terms.subscription, terms.period_start),
    )


def discount_at(subscription: Subscription, period_start: datetime) -> Decimal:
    """Percent off what is used in a period."""
    free_until = subscription.trial_ends_at if subscription.trial_is_free else None
    return of_use(subscription.discounts, free_until, period_start)


def afford(wallet: Wallet, amount: int) -> None:
    available = wallet.available
    if available is not None and amount > 0 and amount > available:
        raise InsufficientFunds(
            available=from_nanos(max(available, 0)),
            required=from_nanos(amount),
            currency=wallet.currency,
            credit_limit=None if wallet.credit_limit is None else from_nanos(wallet.credit_limit),
        )


def post(book: Book, wallet: Wallet, charge: Charge) -> None:
    """Number a charge within its wallet and take it out of the pot."""
    if wallet.charge_seq == wallet.settled_seq:
        book.writes.unsettled.append((wallet.id, book.customer_id, book.now))
    wallet.charge_seq += 1
    wallet.spent += charge.gross
    wallet.used += charge.gross
    wallet.changed = True
    charge.seq = wallet.charge_seq
    book.writes.charges.append(charge)

"""Rating after the fact: prices of metrics that need all uses of a period at once.

An event of such a metric is recorded with a charge of nothing, and its counter falls behind: ``unrated_since``. Rating
it folds all of its uses as they now hold, and charges the difference to what was charged before, as a charge of its own
that lands on the invoice which is open then. So the same facts come to the same money in whatever order they are told,
and rating again what did not change charges nothing.

A sweep rates what is behind; closing an invoice first rates what belongs to it, under the same lock. The credit limit
is looked at by what was rated: it lags as far.
"""

import logging
import random
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from psycopg.errors import QueryCanceled

from billing import charges, cycles, folding, money, rating, taxes
from billing.folding import Fold, Uses
from billing.models import Charge, Counter, Invoice, PriceVersion, Rerating, Subscription
from billing.prices import ChargeModel, parse_model
from customers import books
from customers.models import Book
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable
from metering import periods
from metering.models import Aggregation, BillableMetric

logger = logging.getLogger(__name__)

COUNTERS_PER_PASS = 1_000
PARKED_PER_PASS = 20
REASON_LENGTH_MAX = 200
READ_SECONDS_MAX = 15  # of the uses of one counter: those who have more wait for their invoice to be closed


class _Sold(NamedTuple):
    """What a counter counts, and by which model it is rated."""

    metric: BillableMetric
    model: ChargeModel


# --- the sweep -------------------------------------------------------------------------------------------


def rate_due(*, limit: int = COUNTERS_PER_PASS, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Rate the counters that have been behind for longest, each in a transaction of its own; return how many it were.

    They come in any order: those that take too long would else use up the time of every pass before the others.

    Uses are read before the lock is taken, so that a customer with millions of them is not kept waiting. What comes
    meanwhile leaves the counter behind, and goes to the back of the queue. One that cannot be rated, or not in time,
    does not keep the others from being rated: it is parked, and of those that are only a few are tried at each pass.
    """
    behind = Counter.objects.filter(unrated_since__isnull=False)
    counters = list(behind.filter(parked_at=None).order_by("unrated_since")[:limit])
    random.shuffle(counters)
    counters += behind.filter(parked_at__isnull=False).order_by("parked_at")[:PARKED_PER_PASS]
    rated = 0
    for counter in counters:
        rated += _try(counter)
        if is_time_up():
            break
    return rated


def _try(counter: Counter) -> bool:
    """Rate a counter, or park it with the reason why not; tell whether it was rated."""
    try:
        return _rate_alone(counter)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise  # a lost connection or a deadlock: the next pass finds everything as it was
        logger.warning("a counter of %s takes too long to rate", ids.text("sub", counter.subscription_id))
        _park(counter, "Its uses take too long to read.")
    except Exception as error:  # whatever is wrong with one must not keep the others from being rated
        logger.exception("a counter of %s cannot be rated", ids.text("sub", counter.subscription_id))
        _park(counter, str(error))
    return False


def try_again(
    *,
    merchant_id: uuid.UUID,
    subscription_id: uuid.UUID,
    price_version_id: uuid.UUID,
    period_end: datetime,
    actor: Actor,
    now: datetime,
) -> None:
    """Rate a counter that is parked now, without waiting for its turn.

    Raises:
        NotFound: the merchant has no such counter.
        Conflict: it is not parked any more.
        Unprocessable: it cannot be rated; it is parked again, with the reason.
    """
    bucket = ids.bucket_of(subscription_id)
    theirs = Subscription.objects.filter(bucket=bucket, id=subscription_id, merchant_id=merchant_id)
    counter = Counter.objects.filter(
        bucket=bucket,
        customer_id__in=theirs.values("customer_id"),
        period_end=period_end,
        subscription_id__in=theirs.values("id"),
        price_version_id=price_version_id,
    ).first()
    if counter is None:
        raise NotFound()
    if counter.parked_at is None:
        raise Conflict("It is rated already, or waits for its turn.", code="NOT_PARKED")
    audit.append(
        merchant_id=merchant_id,
        actor=actor,
        action="counter.tried_again",
        target=ids.text("sub", subscription_id),
        changes={"priceVersion": str(price_version_id), "reason": counter.parked_reason},
        now=now,
    )
    _try(counter)
    left = Counter.objects.filter(pk=counter.pk, parked_at__isnull=False).first()
    if left is not None:
        raise Unprocessable(f"It still cannot be rated: {left.parked_reason}", code="CANNOT_BE_RATED")


def _park(found: Counter, reason: str) -> None:
    """Put a counter behind those that can be rated, and write down why."""
    with transaction.atomic():
        _, now = books.lock(found.bucket, found.customer_id)
        behind = Counter.objects.filter(pk=found.pk, unrated_since__isnull=False)
        behind.update(parked_at=now, parked_reason=reason[:REASON_LENGTH_MAX])


def _rate_alone(found: Counter) -> bool:
    sold = _sold(found)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {READ_SECONDS_MAX * 1000}")
        uses = folding.read(found, _subscription(found), sold.metric)
    with transaction.atomic():
        _, now = books.lock(found.bucket, found.customer_id)
        counter = Counter.objects.filter(pk=found.pk, unrated_since__isnull=False).first()
        subscription = _subscription(found)
        is_open = subscription.status in Subscription.RUNNING or subscription.next_invoice_id is not None
        if counter is None or not is_open:
            return False  # it was rated, or its last invoice closed, meanwhile
        since = Charge.objects.filter(
            bucket=counter.bucket,
            wallet_id=subscription.credit_wallet_id,
            seq__gt=uses.last_seq,
            price_version_id=counter.price_version_id,
        )
        if since.filter(kind=Charge.Kind.RERATE).exists():
            return False  # by somebody who has seen more
        behind = since.order_by("seq").values_list("created_at", flat=True).first()
        _rate(counter, subscription, sold, uses, now, behind=behind)
    return True


def _subscription(counter: Counter) -> Subscription:
    return Subscription.objects.get(bucket=counter.bucket, id=counter.subscription_id)


def _sold(counter: Counter) -> _Sold:
    version = PriceVersion.objects.select_related("price__billable_metric").get(id=counter.price_version_id)
    if version.price.billable_metric is None:
        raise ValueError("fees have no counters")
    return _Sold(version.price.billable_metric, parse_model(version.model, version.properties))


# --- before invoices are closed ----------------------------------------------------------------------------


def unrated(subscription: Subscription, before: datetime) -> QuerySet[Counter]:
    """Select the counters of periods that began before an instant which are behind, the earliest first."""
    return Counter.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        period_start__lt=before,
        unrated_since__isnull=False,
    ).order_by("period_end", "price_version_id")


def rate_all(subscription: Subscription, before: datetime, now: datetime) -> None:
    """Rate every counter of periods that began before an instant; the caller holds the lock of the book."""
    while (counter := unrated(subscription, before).first()) is not None:  # one may bring the next period's behind
        sold = _sold(counter)
        _rate(counter, subscription, sold, folding.read(counter, subscription, sold.metric), now)


def rate_ended(subscription: Subscription, now: datetime) -> None:
    """Rate what a subscription that has ended has used; what it held, it held to its end.

    The caller holds the lock of the book.
    """
    ended_at = subscription.terminated_at or now
    _held(subscription).filter(period_end__gt=ended_at, unrated_since__isnull=True).update(unrated_since=now)
    rate_all(subscription, max(now, subscription.period_end), now)


def carry_over(subscription: Subscription, now: datetime) -> None:
    """Open, in a period that has just become the current one, the counters of what is held since before it.

    The caller holds the lock of the book.
    """
    for counter in _held(subscription).filter(period_end=subscription.period_start).exclude(state=None):
        _follow(counter, subscription, _sold(counter).metric, now)


def _held(subscription: Subscription) -> QuerySet[Counter]:
    """Select the counters of what is held, of all periods."""
    version_ids = [uuid.UUID(bytes=spell.plan_version_id) for spell in cycles.spells_of(subscription)]
    of_such = PriceVersion.objects.filter(price__billable_metric__aggregation=Aggregation.TIME_WEIGHTED_SUM)
    return Counter.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        price_version_id__in=of_such.filter(planversion__in=version_ids).values("id"),
    )


# --- rating one counter ------------------------------------------------------------------------------------


def _rate(
    counter: Counter,
    subscription: Subscription,
    sold: _Sold,
    uses: Uses,
    now: datetime,
    *,
    behind: datetime | None = None,
) -> None:
    """Have a counter stand where its uses put it, and charge the difference.

    Args:
        behind: since when uses are recorded that are not among these.
    """
    fold = folding.fold(counter, subscription, sold.metric, uses)
    exact = rating.total(sold.model, rating.Accumulator(fold.quantity))
    behavior = cycles.prices_at(subscription, counter.period_start).tax_behavior
    totals = rating.totals(exact, counter.tax_rate, behavior, counter.fee_rate, counter.discount)
    before = rating.Totals(counter.net, counter.gross - counter.net, counter.gross, counter.fee)
    due = rating.difference(totals, before)
    if due != rating.Totals() or fold.quantity != counter.quantity:
        _charge(counter, subscription, sold.metric, fold, due, now)
    state = f"{fold.held.normalize(money.EXACT):f}" if fold.held else None
    moved, counter.state = state != counter.state, state
    counter.quantity, counter.unrated_since = fold.quantity, behind
    counter.net, counter.gross, counter.fee = totals.net, totals.gross, totals.fee
    counter.parked_at = counter.parked_reason = None
    columns = ["quantity", "net", "gross", "fee", "state", "unrated_since", "parked_at", "parked_reason"]
    counter.save(update_fields=columns)
    if moved:
        _follow(counter, subscription, sold.metric, now)


def _charge(
    counter: Counter,
    subscription: Subscription,
    metric: BillableMetric,
    fold: Fold,
    due: rating.Totals,
    now: datetime,
) -> None:
    of_counter = {
        "subscription_id": subscription.id,
        "price_version_id": counter.price_version_id,
        "period_start": counter.period_start,
    }
    known = Rerating.objects.filter(bucket=counter.bucket, **of_counter)
    number = (known.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    start = counter.period_start.isoformat(timespec="microseconds")
    made = Rerating.objects.create(
        bucket=counter.bucket,
        customer_id=counter.customer_id,
        id=ids.derived(counter.bucket, "rerating", subscription.id, counter.price_version_id, start, str(number)),
        **of_counter,
        number=number,
        quantity=fold.quantity,
        created_at=now,
    )
    wallet = charges.pots(subscription)[subscription.credit_wallet_id]
    charges.post(
        wallet,
        subscription,
        due,
        kind=Charge.Kind.RERATE,
        source_id=made.id,
        price_version_id=counter.price_version_id,
        metric_id=metric.id,
        invoice_id=_invoice(counter, subscription),
        period_start=counter.period_start,
        quantity=fold.quantity - counter.quantity,
        now=now,
    )


def _invoice(counter: Counter, subscription: Subscription) -> uuid.UUID:
    """Choose between the two open invoices as usage does: by the period; or the additional one, after the last."""
    current, following = subscription.invoice_id, subscription.next_invoice_id
    if subscription.status == Subscription.Status.TERMINATED and following is not None:
        opened = Invoice.objects.filter(bucket=subscription.bucket, id=following, is_additional=True)
        current = following if opened.exists() else current
    if current is None:
        raise ValueError("what was used is rated once the first invoice is open")
    return current if counter.period_start < subscription.period_end else following or current


def _follow(counter: Counter, subscription: Subscription, metric: BillableMetric, now: datetime) -> None:
    """Have the next period's counter begin with what is held: it is behind, and opened if its period has begun."""
    following = cycles.following(subscription, periods.Period(counter.period_start, counter.period_end))
    prices = cycles.prices_at(subscription, following.start)
    price = prices.price_for_metric(metric.id.bytes)
    if price is None:
        return  # the plan that comes then does not sell it
    of_price = {
        "bucket": counter.bucket,
        "customer_id": counter.customer_id,
        "period_end": following.end,
        "subscription_id": counter.subscription_id,
        "price_version_id": uuid.UUID(bytes=price.id),
    }
    known = Counter.objects.filter(**of_price)
    if known.exists():
        known.filter(unrated_since__isnull=True).update(unrated_since=now)
    elif following.end <= subscription.period_end and _lives(subscription, following.start):
        book = Book.objects.select_related("merchant").get(bucket=counter.bucket, customer_id=counter.customer_id)
        Counter.objects.create(
            **of_price,
            period_start=following.start,
            tax_rate=taxes.rate(
                customer_rates=taxes.known(book.assessed_rates, book.tax_rates),
                plan_id=uuid.UUID(bytes=prices.plan_id),
                plan_rate=prices.default_tax_rate,
                is_exempt=subscription.tax_exempt,
                metric_id=metric.id,
            ),
            fee_rate=book.merchant.platform_fee_rate,
            discount=cycles.discount_of_use(subscription, following),
            unrated_since=now,
        )


def _lives(subscription: Subscription, at: datetime) -> bool:
    ends_at = subscription.terminated_at or subscription.ending_at
    return ends_at is None or at < ends_at

"""Test clocks: a time of their own for some customers of a merchant in test mode, moved forward by hand.

A customer goes by a test clock from their first subscription on. When it is moved, what falls due for each of its
customers happens at the time at which it falls due, one after the other: fees, periods, invoices, trials, ends, and
what is done about unpaid invoices. Sweeps of the present leave customers alone whose clock is behind it.
"""

import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from billing import collecting, drafts, invoicing, lapses, rollouts, subscriptions
from billing.models import CreditLot, Dunning, Invoice, Subscription, Wallet
from billing.subscriptions import Agreement, NewSubscription
from customers import books, registry
from customers.models import Book, TestClock
from customers.registry import NewCustomer
from merchants import ids
from merchants.errors import Conflict, Forbidden, NotFound, Unprocessable, ValidationFailed
from merchants.models import Merchant, Mode
from metering import periods
from metering.periods import Cadence

BACKDATED_MAX = timedelta(hours=1)  # the contract's
STEP_MAX = timedelta(days=366)  # of one move
CUSTOMERS_MAX = 20
EVENTS_MAX = 2_000  # of one customer in one move
STALE = timedelta(minutes=5)  # a move that was begun so long ago was cut off, and may be begun again

# (bucket, customer id, the customer's time) -> when something next falls due for them at the earliest, None: never.
Look = Callable[[int, uuid.UUID, datetime], datetime | None]
Act = Callable[[int, uuid.UUID], None]

_followers: list[tuple[Look, Act]] = []

_read = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,2})Y)?(?:([0-9]{1,2})M)?(?:([0-9]{1,2})W)?(?:([0-9]{1,3})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,4})H)?(?:([0-9]{1,5})M)?(?:([0-9]{1,7})S)?)?"
).fullmatch


def register(look: Look, act: Act) -> None:
    """Have something looked at and done as a customer's time passes."""
    _followers.append((look, act))


# --- making, finding, ending -----------------------------------------------------------------------------


def create(
    *,
    merchant_id: uuid.UUID,
    name: str = "",
    description: str = "",
    current_time: datetime | None = None,
    now: datetime,
) -> TestClock:
    """Make a clock that stands at ``current_time``, or now.

    Raises:
        Forbidden: the merchant is live.
        ValidationFailed: the time is more than an hour ago, or more than a year ahead.
    """
    if not Merchant.objects.filter(id=merchant_id, mode=Mode.TEST).exists():
        raise Forbidden("There are no test clocks in live mode.", code="TEST_CLOCK_IN_LIVE_MODE")
    at = current_time or now
    if not now - BACKDATED_MAX <= at <= now + STEP_MAX:
        message = "currentTime may lie at most an hour in the past, and a year in the future."
        raise ValidationFailed(message, field="currentTime", code="TIME_OUT_OF_RANGE")
    return TestClock.objects.create(
        merchant_id=merchant_id, name=name, description=description, current_time=at, created_at=now, updated_at=now
    )


def search(*, merchant_id: uuid.UUID) -> QuerySet[TestClock]:
    """Select a merchant's clocks, the newest first."""
    return TestClock.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("-created_at", "-id")


def find(*, merchant_id: uuid.UUID, clock_id: uuid.UUID) -> TestClock:
    """Return a clock; raises NotFound, also for another merchant's."""
    found = search(merchant_id=merchant_id).filter(id=clock_id).first()
    if found is None:
        raise NotFound("There is no such test clock.")
    return found


def delete(*, merchant_id: uuid.UUID, clock_id: uuid.UUID, now: datetime) -> TestClock:
    """Take a clock away, and return it as it was; time stands still for its customers from then on.

    Raises:
        NotFound: there is no such clock.
        Conflict: subscriptions run by it.
    """
    with transaction.atomic():
        clock = _lock(merchant_id, clock_id)
        running = [
            ids.text("sub", subscription_id)
            for bucket, customer_id in _customers(clock)
            for subscription_id in _running(bucket, customer_id).values_list("id", flat=True)
        ]
        if running:
            items = [{"id": public_id, "status": "active"} for public_id in running[: registry.BLOCKER_ITEMS_MAX]]
            blocker = {"type": "subscriptions", "count": len(running), "items": items}
            message = "Subscriptions run by this clock; terminate them first."
            raise Conflict(message, code="TEST_CLOCK_IN_USE", details={"blockers": [blocker]})
        clock.deleted_at = clock.updated_at = now
        clock.save(update_fields=["deleted_at", "updated_at"])
    return clock


def _lock(merchant_id: uuid.UUID, clock_id: uuid.UUID) -> TestClock:
    query = TestClock.objects.select_for_update().filter(merchant_id=merchant_id, id=clock_id, deleted_at=None)
    clock = query.first()
    if clock is None:
        raise NotFound("There is no such test clock.")
    return clock


def _customers(clock: TestClock) -> list[tuple[int, uuid.UUID]]:
    rows = Book.objects.filter(test_clock_id=clock.id, merchant_id=clock.merchant_id).order_by("bucket", "customer_id")
    return list(rows.values_list("bucket", "customer_id"))


def _running(bucket: int, customer_id: uuid.UUID) -> QuerySet[Subscription]:
    ended = Subscription.Status.TERMINATED
    return Subscription.objects.filter(bucket=bucket, customer_id=customer_id).exclude(status=ended)


# --- who goes by it --------------------------------------------------------------------------------------


def subscribe(
    *,
    merchant_id: uuid.UUID,
    customer: uuid.UUID | NewCustomer,
    clock_id: uuid.UUID | None,
    new: NewSubscription,
    now: datetime,
) -> Agreement:
    """Subscribe a customer, who goes by a clock from then on where one is named.

    Raises:
        NotFound: the merchant has no such clock, or what ``subscriptions.create`` does not find.
        Conflict: the customer goes by another clock, or by the present; the clock has as many customers as it may have,
            or is being moved; or what ``subscriptions.create`` says.
        ValidationFailed, Unprocessable: see ``subscriptions.create``.
    """
    if clock_id is None:
        return subscriptions.create(merchant_id=merchant_id, customer=customer, new=new, now=now)
    with transaction.atomic():
        clock = _lock(merchant_id, clock_id)
        if clock.advancing_to is not None:
            raise Conflict("The clock is being moved; try again.", code="TEST_CLOCK_ADVANCING")
        if isinstance(customer, NewCustomer):
            who, _ = registry.enter(merchant_id=merchant_id, new=customer, now=now)
        else:
            who = registry.find(merchant_id=merchant_id, customer_id=customer)
        book, _ = books.lock(who.bucket, who.id)
        if book.test_clock_id != clock.id:
            _attach(book, clock)
        return subscriptions.create(merchant_id=merchant_id, customer=who.id, new=new, now=clock.current_time)


def _attach(book: Book, clock: TestClock) -> None:
    has_money = Wallet.objects.filter(bucket=book.bucket, customer_id=book.customer_id).exists()
    if book.test_clock_id is not None or has_money:
        message = (
            "A customer goes by a test clock from the first subscription on, and by one alone; enter a new customer."
        )
        raise Conflict(message, code="TEST_CLOCK_TOO_LATE")
    if len(_customers(clock)) >= CUSTOMERS_MAX:
        message = f"A test clock may have at most {CUSTOMERS_MAX} customers; make another one."
        raise Conflict(message, code="TOO_MANY_CUSTOMERS")
    book.test_clock, book.test_clock_id = clock.current_time, clock.id
    book.save(update_fields=["test_clock", "test_clock_id"])


# --- moving it -------------------------------------------------------------------------------------------


def advance(
    *, merchant_id: uuid.UUID, clock_id: uuid.UUID, to: datetime | None = None, by: str | None = None, now: datetime
) -> TestClock:
    """Move a clock forward to a time, or by an ISO 8601 duration, and have happen what falls due until then.

    One that was cut off may be begun again, and goes on where it was.

    Raises:
        NotFound: there is no such clock.
        ValidationFailed: it is not forward, or more than a year.
        Conflict: somebody else is moving it.
        Unprocessable: more falls due than can be done at once; what was done is kept, and a smaller step goes on.
    """
    with transaction.atomic():
        clock = _lock(merchant_id, clock_id)
        if clock.advancing_to is not None and now - clock.updated_at < STALE:
            raise Conflict("The clock is being moved; try again.", code="TEST_CLOCK_ADVANCING")
        target = to if to is not None else _later(clock.current_time, by or "")
        if not timedelta(0) < target - clock.current_time <= STEP_MAX:
            message = f"A test clock moves forward, by at most {STEP_MAX.days} days at once."
            raise ValidationFailed(
                message, field="advanceBy" if to is None else "currentTime", code="TIME_OUT_OF_RANGE"
            )
        clock.advancing_to, clock.updated_at = target, now
        clock.save(update_fields=["advancing_to", "updated_at"])
    mine = TestClock.objects.filter(merchant_id=merchant_id, id=clock_id, advancing_to=target)
    arrived: dict[str, datetime] = {}
    try:
        for bucket, customer_id in _customers(clock):
            rollouts.catch_up_all(bucket, customer_id)
            _pass_time(bucket, customer_id, target)
            if not mine.update(updated_at=Now()):  # it took so long that somebody else has begun anew
                raise Conflict("Somebody else is moving the clock.", code="TEST_CLOCK_ADVANCING")
        arrived = {"current_time": target}
    finally:
        mine.update(advancing_to=None, **arrived)
    clock.refresh_from_db()
    return clock


def _later(at: datetime, duration: str) -> datetime:
    match = _read(duration)
    if match is None:
        message = "advanceBy must be an ISO 8601 duration like P1M, P7D or PT2H."
        raise ValidationFailed(message, field="advanceBy", code="INVALID_DURATION")
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if count := years * 12 + months:
        at = periods.period_of(at, Cadence(count, 0), "UTC", at).end
    return at + timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _pass_time(bucket: int, customer_id: uuid.UUID, target: datetime) -> None:
    """Let a customer's time pass, from one thing that falls due to the next."""
    for _ in range(EVENTS_MAX):
        at = Book.objects.get(pk=(bucket, customer_id)).test_clock or target
        dues = [due for look, _ in _followers if (due := look(bucket, customer_id, at)) is not None and due <= target]
        if not dues:
            _set(bucket, customer_id, target)
            return
        _set(bucket, customer_id, max(min(dues), at))
        for _, act in _followers:
            act(bucket, customer_id)
    message = f"More than {EVENTS_MAX} things fall due until then; move the clock in smaller steps."
    raise Unprocessable(message, code="TOO_MUCH_FALLS_DUE")


def _set(bucket: int, customer_id: uuid.UUID, at: datetime) -> None:
    with transaction.atomic():
        book, _ = books.lock(bucket, customer_id)
        if book.test_clock is None or at > book.test_clock:
            book.test_clock = at
            book.save(update_fields=["test_clock"])


def register_billing() -> None:
    """Have subscriptions, drafts, unpaid invoices and credit looked after as a customer's time passes."""
    register(_next_of_subscriptions, _bill)
    register(_next_of_drafts, _issue)
    register(_next_of_dunning, _collect)
    register(_next_of_credit, _expire)


def _next_of_subscriptions(bucket: int, customer_id: uuid.UUID, now: datetime) -> datetime | None:
    rows = _looked_after(bucket, customer_id).values_list(
        "billing_due_at", "ending_at", "trial_ends_at", "payment_expires_at"
    )
    return min((due for row in rows for due in row if due is not None and due > now), default=None)


def _looked_after(bucket: int, customer_id: uuid.UUID) -> QuerySet[Subscription]:
    """Select those that have not ended, or have an additional invoice."""
    mine = Subscription.objects.filter(bucket=bucket, customer_id=customer_id)
    return mine.exclude(status=Subscription.Status.TERMINATED, billing_due_at=None)


def _bill(bucket: int, customer_id: uuid.UUID) -> None:
    for subscription in _looked_after(bucket, customer_id):
        if not subscriptions.end_if_due(merchant_id=subscription.merchant_id, subscription_id=subscription.id):
            invoicing.bill(bucket, customer_id, subscription.id)


def _next_of_drafts(bucket: int, customer_id: uuid.UUID, now: datetime) -> datetime | None:
    rows = _drafts(bucket, customer_id).filter(approve_at__gt=now)
    return rows.order_by("approve_at").values_list("approve_at", flat=True).first()


def _issue(bucket: int, customer_id: uuid.UUID) -> None:
    for invoice_id in list(_drafts(bucket, customer_id).order_by("approve_at").values_list("id", flat=True)):
        drafts.issue_one(bucket, customer_id, invoice_id)


def _drafts(bucket: int, customer_id: uuid.UUID) -> QuerySet[Invoice]:
    """Select what is issued by itself once its time has come."""
    return Invoice.objects.filter(
        bucket=bucket, customer_id=customer_id, status=Invoice.Status.DRAFT, approve_at__isnull=False
    )


def _next_of_dunning(bucket: int, customer_id: uuid.UUID, now: datetime) -> datetime | None:
    rows = Dunning.objects.filter(bucket=bucket, customer_id=customer_id, next_at__gt=now)
    return rows.order_by("next_at").values_list("next_at", flat=True).first()


def _collect(bucket: int, customer_id: uuid.UUID) -> None:
    rows = Dunning.objects.filter(bucket=bucket, customer_id=customer_id, next_at__isnull=False)
    for invoice_id in list(rows.order_by("next_at").values_list("invoice_id", flat=True)):
        collecting.collect(bucket, invoice_id)


def _next_of_credit(bucket: int, customer_id: uuid.UUID, now: datetime) -> datetime | None:
    rows = CreditLot.objects.filter(bucket=bucket, customer_id=customer_id, remaining__gt=0, expires_at__gt=now)
    return rows.order_by("expires_at").values_list("expires_at", flat=True).first()


def _expire(bucket: int, customer_id: uuid.UUID) -> None:
    rows = CreditLot.objects.filter(bucket=bucket, customer_id=customer_id, remaining__gt=0, expires_at__isnull=False)
    for wallet_id in set(rows.values_list("wallet_id", flat=True)):
        lapses.expire_wallet(bucket, customer_id, wallet_id)

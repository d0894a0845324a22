"""Payouts: a merchant is paid their balance, or a part of it, once.

The ledger's entries are in the merchant's own book, whose lock lets one payout at a time look at the balance. The
built-in test provider pays by itself after a few seconds, or fails where the amount ends in 13 of its smallest units;
in live mode payouts are carried out past us, and whoever does it says how they ended.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Max, QuerySet

from billing import journal, ledger, merchant_balances, money
from billing.models import Payout, PayoutSchedule
from merchants import audit, idempotency, ids, outbox
from merchants.audit import SYSTEM, Actor
from merchants.errors import Conflict, IdempotencyConflict, NotFound, ServiceError, Unprocessable, ValidationFailed
from merchants.models import Merchant, Mode
from metering import periods
from metering.periods import Cadence

logger = logging.getLogger(__name__)

TEST, MANUAL = "test", "manual"
TAKES = timedelta(seconds=5)  # the test provider's bank
FAILS_ON = 13
HUNDRED = 100
DUE_AT_ONCE = 100

State = Payout.State
_INTERVALS = {"day": Cadence(0, 1), "week": Cadence(0, 7), "month": Cadence(1, 0)}


class ExceedsBalance(Unprocessable):
    """So much is not there to be paid out."""

    code = "EXCEEDS_BALANCE"


class PayoutEnded(Conflict):
    """The payout has come to another end."""

    code = "PAYOUT_NOT_PENDING"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayout:
    """A payout as it is asked for: nanos, or None for all there is."""

    currency: str
    amount: int | None = None
    is_scheduled: bool = False


def create(*, merchant_id: uuid.UUID, new: NewPayout, key: str | None = None, actor: Actor) -> tuple[Payout, bool]:
    """Have a merchant's balance, or a part of it, paid out.

    Args:
        key: under the same key the first payout is returned, and nothing is paid again.

    Returns:
        The payout, and whether it was made now.

    Raises:
        ExceedsBalance: so much is not there.
        ValidationFailed: the amount is none that can be paid.
        IdempotencyConflict: the key was used for another payout.
    """
    fingerprint = idempotency.fingerprint(new.currency, new.amount)
    with transaction.atomic():
        book_id, now = merchant_balances.lock_own_book(merchant_id)
        first = None if key is None else Payout.objects.filter(merchant_id=merchant_id, idempotency_key=key).first()
        if first is not None:
            if bytes(first.fingerprint or b"") != fingerprint:
                raise IdempotencyConflict()
            return first, False
        amount = _amount(merchant_id, new)
        is_test = Merchant.objects.filter(id=merchant_id, mode=Mode.TEST).exists()
        last = Payout.objects.filter(merchant_id=merchant_id).aggregate(last=Max("number"))["last"] or 0
        made = Payout.objects.create(
            merchant_id=merchant_id,
            id=ids.new(ids.bucket_of(merchant_id)),
            number=last + 1,
            amount=amount,
            currency=new.currency,
            state=State.PENDING,
            provider=TEST if is_test else MANUAL,
            is_scheduled=new.is_scheduled,
            idempotency_key=key,
            fingerprint=None if key is None else fingerprint,
            created_at=now,
            arrives_at=now + TAKES if is_test else None,
        )
        ledger.post([journal.payout_moved("begun", payout=made, book_id=book_id, now=now)])
        _log(made, actor, "payout.created", now)
    return made, True


def _amount(merchant_id: uuid.UUID, new: NewPayout) -> int:
    unit = money.minor_unit(new.currency)
    there = max(0, merchant_balances.available(merchant_id, new.currency))
    there -= there % unit
    amount = there if new.amount is None else new.amount
    if new.amount is not None and (amount <= 0 or amount % unit):
        message = f"amount must be at least {money.from_nanos(unit, 0)} {new.currency}, and a multiple of it."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    if amount > there or not amount:
        raise ExceedsBalance(
            f"At most {money.from_nanos(there)} {new.currency} can be paid out.",
            details={"available": money.from_nanos(there), "currency": new.currency},
        )
    return amount


# --- how it ends -----------------------------------------------------------------------------------------


def end(
    *,
    merchant_id: uuid.UUID,
    payout_id: uuid.UUID,
    is_paid: bool,
    reference: str = "",
    failure: str = "",
    actor: Actor,
) -> Payout:
    """Note how a payout ended that is carried out past us; saying it again changes nothing.

    Raises:
        NotFound: the merchant has no such payout.
        PayoutEnded: it has ended the other way, or the test provider carries it out.
    """
    if find(merchant_id=merchant_id, payout_id=payout_id).provider != MANUAL:
        raise PayoutEnded("The test provider carries this payout out by itself.")
    return _end(merchant_id, payout_id, State.PAID if is_paid else State.FAILED, reference, failure, actor)


def carry_out_due(*, now: datetime, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Let the test provider's payouts arrive; return how many did."""
    due = Payout.objects.filter(state=State.PENDING, arrives_at__lte=now).order_by("arrives_at")
    done = 0
    for made in list(due[:DUE_AT_ONCE]):
        fails = money.to_minor(made.amount, made.currency)[0] % HUNDRED == FAILS_ON
        failure = "The bank account does not exist." if fails else ""
        reference = "" if fails else f"test-{made.number:06d}"
        state = State.FAILED if fails else State.PAID
        _end(made.merchant_id, made.id, state, reference, failure, SYSTEM)
        done += 1
        if is_time_up():
            break
    return done


def _end(
    merchant_id: uuid.UUID, payout_id: uuid.UUID, state: State, reference: str, failure: str, actor: Actor
) -> Payout:
    with transaction.atomic():
        book_id, now = merchant_balances.lock_own_book(merchant_id)
        made = find(merchant_id=merchant_id, payout_id=payout_id)
        if made.state == state:
            return made
        if made.state != State.PENDING:
            raise PayoutEnded(f"This payout is {made.state}.")
        made.state, made.reference, made.failure, made.resolved_at = state, reference, failure, now
        made.save(update_fields=["state", "reference", "failure", "resolved_at"])
        what = "arrived" if state == State.PAID else "failed"
        ledger.post([journal.payout_moved(what, payout=made, book_id=book_id, now=now)])
        _log(made, actor, f"payout.{state}", now)
        if state == State.PAID:
            _tell(made, now)
    return made


def _tell(made: Payout, now: datetime) -> None:
    payout_id = ids.text("po", made.id)
    data = {
        "id": payout_id,
        "object": "payout",
        "merchantId": ids.text("org", made.merchant_id),
        "amount": money.from_nanos(made.amount),
        "currency": made.currency,
        "status": "paid",
        "paidAt": outbox.instant(now),
    }
    outbox.record(merchant_id=made.merchant_id, type="payout.paid.v0", data=data, object_id=payout_id, now=now)


# --- by itself -------------------------------------------------------------------------------------------


def schedule(
    *, merchant_id: uuid.UUID, currency: str, interval: str | None, minimum: int = 0, actor: Actor, now: datetime
) -> PayoutSchedule | None:
    """Have a balance paid out at the end of each day, week or month of the merchant's zone; None: only when asked."""
    mine = PayoutSchedule.objects.filter(merchant_id=merchant_id, currency=currency)
    with transaction.atomic():
        mine.delete()
        made = None
        if interval is not None:
            made = PayoutSchedule.objects.create(
                merchant_id=merchant_id,
                currency=currency,
                interval=interval,
                minimum=minimum,
                next_at=_next(merchant_id, interval, now),
            )
        changes = {"currency": currency, "interval": interval, "minimum": money.from_nanos(minimum)}
        audit.append(merchant_id=merchant_id, actor=actor, action="payouts.scheduled", changes=changes, now=now)
    return made


def schedules(merchant_id: uuid.UUID) -> QuerySet[PayoutSchedule]:
    """Return when a merchant is paid by itself, by currency."""
    return PayoutSchedule.objects.filter(merchant_id=merchant_id).order_by("currency")


def run_schedules(*, now: datetime) -> int:
    """Pay out what is scheduled; return how many payouts were made.

    One that cannot be made keeps nobody else's back: it is logged, and its schedule moves on to the next period.
    """
    made = 0
    for due in list(PayoutSchedule.objects.filter(next_at__lte=now).order_by("next_at")[:DUE_AT_ONCE]):
        try:
            made += _pay_scheduled(due)
        except ServiceError:
            logger.exception("A scheduled payout in %s of %s was not made", due.currency, due.merchant_id)
        PayoutSchedule.objects.filter(pk=due.pk, next_at=due.next_at).update(
            next_at=_next(due.merchant_id, due.interval, now)
        )
    return made


def _pay_scheduled(due: PayoutSchedule) -> bool:
    """Pay out what a schedule says, if it is worth it and was not; tell whether a payout was made."""
    least = max(due.minimum, money.minor_unit(due.currency))
    if merchant_balances.available(due.merchant_id, due.currency) < least:
        return False
    # Its key is its time: whoever dies before the schedule is moved on pays nothing twice. It has a space in it, which
    # no key of a client's has.
    key = f"schedule {due.currency} {due.next_at.astimezone(UTC).isoformat()}"
    new = NewPayout(currency=due.currency, is_scheduled=True)
    return create(merchant_id=due.merchant_id, new=new, key=key, actor=SYSTEM)[1]


def _next(merchant_id: uuid.UUID, interval: str, now: datetime) -> datetime:
    zone = Merchant.objects.select_related("organization").get(id=merchant_id).organization.timezone
    day = 3 if interval == "week" else 1  # 3 January 2000 was a Monday
    anchor = datetime(2000, 1, day, tzinfo=ZoneInfo(zone))
    return periods.period_of(anchor, _INTERVALS[interval], zone, now).end


# --- finding ---------------------------------------------------------------------------------------------


def search(*, merchant_id: uuid.UUID) -> QuerySet[Payout]:
    """Return a merchant's payouts, newest first."""
    return Payout.objects.filter(merchant_id=merchant_id).order_by("-created_at", "-id")


def find(*, merchant_id: uuid.UUID, payout_id: uuid.UUID) -> Payout:
    """Return a payout of a merchant's; raises NotFound."""
    made = Payout.objects.filter(merchant_id=merchant_id, id=payout_id).first()
    if made is None:
        raise NotFound()
    return made


def _log(made: Payout, actor: Actor, action: str, now: datetime) -> None:
    audit.append(
        merchant_id=made.merchant_id,
        actor=actor,
        action=action,
        target=ids.text("po", made.id),
        changes={"amount": money.from_nanos(made.amount), "currency": made.currency},
        now=now,
    )

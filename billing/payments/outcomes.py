"""The only place where a payment moves money, whoever brings the news, however often and in whatever order.

News are applied under the lock of the customer's book. They only ever move an attempt forward: what it is already past
changes nothing. Money that came in is booked even where the attempt was given up before: it is there.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from billing.models import AttemptStep, PaymentAttempt
from billing.payments import methods, provider_lines, providers, purposes, receipts, sessions
from billing.payments.provider import Outcome, State
from customers import books
from merchants import ids

FIRST_CHECK = timedelta(seconds=10)
CHECK_AFTER_MAX = timedelta(hours=1)
DOUBLINGS_MAX = 12

_STATE = PaymentAttempt.State
_RANK: Mapping[str, int] = {
    _STATE.CREATED: 0,
    _STATE.SUBMITTING: 1,
    _STATE.UNKNOWN: 2,
    _STATE.REQUIRES_ACTION: 3,
    _STATE.PROCESSING: 4,
    _STATE.DECLINED: 5,
    _STATE.CANCELLED: 5,
    _STATE.SUCCEEDED: 6,
}
FINAL = frozenset({_STATE.DECLINED, _STATE.CANCELLED, _STATE.SUCCEEDED})


class News(StrEnum):
    """Who brings the news of a payment."""

    CALLER = "caller"
    ANSWER = "answer"
    WEBHOOK = "webhook"
    POLL = "poll"
    RECONCILE = "reconcile"


class WrongAmount(Exception):
    """A provider took another amount than it was asked for; nothing is booked, and somebody has to look."""


def apply(attempt_id: uuid.UUID, outcome: Outcome, *, news: str = News.ANSWER) -> PaymentAttempt:
    """Move an attempt on to what its provider says of it, and do what that means for what it pays for.

    Returns:
        The attempt as it is then.

    Raises:
        WrongAmount: the provider took another amount.
        PaymentAttempt.DoesNotExist: there is no such attempt.
    """
    bucket = ids.bucket_of(attempt_id)
    owner = PaymentAttempt.objects.values_list("customer_id", flat=True).get(bucket=bucket, id=attempt_id)
    with transaction.atomic():
        _, now = books.lock(bucket, owner)
        attempt = PaymentAttempt.objects.select_for_update().get(bucket=bucket, id=attempt_id)
        _check_amount(attempt, outcome)
        if _RANK[outcome.state] > _RANK[attempt.state]:
            _advance(attempt, outcome, news, now)
        elif attempt.state not in FINAL:
            _look_again(attempt)
        if attempt.state == _STATE.SUCCEEDED:
            provider_lines.book(attempt, attempt, outcome.lines, now)
    return attempt


def give_up_unasked(attempt_id: uuid.UUID) -> PaymentAttempt:
    """Give an attempt up that nobody has handed to a provider yet; any other stays as it is. Returns it.

    Raises:
        PaymentAttempt.DoesNotExist: there is no such attempt.
    """
    bucket = ids.bucket_of(attempt_id)
    owner = PaymentAttempt.objects.values_list("customer_id", flat=True).get(bucket=bucket, id=attempt_id)
    with transaction.atomic():
        _, now = books.lock(bucket, owner)
        # Whoever takes it in hand to submit it updates this row: one of us comes first.
        attempt = PaymentAttempt.objects.select_for_update().get(bucket=bucket, id=attempt_id)
        if attempt.state == _STATE.CREATED:
            _advance(attempt, Outcome(state=State.CANCELLED), News.CALLER, now)
    return attempt


def note(attempt: PaymentAttempt, news: str, now: datetime, text: str = "") -> None:
    """Write down what an attempt has become, and who said so."""
    place = {"bucket": attempt.bucket, "attempt_id": attempt.id}
    AttemptStep.objects.create(
        **place,
        customer_id=attempt.customer_id,
        number=AttemptStep.objects.filter(**place).count() + 1,
        state=attempt.state,
        source=news,
        note=text,
        created_at=now,
    )


def check_after(checks: int) -> timedelta:
    """Tell how long to wait before the next look at something that was looked at so often."""
    return min(FIRST_CHECK * (1 << min(checks, DOUBLINGS_MAX)), CHECK_AFTER_MAX)


def _check_amount(attempt: PaymentAttempt, outcome: Outcome) -> None:
    if outcome.state != State.SUCCEEDED or outcome.amount is None:
        return
    asked = providers.minor_units(attempt.amount, attempt.currency, attempt.provider)
    if (outcome.amount, outcome.currency) != (asked, attempt.currency):
        raise WrongAmount(
            f"{ids.text('att', attempt.id)}: asked for {asked} {attempt.currency}, "
            f"the provider says {outcome.amount} {outcome.currency}"
        )


def _advance(attempt: PaymentAttempt, outcome: Outcome, news: str, now: datetime) -> None:
    attempt.state = outcome.state.value
    attempt.provider_ref = outcome.ref or attempt.provider_ref
    attempt.action_url = outcome.url
    attempt.failure_code, attempt.failure_message = outcome.code[:80], outcome.message[:500]
    is_final = attempt.state in FINAL
    attempt.resolved_at = now if is_final else None
    attempt.checks = 0
    attempt.save(
        update_fields=[
            "state",
            "provider_ref",
            "action_url",
            "failure_code",
            "failure_message",
            "resolved_at",
            "checks",
        ]
    )
    _place(attempt).update(next_check_at=None if is_final else Now() + FIRST_CHECK)
    attempt.next_check_at = None
    note(attempt, news, now, outcome.message[:500] or outcome.code)
    if outcome.state == State.SUCCEEDED:
        if outcome.card is not None and (attempt.save_card or attempt.purpose == PaymentAttempt.Purpose.SETUP):
            methods.remember(attempt, outcome.card, now)
        purposes.of(attempt.purpose).succeeded(attempt, now)
        receipts.send(attempt, now)
    elif is_final:
        purposes.of(attempt.purpose).failed(attempt, now)
    if is_final:
        sessions.attempt_ended(attempt, now)


def _look_again(attempt: PaymentAttempt) -> None:
    """Wait twice as long as before the last look."""
    _place(attempt).update(next_check_at=Now() + check_after(attempt.checks), checks=F("checks") + 1)


def _place(attempt: PaymentAttempt) -> QuerySet[PaymentAttempt]:
    return PaymentAttempt.objects.filter(bucket=attempt.bucket, id=attempt.id)

"""Looking after payments and refunds that have not come to an end: nobody else may ever bring news of them.

What the provider has not answered is asked again under the same key, for as long as it knows keys; after that it is
looked up by the id we gave it. It is never asked for under a new key.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from django.db.models.functions import Now

from billing.models import PaymentAttempt, PaymentRefund
from billing.payments import attempts, claims, outcomes, refunds
from billing.payments.outcomes import News
from billing.payments.provider import Outcome, ProviderDown, ProviderError, State
from merchants import ids

AT_ONCE = 50

_Asked = TypeVar("_Asked", PaymentAttempt, PaymentRefund)

NOT_THERE = Outcome(state=State.DECLINED, code="never_charged", message="The provider has no such payment.")


def look_after_due(*, is_time_up: Callable[[], bool]) -> int:
    """Look after what is due, what has waited longest first; one that cannot be looked after does not stop the others.

    Returns:
        How many were looked after.

    Raises:
        ExceptionGroup: what kept some from it.
    """
    done, errors = 0, []
    looks = [partial(look_after, each) for each in _due(PaymentAttempt)]
    looks += [partial(look_after_refund, each) for each in _due(PaymentRefund)]
    for look in looks:
        if is_time_up():
            break
        try:
            done += look()
        except Exception as error:
            error.add_note(f"while looking after {look.args[0].id}")
            errors.append(error)
    if errors:
        raise ExceptionGroup("payments could not be looked after", errors)
    return done


def look_after(attempt: PaymentAttempt) -> bool:
    """Find out what has become of an attempt, and apply it; tell whether it was ours to look after."""
    place = PaymentAttempt.objects.filter(bucket=attempt.bucket, id=attempt.id)
    if not attempt.provider_ref and not claims.is_key_forgotten(place):
        attempts.submit(attempt, news=News.POLL)
        return True
    if not claims.take_due(place):
        return False
    try:
        outcome = _ask(attempt)
    except ProviderDown as silent:
        attempts.note_silence(attempt, silent)
        outcome = Outcome(state=State.UNKNOWN, message=str(silent))
    outcomes.apply(attempt.id, outcome, news=News.POLL)
    return True


def look_after_refund(made: PaymentRefund) -> bool:
    """Find out what has become of a refund, and apply it; tell whether it was ours to look after."""
    place = PaymentRefund.objects.filter(bucket=made.bucket, id=made.id)
    if not made.provider_ref and not claims.is_key_forgotten(place):
        refunds.submit(made)
        return True
    if not claims.take_due(place):
        return False
    attempt = PaymentAttempt.objects.get(bucket=made.bucket, id=made.attempt_id)
    attempts.ensure_no_transaction()
    try:
        provider = attempts.open_provider(attempt)
        if made.provider_ref:
            outcome = provider.fetch_refund(made.provider_ref)
        else:
            outcome = next(iter(provider.find_refund(refunds.order_of(made, attempt))), NOT_THERE)
    except (ProviderDown, ProviderError) as silent:
        attempts.note_silence(attempt, silent)
        outcome = Outcome(state=State.UNKNOWN, message=str(silent))
    refunds.apply(made.id, outcome)
    return True


def _ask(attempt: PaymentAttempt) -> Outcome:
    attempts.ensure_no_transaction()
    try:
        provider = attempts.open_provider(attempt)
        if attempt.provider_ref:
            return provider.fetch(attempt.provider_ref)
        found = provider.find(attempt.id, attempt.submitted_at or attempt.created_at)
    except ProviderError as refused:  # of a question: it says nothing about the payment
        return Outcome(state=State.UNKNOWN, message=str(refused))
    paid = [each for each in found if each.state == State.SUCCEEDED]
    if len(paid) > 1:
        raise RuntimeError(f"{ids.text('att', attempt.id)} was charged {len(paid)} times")
    return next(iter(paid + found), NOT_THERE)


def _due(model: type[_Asked]) -> list[_Asked]:
    return list(model._default_manager.filter(next_check_at__lte=Now()).order_by("next_check_at")[:AT_ONCE])

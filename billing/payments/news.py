"""What providers tell us: stored once by its event id, and only then acted upon.

A message is a hint that something happened to something. What it is by now is asked of the provider, so that late,
doubled and shuffled messages all lead to the same place.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from billing.models import PaymentAttempt, PaymentRefund, ProviderEvent
from billing.payments import accounts, attempts, claims, disputes, foreign_refunds, outcomes, providers, refunds
from billing.payments.outcomes import News
from billing.payments.provider import ProviderSilent, Subject
from merchants import ids

AT_ONCE = 50
TRIES_MAX = 40
BODY_BYTES_MAX = 256 * 1024


def receive(*, merchant_id: uuid.UUID, provider: str, raw: bytes, headers: Mapping[str, str], now: datetime) -> bool:
    """Check that a message is the provider's, and store it; tell whether it is new.

    Raises:
        Exception: of any kind, where the message is not what a provider sends.
    """
    account_id = accounts.connected(merchant_id, provider)
    hint = providers.open_for(merchant_id, provider, account_id).read_webhook(raw, headers, now)
    stored = ProviderEvent(
        merchant_id=merchant_id,
        provider=provider,
        event_id=hint.event_id,
        account_id=account_id,
        type=hint.type[:80],
        subject=hint.subject,
        ref=hint.ref,
        body=raw.decode(),
        received_at=now,
        next_try_at=None if hint.subject == Subject.OTHER else now,
    )
    place = {"merchant_id": merchant_id, "provider": provider, "event_id": hint.event_id}
    is_new = not ProviderEvent.objects.filter(**place).exists()
    ProviderEvent.objects.bulk_create([stored], ignore_conflicts=True)
    return is_new


def apply_due(*, is_time_up: Callable[[], bool]) -> int:
    """Act upon stored messages, the oldest first; one that cannot be does not stop the others, and is tried again.

    After ``TRIES_MAX`` tries it is given up, and keeps its error.

    Returns:
        How many were acted upon.

    Raises:
        ExceptionGroup: what kept some from it.
    """
    done, errors = 0, []
    for event in _due():
        if is_time_up():
            break
        if not _claim(event):
            continue
        try:
            _apply(event)
        except Exception as error:
            _postpone(event, error)
            error.add_note(f"while applying {event.type} {event.event_id}")
            errors.append(error)
        else:
            _place(event).update(next_try_at=None, error="")
            done += 1
    if errors:
        raise ExceptionGroup("messages of providers could not be applied", errors)
    return done


def _apply(event: ProviderEvent) -> None:
    provider = providers.open_for(event.merchant_id, event.provider, event.account_id)
    attempts.ensure_no_transaction()
    if event.subject == Subject.DISPUTE:
        facts = provider.fetch_dispute(event.ref)
        if facts is not None:
            disputes.apply(merchant_id=event.merchant_id, provider=event.provider, facts=facts)
    elif event.subject == Subject.REFUND:
        outcome = provider.fetch_refund(event.ref)
        if outcome.attempt_id is None:
            foreign_refunds.apply(merchant_id=event.merchant_id, provider=event.provider, outcome=outcome)
        for made in _mine(PaymentRefund, event, outcome.attempt_id):
            refunds.apply(made, outcome)
    else:
        outcome = provider.fetch(event.ref)
        for attempt_id in _mine(PaymentAttempt, event, outcome.attempt_id):
            outcomes.apply(attempt_id, outcome, news=News.WEBHOOK)


def _mine(
    model: type[PaymentAttempt] | type[PaymentRefund], event: ProviderEvent, owner_id: uuid.UUID | None
) -> list[uuid.UUID]:
    """Find which of the merchant's rows a message is about: the one whose id the provider was given, or none."""
    if owner_id is None:
        return []
    mine = model._default_manager.filter(bucket=ids.bucket_of(owner_id), id=owner_id, merchant_id=event.merchant_id)
    return list(mine.values_list("id", flat=True))


def _due() -> list[ProviderEvent]:
    due = ProviderEvent.objects.filter(next_try_at__lte=Now())
    return list(due.order_by("next_try_at", "received_at")[:AT_ONCE])


def _claim(event: ProviderEvent) -> bool:
    with transaction.atomic(durable=True):
        mine = _place(event).filter(next_try_at__lte=Now())
        return bool(mine.update(next_try_at=Now() + claims.LEASE, tries=F("tries") + 1))


def _postpone(event: ProviderEvent, error: Exception) -> None:
    """Keep why a message could not be acted upon, and try it again later, but not for ever.

    Where the provider lets whoever asks it wait, what else came from there waits too, and not those behind it.
    """
    if isinstance(error, ProviderSilent):
        of_account = ProviderEvent.objects.filter(
            merchant_id=event.merchant_id, provider=event.provider, account_id=event.account_id
        )
        of_account.filter(next_try_at__lte=Now()).update(next_try_at=Now() + claims.REST)
    is_over = event.tries + 1 >= TRIES_MAX  # it was read before this try was counted
    next_try = None if is_over else Now() + outcomes.check_after(event.tries)
    _place(event).update(next_try_at=next_try, error=repr(error)[:500])


def _place(event: ProviderEvent) -> QuerySet[ProviderEvent]:
    return ProviderEvent.objects.filter(merchant_id=event.merchant_id, provider=event.provider, event_id=event.event_id)

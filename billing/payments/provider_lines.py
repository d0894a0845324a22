"""What providers take for payments and disputes, and what they settle in another currency, booked line by line.

A line comes with the news of what it is about, or some time after it: whoever asks the provider brings those that there
are by then.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from billing import journal, ledger
from billing.models import PaymentAttempt, PaymentDispute, PaymentRefund, ProviderLine
from billing.payments import providers
from billing.payments.provider import Line
from merchants import ids

About = ProviderLine.About


class Fee(NamedTuple):
    """What a provider took for something, all in all, in nanos."""

    amount: int
    currency: str


def book(
    attempt: PaymentAttempt,
    about: PaymentAttempt | PaymentRefund | PaymentDispute,
    lines: Sequence[Line],
    now: datetime,
) -> None:
    """Book those lines that are not booked yet; the caller holds the lock of the book."""
    of_attempt = {"bucket": attempt.bucket, "attempt_id": attempt.id}
    known = set(ProviderLine.objects.filter(**of_attempt).values_list("ref", flat=True)) if lines else set()
    for line in lines:
        if line.ref in known:
            continue
        made = ProviderLine.objects.create(
            **of_attempt,
            ref=line.ref,
            id=ids.derived(attempt.bucket, "provider line", attempt.id, line.ref),
            customer_id=attempt.customer_id,
            about=_kind(about),
            about_id=about.id,
            amount=providers.nanos(line.amount, line.currency, attempt.provider),
            fee=providers.nanos(line.fee, line.currency, attempt.provider),
            currency=line.currency,
            charged=providers.nanos(line.charged, attempt.currency, attempt.provider),
            charged_currency=attempt.currency,
            exchange_rate=Decimal(line.exchange_rate) if line.exchange_rate else None,
            created_at=now,
        )
        ledger.post(journal.provider_line(line=made, now=now))


def _kind(about: PaymentAttempt | PaymentRefund | PaymentDispute) -> About:
    if isinstance(about, PaymentAttempt):
        return About.PAYMENT
    return About.REFUND if isinstance(about, PaymentRefund) else About.DISPUTE


def of_attempt(attempt: PaymentAttempt) -> QuerySet[ProviderLine]:
    """Return the lines about a payment, its refunds and its disputes, the oldest first."""
    return ProviderLine.objects.filter(bucket=attempt.bucket, attempt_id=attempt.id).order_by("created_at", "ref")


def fee_of(bucket: int, attempt_id: UUID, about_id: UUID) -> Fee | None:
    """Return what a provider took for something; None where it has not said."""
    lines = list(ProviderLine.objects.filter(bucket=bucket, attempt_id=attempt_id, about_id=about_id))
    return Fee(sum(line.fee for line in lines), lines[0].currency) if lines else None

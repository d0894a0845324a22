"""Attempts: one try to get one amount paid, handed to a provider at most once in effect.

``begin`` writes the attempt down with what it is for, in the transaction of its caller; its id is the key under which
the provider knows it. ``submit`` asks the provider, in no transaction, and has ``outcomes`` apply the answer. What
becomes of an attempt whose process dies in between, or that the provider does not answer, is found out by ``poller``.
"""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from billing import money
from billing.models import AttemptStep, PaymentAttempt, PaymentMethod, PaymentRefund
from billing.payments import accounts, claims, outcomes, providers
from billing.payments.claims import Taken
from billing.payments.minor_units import CannotBeCharged
from billing.payments.outcomes import News
from billing.payments.provider import (
    Order,
    Outcome,
    Payer,
    Provider,
    ProviderDown,
    ProviderError,
    ProviderSilent,
    State,
)
from customers.models import Book, Customer
from merchants import ids
from merchants.errors import Conflict, NotFound, Unprocessable

OPEN = (
    PaymentAttempt.State.CREATED,
    PaymentAttempt.State.SUBMITTING,
    PaymentAttempt.State.UNKNOWN,
    PaymentAttempt.State.REQUIRES_ACTION,
    PaymentAttempt.State.PROCESSING,
)


class PaymentInProgress(Conflict):
    """Another payment of the same thing has not come to an end."""

    code = "PAYMENT_IN_PROGRESS"
    message = "Another payment of this is on its way; wait for it to end, or cancel it."


class CardElsewhere(Unprocessable):
    """The saved card is known to another account at the provider than the one that is connected."""

    code = "CARD_AT_OTHER_ACCOUNT"
    message = "This card was saved at another account of the payment provider; it can be charged with its keys alone."


def begin(
    *,
    bucket: int,
    customer_id: uuid.UUID,
    purpose: str,
    target_id: uuid.UUID,
    amount: int,
    currency: str,
    now: datetime,
    method: PaymentMethod | None = None,
    session: uuid.UUID | None = None,
    source: str = "",
    save_card: bool = False,
    return_url: str = "",
) -> PaymentAttempt:
    """Write down that a payment will be tried; in the caller's transaction, which holds the lock of the book.

    Args:
        purpose: one of PaymentAttempt.Purpose, registered with ``purposes``.
        target_id: what is paid for; only one attempt for it can be open.
        amount: nanos, whole minor units; 0 for purpose setup.
        method: the saved card to charge; without it and a source, the payer pays on a hosted page.
        source: a card of the built-in test provider.
        return_url: where the hosted page leads.

    Raises:
        NotFound: there is no such customer.
        PaymentInProgress: another attempt to pay for the same is open.
        Unprocessable: the merchant cannot take payments yet, or not with this card.
        ValueError: the amount is no whole number of minor units.
    """
    merchant_id = Book.objects.values_list("merchant_id", flat=True).filter(pk=(bucket, customer_id)).first()
    if merchant_id is None:
        raise NotFound()
    if amount % money.minor_unit(currency) or (amount <= 0) != (purpose == PaymentAttempt.Purpose.SETUP):
        raise ValueError(f"{amount} nanos of {currency} cannot be charged for {purpose}")
    if purpose != PaymentAttempt.Purpose.SETUP and open_for(bucket, purpose, target_id) is not None:
        raise PaymentInProgress()
    provider = method.provider if method else providers.code_for(merchant_id, source)
    account_id = accounts.connected(merchant_id, provider)
    if method is not None and method.account_id != account_id:
        raise CardElsewhere()
    attempt = PaymentAttempt.objects.create(
        bucket=bucket,
        id=ids.new(bucket),
        customer_id=customer_id,
        merchant_id=merchant_id,
        purpose=purpose,
        target_id=target_id,
        session_id=session,
        method_id=method.id if method else None,
        amount=amount,
        currency=currency,
        provider=provider,
        account_id=account_id,
        source=method.provider_ref if method else source,
        save_card=save_card,
        state=PaymentAttempt.State.CREATED,
        return_url=return_url,
        next_check_at=Now() + claims.LEASE,
        created_at=now,
    )
    outcomes.note(attempt, News.CALLER, now)
    return attempt


def open_for(bucket: int, purpose: str, target_id: uuid.UUID) -> PaymentAttempt | None:
    """Return the attempt to pay for something that has not come to an end, if there is one."""
    return PaymentAttempt.objects.filter(bucket=bucket, purpose=purpose, target_id=target_id, state__in=OPEN).first()


def submit(attempt: PaymentAttempt, *, news: str = News.ANSWER) -> PaymentAttempt:
    """Ask the provider for the payment, and apply what it answers; returns the attempt as it is then.

    Safe to call again, by anybody, at any time: an attempt that somebody has in hand or that has got further is left
    alone, and the provider knows one that it was asked for before by its key, for a day.

    Raises:
        RuntimeError: a transaction is open.
    """
    taken = claims.take(PaymentAttempt.objects.filter(bucket=attempt.bucket, id=attempt.id))
    attempt = reload(attempt)
    if taken is None:
        return attempt
    return outcomes.apply(attempt.id, _ask(attempt, taken), news=news)


def cancel(attempt: PaymentAttempt) -> PaymentAttempt:
    """Give an attempt up that waits for its payer; returns it as it is then, which may be paid.

    Raises:
        RuntimeError: a transaction is open.
    """
    attempt = outcomes.give_up_unasked(attempt.id)
    if attempt.state != PaymentAttempt.State.REQUIRES_ACTION:
        return attempt
    ensure_no_transaction()
    try:
        outcome = open_provider(attempt).cancel(attempt.provider_ref)
    except (ProviderDown, ProviderError):
        return attempt
    return outcomes.apply(attempt.id, outcome, news=News.CALLER)


def open_provider(attempt: PaymentAttempt) -> Provider:
    """Open the account at which a payment is asked for; raises ProviderError where its keys are not there."""
    return providers.open_for(attempt.merchant_id, attempt.provider, attempt.account_id)


def reload(attempt: PaymentAttempt) -> PaymentAttempt:
    """Read an attempt again."""
    return PaymentAttempt.objects.get(bucket=attempt.bucket, id=attempt.id)


def ensure_no_transaction() -> None:
    """Refuse to go on inside a transaction: it would hold its locks for as long as a provider takes to answer.

    Raises:
        RuntimeError: one is open.
    """
    with transaction.atomic(durable=True):
        pass


def find(*, merchant_id: uuid.UUID, attempt_id: uuid.UUID) -> PaymentAttempt:
    """Return an attempt of one of a merchant's customers; raises NotFound."""
    query = PaymentAttempt.objects.filter(bucket=ids.bucket_of(attempt_id), id=attempt_id, merchant_id=merchant_id)
    attempt = query.first()
    if attempt is None:
        raise NotFound()
    return attempt


def steps_of(attempt: PaymentAttempt) -> list[AttemptStep]:
    """Return what happened to an attempt, in order."""
    return list(AttemptStep.objects.filter(bucket=attempt.bucket, attempt_id=attempt.id).order_by("number"))


def note_silence(attempt: PaymentAttempt, error: ProviderDown | ProviderError) -> None:
    """Leave an account alone for a while that lets whoever asks it wait: payments at others must not wait along."""
    if not isinstance(error, ProviderSilent):
        return
    of_account = PaymentAttempt.objects.filter(
        merchant_id=attempt.merchant_id, provider=attempt.provider, account_id=attempt.account_id
    )
    refunds = PaymentRefund.objects.filter(merchant_id=attempt.merchant_id, attempt_id__in=of_account.values("id"))
    claims.let_rest(of_account, refunds)


# --- asking the provider ---------------------------------------------------------------------------------


def _ask(attempt: PaymentAttempt, taken: Taken) -> Outcome:
    try:
        return _hand_over(open_provider(attempt), attempt)
    except CannotBeCharged as refused:
        return Outcome(state=State.DECLINED, code="amount_cannot_be_charged", message=refused.message)
    except ProviderError as refused:
        # Refused now: what was asked before, and not answered, may have happened all the same.
        state = State.DECLINED if taken == Taken.FIRST else State.UNKNOWN
        return Outcome(state=state, code="provider_refused", message=str(refused)[:500])
    except ProviderDown as silent:
        note_silence(attempt, silent)
        return Outcome(state=State.UNKNOWN, message=str(silent)[:500])


def _hand_over(provider: Provider, attempt: PaymentAttempt) -> Outcome:
    order = Order(
        attempt_id=attempt.id,
        key=f"att-{attempt.id.hex}",
        amount=providers.minor_units(attempt.amount, attempt.currency, attempt.provider),
        currency=attempt.currency,
        description=f"{attempt.get_purpose_display()} {ids.text('att', attempt.id)}",
        customer_ref=_customer_ref(provider, attempt),
        method_ref=attempt.source,
        return_url=attempt.return_url or settings.PUBLIC_URL,
        save_card=attempt.save_card,
    )
    ensure_no_transaction()
    if attempt.source:
        return provider.charge(order)
    if attempt.purpose == PaymentAttempt.Purpose.SETUP:
        return provider.start_setup(order)
    return provider.start_checkout(order)


def _customer_ref(provider: Provider, attempt: PaymentAttempt) -> str:
    """Return what the provider calls the customer, whom it is told of the first time."""
    if attempt.account_id is None:
        return ""
    known = providers.customer_ref(attempt.bucket, attempt.customer_id, attempt.account_id)
    if known:
        return known
    customer = Customer.objects.filter(bucket=attempt.bucket, id=attempt.customer_id).first()
    if customer is None:  # somebody who pays once, and is nobody's customer
        return ""
    payer = Payer(customer_id=customer.id, name=customer.name, email=customer.email)
    ensure_no_transaction()
    ref = provider.ensure_customer(payer, key=f"cus-{customer.id.hex}")
    providers.remember_customer(attempt.bucket, attempt.customer_id, attempt.provider, attempt.account_id, ref)
    return ref

"""Saving a way to pay without a page: a test card, told by the merchant, and whose a consumer's cards are."""

import uuid

from django.db import transaction

from billing.models import PaymentAttempt, PaymentMethod
from billing.payments import attempts, providers
from billing.payments.provider import ProviderDown, ProviderError
from customers import books
from customers.models import Customer
from merchants import ids
from merchants.errors import NotFound, Unprocessable

CURRENCY = "USD"  # of no money: a saved card pays in any


class NotSaved(Unprocessable):
    """The card could not be saved."""

    code = "CARD_NOT_SAVED"


def save_test_card(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, token: str) -> PaymentMethod:
    """Save a card of the test provider for a customer.

    Raises:
        NotFound: the merchant has no such customer.
        Forbidden: the merchant is live.
        NotSaved: the card is declined, or wants its owner.
        RuntimeError: a transaction is open.
    """
    bucket = ids.bucket_of(customer_id)
    with transaction.atomic():
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        book, now = books.lock(bucket, customer_id)
        if book.closed_at is not None:
            raise NotFound()
        begun = attempts.begin(
            bucket=bucket,
            customer_id=customer_id,
            purpose=PaymentAttempt.Purpose.SETUP,
            target_id=customer_id,
            amount=0,
            currency=CURRENCY,
            now=now,
            source=token,
        )
    ended = attempts.submit(begun)
    if ended.state == PaymentAttempt.State.REQUIRES_ACTION:
        ended = attempts.cancel(ended)
    if ended.state != PaymentAttempt.State.SUCCEEDED:
        raise NotSaved(ended.failure_message or "The card cannot be saved while its owner is away.")
    saved = PaymentMethod.objects.filter(
        bucket=bucket, customer_id=customer_id, provider=ended.provider, provider_ref=token, deleted_at=None
    )
    return saved.get()


def forget(method: PaymentMethod) -> None:
    """Tell the provider that a card was removed; one that does not answer keeps a card nobody charges.

    Raises:
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    try:
        providers.open_for(method.merchant_id, method.provider, method.account_id).forget_card(method.provider_ref)
    except (ProviderDown, ProviderError):
        return


def customer_of_consumer(*, merchant_id: uuid.UUID, consumer_id: uuid.UUID) -> Customer:
    """Return the customer that a consumer is at a merchant; raises NotFound."""
    found = Customer.objects.filter(merchant_id=merchant_id, consumer_id=consumer_id, deleted_at=None).first()
    if found is None:
        raise NotFound()
    return found

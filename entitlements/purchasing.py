"""Grants that customers buy: asked for as a one-off payment, and granted in the transaction that books its money.

A payment that comes in when the grant cannot be made any more (the entitlement has ended, the grant would be expired)
buys nothing: the money is put into the customer's wallet, where it shows.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing import money, subscription_reads
from billing.models import Payment, PaymentSession, Wallet
from billing.payments import one_off, selling
from billing.payments.one_off import LineItem, NewPayment
from billing.payments.selling import Seller
from entitlements import granting, issuing
from entitlements.granting import NewGrant
from entitlements.models import Entitlement, GrantPurchase
from merchants import ids
from merchants.errors import IdempotencyConflict, ServiceError, Unprocessable, ValidationFailed

PRICE_MIN = money.NANOS // 2  # the contract's; what a card can be charged at the least


@dataclass(frozen=True, kw_only=True)
class NewPurchase:
    """What is to be bought, and for how much, in nanos."""

    amount: Decimal
    price: int
    key: str
    fingerprint: bytes
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    success_url: str | None = None
    failure_url: str | None = None
    payment_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase with its payment, and the session in which it is paid."""

    made: GrantPurchase
    payment: Payment
    session: PaymentSession | None


def register() -> None:
    """Have one-off payments ask and tell us about those that buy grants."""
    selling.register(Seller(is_wanted=_is_wanted, paid=_paid))


def purchase(*, merchant_id: uuid.UUID, entitlement_id: uuid.UUID, new: NewPurchase) -> Purchase:
    """Ask a customer to pay for a grant, or find what was asked for under the same key.

    Raises:
        NotFound: the merchant has no such entitlement.
        ValidationFailed: the price, a time or an address is out of bounds.
        Unprocessable: the entitlement is not metered, or it is not known in which currency its customer pays.
        Conflict: it has ended, or the key was used for another purchase.
    """
    with transaction.atomic():
        entitlement, _, now = issuing.lock_one(merchant_id, entitlement_id)
        found = GrantPurchase.objects.filter(
            bucket=entitlement.bucket, entitlement_id=entitlement.id, idempotency_key=new.key
        ).first()
        if found is not None:
            if bytes(found.fingerprint) != new.fingerprint:
                raise IdempotencyConflict()
            asked = one_off.look_up(merchant_id=merchant_id, payment_id=found.payment_id)
            return Purchase(found, asked.payment, asked.session)
        granting.check(
            _grant(new.amount, new.effective_at, new.expires_at, new.key),
            entitlement,
            granting.open_live(entitlement, now),
            now,
        )
        words = f"{new.amount.normalize():f} × {entitlement.feature.name}"
        payment = NewPayment(
            amount=new.price,
            currency=_currency(entitlement),
            customer_id=entitlement.customer_id,
            line_items=[LineItem(description=words, amount=new.price)],
            success_url=new.success_url,
            failure_url=new.failure_url,
            lifetime=_lifetime(new, now),
            least=PRICE_MIN,
        )
        asked = one_off.ask(merchant_id=merchant_id, new=payment, key=None)
        made = GrantPurchase.objects.create(
            bucket=entitlement.bucket,
            customer_id=entitlement.customer_id,
            id=ids.new(entitlement.bucket),
            merchant_id=merchant_id,
            entitlement_id=entitlement.id,
            payment_id=asked.payment.id,
            idempotency_key=new.key,
            fingerprint=new.fingerprint,
            amount=new.amount,
            effective_at=new.effective_at,
            expires_at=new.expires_at,
            created_at=now,
        )
        return Purchase(made, asked.payment, asked.session)


def _lifetime(new: NewPurchase, now: datetime) -> timedelta:
    if new.payment_expires_at is None:
        return one_off.LIFETIME
    lifetime = new.payment_expires_at - now
    if not timedelta(0) < lifetime <= one_off.LIFETIME_MAX:
        message = f"paymentExpiresAt must lie in the future, by at most {one_off.LIFETIME_MAX.days} days."
        raise ValidationFailed(message, field="paymentExpiresAt", code="EXPIRY_OUT_OF_RANGE")
    return lifetime


def _currency(entitlement: Entitlement) -> str:
    """Return the currency that the customer pays in: of the subscription, or of the only wallet there is."""
    if entitlement.subscription_id is not None:
        return subscription_reads.find(
            merchant_id=entitlement.merchant_id, subscription_id=entitlement.subscription_id
        ).currency
    pots = Wallet.objects.filter(bucket=entitlement.bucket, customer_id=entitlement.customer_id)
    currencies = set(pots.values_list("currency", flat=True))
    if len(currencies) != 1:
        message = "It is not known in which currency the customer pays: the entitlement is of no subscription."
        raise Unprocessable(message, code="CURRENCY_UNKNOWN")
    return currencies.pop()


# --- when the money comes in -----------------------------------------------------------------------------


def _of(payment: Payment) -> GrantPurchase | None:
    return GrantPurchase.objects.filter(bucket=payment.bucket, payment_id=payment.id).first()


def _is_wanted(payment: Payment, now: datetime) -> bool:
    bought = _of(payment)
    if bought is None:
        return True
    try:
        entitlement, _, _ = issuing.lock_one(bought.merchant_id, bought.entitlement_id)
        granting.check(_bought(bought, now), entitlement, granting.open_live(entitlement, now), now)
    except ServiceError:
        return False
    return True


def _paid(payment: Payment, now: datetime) -> None:
    bought = _of(payment)
    if bought is None:
        return
    grant = granting.create(
        merchant_id=bought.merchant_id, entitlement_id=bought.entitlement_id, new=_bought(bought, now)
    )
    bought.grant_id = grant.id
    bought.save(update_fields=["grant_id"])


def _bought(bought: GrantPurchase, now: datetime) -> NewGrant:
    """Return the grant that was bought; a time that has passed since it was asked for is now."""
    effective_at = None if bought.effective_at is None else max(bought.effective_at, now)
    amount = Decimal(f"{bought.amount.normalize():f}")  # read back with more places than a quantity may have
    return _grant(amount, effective_at, bought.expires_at, f"purchase-{bought.id.hex}")


def _grant(amount: Decimal, effective_at: datetime | None, expires_at: datetime | None, key: str) -> NewGrant:
    return NewGrant(
        amount=amount, key=key, fingerprint=key.encode()[-16:], effective_at=effective_at, expires_at=expires_at
    )

"""Paying in a session: the payer chooses a card, an attempt is begun in it, and its outcome ends the session.

What a browser says moves nothing: a session is completed, and what it pays for is paid, only when the provider's own
answer or message says so. What a subscription begins with is a top-up of the wallet that it starts from.
"""

import uuid
from datetime import datetime, timedelta

from django.db import transaction

from billing import first_payments, subscriptions, topups, wallets
from billing.models import PaymentAttempt, PaymentMethod, PaymentSession, Subscription, TopUp, Wallet
from billing.payments import attempts, authorizations, methods, sessions
from billing.payments.sessions import Follower
from customers import books, changes
from merchants.errors import NotFound

TOP_UP_LIFETIME = timedelta(hours=1)
SETUP_LIFETIME = timedelta(hours=1)
METHOD = "card"  # how a top-up names what was paid with on a hosted page

Entity, Status, Mode = PaymentSession.Entity, PaymentSession.Status, PaymentSession.Mode
Purpose = PaymentAttempt.Purpose

_PURPOSES = {
    Entity.INVOICE.value: Purpose.INVOICE,
    Entity.PAYMENT.value: Purpose.PAYMENT,
    Entity.TOPUP.value: Purpose.TOPUP,
    Entity.SUBSCRIPTION.value: Purpose.TOPUP,
    Entity.CUSTOMER.value: Purpose.SETUP,
}


def register() -> None:
    """Say what top-ups do with their sessions."""
    sessions.register(Entity.TOPUP, Follower(over=_top_up_over))


# --- what a customer opens for themselves ----------------------------------------------------------------


def open_top_up(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID, amount: int) -> PaymentSession:
    """Open a session in which money is added to a prepaid wallet.

    Raises:
        NotFound: the merchant has no such wallet, or the customer was struck off.
        Unprocessable: the wallet is not prepaid.
        ValidationFailed: the amount is none that can be paid.
    """
    named = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    with transaction.atomic():
        book, now = books.lock(named.bucket, named.customer_id)
        if book.closed_at is not None:
            raise NotFound()
        wallet = Wallet.objects.get(bucket=named.bucket, id=named.id)
        topups.check(wallet, amount)
        made = topups.write(wallet, amount=amount, method=METHOD, now=now)
        return sessions.open(
            bucket=made.bucket,
            customer_id=made.customer_id,
            merchant_id=merchant_id,
            entity=Entity.TOPUP,
            entity_id=made.id,
            amount=amount,
            currency=made.currency,
            breakdown=[(first_payments.INTO_BALANCE, amount)],
            expires_at=now + TOP_UP_LIFETIME,
            now=now,
        )


def open_setup(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, bucket: int, currency: str) -> PaymentSession:
    """Open a session in which a customer saves a card; or return the one that is open."""
    with transaction.atomic():
        book, now = books.lock(bucket, customer_id)
        if book.closed_at is not None or book.merchant_id != merchant_id:
            raise NotFound()
        return sessions.open(
            bucket=bucket,
            customer_id=customer_id,
            merchant_id=merchant_id,
            mode=Mode.SETUP,
            entity=Entity.CUSTOMER,
            entity_id=customer_id,
            amount=0,
            currency=currency,
            saves_method=True,
            expires_at=now + SETUP_LIFETIME,
            now=now,
        )


# --- paying ----------------------------------------------------------------------------------------------


def pay(session: PaymentSession, *, source: str = "", method_id: uuid.UUID | None = None) -> PaymentAttempt:
    """Begin an attempt in a session, and ask the provider; what comes of it is the attempt's state.

    Args:
        source: a card of the built-in test provider; empty: the payer goes to the provider's own page.
        method_id: a card that the payer has saved.

    Raises:
        Conflict: the session takes no payment, or what it is for may not be paid now.
        NotFound: the payer has saved no such card.
        Unprocessable, Forbidden: the merchant cannot be paid this way.
    """
    with transaction.atomic():
        fresh, now = sessions.lock(session)
        method = None if method_id is None else _method(fresh, method_id)
        sessions.begin(fresh, now)
        attempt = attempts.begin(
            bucket=fresh.bucket,
            customer_id=fresh.customer_id,
            purpose=_PURPOSES[fresh.entity],
            target_id=_target(fresh, now),
            amount=fresh.amount,
            currency=fresh.currency,
            now=now,
            method=method,
            session=fresh.id,
            source=source,
            save_card=fresh.saves_method,
            return_url=sessions.url(fresh),
        )
        sessions.processing(fresh, attempt.id, now)
    return attempts.submit(attempt)


def _method(session: PaymentSession, method_id: uuid.UUID) -> PaymentMethod:
    return methods.find(merchant_id=session.merchant_id, customer_id=session.customer_id, method_id=method_id)


def name_company(session: PaymentSession, *, name: str, country: str, tax_id: str) -> None:
    """Take what who makes a subscription's first payment says of their company; less may be due then, or nothing.

    A customer with a tax id stays as they are.

    Args:
        country: counts where none is known of the customer.

    Raises:
        Conflict: the session takes no payment.
        NotFound: it is not for a subscription's first payment.
        ValidationFailed: the tax id is none of where the customer is.
    """
    with transaction.atomic():
        fresh, now = sessions.lock(session)
        if fresh.status != Status.PENDING:
            raise sessions.refusal(fresh)
        if fresh.entity != Entity.SUBSCRIPTION:
            raise NotFound()
        changes.name_company(
            merchant_id=fresh.merchant_id,
            customer_id=fresh.customer_id,
            name=name,
            address={"country": country},
            tax_id=tax_id,
            actor=changes.as_customer(fresh.customer_id),
        )
        subscriptions.start_covered(bucket=fresh.bucket, customer_id=fresh.customer_id, now=now)


def _target(session: PaymentSession, now: datetime) -> uuid.UUID:
    """Return what an attempt is to pay: each attempt to put money into a wallet has a top-up of its own."""
    if session.entity == Entity.TOPUP:
        return _next_top_up(session, now)
    if session.entity != Entity.SUBSCRIPTION:
        return session.entity_id
    subscription = Subscription.objects.get(bucket=session.bucket, id=session.entity_id)
    wallet = Wallet.objects.get(bucket=session.bucket, id=subscription.prepaid_wallet_id)
    return topups.write(wallet, amount=session.amount, method=METHOD, now=now).id


def _next_top_up(session: PaymentSession, now: datetime) -> uuid.UUID:
    made = TopUp.objects.get(bucket=session.bucket, id=session.entity_id)
    if made.status != TopUp.Status.PENDING:
        wallet = Wallet.objects.get(bucket=session.bucket, id=made.wallet_id)
        session.entity_id = topups.write(wallet, amount=session.amount, method=METHOD, now=now).id
    return session.entity_id


def attempt_of(session: PaymentSession) -> PaymentAttempt | None:
    """Return the attempt that a session waits for, or that ended it."""
    if session.attempt_id is None:
        return None
    return PaymentAttempt.objects.filter(bucket=session.bucket, id=session.attempt_id).first()


def give_up(session: PaymentSession) -> PaymentSession:
    """Give up an attempt that waits for its payer, so that they can pay otherwise; returns the session as it is."""
    attempt = attempt_of(session)
    if session.status == Status.PROCESSING and attempt is not None:
        attempts.cancel(attempt)
    return PaymentSession.objects.get(bucket=session.bucket, id=session.id)


def end_due(now: datetime, limit: int) -> int:
    """End what is overdue of hosted pages: sessions, the attempts of payers who left, invitations; return how many."""
    return _give_up_overdue(now, limit) + sessions.expire_due(now, limit) + authorizations.expire_due(now)


def _give_up_overdue(now: datetime, limit: int) -> int:
    """Give up attempts that wait for payers who left, once their session's time is over."""
    waiting = PaymentAttempt.objects.filter(state=PaymentAttempt.State.REQUIRES_ACTION).values("id")
    overdue = PaymentSession.objects.filter(
        status=Status.PROCESSING, expires_at__lte=now, attempt_id__in=waiting
    ).order_by("expires_at")[:limit]
    ended = 0
    for session in overdue:
        ended += give_up(session).status != Status.PROCESSING
    return ended


# --- top-ups ---------------------------------------------------------------------------------------------


def _top_up_over(session: PaymentSession, now: datetime) -> None:
    waiting = TopUp.objects.filter(bucket=session.bucket, id=session.entity_id, status=TopUp.Status.PENDING)
    waiting.update(status=TopUp.Status.CANCELLED)

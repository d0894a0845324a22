"""Payment sessions: one chance to pay for one thing on a hosted page, from when it is opened until it is over.

Every change happens under the lock of the payer's book and by its clock. A session ``pending`` expires; one whose
attempt is on its way does not: the outcome of the attempt alone decides, and money that comes in when nothing is
waiting for it any more is the payer's, in their wallet. An attempt that fails gives the session back to the payer,
until they have tried too often.

What is paid for says here what it does when an attempt begins, fails, or its session is over unpaid.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import money
from billing.models import PaymentAttempt, PaymentSession
from billing.payments import tokens
from customers import books
from customers.models import Book
from merchants import ids, origins, outbox
from merchants.errors import Conflict, NotFound

ATTEMPTS_MAX = 10  # whoever tries more cards on one page is not a payer

Status, Entity, Mode = PaymentSession.Status, PaymentSession.Entity, PaymentSession.Mode
OPEN = (Status.PENDING, Status.PROCESSING)
PREFIXES = {
    Entity.INVOICE.value: "inv",
    Entity.SUBSCRIPTION.value: "sub",
    Entity.PAYMENT.value: "pay",
    Entity.TOPUP.value: "top",
    Entity.CUSTOMER.value: "cus",
}

Line = tuple[str, int]  # what a part of the amount is for, and how much, in nanos
Act = Callable[[PaymentSession, datetime], None]


@dataclass(frozen=True, slots=True)
class Follower:
    """What one kind of thing does with its sessions, under the lock and in the transaction of each change."""

    begun: Act | None = None  # an attempt is about to begin; raises Conflict where it may not
    failed: Act | None = None  # the attempt did, and the session waits again
    over: Act | None = None  # the session is over unpaid


_followers: dict[str, Follower] = {}


def register(entity: str, follower: Follower) -> None:
    """Say what a kind of thing does with its sessions."""
    _followers[entity] = follower


# --- how one is opened and found -------------------------------------------------------------------------


def open(
    *,
    bucket: int,
    customer_id: uuid.UUID,
    merchant_id: uuid.UUID,
    entity: str,
    entity_id: uuid.UUID,
    amount: int,
    currency: str,
    expires_at: datetime,
    now: datetime,
    mode: str = Mode.PAYMENT,
    breakdown: Sequence[Line] = (),
    success_url: str | None = None,
    failure_url: str | None = None,
    saves_method: bool = False,
    is_guest: bool = False,
) -> PaymentSession:
    """Open the session of a thing, or return the one that is open, with what is to be paid now.

    The caller holds the lock of the book. One whose attempt is on its way is returned as it is.

    Args:
        breakdown: what the amount is made up of; sums to it.

    Raises:
        ValidationFailed: an address is not on a site that the merchant trusts.
    """
    origins.check_redirects(merchant_id, {"successUrl": success_url, "failureUrl": failure_url})
    known = _of(bucket, entity, entity_id).filter(status__in=OPEN).first()
    if known is not None and known.status == Status.PENDING and known.expires_at <= now:
        _end(known, Status.EXPIRED, now)
        known = None
    session = known or PaymentSession(
        bucket=bucket,
        id=ids.new(bucket),
        customer_id=customer_id,
        merchant_id=merchant_id,
        mode=mode,
        status=Status.PENDING,
        entity=entity,
        entity_id=entity_id,
        is_guest=is_guest,
        currency=currency,
        expires_at=expires_at,
        created_at=now,
    )
    if session.status == Status.PENDING:
        session.amount, session.breakdown = amount, stored(breakdown)
        session.success_url, session.failure_url = success_url or "", failure_url or ""
        session.saves_method, session.updated_at = saves_method, now
        session.save(force_insert=known is None)
    return session


def stored(breakdown: Sequence[Line]) -> list[list[str]]:
    """Write what an amount is made up of as a session keeps it."""
    return [[words, str(part)] for words, part in breakdown]


def url(session: PaymentSession) -> str:
    """Return the address of a session's page."""
    return tokens.url(tokens.SESSION, session.id)


def _of(bucket: int, entity: str, entity_id: uuid.UUID) -> QuerySet[PaymentSession]:
    return PaymentSession.objects.filter(bucket=bucket, entity=entity, entity_id=entity_id)


def latest(bucket: int, entity: str, entity_id: uuid.UUID) -> PaymentSession | None:
    """Return the newest session of a thing."""
    return _of(bucket, entity, entity_id).order_by("-created_at", "-id").first()


def find(*, merchant_id: uuid.UUID, session_id: uuid.UUID) -> PaymentSession:
    """Return a merchant's session; raises NotFound, also for another merchant's."""
    session = PaymentSession.objects.filter(
        bucket=ids.bucket_of(session_id), id=session_id, merchant_id=merchant_id
    ).first()
    if session is None:
        raise NotFound()
    return session


def search(
    *,
    merchant_id: uuid.UUID,
    status: str | None = None,
    customer_id: uuid.UUID | None = None,
    entity: str | None = None,
) -> QuerySet[PaymentSession]:
    """Return a merchant's sessions, newest first.

    Raises:
        NotFound: the merchant has no such customer.
    """
    query = PaymentSession.objects.filter(merchant_id=merchant_id)
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        query = query.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    narrowed = {"status": status, "entity": entity}
    return query.filter(**{name: value for name, value in narrowed.items() if value}).order_by("-created_at", "-id")


def opened(token: str) -> PaymentSession:
    """Return the session that a token opens.

    Raises:
        TokenRefused: the token is none, or its session is gone.
    """
    (session_id,) = tokens.read(tokens.SESSION, token)
    session = PaymentSession.objects.filter(bucket=ids.bucket_of(session_id), id=session_id).first()
    if session is None:
        raise tokens.TokenRefused("the session is gone")
    return session


def lock(session: PaymentSession) -> tuple[PaymentSession, datetime]:
    """Lock the payer's book, and return the session as it is then, with the time; one that is overdue is ended."""
    _, now = books.lock(session.bucket, session.customer_id)
    fresh = PaymentSession.objects.get(bucket=session.bucket, id=session.id)
    if fresh.status == Status.PENDING and fresh.expires_at <= now:
        _end(fresh, Status.EXPIRED, now)
    return fresh, now


def up_to_date(session: PaymentSession, now: datetime) -> PaymentSession:
    """Return a session as it is at ``now``: one that nobody has ended yet is ended first, if its time is over."""
    if session.status != Status.PENDING or session.expires_at > now:
        return session
    with transaction.atomic():
        return lock(session)[0]


# --- what becomes of one ---------------------------------------------------------------------------------


def begin(session: PaymentSession, now: datetime) -> None:
    """Take a pending session for an attempt that is about to be made; the caller holds the lock of the book.

    Raises:
        Conflict: it is not waiting for a payer any more, or what it is for may not be paid now.
    """
    if session.status != Status.PENDING:
        raise refusal(session)
    follower = _followers.get(session.entity)
    if follower and follower.begun:
        follower.begun(session, now)
    session.attempts += 1


def processing(session: PaymentSession, attempt_id: uuid.UUID, now: datetime) -> None:
    """Note the attempt that a session waits for from now on."""
    session.status, session.attempt_id, session.updated_at = Status.PROCESSING, attempt_id, now
    session.failure_code = session.failure_message = ""
    session.save(
        update_fields=["status", "entity_id", "attempt_id", "attempts", "failure_code", "failure_message", "updated_at"]
    )


def completed(session: PaymentSession, attempt_id: uuid.UUID, provider_ref: str, now: datetime) -> None:
    """Note that the session's attempt succeeded, whatever became of the session; the caller holds the lock."""
    session.status, session.attempt_id, session.provider_ref = Status.COMPLETED, attempt_id, provider_ref
    session.completed_at = session.updated_at = now
    session.failure_code = session.failure_message = ""
    session.save()
    record("payment_session.completed.v0", session, now)


def failed(session: PaymentSession, code: str, message: str, now: datetime) -> None:
    """Note that the session's attempt failed: it waits for another, or is over when there were too many."""
    session.failure_code, session.failure_message, session.updated_at = code[:60], message[:500], now
    session.status = Status.PENDING
    follower = _followers.get(session.entity)
    if follower and follower.failed:
        follower.failed(session, now)
    if session.attempts >= ATTEMPTS_MAX:
        _end(session, Status.FAILED, now)
    elif session.expires_at <= now:
        _end(session, Status.EXPIRED, now)
    else:
        session.save(update_fields=["status", "failure_code", "failure_message", "updated_at"])


def attempt_ended(attempt: PaymentAttempt, now: datetime) -> None:
    """Move a session on as its attempt ended; the caller holds the lock of the book.

    Money may come in after the attempt was given up, or the session was: then it was paid all the same.
    """
    if attempt.session_id is None:
        return
    session = PaymentSession.objects.filter(bucket=attempt.bucket, id=attempt.session_id).first()
    if session is None or session.status == Status.COMPLETED:
        return
    if attempt.state == PaymentAttempt.State.SUCCEEDED:
        completed(session, attempt.id, attempt.provider_ref, now)
    elif session.status == Status.PROCESSING and session.attempt_id == attempt.id:
        is_ours = attempt.state == PaymentAttempt.State.CANCELLED
        failed(session, "" if is_ours else attempt.failure_code, "" if is_ours else attempt.failure_message, now)


def close_for(entity: str, entity_id: uuid.UUID, now: datetime, *, status: str = Status.CANCELLED) -> None:
    """End the session of a thing that was paid elsewhere or needs no payment any more; the caller holds the lock.

    One whose attempt is on its way goes on: what comes in late is the payer's.
    """
    for session in _of(ids.bucket_of(entity_id), entity, entity_id).filter(status=Status.PENDING):
        _end(session, status, now)


def cancel(*, merchant_id: uuid.UUID, session_id: uuid.UUID) -> PaymentSession:
    """End a session that nobody has paid yet.

    Raises:
        NotFound: the merchant has no such session.
        Conflict: it is being paid, or over.
    """
    with transaction.atomic():
        session, now = lock(find(merchant_id=merchant_id, session_id=session_id))
        if session.status != Status.PENDING:
            raise refusal(session)
        _end(session, Status.CANCELLED, now)
    return session


def expire_due(now: datetime, limit: int) -> int:
    """End up to ``limit`` sessions whose time is over, each in a transaction of its own; return how many."""
    behind = Book.objects.filter(
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("expires_at")
    )
    due = PaymentSession.objects.filter(~Exists(behind), status=Status.PENDING, expires_at__lte=now)
    overdue = list(due.order_by("expires_at")[:limit])
    ended = 0
    for session in overdue:
        with transaction.atomic():
            ended += lock(session)[0].status == Status.EXPIRED
    return ended


def _end(session: PaymentSession, status: str, now: datetime) -> None:
    session.status, session.updated_at = status, now
    session.save(update_fields=["status", "failure_code", "failure_message", "updated_at"])
    follower = _followers.get(session.entity)
    if follower and follower.over:
        follower.over(session, now)
    if status == Status.EXPIRED:
        record("payment_session.expired.v0", session, now)


def refusal(session: PaymentSession) -> Conflict:
    """Say why a session takes no payment."""
    said = {
        Status.PROCESSING.value: ("A payment is being processed.", "PAYMENT_PROCESSING"),
        Status.COMPLETED.value: ("This has been paid.", "PAYMENT_ALREADY_COMPLETED"),
        Status.EXPIRED.value: ("The time to pay this is over.", "PAYMENT_SESSION_EXPIRED"),
        Status.CANCELLED.value: ("This needs no payment any more.", "PAYMENT_SESSION_CANCELLED"),
        Status.FAILED.value: ("This was tried too often.", "PAYMENT_SESSION_FAILED"),
    }
    message, code = said[session.status]
    return Conflict(message, code=code)


# --- how it is told --------------------------------------------------------------------------------------


def record(kind: str, session: PaymentSession, now: datetime) -> None:
    """Tell the merchant's systems what became of a session."""
    outbox.record(
        merchant_id=session.merchant_id,
        type=kind,
        data=public(session),
        object_id=ids.text("ps", session.id),
        now=now,
        bucket=session.bucket,
    )


def public(session: PaymentSession) -> dict[str, Any]:
    """Return a session as events show it."""
    return {
        "id": ids.text("ps", session.id),
        "object": "paymentSession",
        "merchantId": ids.text("org", session.merchant_id),
        "customerId": None if session.is_guest else ids.text("cus", session.customer_id),
        "mode": session.mode,
        "status": session.status,
        "entity": session.entity,
        "entityId": ids.text(PREFIXES[session.entity], session.entity_id),
        "amount": money.from_nanos(session.amount),
        "currency": session.currency,
        "expiresAt": outbox.instant(session.expires_at),
    }

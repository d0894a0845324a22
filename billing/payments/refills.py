"""Refills: at each renewal a wallet is filled up to the minimum balance that was agreed, by the customer's saved card.

Only the gap is charged, lifted to what card processors take at least, once a period, and only where the subscription
says ``autoCharge``: without it nobody is charged, and alerts tell of a low balance. The attempt is written in the
transaction of the renewal; whoever looks after attempts hands it to the provider.

Who has saved no card, or one that is declined, is asked for the gap instead: by an e-mail with a payment page that is
open until the next renewal, and by reminders on the days that the merchant reminds of invoices. As much money that
comes in otherwise ends it.
"""

import logging
import uuid
from datetime import datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum

from billing import cycles, first_payments, lapses, money, policies, topups, upfront
from billing.models import CreditLot, PaymentAttempt, PaymentSession, Subscription, TopUp, Wallet
from billing.payments import methods, sessions
from customers import notices
from customers.models import Book, Customer
from merchants import idempotency, ids

logger = logging.getLogger(__name__)

METHOD = "renewal"  # how a top-up names what fills a wallet when its subscription renews
Entity, Status = PaymentSession.Entity, PaymentSession.Status


def renewed(subscription: Subscription, now: datetime) -> None:
    """Charge, or ask for, what a wallet lacks as the next period begins; the caller holds the lock."""
    if not (subscription.auto_charge and subscription.minimum_balance):
        return
    lapses.bring_up_to_date(subscription.bucket, subscription.customer_id, now)
    wallet = Wallet.objects.get(bucket=subscription.bucket, id=subscription.prepaid_wallet_id)
    # A client's key has no spaces, so no top-up of theirs can have this one.
    key = f"{METHOD} {subscription.id.hex} {subscription.period_end.isoformat()}"
    known = TopUp.objects.filter(bucket=wallet.bucket, customer_id=wallet.customer_id)
    if known.filter(idempotency_key=key).exists():
        return
    ended(subscription, now)  # what was asked for at the last renewal
    lacking = subscription.minimum_balance - (wallet.available or 0)
    on_its_way = known.filter(wallet_id=wallet.id, method=METHOD, status=TopUp.Status.PENDING)
    if lacking <= 0 or on_its_way.exists():
        return
    amount = upfront.payable(lacking, subscription.currency)
    fingerprint = idempotency.fingerprint(wallet.id, amount, METHOD)
    made = topups.write(wallet, amount=amount, method=METHOD, key=key, fingerprint=fingerprint, now=now)
    method = methods.default(subscription.bucket, subscription.customer_id)
    if method is not None:
        topups.begin(made, now=now, method=method)
    else:
        _ask("refill_needed", subscription, made, now)


def declined(made: TopUp, attempt: PaymentAttempt, now: datetime) -> None:
    """Ask for what a wallet lacks since a renewal, as the saved card was declined; the caller holds the lock.

    Whoever tried a card on the page that asks has seen it there.
    """
    if made.method != METHOD or made.idempotency_key is None or attempt.session_id is not None:
        return
    subscription_id = uuid.UUID(made.idempotency_key.split()[1])
    subscription = Subscription.objects.select_related("plan").get(bucket=made.bucket, id=subscription_id)
    wallet = lapses.brought_up_to_date(made.bucket, made.wallet_id, now)
    is_lacking = (wallet.available or 0) < subscription.minimum_balance
    if subscription.status == Subscription.Status.ACTIVE and subscription.auto_charge and is_lacking:
        _ask("refill_declined", subscription, made, now, reason=attempt.failure_message)


# --- asking who has saved no card, or a declined one -----------------------------------------------------


def asked(subscription: Subscription) -> PaymentSession | None:
    """Return the page on which a customer is asked to pay what their wallet lacked, while it is open."""
    if not (subscription.auto_charge and subscription.minimum_balance):
        return None
    return _asked(subscription.bucket, subscription.customer_id).filter(renewal_of=subscription.id).first()


def ended(subscription: Subscription, now: datetime) -> None:
    """Ask for nothing more that was asked for at a subscription's renewal; the caller holds the lock."""
    for session in _asked(subscription.bucket, subscription.customer_id).filter(renewal_of=subscription.id):
        sessions.close_for(Entity.TOPUP, session.entity_id, now)


def topped_up(wallet: Wallet, now: datetime) -> None:
    """Ask for nothing more once as much has come in since; the caller holds the lock."""
    for session in _asked(wallet.bucket, wallet.customer_id):
        paid_in = CreditLot.objects.filter(
            bucket=wallet.bucket, wallet_id=wallet.id, kind=CreditLot.Kind.PAID, created_at__gte=session.created_at
        )
        subscription = _subscription(session)
        if subscription.prepaid_wallet_id == wallet.id and (paid_in.aggregate(sum=Sum("amount"))["sum"] or 0) >= (
            session.amount
        ):
            sessions.close_for(Entity.TOPUP, session.entity_id, now)


def remind_due(now: datetime, limit: int) -> int:
    """Remind of up to ``limit`` payments that were asked for, each in a transaction of its own; return how many.

    One that cannot be reminded of is logged, and does not keep the others waiting.
    """
    early = Book.objects.filter(
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("remind_at")
    )
    due = PaymentSession.objects.filter(~Exists(early), status=Status.PENDING, remind_at__lte=now)
    found = list(due.order_by("remind_at")[:limit])
    for seen in found:
        try:
            _remind(seen)
        except OperationalError:
            raise  # a lost connection or a deadlock: the next pass finds everything as it was
        except Exception:
            logger.exception("a payment page cannot be reminded of: %s", ids.text("ps", seen.id))
    return len(found)


def _remind(seen: PaymentSession) -> None:
    with transaction.atomic():
        session, now = sessions.lock(seen)
        if session.status == Status.PENDING and session.remind_at and session.remind_at <= now:
            _write("refill_reminder", _subscription(session), session, now)
            _remind_again(session, now)


def _ask(template: str, subscription: Subscription, made: TopUp, now: datetime, **why: str) -> None:
    session = sessions.open(
        bucket=made.bucket,
        customer_id=made.customer_id,
        merchant_id=subscription.merchant_id,
        entity=Entity.TOPUP,
        entity_id=made.id,
        amount=made.amount,
        currency=made.currency,
        breakdown=[(first_payments.INTO_BALANCE, made.amount)],
        saves_method=True,
        expires_at=cycles.period_of(subscription, now).end,  # the subscription's own row names the last period still
        now=now,
    )
    session.renewal_of = subscription.id
    session.save(update_fields=["renewal_of"])
    _remind_again(session, now)
    _write(template, subscription, session, now, **why)


def _remind_again(session: PaymentSession, now: datetime) -> None:
    """Note when is reminded next, counted in days from when it was asked for."""
    days = policies.of(session.merchant_id).reminder_days
    times = [session.created_at + timedelta(days=each) for each in days]
    session.remind_at = min([at for at in times if now < at < session.expires_at], default=None)
    session.save(update_fields=["remind_at"])


def _write(template: str, subscription: Subscription, session: PaymentSession, now: datetime, **why: str) -> None:
    zone = ZoneInfo(subscription.timezone)
    ends = subscription.ending_at is not None and subscription.ending_at <= session.expires_at
    until = f"{session.expires_at.astimezone(zone):%-d %B %Y}"
    said = {
        "amount": money.with_currency(session.amount, session.currency),
        "minimum": money.with_currency(subscription.minimum_balance, session.currency),
        "name": subscription.name,
        "plan": subscription.plan.name,
        "date": f"{session.created_at.astimezone(zone):%-d %B %Y}",
        "until": until,
        "next_attempt": "" if ends else until,
        "url": sessions.url(session),
        **why,
    }
    customer = Customer.objects.get(bucket=session.bucket, id=session.customer_id)
    key = f"{template}:{session.id.hex}:{now.isoformat()}"
    notices.mail(customer=customer, template=template, context=said, now=now, key=key)


def _asked(bucket: int, customer_id: uuid.UUID) -> QuerySet[PaymentSession]:
    """Select what a customer was asked for at renewals and has not begun to pay."""
    return PaymentSession.objects.filter(
        bucket=bucket, customer_id=customer_id, renewal_of__isnull=False, status=Status.PENDING
    )


def _subscription(session: PaymentSession) -> Subscription:
    return Subscription.objects.select_related("plan").get(
        bucket=session.bucket, id=cast(uuid.UUID, session.renewal_of)
    )

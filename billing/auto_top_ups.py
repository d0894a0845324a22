"""Automatic top-up: what a customer agreed to, and what becomes of it as top-ups end. ``low_balances`` runs it."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from billing import money, portals, wallets, watching
from billing.models import AutoTopUp, TopUp, Wallet
from billing.payments import methods
from customers import books, notices
from customers.models import Book, Customer
from merchants import audit, ids, outbox
from merchants.audit import Actor
from merchants.errors import NotFound, Unprocessable, ValidationFailed

AMOUNT_MAX = 100_000 * money.NANOS
FAILURES_MAX = 3
# How long to wait after a decline, by how many there were in a row.
PAUSES = (timedelta(hours=1), timedelta(hours=6))
DECLINED, NO_CARD = "payment_failed", "no_payment_method"
WHY: Final = {
    DECLINED: "the card was declined three times in a row",
    NO_CARD: "no card is saved for it any more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is agreed. Amounts are nanos; ``method_id`` None means the customer's default card."""

    amount: int
    threshold: int
    method_id: uuid.UUID | None = None
    limit_amount: int | None = None
    limit_period: str = ""
    enabled: bool = True


def find(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID) -> AutoTopUp:
    """Return what is agreed for a wallet; raises NotFound where nothing is."""
    wallet = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    found = AutoTopUp.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id).first()
    if found is None:
        raise NotFound("Automatic top-up is not set up for this wallet.")
    return found


def agree(
    *, merchant_id: uuid.UUID, wallet_id: uuid.UUID, terms: Terms, actor: Actor, is_new: bool | None = None
) -> AutoTopUp:
    """Set up automatic top-up of a wallet, or change it; switched on again, it starts afresh.

    What had switched it off is forgotten either way: somebody has seen it, and decided.

    Args:
        is_new: True: there must be none yet; False: there must be one; None: either.

    Raises:
        NotFound: the merchant has no such wallet, nothing is agreed yet that could be changed, or the card is not
            the customer's.
        Unprocessable: the wallet is not prepaid, there is no card, or something is agreed already.
        ValidationFailed: an amount is none that can be.
    """
    seen = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    with transaction.atomic():
        book, now = books.lock(seen.bucket, seen.customer_id)
        if book.closed_at is not None:
            raise NotFound()
        wallet = Wallet.objects.get(bucket=seen.bucket, id=seen.id)
        before = AutoTopUp.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id).first()
        if is_new is False and before is None:
            raise NotFound("Automatic top-up is not set up for this wallet.")
        if is_new and before is not None:
            raise Unprocessable("Automatic top-up is set up already: change it.", code="AUTO_TOPUP_EXISTS")
        _check(wallet, terms)
        _check_card(merchant_id, wallet, terms)
        made = _write(wallet, terms, before, actor, now)
        watching.watch(wallet)
        _log(merchant_id, actor, made, now)
    return made


def top_ups(made: AutoTopUp) -> QuerySet[TopUp]:
    """Return the top-ups that were made automatically, newest first."""
    rows = TopUp.objects.filter(bucket=made.bucket, wallet_id=made.wallet_id, is_auto=True)
    return rows.order_by("-created_at", "-id")


def with_stopped(pots: QuerySet[Wallet]) -> QuerySet[Any]:
    """Read with wallets when (``stopped_at``) and why (``stopped_for``) their automatic top-up was switched off.

    By itself, that is, and for as long as nobody has decided about it since.
    """
    stopped = AutoTopUp.objects.filter(
        bucket=OuterRef("bucket"), wallet_id=OuterRef("id"), enabled=False, deactivated_at__isnull=False
    )
    return pots.annotate(
        stopped_at=Subquery(stopped.values("deactivated_at")),
        stopped_for=Subquery(stopped.values("deactivation_reason")),
    )


def _check(wallet: Wallet, terms: Terms) -> None:
    if wallet.kind != Wallet.Kind.PREPAID:
        raise Unprocessable("Only a prepaid wallet can be topped up.", code="WALLET_NOT_PREPAID")
    unit = money.minor_unit(wallet.currency)
    if terms.amount % unit or not 0 < terms.amount <= AMOUNT_MAX:
        raise ValidationFailed(
            f"amount must be at least {money.from_nanos(unit, 0)} {wallet.currency}, a multiple of it, "
            f"and at most {money.from_nanos(AMOUNT_MAX, 0)}.",
            field="amount",
            code="INVALID_AMOUNT",
        )
    if not 0 < terms.threshold <= AMOUNT_MAX:
        message = f"threshold must be more than zero and at most {money.from_nanos(AMOUNT_MAX, 0)}."
        raise ValidationFailed(message, field="threshold", code="INVALID_AMOUNT")
    if terms.limit_amount is not None and (not terms.limit_period or terms.limit_amount < terms.amount):
        message = "limit has a period, and an amount that allows at least one top-up."
        raise ValidationFailed(message, field="limit", code="INVALID_AMOUNT")


def _check_card(merchant_id: uuid.UUID, wallet: Wallet, terms: Terms) -> None:
    if terms.method_id is not None:
        methods.find(merchant_id=merchant_id, customer_id=wallet.customer_id, method_id=terms.method_id)
    elif terms.enabled and methods.default(wallet.bucket, wallet.customer_id) is None:
        message = "The customer has saved no card to charge: they add one in their portal."
        raise Unprocessable(message, code="NO_PAYMENT_METHOD")


def _write(wallet: Wallet, terms: Terms, before: AutoTopUp | None, actor: Actor, now: datetime) -> AutoTopUp:
    made = before or AutoTopUp(
        bucket=wallet.bucket, wallet_id=wallet.id, customer_id=wallet.customer_id, created_at=now
    )
    made.amount, made.threshold, made.method_id = terms.amount, terms.threshold, terms.method_id
    made.limit_amount, made.limit_period = terms.limit_amount, terms.limit_period
    made.enabled, made.failures, made.due_at = terms.enabled, 0, None
    made.deactivation_reason, made.deactivated_at = "", None
    made.consented_by, made.consented_at = actor.name, now
    made.updated_at = now
    made.save()
    return made


# --- as top-ups end --------------------------------------------------------------------------------------


def ended(top_up: TopUp, now: datetime) -> None:
    """Note what became of an automatic top-up: declined three times in a row, there are no more. The book is locked."""
    made = AutoTopUp.objects.filter(bucket=top_up.bucket, wallet_id=top_up.wallet_id).first()
    if made is None:
        return
    if top_up.status == TopUp.Status.SUCCESS:
        made.failures, made.due_at = 0, None
        made.save(update_fields=["failures", "due_at"])
    elif made.enabled:
        made.failures += 1
        if made.failures >= FAILURES_MAX:
            deactivate(made, DECLINED, now)
        else:
            made.due_at = now + PAUSES[made.failures - 1]
            made.save(update_fields=["failures", "due_at"])
    watching.watch(Wallet.objects.get(bucket=top_up.bucket, id=top_up.wallet_id))


def deactivate(made: AutoTopUp, reason: str, now: datetime) -> None:
    """Switch automatic top-up off, and tell the merchant and the customer; the book is locked."""
    made.enabled, made.due_at = False, None
    made.deactivation_reason, made.deactivated_at = reason, now
    made.save(update_fields=["enabled", "due_at", "failures", "deactivation_reason", "deactivated_at"])
    merchant_id = Book.objects.values_list("merchant_id", flat=True).get(pk=(made.bucket, made.customer_id))
    wallet_id = ids.text("acc", made.wallet_id)
    data = {
        "object": "auto_topup",
        "merchantId": ids.text("org", merchant_id),
        "customerId": ids.text("cus", made.customer_id),
        "walletId": wallet_id,
        "reason": reason,
        "at": outbox.instant(now),
    }
    outbox.record(
        merchant_id=merchant_id,
        type="auto_topup.deactivated.v0",
        data=data,
        object_id=wallet_id,
        now=now,
        bucket=made.bucket,
    )
    _write_to_customer(made, now)


def _write_to_customer(made: AutoTopUp, now: datetime) -> None:
    wallet = Wallet.objects.get(bucket=made.bucket, id=made.wallet_id)
    customer = Customer.objects.filter(bucket=made.bucket, id=made.customer_id).first()
    if customer is None:
        return
    notices.mail(
        customer=customer,
        template="auto_topup_stopped",
        context={
            "reason": WHY[made.deactivation_reason],
            "available": money.with_currency(wallet.available or 0, wallet.currency),
            "terms": f"{money.with_currency(made.amount, wallet.currency)} below "
            f"{money.with_currency(made.threshold, wallet.currency)}",
            "date": f"{now:%-d %B %Y}",
            "url": portals.of_wallet(wallet, now),
        },
        now=now,
        key=f"auto_topup_stopped:{ids.text('acc', made.wallet_id)}:{now.isoformat()}",
    )


def _log(merchant_id: uuid.UUID, actor: Actor, made: AutoTopUp, now: datetime) -> None:
    audit.append(
        merchant_id=merchant_id,
        actor=actor,
        action="wallet.auto_topup",
        target=ids.text("acc", made.wallet_id),
        changes={
            "enabled": made.enabled,
            "amount": money.from_nanos(made.amount),
            "threshold": money.from_nanos(made.threshold),
            "limit": None if made.limit_amount is None else money.from_nanos(made.limit_amount),
            "period": made.limit_period,
        },
        now=now,
    )

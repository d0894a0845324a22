"""What happens when little is left in a wallet: alerts tell, and automatic top-up adds.

Marked wallets are looked at one by one, each under its book's lock. An alert's event and e-mails are written in the
transaction that notes that it has told; a top-up and the attempt to pay it are written in one, and handed to the
provider after it. Whoever dies in between leaves an attempt that is looked after like any other.
"""

import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import DatabaseError, OperationalError, transaction
from django.db.models import Sum

from billing import auto_top_ups, money, portals, topups, watching
from billing.models import AutoTopUp, LowWallet, PaymentAttempt, PaymentMethod, TopUp, Wallet, WalletAlert
from billing.payments import attempts, methods
from customers import books, notices
from customers.models import Book, Customer
from merchants import ids, mailing, outbox
from merchants.errors import ServiceError
from merchants.models import Merchant
from metering import periods
from metering.periods import Cadence

logger = logging.getLogger(__name__)

LOOKED_AT_ONCE = 100
_PERIODS = {"day": Cadence(0, 1), "week": Cadence(0, 7), "month": Cadence(1, 0)}
_ANCHORS = {"day": (2000, 1, 1), "week": (2000, 1, 3), "month": (2000, 1, 1)}  # weeks begin on Mondays


def look_due(*, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Do what is to be done about marked wallets, longest marked first; return how many were looked at.

    Raises:
        RuntimeError: a transaction is open.
    """
    done = 0
    marked = LowWallet.objects.order_by("since").values_list("bucket", "wallet_id", "customer_id")
    while found := list(marked[:LOOKED_AT_ONCE]):
        for place in found:
            _look_at(*place)
            done += 1
            if is_time_up():
                return done
    return done


def _look_at(bucket: int, wallet_id: uuid.UUID, customer_id: uuid.UUID) -> None:
    """Look at a wallet; what is wrong with one does not stop the others, and is tried again behind them."""
    try:
        look(bucket, wallet_id, customer_id)
    except OperationalError:
        raise  # a lost connection: the next pass finds everything as it was
    except (DatabaseError, ServiceError):
        logger.exception("wallet %s cannot be looked at", ids.text("acc", wallet_id))
        LowWallet.objects.filter(bucket=bucket, wallet_id=wallet_id).delete()  # the next pass over all finds it again


def look(bucket: int, wallet_id: uuid.UUID, customer_id: uuid.UUID) -> None:
    """Do what is to be done about one wallet, and take its mark away.

    Raises:
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    with transaction.atomic():
        book, now = books.lock(bucket, customer_id)
        LowWallet.objects.filter(bucket=bucket, wallet_id=wallet_id).delete()
        wallet = Wallet.objects.get(bucket=bucket, id=wallet_id)
        if book.closed_at is not None:
            Wallet.objects.filter(bucket=bucket, id=wallet_id).update(watched_below=None)
            return
        for alert in WalletAlert.objects.filter(bucket=bucket, wallet_id=wallet_id, enabled=True):
            _heed(alert, wallet, book, now)
        made = _top_up(wallet, book, now)
        watching.watch(wallet)
    if made is not None:
        _pay(made)


# --- alerts ----------------------------------------------------------------------------------------------


def _heed(alert: WalletAlert, wallet: Wallet, book: Book, now: datetime) -> None:
    available = wallet.available or 0
    before = (alert.is_armed, alert.due_at)
    if available >= alert.threshold:
        alert.is_armed, alert.due_at = True, None
    elif alert.is_armed:
        again_at = alert.last_notified_at and alert.last_notified_at + timedelta(seconds=alert.notify_seconds)
        if again_at is not None and now < again_at:
            alert.due_at = again_at
        else:
            _tell(alert, wallet, book, now)
            alert.is_armed, alert.due_at, alert.last_notified_at = False, None, now
    if before != (alert.is_armed, alert.due_at):
        alert.save(update_fields=["is_armed", "due_at", "last_notified_at"])


def _tell(alert: WalletAlert, wallet: Wallet, book: Book, now: datetime) -> None:
    wallet_id, available = ids.text("acc", wallet.id), money.from_nanos(wallet.available or 0)
    data = {
        "id": wallet_id,
        "object": "wallet",
        "merchantId": ids.text("org", book.merchant_id),
        "customerId": ids.text("cus", wallet.customer_id),
        "available": available,
        "threshold": money.from_nanos(alert.threshold),
        "currency": wallet.currency,
    }
    outbox.record(
        merchant_id=book.merchant_id,
        type="wallet.low_balance.v0",
        data=data,
        object_id=wallet_id,
        now=now,
        bucket=wallet.bucket,
    )
    said = {
        "available": f"{available} {wallet.currency}",
        "threshold": f"{data['threshold']} {wallet.currency}",
    }
    key = f"{ids.text('alrt', alert.id)}:{now.isoformat()}"
    customer = Customer.objects.filter(bucket=wallet.bucket, id=wallet.customer_id).first()
    if customer is not None:
        theirs = {**said, "url": portals.of_wallet(wallet, now)}  # nobody else's: it opens the customer's pages
        notices.mail(customer=customer, template="low_balance", context=theirs, now=now, key=key)
    for number, recipient in enumerate(alert.recipients):
        mailing.queue(
            merchant_id=book.merchant_id,
            template="low_balance",
            to=recipient,
            context=said,
            now=now,
            key=f"{key}:{number}",
        )


# --- automatic top-up ------------------------------------------------------------------------------------


def _top_up(wallet: Wallet, book: Book, now: datetime) -> TopUp | None:
    """Write an automatic top-up and its payment down, if one is due."""
    agreed = AutoTopUp.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id, enabled=True).first()
    if agreed is None or (agreed.due_at is not None and agreed.due_at > now):
        return None
    if agreed.due_at is not None:  # it has waited long enough
        agreed.due_at = None
        agreed.save(update_fields=["due_at"])
    if (wallet.available or 0) >= agreed.threshold:
        return None
    if TopUp.objects.filter(
        bucket=wallet.bucket, wallet_id=wallet.id, is_auto=True, status=TopUp.Status.PENDING
    ).exists():
        return None
    if (wait_until := _limited_until(agreed, book, now)) is not None:
        agreed.due_at = wait_until
        agreed.save(update_fields=["due_at"])
        return None
    card = _card(agreed, book.merchant_id)
    if card is None:
        auto_top_ups.deactivate(agreed, auto_top_ups.NO_CARD, now)
        return None
    made = topups.write(wallet, amount=agreed.amount, method="auto", is_auto=True, now=now)
    topups.begin(made, method=card, now=now)
    return made


def _limited_until(agreed: AutoTopUp, book: Book, now: datetime) -> datetime | None:
    """Tell when the next period begins, if another top-up would exceed this one's limit; None if it would not."""
    if agreed.limit_amount is None:
        return None
    zone = Merchant.objects.select_related("organization").get(id=book.merchant_id).organization.timezone
    anchor = datetime(*_ANCHORS[agreed.limit_period], tzinfo=ZoneInfo(zone))
    period = periods.period_of(anchor, _PERIODS[agreed.limit_period], zone, now)
    counted = auto_top_ups.top_ups(agreed).filter(
        status__in=(TopUp.Status.SUCCESS, TopUp.Status.PENDING), created_at__gte=period.start
    )
    spent = int(counted.aggregate(sum=Sum("amount"))["sum"] or 0)
    return period.end if spent + agreed.amount > agreed.limit_amount else None


def _card(agreed: AutoTopUp, merchant_id: uuid.UUID) -> PaymentMethod | None:
    if agreed.method_id is None:
        return methods.default(agreed.bucket, agreed.customer_id)
    usable = methods.usable(merchant_id=merchant_id, bucket=agreed.bucket, customer_id=agreed.customer_id)
    return usable.filter(id=agreed.method_id).first()


def _pay(made: TopUp) -> None:
    """Hand the payment over; nobody is there to confirm it, so one that asks for its payer has failed."""
    topups.pay(made)
    asking = PaymentAttempt.objects.filter(
        bucket=made.bucket,
        purpose=PaymentAttempt.Purpose.TOPUP,
        target_id=made.id,
        state=PaymentAttempt.State.REQUIRES_ACTION,
    ).first()
    if asking is not None:
        attempts.cancel(asking)

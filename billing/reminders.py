"""Reminders before renewals: one e-mail for each period, to whoever owes something when it begins again."""

import logging
import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import OperationalError, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from billing import fees, money, portals
from billing.models import Subscription
from customers import books, notices
from customers.models import Customer
from merchants import ids

logger = logging.getLogger(__name__)

DAYS_MAX = 30  # before a renewal; the API takes no more
_DAY = Value(timedelta(days=1))


def remind_due(now: datetime, limit: int) -> int:
    """Remind of up to ``limit`` renewals that come soon, each in a transaction of its own; return how many those were.

    Whether and how long before is said by the subscription, or else by its plan. One that cannot be reminded of is
    logged, and does not keep the others waiting.
    """
    due = list(_due(now).values_list("bucket", "customer_id", "id")[:limit])
    for row in due:
        try:
            _remind_once(*row, now)
        except OperationalError:
            raise  # a lost connection or a deadlock: the next pass finds everything as it was
        except Exception:
            logger.exception("the renewal of %s cannot be reminded of", ids.text("sub", row[2]))
    return len(due)


def _remind_once(bucket: int, customer_id: uuid.UUID, subscription_id: uuid.UUID, now: datetime) -> None:
    with transaction.atomic():
        books.lock(bucket, customer_id)
        found = _due(now).filter(bucket=bucket, id=subscription_id).select_related("plan").first()
        if found is not None:
            _remind(found, now)


def _due(now: datetime) -> QuerySet[Subscription]:
    days = Coalesce("renewal_reminder_days", "plan__renewal_reminder_days")
    return (
        Subscription.objects.filter(
            status=Subscription.Status.ACTIVE, period_end__gt=now, period_end__lte=now + timedelta(days=DAYS_MAX)
        )
        .filter(Q(reminded_for=None) | Q(reminded_for__lt=F("period_end")))
        .filter(Q(ending_at=None) | Q(ending_at__gt=F("period_end")))
        .alias(
            is_wanted=Coalesce("renewal_reminder_enabled", "plan__renewal_reminder_enabled"),
            before=ExpressionWrapper(days * _DAY, output_field=DurationField()),
        )
        .filter(is_wanted=True, period_end__lte=now + F("before"))
        .order_by("period_end", "id")
    )


def _remind(subscription: Subscription, now: datetime) -> None:
    owed = fees.due_at(subscription, subscription.period_end)
    if owed or subscription.minimum_balance:
        customer = Customer.objects.get(bucket=subscription.bucket, id=subscription.customer_id)
        renews = subscription.period_end.astimezone(ZoneInfo(subscription.timezone))
        notices.mail(
            customer=customer,
            template="renewal_reminder",
            context={
                "name": subscription.name,
                "plan": subscription.plan.name,
                "date": f"{renews:%-d %B %Y}",
                "amount": money.with_currency(owed, subscription.currency) if owed else "",
                "url": portals.of(subscription, now),
            },
            now=now,
            key=f"renewal_reminder:{ids.text('sub', subscription.id)}:{subscription.period_end.isoformat()}",
        )
    subscription.reminded_for = subscription.period_end
    subscription.save(update_fields=["reminded_for"])

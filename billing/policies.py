"""How a merchant's invoices are issued and collected: in how many days they are due, whether somebody looks at them
first, when is tried and reminded again, and what happens when nothing helps.
"""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from billing.models import BillingPolicy, CustomerTerms, Invoice
from customers import books
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import ValidationFailed
from merchants.models import Merchant

NET_DAYS_MAX = 180
DRAFT_HOURS_MAX = 30 * 24
STEPS_MAX = 12
DAYS_MAX = 120
FinalAction = BillingPolicy.FinalAction
_WHOLE: Final = {"net_days": ("netDays", 0, NET_DAYS_MAX), "draft_hours": ("draftHours", 1, DRAFT_HOURS_MAX)}
_SCHEDULES: Final = {"retry_days": ("retryDays", 1), "reminder_days": ("reminderDays", -DAYS_MAX)}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What holds for a merchant; where nothing was said, what holds for everybody."""

    net_days: int = 0
    holds_drafts: bool = False
    draft_hours: int | None = None
    retry_days: Sequence[int] = (1, 3, 5, 7)
    reminder_days: Sequence[int] = (3, 10)
    final_action: str = FinalAction.NONE.value


def of(merchant_id: uuid.UUID) -> Policy:
    """Return a merchant's policy."""
    row = BillingPolicy.objects.filter(merchant_id=merchant_id).first()
    if row is None:
        return Policy()
    return Policy(**{name: getattr(row, name) for name in asdict(Policy())})


def change(*, merchant_id: uuid.UUID, changes: dict[str, Any], actor: Actor, now: datetime) -> Policy:
    """Change a merchant's policy, for invoices that are issued from now on.

    Args:
        changes: any members of Policy.

    Raises:
        ValidationFailed: a number is out of bounds, or days are too many or not in order; ``errors`` name them as the
            API does.
    """
    with transaction.atomic():
        # One change at a time, so that two of different members both last; there may be no row of the policy to lock.
        Merchant.objects.select_for_update(no_key=True).only("id").get(id=merchant_id)
        before = of(merchant_id)
        policy = replace(before, **changes)
        _check(policy)
        old, new = _said(before), _said(policy)
        changed = [name for name in new if old[name] != new[name]]
        if changed:
            BillingPolicy.objects.update_or_create(merchant_id=merchant_id, defaults={**new, "updated_at": now})
            audit.append(
                merchant_id=merchant_id,
                actor=actor,
                action="billing_policy.changed",
                changes={
                    "before": {name: old[name] for name in changed},
                    "after": {name: new[name] for name in changed},
                },
                now=now,
            )
    return policy


def _said(policy: Policy) -> dict[str, Any]:
    """Write a policy as the table and the audit log keep it."""
    return {name: list(value) if isinstance(value, list | tuple) else value for name, value in asdict(policy).items()}


def _check(policy: Policy) -> None:
    for member in _WHOLE:
        value = getattr(policy, member)
        if value is not None:
            _check_whole(member, value)
    for member, (name, least) in _SCHEDULES.items():
        days = getattr(policy, member)
        if (
            len(days) > STEPS_MAX
            or list(days) != sorted(set(days))
            or not all(least <= day <= DAYS_MAX for day in days)
        ):
            raise ValidationFailed(
                f"{name} must be up to {STEPS_MAX} days from {least} to {DAYS_MAX}, each later than the one before.",
                field=name,
                code="INVALID_SCHEDULE",
            )


def _check_whole(member: str, value: int) -> None:
    name, least, most = _WHOLE[member]
    if not least <= value <= most:
        raise ValidationFailed(f"{name} must be from {least} to {most}.", field=name, code="OUT_OF_RANGE")


def terms_of(*, customer_id: uuid.UUID) -> int | None:
    """Return in how many days a customer has to pay, where that is their own."""
    own = CustomerTerms.objects.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id).first()
    return None if own is None else own.net_days


def set_terms(
    *, merchant_id: uuid.UUID, customer_id: uuid.UUID, net_days: int | None, actor: Actor, now: datetime
) -> None:
    """Say in how many days a customer has to pay; None: as all of the merchant's.

    Raises:
        NotFound: the merchant has no such customer.
        ValidationFailed: the number is out of bounds.
    """
    bucket = ids.bucket_of(customer_id)
    if net_days is not None:
        _check_whole("net_days", net_days)
    with transaction.atomic():
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        books.lock(bucket, customer_id)
        before = terms_of(customer_id=customer_id)
        if before == net_days:
            return
        if net_days is None:
            CustomerTerms.objects.filter(bucket=bucket, customer_id=customer_id).delete()
        else:
            CustomerTerms.objects.update_or_create(
                bucket=bucket, customer_id=customer_id, defaults={"net_days": net_days}
            )
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action="customer.terms",
            target=ids.text("cus", customer_id),
            changes={"net_days": {"before": before, "after": net_days}},
            now=now,
        )


def due_at(invoice: Invoice, policy: Policy, now: datetime) -> datetime:
    """Tell when an invoice that is issued now is due."""
    own = terms_of(customer_id=invoice.customer_id)
    return now + timedelta(days=policy.net_days if own is None else own)

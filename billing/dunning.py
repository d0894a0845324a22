"""Dunning: what is done when about an issued invoice on which something is owed, until it is paid.

The plan is made as the invoice is issued, from the merchant's policy then: a subscription that is charged
automatically is collected at once and tried again some days later; every debt is reminded of around the day it is due;
and when nothing of the plan is left, the policy's last step is taken. ``billing.collecting`` carries it out.
"""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from billing import receivables
from billing.models import Dunning, Invoice, Subscription, Wallet
from billing.payments import methods
from billing.policies import FinalAction, Policy

COLLECT, REMIND, FINAL = "collect", "remind", "final"
_ORDER = (COLLECT, REMIND, FINAL)
State = Dunning.State
LAST_WAIT = timedelta(days=1)  # for a debt that nobody tries to collect


def begin(invoice: Invoice, subscription: Subscription, policy: Policy, now: datetime) -> None:
    """Plan how a newly issued invoice is collected; the caller holds the lock of the book."""
    if (invoice.unpaid_amount or 0) <= 0:
        return
    plan = planned(policy, now, due=invoice.due_at or now, is_collected=subscription.auto_charge)
    if not plan:
        return
    Dunning.objects.create(
        bucket=invoice.bucket,
        customer_id=invoice.customer_id,
        invoice_id=invoice.id,
        merchant_id=invoice.merchant_id,
        plan=[[at.isoformat(), what] for at, what in plan],
        state=State.RUNNING,
        final_action=policy.final_action,
        next_at=plan[0][0],
        created_at=now,
        updated_at=now,
    )


def planned(policy: Policy, now: datetime, *, due: datetime, is_collected: bool) -> list[tuple[datetime, str]]:
    """Return what is done when, in order of time, about an invoice that is issued now.

    Args:
        is_collected: its subscription is charged automatically.
    """
    steps = [(due + timedelta(days=days), REMIND) for days in policy.reminder_days]
    if is_collected:
        steps += [(now + timedelta(days=days), COLLECT) for days in (0, *policy.retry_days)]
    steps = [(at, what) for at, what in steps if at >= now]
    if policy.final_action != FinalAction.NONE:
        last = max([due + LAST_WAIT, *[at for at, _ in steps]])
        steps.append((last, FINAL))
    return sorted(steps, key=lambda step: (step[0], _ORDER.index(step[1])))


def to_pay_by_hand(invoice: Invoice, subscription: Subscription, prepaid: Wallet) -> int:
    """Return what of an invoice the customer has to pay by hand, in nanos: no balance or saved card covers it."""
    unpaid = max(0, invoice.unpaid_amount or 0)
    if not subscription.auto_charge:
        return unpaid
    if methods.default(invoice.bucket, invoice.customer_id) is not None:
        return 0
    return unpaid - receivables.covered(prepaid, unpaid)


def of(invoice: Invoice) -> Dunning | None:
    """Return how an invoice is collected, if there is anything to do about it."""
    return Dunning.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id).first()


def of_all(invoices: Collection[Invoice]) -> dict[uuid.UUID, Dunning]:
    """Return how some invoices are collected, by their ids, of those about which there is anything to do."""
    rows = Dunning.objects.filter(
        bucket__in={invoice.bucket for invoice in invoices}, invoice_id__in=[invoice.id for invoice in invoices]
    )
    return {row.invoice_id: row for row in rows}


def advance(row: Dunning, now: datetime) -> None:
    """Note that the step that was due is done; what else fell due meanwhile is skipped, but for the last step."""
    row.step += 1
    while row.step < len(row.plan) - 1 and _at(row, row.step + 1) <= now:
        row.step += 1
    if row.step >= len(row.plan):
        row.state, row.next_at = State.EXHAUSTED, None
    else:
        row.next_at = _at(row, row.step)
    row.updated_at = now
    row.save(update_fields=["step", "state", "next_at", "last_failure", "updated_at"])


def end(row: Dunning, state: State, now: datetime) -> None:
    """Note that nothing more is to be done."""
    row.state, row.next_at, row.updated_at = state, None, now
    row.save(update_fields=["state", "next_at", "last_failure", "updated_at"])


def stop(invoice: Invoice, now: datetime) -> None:
    """Do nothing more about an invoice; the caller holds the lock of the book."""
    row = of(invoice)
    if row is not None and row.state == State.RUNNING:
        end(row, State.STOPPED, now)


def what(row: Dunning) -> str:
    """Tell what is to be done next."""
    kind: str = row.plan[row.step][1]
    return kind


def next_try(row: Dunning) -> datetime | None:
    """Tell when the invoice is tried to be collected next: the step that was begun last is behind it already."""
    return next((datetime.fromisoformat(at) for at, what in row.plan[row.step :] if what == COLLECT), None)


def _at(row: Dunning, step: int) -> datetime:
    return datetime.fromisoformat(row.plan[step][0])

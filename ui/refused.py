"""Refused calls in words: what was asked for, and why it was refused."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from billing import money
from entitlements import refusals
from entitlements.models import Refusal
from merchants import ids
from metering.models import BillableMetric
from ui import fmt

REASONS: Final = {
    "INSUFFICIENT_FUNDS": "Not enough funds",
    "BUDGET_EXCEEDED": "Budget reached",
    "ENTITLEMENT_EXHAUSTED": "Nothing included is left",
    "NO_ACTIVE_SUBSCRIPTION": "No active subscription",
    "IDEMPOTENCY_CONFLICT": "Key used for another call",
    "UNMATCHED_EVENT_TYPE": "No metric reads it",
}
# What the customer can do something about; what is wrong with a call itself is the merchant's to put right.
CUSTOMERS_OWN: Final = (
    "INSUFFICIENT_FUNDS",
    "BUDGET_EXCEEDED",
    "ENTITLEMENT_EXHAUSTED",
    "NO_ACTIVE_SUBSCRIPTION",
    "SUBSCRIPTION_NOT_ACTIVE",
    "SUBSCRIPTION_PAUSED",
)
KINDS: Final[dict[str, str]] = {
    Refusal.Kind.USAGE: "Usage event",
    Refusal.Kind.EVENT: "Meter event",
    Refusal.Kind.RESERVATION: "Reservation",
}
LINES_SHOWN: Final = 3
LATELY: Final = timedelta(days=1)
LATEST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Row:
    """Calls of one customer that were refused for one reason about one second."""

    id: str
    at: datetime
    customer_id: str
    kind: str
    asked: list[str]
    reason: str
    message: str
    needs: str  # how far the funds or the limit were from it
    times: int
    key: str


def rows(refusals: Sequence[Refusal], *, merchant_id: uuid.UUID) -> list[Row]:
    """Say of refusals what they were; one query however many there are."""
    wanted = {uuid.UUID(hex=line[0]) for each in refusals for line in each.lines}
    metrics = BillableMetric.objects.filter(merchant_id=merchant_id).in_bulk(wanted) if wanted else {}
    return [_row(each, metrics) for each in refusals]


def latest(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, now: datetime) -> list[Row]:
    """Return what a customer's own limits and funds refused in the last LATELY, at most the newest LATEST_SHOWN."""
    found = refusals.search(merchant_id=merchant_id, customer_id=customer_id, since=now - LATELY)
    found = found.filter(code__in=CUSTOMERS_OWN)
    return rows(list(found.order_by("-created_at", "-id")[:LATEST_SHOWN]), merchant_id=merchant_id)


def reason(code: str) -> str:
    """Say in a few words what a code means."""
    return REASONS.get(code) or code.replace("_", " ").capitalize()


def _row(refusal: Refusal, metrics: dict[uuid.UUID, BillableMetric]) -> Row:
    asked = [_line(line, metrics) for line in refusal.lines[:LINES_SHOWN]]
    if (more := len(refusal.lines) - LINES_SHOWN) > 0:
        asked.append(f"and {more} more")
    return Row(
        id=refusal.id.hex,
        at=refusal.created_at,
        customer_id=ids.text("cus", refusal.customer_id),
        kind=KINDS[refusal.kind],
        asked=asked,
        reason=reason(refusal.code),
        message=refusal.message,
        needs=_needs(refusal.details),
        times=refusal.times,
        key=refusal.key or "",
    )


def _line(line: list[str | None], metrics: dict[uuid.UUID, BillableMetric]) -> str:
    metric_id, quantity, amount = line
    metric = metrics.get(uuid.UUID(hex=metric_id)) if metric_id else None
    name = metric.name if metric is not None else "Unknown metric"
    if quantity is None:
        return f"{amount} for {name}" if amount is not None else name
    count = Decimal(quantity)
    return f"{fmt.qty(count)} {fmt.units(count, metric.unit if metric is not None else '')} of {name}"


def _needs(details: dict[str, Any]) -> str:
    """Say what was missing, where the refusal told it in figures."""
    required, unit = details.get("required"), details.get("currency")
    if required is None:
        return ""
    if (left := details.get("available", details.get("balance"))) is not None:
        return f"Needs {_figure(required, unit)}; {_figure(left, unit)} left."
    if (limit := details.get("limit")) is not None:
        held = f", {_figure(details['held'], unit)} held" if Decimal(details.get("held") or 0) else ""
        return (
            f"Needs {_figure(required, unit)}; {_figure(details['spent'], unit)} of {_figure(limit, unit)} spent{held}."
        )
    return ""


def _figure(number: str, unit: str | None) -> str:
    """Write a decimal string for people, unrounded: what is missing may be less than a cent."""
    return fmt.charge(money.to_nanos(Decimal(number)), unit) if unit else fmt.qty(Decimal(number))

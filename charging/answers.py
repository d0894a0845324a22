"""How events, batches and reservations read in JSON: Paygentic's shapes, with our additions in the same style. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from charging.book import Correction, Event, Refund, Reservation
from charging.commands import MeterEvent, RecordUsage, RefusedEvent
from charging.outcomes import Done, Refused
from merchants import ids

# Quantities are numbers in the contract; written out exactly, they are no floats until a client makes them so.
encode = msgspec.json.Encoder(decimal_format="number").encode


class Billing(msgspec.Struct, rename="camel", gc=False):
    """What an event was charged; amounts are nanos."""

    billing_event_id: str
    currency: str
    invoice_id: str
    price: int
    total_tax: int
    total_amount: int


class EventProperty(msgspec.Struct, rename="camel", gc=False):
    """A quantity of one metric, as it was sent."""

    billable_metric_id: str
    quantity: Decimal
    price: str | msgspec.UnsetType = msgspec.UNSET


class UsageEvent(msgspec.Struct, rename="camel", gc=False):
    """A usage event and what it was charged; ``billing`` is null where nothing was priced. What is unset is left out.

    A struct, not a dict: the lane writes one for each event, and a struct is made and written several times as fast.
    """

    id: str
    object: str
    customer_id: str
    merchant_id: str
    subscription_id: str | None
    idempotency_key: str
    timestamp: datetime
    created_at: datetime
    properties: list[EventProperty | dict[str, Any]]
    billing: Billing | None
    type: str | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET
    subject: str | msgspec.UnsetType = msgspec.UNSET
    data: Any = msgspec.UNSET
    entitlement_id: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    refund: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    correction: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def usage_event(event: Event) -> UsageEvent:
    """Write a usage event."""
    event_id = ids.text("usg", event.id)
    known = ids.known_text
    answer = UsageEvent(
        event_id,
        "usageEvent",
        known("cus", event.customer_id),
        known("org", event.merchant_id),
        known("sub", event.subscription_id) if event.subscription_id else None,
        event.key,
        event.timestamp,
        event.created_at,
        [_property(item) for item in event.properties],
        _billing(event, event_id),
    )
    if event.meter is not None:
        meter = event.meter
        answer.type, answer.source, answer.subject, answer.data = meter.type, meter.source, meter.subject, meter.data
    if event.reservation_id is not None:
        answer.entitlement_id = ids.text("com", event.reservation_id)
    if event.metadata is not None:
        answer.metadata = dict(sorted(event.metadata.items()))  # the database keeps no order
    return answer


def _billing(event: Event, event_id: str) -> Billing | None:
    if not event.subscription_id:
        return None
    invoice_id = ids.known_text("inv", event.invoice_id)
    return Billing("bev" + event_id[3:], event.currency, invoice_id, event.net, event.tax, event.gross)


def _property(item: Sequence[Any]) -> EventProperty | dict[str, Any]:
    metric_id = ids.known_text("bm", bytes.fromhex(item[0]))
    quantity, price = Decimal(item[1]), item[2]
    if len(item) == 3:
        return EventProperty(metric_id, quantity, msgspec.UNSET if price is None else price)
    answer = {"billableMetricId": metric_id, "quantity": quantity}
    if price is not None:
        answer["price"] = price
    answer.update(item[3])
    return answer


def refunded_event(refund: Refund) -> UsageEvent:
    """Write a usage event that was refunded."""
    answer = usage_event(refund.event)
    answer.refund = {"refundedAt": refund.created_at}
    if refund.reason:
        answer.refund["reason"] = refund.reason
    return answer


def meter_event(event: Event, command: Any) -> dict[str, Any]:
    """Write a meter event as its command has it, and what became of it; ``billing`` is null where it was metered."""
    said: MeterEvent = command.metering.event
    event_id = ids.text("usg", event.id)
    return {
        "id": event_id,
        "object": "event",
        "type": said.type,
        "source": said.source,
        "subject": said.subject,
        "namespace": ids.known_text("org", event.merchant_id),
        "timestamp": event.timestamp,
        "idempotencyKey": event.key,
        "customerId": ids.known_text("cus", event.customer_id),
        "properties": [_property(item) for item in event.properties],
        "billing": _billing(event, event_id),
    }


def correction(made: Correction) -> dict[str, Any]:
    """Write a correction: what holds of its event from then on, and what it charged; amounts are nanos."""
    answer: dict[str, Any] = {
        "id": ids.text("cor", made.id),
        "object": "usageCorrection",
        "usageEventId": ids.text("usg", made.event.id),
        "number": made.number,
        "kind": made.kind,
        "reason": made.reason,
        "createdAt": made.created_at,
        "billing": None,
    }
    if made.event.subscription_id:
        charged = {"price": made.net, "totalTax": made.tax, "totalAmount": made.gross}
        answer["billing"] = {"currency": made.event.currency, **charged}
    if not made.is_void:
        answer["timestamp"] = made.timestamp
        answer["properties"] = [_property(item) for item in made.properties]
        if made.metadata is not None:
            answer["metadata"] = dict(sorted(made.metadata.items()))
    return answer


def corrected_event(made: Correction) -> UsageEvent:
    """Write a usage event as it was recorded, with the correction that holds.

    The correction's ``billing`` is what all of the event's corrections charged.
    """
    answer = usage_event(made.event)
    answer.correction = correction(made)
    return answer


def batch(
    commands: Sequence[RecordUsage | RefusedEvent], outcomes: Sequence[Done | Refused]
) -> tuple[int, dict[str, Any]]:
    """Write the answer to a batch of usage events, and its status: 201 when all went well, else 207."""
    status, answer = _batch(commands, outcomes, lambda command, event: usage_event(event))
    return status or 201, {"object": "batchUsageEvents", **answer}


def meter_event_batch(
    commands: Sequence[RecordUsage | RefusedEvent], outcomes: Sequence[Done | Refused]
) -> tuple[int, dict[str, Any]]:
    """Write the answer to a batch of meter events, and its status: 202 when all went well, else 207."""
    status, answer = _batch(commands, outcomes, lambda command, event: meter_event(event, command))
    return status or 202, {"object": "batchEvents", **answer}


def _batch(
    commands: Sequence[RecordUsage | RefusedEvent],
    outcomes: Sequence[Done | Refused],
    write: Callable[[Any, Any], Any],
) -> tuple[int, dict[str, Any]]:
    """Write what became of each; the status is 207 where some failed, else 0."""
    successful: list[Any] = []
    failed: list[dict[str, Any]] = []
    for index, (command, outcome) in enumerate(zip(commands, outcomes, strict=True)):
        if isinstance(outcome, Done):
            successful.append(write(command, outcome.answer))
            continue
        error = outcome.error
        failure = {"index": index, "idempotencyKey": command.key or "", "error": error.message, "code": error.code}
        if error.details:
            failure["details"] = error.details
        if errors := getattr(error, "errors", None):
            failure["errors"] = errors
        failed.append(failure)
    return (207 if failed else 0), {
        "successful": successful,
        "failed": failed,
        "summary": {"total": len(commands), "successful": len(successful), "failed": len(failed)},
    }


def granted(reservation: Reservation, customer_id: bytes) -> dict[str, Any]:
    """Write a reservation as it was when it was granted, whatever has been used of it since."""
    return {
        **_reservation(reservation, customer_id),
        "expiresAt": reservation.created_at + timedelta(seconds=reservation.ttl_seconds),
        "usedCount": 0,
        "remainingBalance": str(reservation.granted),
        "status": "open",
    }


def reservation(reservation: Reservation, customer_id: bytes) -> dict[str, Any]:
    """Write a reservation as it is; balances are digit strings of nanos."""
    return {
        **_reservation(reservation, customer_id),
        "expiresAt": reservation.expires_at,
        "usedCount": reservation.used_count,
        "remainingBalance": str(reservation.held),
        "status": reservation.state,
        "capturedAmount": str(reservation.captured),
        "releasedAmount": str(reservation.released),
    }


def _reservation(reservation: Reservation, customer_id: bytes) -> dict[str, Any]:
    metrics = []
    for metric, quantity, price, amount in reservation.lines:
        line: dict[str, Any] = {
            "billableMetricId": ids.known_text("bm", bytes.fromhex(metric)),
            "heldAmount": str(amount),
        }
        if quantity is not None:
            line["quantity"] = Decimal(quantity)
        if price is not None:
            line["price"] = price
        metrics.append(line)
    answer = {
        "id": ids.text("com", reservation.id),
        "object": "entitlement",
        "merchantId": ids.known_text("org", reservation.merchant_id),
        "customerId": ids.text("cus", customer_id),
        "subscriptionId": ids.known_text("sub", reservation.subscription_id),
        "billableMetrics": metrics,
        "createdAt": reservation.created_at,
        "maxUses": reservation.max_uses,
        "grantedAmount": str(reservation.granted),
        "region": reservation.region,
    }
    if reservation.metadata is not None:
        answer["metadata"] = dict(sorted(reservation.metadata.items()))  # the database keeps no order
    return answer

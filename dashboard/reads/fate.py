"""One usage event to its end: the request, each charge with its price, the reservation, the posting, the invoice."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.models import Charge, Counter, Entry, Invoice, PriceVersion, Refund, Settlement, Subscription
from dashboard.reads import events
from entitlements.models import Reservation
from merchants import ids
from metering.aggregation import OVER_ALL_USES
from metering.models import BillableMetric, Correction, UsageEvent


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """What one property of an event was charged, and where the ledger has it."""

    metric: str
    unit: str
    quantity: Decimal
    covered: Decimal  # the part of the quantity that is not charged, since grants gave it
    price: str
    price_id: str
    version: int
    unit_price: Decimal | None
    term: str
    net: int
    tax: int
    gross: int
    fee: int
    captured: int
    wallet_id: str
    entry_id: str  # empty until settled, and where there was nothing to post
    settled_at: datetime | None
    period: Counter | None = None  # where it is rated after the fact, with all other use of its period


@dataclass(frozen=True, slots=True)
class CorrectionLine:
    """A correction, and what it changed of the money."""

    id: str
    kind: str
    reason: str
    at: datetime
    uses: str  # what the event says from then on
    gross: int


@dataclass(frozen=True, slots=True)
class Fate:
    """Everything that is known of one event."""

    row: events.EventRow
    event: UsageEvent
    subscription: Subscription | None  # None: metered, not priced
    subscription_id: str
    charges: list[ChargeLine]
    reservation: Reservation | None
    reservation_id: str
    invoice: Invoice | None
    invoice_id: str
    refund: Refund | None
    corrections: list[CorrectionLine]
    metered: list[events.Use]  # counted, and not priced
    received: dict[str, Any]

    @property
    def customer_id(self) -> str:
        return self.row.customer_id

    @property
    def may_be_corrected(self) -> bool:
        """Whether there is anything left to take back or to amend."""
        return self.refund is None and not any(made.kind == Correction.Kind.VOID for made in self.corrections)

    @property
    def is_captured(self) -> bool:
        """Whether the reservation that the event names paid for any of it."""
        return any(charge.captured for charge in self.charges)

    @property
    def is_settled(self) -> bool:
        return all(charge.settled_at for charge in self.charges)


def of(event: UsageEvent) -> Fate:
    """Gather the fate of one event."""
    bucket = event.bucket
    charges = list(Charge.objects.filter(bucket=bucket, source_id=event.id).order_by("position"))
    subscriptions = Subscription.objects.select_related("plan", "product")
    subscription = (
        subscriptions.get(bucket=bucket, id=event.subscription_id) if event.subscription_id is not None else None
    )
    reservation = (
        Reservation.objects.filter(bucket=bucket, id=event.reservation_id).first() if event.reservation_id else None
    )
    invoice_id = charges[0].invoice_id if charges else None
    row = events.described([event], event.merchant_id)[0]
    return Fate(
        row=row,
        event=event,
        subscription=subscription,
        subscription_id=ids.text("sub", subscription.id) if subscription else "",
        charges=_lines(charges, event.merchant_id),
        reservation=reservation,
        reservation_id=ids.text("com", reservation.id) if reservation else "",
        invoice=Invoice.objects.filter(bucket=bucket, id=invoice_id).first() if invoice_id else None,
        invoice_id=ids.text("inv", invoice_id) if invoice_id else "",
        refund=Refund.objects.filter(bucket=bucket, usage_event_id=event.id).first(),
        corrections=_corrections(event),
        metered=_metered(event, row),
        received=_received(event),
    )


def _corrections(event: UsageEvent) -> list[CorrectionLine]:
    made = list(Correction.objects.filter(bucket=event.bucket, usage_event_id=event.id).order_by("number"))
    charged: dict[UUID, int] = dict.fromkeys((each.id for each in made), 0)
    if made:
        amounts = Charge.objects.filter(bucket=event.bucket, source_id__in=charged)
        for source_id, gross in amounts.values_list("source_id", "gross"):
            charged[source_id] += int(gross)
    return [
        CorrectionLine(
            id=ids.text("cor", each.id),
            kind=each.kind,
            reason=each.reason,
            at=each.created_at,
            uses=", ".join(line[1] for line in each.properties),
            gross=charged[each.id],
        )
        for each in made
    ]


def _metered(event: UsageEvent, row: events.EventRow) -> list[events.Use]:
    return [use for use, line in zip(row.uses, event.properties, strict=False) if line[3:] and "metered" in line[3]]


def _received(event: UsageEvent) -> dict[str, Any]:
    """The event as it is kept, in the API's words."""
    said: dict[str, Any] = {
        "id": ids.text(events.ID_PREFIX, event.id),
        "object": "usageEvent",
        "customerId": ids.text("cus", event.customer_id),
        "subscriptionId": ids.text("sub", event.subscription_id) if event.subscription_id else None,
        "idempotencyKey": event.idempotency_key,
        "timestamp": event.timestamp.isoformat().replace("+00:00", "Z"),
        "createdAt": event.created_at.isoformat().replace("+00:00", "Z"),
        "properties": [_property(line) for line in event.properties],
    }
    if event.reservation_id:
        said["entitlementId"] = ids.text("com", event.reservation_id)
    if event.metadata:
        said["metadata"] = event.metadata
    if event.type is not None:
        said |= {"type": event.type, "source": event.source, "subject": event.subject, "data": event.data}
    return said


def _property(line: list[Any]) -> dict[str, Any]:
    metric_id, quantity, stated, *read = line
    said = {"billableMetricId": ids.text("bm", UUID(hex=metric_id)), "quantity": quantity}
    if stated is not None:
        said["price"] = stated
    return {**said, **read[0]} if read else said


def _lines(charges: list[Charge], merchant_id: UUID) -> list[ChargeLine]:
    versions = events.price_versions(charge.price_version_id for charge in charges)
    metric_ids = {charge.metric_id for charge in charges if charge.metric_id}
    metrics = {
        metric.id: metric for metric in BillableMetric.objects.filter(merchant_id=merchant_id, id__in=metric_ids)
    }
    posted = _posted(charges)
    return [
        _line(
            charge,
            versions[charge.price_version_id],
            metrics.get(charge.metric_id) if charge.metric_id else None,
            posted.get(charge.position),
        )
        for charge in charges
    ]


def _line(
    charge: Charge, version: PriceVersion, metric: BillableMetric | None, posted: tuple[str, datetime] | None
) -> ChargeLine:
    entry_id, settled_at = posted or ("", None)
    stated = version.properties["unitPrice"] if version.properties.keys() == {"unitPrice"} else None
    return ChargeLine(
        metric=metric.name if metric else version.display_name,
        unit=metric.unit if metric else "",
        quantity=charge.quantity,
        covered=charge.covered or Decimal(0),
        price=version.display_name,
        price_id=ids.text("price", version.price_id),
        version=version.number,
        unit_price=Decimal(stated) if stated is not None else None,
        term=version.get_payment_term_display(),
        net=charge.net,
        tax=charge.tax,
        gross=charge.gross,
        fee=charge.fee,
        captured=charge.captured,
        wallet_id=ids.text("acc", charge.wallet_id),
        entry_id=entry_id,
        settled_at=settled_at,
        period=_counter(charge) if metric and metric.aggregation in OVER_ALL_USES else None,
    )


def _counter(charge: Charge) -> Counter | None:
    return Counter.objects.filter(
        bucket=charge.bucket,
        customer_id=charge.customer_id,
        period_end__gt=charge.period_start,
        period_start=charge.period_start,
        subscription_id=charge.subscription_id,
        price_version_id=charge.price_version_id,
    ).first()


def _posted(charges: list[Charge]) -> dict[int, tuple[str, datetime]]:
    """The ledger entry of each charge, by its position: settlements tile the sequence of the charge's wallet."""
    posted = {}
    for charge in charges:
        settlement = Settlement.objects.filter(
            bucket=charge.bucket, wallet_id=charge.wallet_id, first_seq__lte=charge.seq, last_seq__gte=charge.seq
        )
        entry = Entry.objects.filter(
            bucket=charge.bucket, customer_id=charge.customer_id, reference_id__in=settlement.values("id")
        ).first()
        if entry:
            posted[charge.position] = (ids.text("entry", entry.id), entry.created_at)
        elif settled_at := settlement.values_list("created_at", flat=True).first():
            posted[charge.position] = ("", settled_at)  # of charges that come to nothing
    return posted

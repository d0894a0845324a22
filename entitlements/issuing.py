"""Entitlements: issued to customers by their merchant, or by what they subscribe to (``entitlements.following``).

Everything here happens under the lock of the customer's book, and by its clock. The charging engine burns what is
granted here (``charging.units``), under the same lock.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from billing import subscription_reads
from customers import books
from customers.models import Book
from entitlements import burning, features, templates
from entitlements.models import Entitlement, Feature, Grant, Movement
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import Organization

BACKDATED_MAX = timedelta(days=366)
AHEAD_MAX = timedelta(days=366)

Status = Entitlement.Status


@dataclass(frozen=True, kw_only=True)
class NewEntitlement:
    """What a merchant asks for; ``template`` in the contract's words, as yet unread."""

    feature_id: uuid.UUID
    template: Any
    active_from: datetime | None = None  # None: now
    active_to: datetime | None = None
    subscription_id: uuid.UUID | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def issue(
    *, merchant_id: uuid.UUID, customer_id: uuid.UUID, new: NewEntitlement, actor: Actor | None = None
) -> Entitlement:
    """Entitle a customer to a feature; what a person does is in the audit log.

    Raises:
        NotFound: the merchant has no such customer, feature or subscription of theirs.
        ValidationFailed: the template does not fit the feature, or a time is out of bounds.
        Unprocessable: the feature is metered, and it is not known by what.
        Conflict: the customer is entitled to the feature already, or was, and reservations hold units of that still.
    """
    feature = features.get(merchant_id=merchant_id, feature_id=new.feature_id)
    template = templates.parse(feature.type, new.template, aggregation=features.aggregation_of(feature))
    with transaction.atomic():
        book, now = lock(merchant_id, customer_id)
        if new.subscription_id is not None:
            subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=new.subscription_id)
            if subscription.customer_id != customer_id:
                raise NotFound("subscriptionId names nothing that exists here.", details={"field": "subscriptionId"})
        active_from = new.active_from or now
        _check_times(active_from, new.active_to, now)
        for ended in active(book, feature).filter(active_to__lte=now):
            _check_nothing_held(ended)  # the engine would look for it in the new one
        if (live := find_live(book, feature, now)) is not None:
            details = {"entitlementId": ids.text("ent", live.id)}
            message = "The customer is entitled to this feature already."
            raise Conflict(message, code="ENTITLEMENT_EXISTS", details=details)
        made = write(
            book,
            feature,
            template,
            active_from=active_from,
            active_to=new.active_to,
            subscription_id=new.subscription_id,
            metadata=new.metadata,
            now=now,
        )
        record(made, actor, "entitlement.issued", {"feature": feature.key, "template": template}, now)
        return made


def cancel(*, merchant_id: uuid.UUID, entitlement_id: uuid.UUID, actor: Actor | None = None) -> Entitlement:
    """End an entitlement now, for good; what it has left is lost. Doing it again changes nothing.

    Raises:
        NotFound: the merchant has no such entitlement.
        Conflict: reservations hold units of it.
    """
    with transaction.atomic():
        entitlement, book, now = lock_one(merchant_id, entitlement_id)
        if entitlement.status != Status.ACTIVE:
            return entitlement
        _check_nothing_held(entitlement)
        end(book, entitlement, now)
        record(entitlement, actor, "entitlement.ended", {"feature": entitlement.feature.key}, now)
        return entitlement


def record(entitlement: Entitlement, actor: Actor | None, action: str, changes: dict[str, Any], now: datetime) -> None:
    """Write into the audit log what a person did to an entitlement; what a program does has its own record."""
    if actor is not None:
        audit.append(
            merchant_id=entitlement.merchant_id,
            actor=actor,
            action=action,
            target=ids.text("ent", entitlement.id),
            changes=changes,
            now=now,
        )


# --- under the lock --------------------------------------------------------------------------------------


def lock(merchant_id: uuid.UUID, customer_id: uuid.UUID) -> tuple[Book, datetime]:
    """Lock a customer's book, and tell the customer's time; raises NotFound, also for another merchant's."""
    book, now = books.lock(ids.bucket_of(customer_id), customer_id)
    if book.merchant_id != merchant_id or book.closed_at is not None:
        raise NotFound()
    return book, now


def lock_one(merchant_id: uuid.UUID, entitlement_id: uuid.UUID) -> tuple[Entitlement, Book, datetime]:
    """Lock the book of an entitlement, and only then read it; raises NotFound, also for another merchant's."""
    rows = Entitlement.objects.select_related("feature__metric").filter(
        bucket=ids.bucket_of(entitlement_id), id=entitlement_id, merchant_id=merchant_id
    )
    if (seen := rows.first()) is None:
        raise NotFound("There is no such entitlement.")
    book, now = lock(merchant_id, seen.customer_id)
    return rows.get(), book, now


def add_grant(entitlement: Entitlement, allowance: burning.Allowance, *, now: datetime, **terms: Any) -> Grant:
    """Write a grant, add it to an allowance that is up to date, and note the movement; the caller saves the state."""
    grant = Grant.objects.create(
        bucket=entitlement.bucket,
        customer_id=entitlement.customer_id,
        id=ids.new(entitlement.bucket),
        merchant_id=entitlement.merchant_id,
        entitlement_id=entitlement.id,
        created_at=now,
        **terms,
    )
    burning.grant(allowance, pool_of(grant))
    note(entitlement, allowance, Movement.Kind.GRANTED, grant.id, grant.amount, [], now)
    return grant


def pool_of(grant: Grant) -> burning.Pool:
    """Return a grant as nothing of it has been used."""
    return burning.Pool(
        grant_id=grant.id.hex,
        amount=grant.amount,
        left=grant.amount,
        priority=grant.priority,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        least=grant.reset_least,
        most=grant.reset_most,
        recurs=grant.recurrence is not None,
    )


def note(
    entitlement: Entitlement,
    allowance: burning.Allowance,
    kind: str,
    source_id: uuid.UUID,
    units: Decimal,
    draws: burning.Draws,
    now: datetime,
    *,
    start: datetime | None = None,
) -> None:
    """Write down a movement that was carried out on an allowance, and keep its state with the entitlement, unsaved.

    It counts in the usage period that began at ``start``, else in the present one.
    """
    entitlement.seq += 1
    entitlement.state = burning.encode(allowance).decode()
    Movement.objects.create(
        bucket=entitlement.bucket,
        customer_id=entitlement.customer_id,
        entitlement_id=entitlement.id,
        seq=entitlement.seq,
        kind=kind,
        source_id=source_id,
        units=units,
        draws=[[each, str(part)] for each, part in draws],
        period_start=start or allowance.start,
        created_at=now,
    )


def _check_times(active_from: datetime, active_to: datetime | None, now: datetime) -> None:
    if not now - BACKDATED_MAX <= active_from <= now + AHEAD_MAX:
        message = (
            f"activeFrom may lie at most {BACKDATED_MAX.days} days in the past and {AHEAD_MAX.days} days in the future."
        )
        raise ValidationFailed(message, field="activeFrom", code="START_OUT_OF_RANGE")
    if active_to is not None and active_to <= max(active_from, now):
        message = "activeTo must lie in the future and after activeFrom."
        raise ValidationFailed(message, field="activeTo", code="ENDS_BEFORE_START")


def find_live(book: Book, feature: Feature, now: datetime) -> Entitlement | None:
    """Return the entitlement that a customer has to a feature; one whose time is up is put away."""
    mine = active(book, feature)
    mine.filter(active_to__lte=now).update(status=Status.EXPIRED)
    return mine.first()


def active(book: Book, feature: Feature) -> QuerySet[Entitlement]:
    """Select the one entitlement to a feature that nobody has put away, also where its time is up."""
    return Entitlement.objects.filter(
        bucket=book.bucket, customer_id=book.customer_id, feature=feature, status=Status.ACTIVE
    )


def _check_nothing_held(entitlement: Entitlement) -> None:
    if entitlement.state is not None and (held := burning.decode(entitlement.state).held):
        message = "Reservations hold units of this entitlement; release them first."
        raise Conflict(message, code="UNITS_HELD", details={"held": format(held.normalize(), "f")})


def write(
    book: Book,
    feature: Feature,
    template: Mapping[str, Any],
    *,
    active_from: datetime,
    active_to: datetime | None,
    subscription_id: uuid.UUID | None,
    metadata: dict[str, str],
    now: datetime,
) -> Entitlement:
    """Entitle a customer who is not entitled to a feature; the caller holds the lock of the book."""
    entitlement = Entitlement(
        bucket=book.bucket,
        customer_id=book.customer_id,
        id=ids.new(book.bucket),
        merchant_id=book.merchant_id,
        feature=feature,
        subscription_id=subscription_id,
        status=Status.ACTIVE,
        active_from=active_from,
        active_to=active_to,
        template=template,
        metadata=metadata,
        created_at=now,
    )
    if feature.type == Feature.Type.METERED:
        _open(entitlement, feature, now)
        book.is_entitled = True
        book.save(update_fields=["is_entitled"])
    entitlement.save(force_insert=True)
    return entitlement


def _open(entitlement: Entitlement, feature: Feature, now: datetime) -> None:
    """Begin the allowance of a metered entitlement, with the grant that its template issues."""
    if feature.metric_id is None:
        message = "The feature is metered, and no metric is named: give it one, or put it into a price of one."
        raise Unprocessable(message, code="FEATURE_HAS_NO_METRIC", details={"field": "featureId"})
    timezone = Organization.objects.values_list("timezone", flat=True).get(merchants__id=entitlement.merchant_id)
    template = entitlement.template
    allowance = burning.opened(
        templates.terms(
            template, active_from=entitlement.active_from, active_to=entitlement.active_to, timezone=timezone
        )
    )
    burning.roll(allowance, now)
    entitlement.metric_id = feature.metric_id
    entitlement.state = burning.encode(allowance).decode()
    issued = templates.issue(template)
    if issued is not None:
        add_grant(
            entitlement,
            allowance,
            now=now,
            amount=issued.amount,
            priority=issued.priority,
            effective_at=entitlement.active_from,
            recurrence=template["usagePeriod"]["interval"],
            reset_least=issued.least,
            reset_most=issued.most,
        )


def end(book: Book, entitlement: Entitlement, at: datetime) -> None:
    """End an entitlement; the caller holds the lock of the book."""
    entitlement.status, entitlement.canceled_at = Status.CANCELED, at
    entitlement.save(update_fields=["status", "canceled_at"])
    metered = Entitlement.objects.filter(
        bucket=book.bucket, customer_id=book.customer_id, status=Status.ACTIVE, metric_id__isnull=False
    )
    if book.is_entitled and not metered.exists():
        book.is_entitled = False
        book.save(update_fields=["is_entitled"])

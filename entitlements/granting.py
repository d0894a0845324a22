"""Grants: units that merchants give to a metered entitlement, and take away again where nobody has used them.

Under the lock of the customer's book, and by its clock. ``entitlements.burning`` says what becomes of them.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from entitlements import burning, features, issuing, templates
from entitlements.models import Entitlement, Grant, Movement
from merchants import ids, outbox
from merchants.audit import Actor
from merchants.errors import Conflict, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed


@dataclass(frozen=True, kw_only=True)
class NewGrant:
    """What a merchant asks for; ``fingerprint`` tells one request from another under the same key."""

    amount: Decimal
    key: str
    fingerprint: bytes
    effective_at: datetime | None = None  # None: now
    expires_at: datetime | None = None
    priority: int = templates.PRIORITY_DEFAULT
    reset_least: Decimal = Decimal(0)
    reset_most: Decimal | None = None  # None: all of it rolls over


def create(*, merchant_id: uuid.UUID, entitlement_id: uuid.UUID, new: NewGrant, actor: Actor | None = None) -> Grant:
    """Grant units, or find the grant that was made under the key; they cover what is used from now on.

    Raises:
        NotFound: the merchant has no such entitlement.
        ValidationFailed: a time or number is out of bounds.
        Unprocessable: the entitlement is not metered.
        Conflict: it has ended, has as many grants as there may be, or the key was used for another grant.
    """
    with transaction.atomic():
        entitlement, _, now = issuing.lock_one(merchant_id, entitlement_id)
        made = _grants(entitlement).filter(idempotency_key=new.key).first()
        if made is not None:
            if bytes(made.fingerprint or b"") != new.fingerprint:
                raise IdempotencyConflict(details={"id": ids.text("grt", made.id)})
            return made
        allowance = open_live(entitlement, now)
        check(new, entitlement, allowance, now)
        grant = issuing.add_grant(
            entitlement,
            allowance,
            now=now,
            idempotency_key=new.key,
            fingerprint=new.fingerprint,
            amount=new.amount,
            priority=new.priority,
            effective_at=new.effective_at or max(now, entitlement.active_from),
            expires_at=new.expires_at,
            reset_least=new.reset_least,
            reset_most=new.reset_most,
        )
        entitlement.save(update_fields=["seq", "state"])
        said = {"grant": ids.text("grt", grant.id), "units": str(grant.amount)}
        issuing.record(entitlement, actor, "entitlement.granted", said, now)
        _tell(grant, entitlement.merchant_id, now)
        return grant


def _tell(grant: Grant, merchant_id: uuid.UUID, now: datetime) -> None:
    public_id = ids.text("grt", grant.id)
    outbox.record(
        merchant_id=merchant_id,
        type="grant.created.v0",
        data={
            "id": public_id,
            "object": "grant",
            "merchantId": ids.text("org", merchant_id),
            "customerId": ids.text("cus", grant.customer_id),
            "entitlementId": ids.text("ent", grant.entitlement_id),
            "amount": f"{grant.amount.normalize():f}",
            "priority": grant.priority,
            "effectiveAt": outbox.instant(grant.effective_at),
            "expiresAt": None if grant.expires_at is None else outbox.instant(grant.expires_at),
            "createdAt": outbox.instant(grant.created_at),
        },
        object_id=public_id,
        now=now,
        bucket=grant.bucket,
    )


def void(
    *, merchant_id: uuid.UUID, entitlement_id: uuid.UUID, grant_id: uuid.UUID, actor: Actor | None = None
) -> Grant:
    """Take away what is left of a grant, for good; what was used or is held of it stays. Again changes nothing.

    Raises:
        NotFound: the merchant has no such entitlement, or it no such grant.
        Conflict: the entitlement has ended.
    """
    with transaction.atomic():
        entitlement, _, now = issuing.lock_one(merchant_id, entitlement_id)
        grant = get(entitlement=entitlement, grant_id=grant_id)
        if grant.voided_at is not None:
            return grant
        allowance = open_live(entitlement, now)
        taken = burning.void(allowance, grant.id.hex)
        issuing.note(entitlement, allowance, Movement.Kind.VOIDED, grant.id, burning.total(taken), taken, now)
        entitlement.save(update_fields=["seq", "state"])
        grant.voided_at = now
        grant.save(update_fields=["voided_at"])
        said = {"grant": ids.text("grt", grant.id), "units": str(burning.total(taken))}
        issuing.record(entitlement, actor, "entitlement.grant_voided", said, now)
        return grant


def search(*, entitlement: Entitlement, with_voided: bool = False) -> QuerySet[Grant]:
    """Select an entitlement's grants, the oldest first."""
    found = _grants(entitlement)
    if not with_voided:
        found = found.filter(voided_at=None)
    return found.order_by("created_at", "id")


def get(*, entitlement: Entitlement, grant_id: uuid.UUID) -> Grant:
    """Find a grant of an entitlement; raises NotFound."""
    grant = _grants(entitlement).filter(id=grant_id).first()
    if grant is None:
        raise NotFound("There is no such grant.")
    return grant


def _grants(entitlement: Entitlement) -> QuerySet[Grant]:
    return Grant.objects.filter(bucket=entitlement.bucket, entitlement_id=entitlement.id)


def open_live(entitlement: Entitlement, now: datetime) -> burning.Allowance:
    """Read what a live metered entitlement has left, and bring it to the present; raises Unprocessable, Conflict."""
    if entitlement.state is None:
        raise Unprocessable("Only a metered entitlement has grants.", code="NOT_METERED")
    if entitlement.status != Entitlement.Status.ACTIVE or (entitlement.active_to and entitlement.active_to <= now):
        raise Conflict("The entitlement has ended.", code="ENTITLEMENT_ENDED")
    allowance = burning.decode(entitlement.state)
    burning.roll(allowance, now)
    return allowance


def check(new: NewGrant, entitlement: Entitlement, allowance: burning.Allowance, now: datetime) -> None:
    """Refuse what makes no grant of an entitlement now; raises ValidationFailed, Conflict."""
    aggregation = features.aggregation_of(entitlement.feature)
    for name, number in (("amount", new.amount), ("resetMinRollover", new.reset_least)):
        templates.units(number, name, aggregation, zero=name != "amount")
    if new.reset_most is not None:
        templates.units(new.reset_most, "resetMaxRollover", aggregation, zero=True)
        if new.reset_least > new.reset_most:
            message = "resetMinRollover may not be more than resetMaxRollover."
            raise ValidationFailed(message, field="resetMinRollover", code="CONTRADICTION")
    effective_at = new.effective_at or now
    if effective_at < min(allowance.start, entitlement.active_from):
        message = "effectiveAt may not lie before the present usage period."
        raise ValidationFailed(message, field="effectiveAt", code="EFFECTIVE_TOO_EARLY")
    if new.expires_at is not None and new.expires_at <= max(effective_at, now):
        message = "expiresAt must lie in the future and after effectiveAt."
        raise ValidationFailed(message, field="expiresAt", code="EXPIRES_BEFORE_EFFECT")
    if len(allowance.pools) >= burning.POOLS_MAX:
        message = f"An entitlement may have at most {burning.POOLS_MAX} grants that have something left."
        raise Conflict(message, code="TOO_MANY_GRANTS")

"""Where a merchant wants to be told: endpoints, their secrets, and when one is given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from merchants import audit, ids, mailing, outbound, outbox, sealing
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, ValidationFailed
from merchants.models import Delivery, Endpoint, Membership, Merchant, Mode, Role
from merchants.webhooks import catalogue, signing

PREFIX = "we"
ENDPOINTS_MAX = 20
OVERLAP = timedelta(hours=24)
OVERLAP_MAX = timedelta(days=7)
ENDED = "The endpoint was disabled."
TOLD_ROLES = (Role.OWNER, Role.ADMIN, Role.DEVELOPER)
REASONS = {
    Endpoint.Disabled.GONE: "It answered 410 Gone.",
    Endpoint.Disabled.FAILING: "Nothing could be delivered to it for five days.",
}


@dataclass(frozen=True, slots=True)
class Revealed:
    """An endpoint with its secret, to be shown once."""

    endpoint: Endpoint
    secret: str


def _about(endpoint: Endpoint) -> str:
    return f"merchants_endpoint:{endpoint.id}"


sealing.register(Endpoint, "secret", _about)
sealing.register(Endpoint, "previous_secret", _about)


# --- reading ---------------------------------------------------------------------------------------------


def of(*, merchant_id: UUID) -> QuerySet[Endpoint]:
    """Return a merchant's endpoints, the oldest first."""
    return Endpoint.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("created_at", "id")


def find(*, merchant_id: UUID, endpoint_id: UUID) -> Endpoint:
    """Return an endpoint of a merchant; raises NotFound."""
    endpoint = of(merchant_id=merchant_id).filter(id=endpoint_id).first()
    if endpoint is None:
        raise NotFound()
    return endpoint


def text_id(endpoint: Endpoint) -> str:
    """Write an endpoint's public id."""
    return ids.text(PREFIX, endpoint.id)


def secret_of(endpoint: Endpoint) -> str:
    """Open an endpoint's secret."""
    return sealing.unseal(endpoint.secret, about=_about(endpoint))


def signing_keys(endpoint: Endpoint, now: datetime) -> list[str]:
    """Open the secrets that sign now, the newest first."""
    keys = [secret_of(endpoint)]
    if endpoint.previous_secret is not None and endpoint.previous_until is not None and now < endpoint.previous_until:
        keys.append(sealing.unseal(endpoint.previous_secret, about=_about(endpoint)))
    return keys


# --- changing --------------------------------------------------------------------------------------------


def create(
    *,
    merchant_id: UUID,
    url: str,
    event_types: Sequence[str] = (),
    description: str = "",
    actor: Actor,
    now: datetime,
) -> Revealed:
    """Add an endpoint with a secret of its own.

    Args:
        event_types: what it listens for; none is everything.

    Raises:
        ValidationFailed: nothing may be sent there, or a type is not in the catalogue.
        Conflict: there are as many as there may be.
    """
    merchant = Merchant.objects.get(id=merchant_id)
    endpoint = Endpoint(
        id=ids.new(),
        merchant=merchant,
        url=outbound.check_url(url, "url", is_live=merchant.mode == Mode.LIVE),
        description=description,
        event_types=_checked(event_types),
        secret_at=now,
        created_at=now,
        updated_at=now,
    )
    secret = signing.new_secret()
    endpoint.secret = sealing.seal(secret, about=_about(endpoint))
    with transaction.atomic():
        Merchant.objects.select_for_update(no_key=True).get(id=merchant_id)  # counts and adds one at a time
        if of(merchant_id=merchant_id).count() >= ENDPOINTS_MAX:
            raise Conflict(f"There are {ENDPOINTS_MAX} endpoints already.", code="TOO_MANY_WEBHOOKS")
        endpoint.save(force_insert=True)
        _note(endpoint, "webhook.created", actor, now, url=endpoint.url, eventTypes=endpoint.event_types)
    return Revealed(endpoint, secret)


def change(
    *,
    merchant_id: UUID,
    endpoint_id: UUID,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
    actor: Actor,
    now: datetime,
) -> Endpoint:
    """Change what is given of an endpoint. Disabling ends what is on its way; enabling begins with what is new.

    Raises:
        NotFound: the merchant has no such endpoint.
        ValidationFailed: nothing may be sent there, or a type is not in the catalogue.
    """
    with transaction.atomic():
        endpoint = _locked(merchant_id, endpoint_id)
        before = _facts(endpoint)
        if url is not None:
            endpoint.url = outbound.check_url(url, "url", is_live=endpoint.merchant.mode == Mode.LIVE)
        if event_types is not None:
            endpoint.event_types = _checked(event_types)
        if description is not None:
            endpoint.description = description
        if enabled is False and endpoint.disabled_at is None:
            _end(endpoint, Endpoint.Disabled.BY_HAND, now)
        if enabled and endpoint.disabled_at is not None:
            endpoint.disabled_at, endpoint.disabled_reason = None, ""
            endpoint.failing_since, endpoint.is_slow = None, False
        endpoint.updated_at = now
        endpoint.save()
        after = _facts(endpoint)
        changed = {name: [was, after[name]] for name, was in before.items() if was != after[name]}
        if changed:
            _note(endpoint, "webhook.changed", actor, now, **changed)
    return endpoint


def rotate(
    *, merchant_id: UUID, endpoint_id: UUID, overlap: timedelta = OVERLAP, actor: Actor, now: datetime
) -> Revealed:
    """Give an endpoint a new secret; the old one signs beside it until the overlap is over.

    Raises:
        NotFound: the merchant has no such endpoint.
    """
    secret = signing.new_secret()
    with transaction.atomic():
        endpoint = _locked(merchant_id, endpoint_id)
        endpoint.previous_secret = endpoint.secret if overlap else None
        endpoint.previous_until = now + overlap if overlap else None
        endpoint.secret = sealing.seal(secret, about=_about(endpoint))
        endpoint.secret_at = endpoint.updated_at = now
        endpoint.save()
        hours = int(overlap.total_seconds() // 3600)
        _note(endpoint, "webhook.secret_rotated", actor, now, overlapHours=hours)
    return Revealed(endpoint, secret)


def remove(*, merchant_id: UUID, endpoint_id: UUID, actor: Actor, now: datetime) -> None:
    """Remove an endpoint; nothing is sent to it any more. What was delivered stays on record.

    Raises:
        NotFound: the merchant has no such endpoint.
    """
    with transaction.atomic():
        endpoint = _locked(merchant_id, endpoint_id)
        _end(endpoint, Endpoint.Disabled.BY_HAND, now)
        endpoint.deleted_at = endpoint.updated_at = now
        endpoint.save()
        _note(endpoint, "webhook.deleted", actor, now, url=endpoint.url)


def test(*, merchant_id: UUID, endpoint_id: UUID, now: datetime) -> UUID:
    """Have a test event sent to one endpoint; return the event's id.

    Raises:
        NotFound: the merchant has no such endpoint.
        Conflict: it is disabled.
    """
    with transaction.atomic():
        endpoint = _locked(merchant_id, endpoint_id)
        if endpoint.disabled_at is not None:
            raise Conflict("The endpoint is disabled; enable it first.", code="WEBHOOK_DISABLED")
        public_id = text_id(endpoint)
        said = {"merchantId": ids.text("org", merchant_id), "webhookId": public_id, "message": "It works."}
        return outbox.record(
            merchant_id=merchant_id,
            type=catalogue.TEST,
            data={"object": "test", **said},
            object_id=public_id,
            now=now,
        )


def give_up(endpoint: Endpoint, reason: Endpoint.Disabled, now: datetime) -> None:
    """Disable an endpoint, under its lock, and tell those who look after it."""
    if endpoint.disabled_at is not None:
        return
    _end(endpoint, reason, now)
    endpoint.updated_at = now
    endpoint.save()
    _note(endpoint, "webhook.disabled", audit.SYSTEM, now, reason=reason.value, url=endpoint.url)
    organization = endpoint.merchant.organization
    public_id = text_id(endpoint)
    test = "test/" if endpoint.merchant.mode == Mode.TEST else ""
    people = Membership.objects.filter(
        organization=organization, state=Membership.State.ACTIVE, role__in=TOLD_ROLES
    ).select_related("user")
    for person in people:
        mailing.queue(
            merchant_id=endpoint.merchant_id,
            template="endpoint_disabled",
            to=person.user.email,
            context={
                "reason": REASONS[reason],
                "endpoint": endpoint.url,
                "date": f"{now:%d %B %Y %H:%M} UTC",
                "url": f"{settings.PUBLIC_URL}/{organization.slug}/{test}webhooks/{public_id}",
            },
            now=now,
            key=f"endpoint_disabled:{public_id}:{now.timestamp()}:{person.user_id}",
        )


def locked(endpoint_id: UUID) -> Endpoint:
    """Return an endpoint, also a removed one, under its lock."""
    rows = Endpoint.objects.select_for_update(no_key=True, of=("self",)).select_related("merchant__organization")
    return rows.get(id=endpoint_id)


def _locked(merchant_id: UUID, endpoint_id: UUID) -> Endpoint:
    find(merchant_id=merchant_id, endpoint_id=endpoint_id)
    endpoint = locked(endpoint_id)
    if endpoint.deleted_at is not None:
        raise NotFound()
    return endpoint


def _checked(event_types: Sequence[str]) -> list[str]:
    known = {each.name for each in catalogue.CHOOSABLE}
    unknown = [name for name in event_types if name not in known]
    if unknown:
        message = f"eventTypes: {unknown[0]} is not in the catalogue of events; leave eventTypes out for all of them."
        raise ValidationFailed(message, field="eventTypes", code="UNKNOWN_EVENT_TYPE")
    return sorted(set(event_types))


def _end(endpoint: Endpoint, reason: Endpoint.Disabled, now: datetime) -> None:
    if endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = now, reason
    pending = Delivery.objects.filter(merchant_id=endpoint.merchant_id, endpoint=endpoint, state=Delivery.State.PENDING)
    pending.update(state=Delivery.State.FAILED, last_error=ENDED, finished_at=now)


def _facts(endpoint: Endpoint) -> dict[str, object]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "eventTypes": endpoint.event_types,
        "enabled": endpoint.disabled_at is None,
    }


def _note(endpoint: Endpoint, action: str, actor: Actor, now: datetime, **changes: object) -> None:
    target = text_id(endpoint)
    audit.append(merchant_id=endpoint.merchant_id, actor=actor, action=action, target=target, changes=changes, now=now)

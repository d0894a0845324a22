"""Deliveries: claimed by whoever sends them, marked with what came of it, and sent again on demand.

A claim is a lease and a token. The attempt is counted with the claim, before anything is sent, so that a delivery
whose sender dies is tried again, but not for ever; one who comes back after the lease has passed on finds that the
token is not theirs any more.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet

from merchants import ids
from merchants.errors import Conflict, NotFound
from merchants.models import Delivery, DeliveryAttempt, Endpoint, Event, ListedEvent, Mode
from merchants.webhooks import catalogue, endpoints, fairness, listing, schedule
from merchants.webhooks.fairness import Waiting

PREFIX = "whd"
LEASE = timedelta(seconds=90)  # a call takes 15 at most; the rest is for a machine that is slow
GIVE_UP_AFTER = timedelta(days=5)
SLOW_MILLISECONDS = 3_000
RESPONSE_LENGTH_MAX = 1_000
ERROR_LENGTH_MAX = 200
REPLAYED_MAX = 10_000
GONE = 410

State = Delivery.State


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be sent where, by who holds the token."""

    merchant_id: uuid.UUID
    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    token: uuid.UUID
    number: int  # of the attempt
    event_id: str
    body: bytes
    url: str
    keys: list[str]
    is_live: bool
    is_troubled: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt. Without a status there was no answer, and ``error`` says why."""

    at: datetime
    milliseconds: int
    status: int | None = None
    error: str = ""
    response: str = ""
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


# --- claiming --------------------------------------------------------------------------------------------

# Endpoints with something pending, found by hopping along the index: as many probes as there are such endpoints.
_WAITING = """
WITH RECURSIVE pending AS (
    (SELECT endpoint_id FROM merchants_delivery WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT delivery.endpoint_id FROM merchants_delivery AS delivery
            WHERE delivery.state = 'pending' AND delivery.endpoint_id > pending.endpoint_id
            ORDER BY delivery.endpoint_id LIMIT 1)
    FROM pending WHERE pending.endpoint_id IS NOT NULL
)
SELECT endpoint.id, endpoint.merchant_id, due.count, busy.count, due.since,
       endpoint.failing_since IS NOT NULL OR endpoint.is_slow
FROM pending
JOIN merchants_endpoint AS endpoint ON endpoint.id = pending.endpoint_id
CROSS JOIN LATERAL (
    SELECT count(*) AS count, min(first.next_at) AS since
    FROM (SELECT next_at FROM merchants_delivery
          WHERE endpoint_id = endpoint.id AND state = 'pending' AND next_at <= %(now)s ORDER BY next_at LIMIT %(most)s
         ) AS first
) AS due
CROSS JOIN LATERAL (
    SELECT count(*) AS count FROM merchants_delivery
    WHERE endpoint_id = endpoint.id AND lease_until IS NOT NULL AND lease_until > %(now)s
) AS busy
WHERE due.count > 0 AND endpoint.disabled_at IS NULL
ORDER BY due.since
LIMIT %(endpoints)s
"""

# While it is being sent a delivery is due when its lease ends. MATERIALIZED: asked again within a join, the question
# skips what it has locked before, and finds the next ones.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT next.merchant_id, next.id
    FROM unnest(%(endpoints)s::uuid[], %(counts)s::int[]) AS share (endpoint_id, count)
    CROSS JOIN LATERAL (
        SELECT merchant_id, id FROM merchants_delivery
        WHERE endpoint_id = share.endpoint_id AND state = 'pending' AND next_at <= %(now)s
        ORDER BY next_at LIMIT share.count FOR UPDATE SKIP LOCKED
    ) AS next
)
UPDATE merchants_delivery AS delivery
SET attempts = delivery.attempts + 1, lease_until = %(until)s, next_at = %(until)s, lease_token = %(token)s
FROM due
WHERE delivery.merchant_id = due.merchant_id AND delivery.id = due.id
RETURNING delivery.merchant_id, delivery.id, delivery.endpoint_id, delivery.attempts, delivery.event_bucket,
          delivery.event_id
"""

ENDPOINTS_AT_ONCE = 1_000


class _Claimed(NamedTuple):
    merchant_id: uuid.UUID
    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID
    number: int
    event_bucket: int
    event_id: uuid.UUID


def claim(*, free: int, slots: int, troubled_busy: int, now: datetime) -> list[Claim]:
    """Take what is due, fairly, and count an attempt of each.

    Args:
        free, slots, troubled_busy: see ``fairness.share``.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        limits: dict[str, Any] = {"now": now, "most": fairness.PER_ENDPOINT, "endpoints": ENDPOINTS_AT_ONCE}
        cursor.execute(_WAITING, limits)
        waiting = [Waiting(*row) for row in cursor.fetchall()]
        if not waiting:
            return []
        # Whoever claims for an endpoint locks it; what they took is seen by the statements after the lock.
        locked = Endpoint.objects.select_for_update(no_key=True, skip_locked=True).filter(
            id__in=[each.endpoint_id for each in waiting], disabled_at=None
        )
        mine = {endpoint.id: endpoint for endpoint in locked.order_by("id")}
        cursor.execute(_WAITING, limits)
        waiting = [each for row in cursor.fetchall() if (each := Waiting(*row)).endpoint_id in mine]
        given = fairness.share(waiting, free=free, slots=slots, troubled_busy=troubled_busy)
        token = ids.new()
        cursor.execute(
            _CLAIM,
            {
                "now": now,
                "until": now + LEASE,
                "token": token,
                "endpoints": list(given),
                "counts": list(given.values()),
            },
        )
        claimed = [_Claimed(*row) for row in cursor.fetchall()]
        return _claims(claimed, token, now)


def _claims(claimed: list[_Claimed], token: uuid.UUID, now: datetime) -> list[Claim]:
    rows = Endpoint.objects.select_related("merchant").in_bulk({each.endpoint_id for each in claimed})
    keys = {endpoint_id: endpoints.signing_keys(endpoint, now) for endpoint_id, endpoint in rows.items()}
    places = [(each.event_bucket, each.event_id) for each in claimed]
    bodies = {event.id: event.body for event in Event.objects.filter(pk__in=places)}
    return [
        Claim(
            merchant_id=each.merchant_id,
            delivery_id=each.delivery_id,
            endpoint_id=each.endpoint_id,
            token=token,
            number=each.number,
            event_id=ids.text("evt", each.event_id),
            body=bodies[each.event_id].encode(),
            url=rows[each.endpoint_id].url,
            keys=keys[each.endpoint_id],
            is_live=rows[each.endpoint_id].merchant.mode == Mode.LIVE,
            is_troubled=rows[each.endpoint_id].failing_since is not None or rows[each.endpoint_id].is_slow,
        )
        for each in claimed
    ]


# --- marking ---------------------------------------------------------------------------------------------


def mark(claim: Claim, result: Result, now: datetime) -> None:
    """Write down what came of an attempt, and when the next one is due, if there is one."""
    with transaction.atomic():
        endpoint = endpoints.locked(claim.endpoint_id)
        DeliveryAttempt.objects.create(
            merchant_id=claim.merchant_id,
            delivery_id=claim.delivery_id,
            number=claim.number,
            at=result.at,
            milliseconds=result.milliseconds,
            status=result.status,
            error=result.error[:ERROR_LENGTH_MAX],
            response=result.response[:RESPONSE_LENGTH_MAX],
        )
        _mark_delivery(claim, result, now)
        _mark_endpoint(endpoint, result, now)


def _mark_delivery(claim: Claim, result: Result, now: datetime) -> None:
    place = Delivery.objects.filter(merchant_id=claim.merchant_id, id=claim.delivery_id, lease_token=claim.token)
    delivery = place.first()
    if delivery is None:  # the lease has passed on
        return
    delivery.lease_token = delivery.lease_until = None
    delivery.last_status, delivery.last_error = result.status, result.error[:ERROR_LENGTH_MAX]
    if result.is_success:
        delivery.state, delivery.finished_at = State.DELIVERED, now
    elif delivery.state == State.PENDING:  # else it was ended meanwhile
        delivery.step += 1
        pause = schedule.pause(step=delivery.step, retry_after=result.retry_after)
        if pause is None or result.status == GONE:
            delivery.state, delivery.finished_at = State.FAILED, now
        else:
            delivery.next_at = now + pause
    delivery.save()


def _mark_endpoint(endpoint: Endpoint, result: Result, now: datetime) -> None:
    failing_since = None if result.is_success else endpoint.failing_since or result.at
    is_slow = result.milliseconds >= SLOW_MILLISECONDS
    if (failing_since, is_slow) != (endpoint.failing_since, endpoint.is_slow):
        endpoint.failing_since, endpoint.is_slow = failing_since, is_slow
        endpoint.save(update_fields=["failing_since", "is_slow"])
    if result.status == GONE:
        endpoints.give_up(endpoint, Endpoint.Disabled.GONE, now)
    elif failing_since is not None and now - failing_since >= GIVE_UP_AFTER:
        endpoints.give_up(endpoint, Endpoint.Disabled.FAILING, now)


# --- reading, and sending again --------------------------------------------------------------------------


def of(*, merchant_id: uuid.UUID, endpoint_id: uuid.UUID, state: str | None = None) -> QuerySet[Delivery]:
    """Return what was and is sent to an endpoint, the newest first; raises NotFound."""
    endpoint = endpoints.find(merchant_id=merchant_id, endpoint_id=endpoint_id)
    rows = Delivery.objects.filter(merchant_id=merchant_id, endpoint=endpoint).order_by("-created_at", "id")
    return rows if state is None else rows.filter(state=state)


def find(*, merchant_id: uuid.UUID, endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> Delivery:
    """Return a delivery to an endpoint; raises NotFound."""
    delivery = of(merchant_id=merchant_id, endpoint_id=endpoint_id).filter(id=delivery_id).first()
    if delivery is None:
        raise NotFound()
    return delivery


def attempts_of(delivery: Delivery) -> list[DeliveryAttempt]:
    """Return what each attempt came to, the newest first."""
    made = DeliveryAttempt.objects.filter(merchant_id=delivery.merchant_id, delivery_id=delivery.id)
    return list(made.order_by("-number"))


def body_of(delivery: Delivery) -> str:
    """Return what is sent, to the byte."""
    return Event.objects.get(bucket=delivery.event_bucket, id=delivery.event_id).body


def resend(*, merchant_id: uuid.UUID, endpoint_id: uuid.UUID, delivery_id: uuid.UUID, now: datetime) -> Delivery:
    """Send a delivery again, now, whatever became of it; its schedule begins anew.

    Raises:
        NotFound: the endpoint has no such delivery.
        Conflict: the endpoint is disabled.
    """
    with transaction.atomic():
        _enabled(merchant_id, endpoint_id)
        delivery = find(merchant_id=merchant_id, endpoint_id=endpoint_id, delivery_id=delivery_id)
        _again(Delivery.objects.filter(pk=delivery.pk), now)
        return find(merchant_id=merchant_id, endpoint_id=endpoint_id, delivery_id=delivery_id)


def replay(
    *,
    merchant_id: uuid.UUID,
    endpoint_id: uuid.UUID,
    since: datetime,
    until: datetime,
    only_failed: bool = True,
    now: datetime,
) -> int:
    """Send an endpoint again what it was to be told from ``since`` on and before ``until``; return how much that is.

    That is the deliveries that failed and the events that it was never sent, as it was disabled or did not listen for
    their type; or all, what was delivered too.

    Raises:
        NotFound: the merchant has no such endpoint.
        Conflict: it is disabled, or that would be more than may be sent again at once.
    """
    with transaction.atomic():
        endpoint = _enabled(merchant_id, endpoint_id)
        places = ListedEvent.objects.filter(merchant_id=merchant_id, listed_at__gte=since, listed_at__lt=until)
        if endpoint.event_types:
            places = places.filter(type__in=endpoint.event_types)
        places = places.exclude(type=catalogue.TEST).order_by("number")
        listed = list(places[: REPLAYED_MAX + 1])
        if len(listed) > REPLAYED_MAX:
            message = f"At most {REPLAYED_MAX} events can be sent again at once; choose less time."
            raise Conflict(message, code="TOO_MANY_EVENTS")
        known = Delivery.objects.filter(
            merchant_id=merchant_id, endpoint=endpoint, event_id__in=[place.event_id for place in listed]
        )
        there = set(known.values_list("event_id", flat=True))
        fresh = [listing.delivery(place, endpoint.id, now) for place in listed if place.event_id not in there]
        again = _again(known.filter(state=State.FAILED) if only_failed else known.exclude(state=State.PENDING), now)
        Delivery.objects.bulk_create(fresh)
        return again + len(fresh)


def _enabled(merchant_id: uuid.UUID, endpoint_id: uuid.UUID) -> Endpoint:
    endpoints.find(merchant_id=merchant_id, endpoint_id=endpoint_id)
    endpoint = endpoints.locked(endpoint_id)
    if endpoint.disabled_at is not None:
        raise Conflict("The endpoint is disabled; enable it first.", code="WEBHOOK_DISABLED")
    return endpoint


def _again(rows: QuerySet[Delivery], now: datetime) -> int:
    """Begin deliveries anew, but for those that are being sent right now."""
    idle = rows.exclude(state=State.PENDING, lease_until__gt=now)
    return idle.update(state=State.PENDING, step=0, next_at=now, finished_at=None, lease_until=None, lease_token=None)


def troubled(claims: Iterable[Claim]) -> int:
    """Count the claims of endpoints that fail or are slow."""
    return sum(claim.is_troubled for claim in claims)

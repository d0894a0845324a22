"""What customers may use: read from the same rows that the charging engine decides on, as they stand at a time.

One statement for a customer, whatever they are entitled to. A time in the past is answered by carrying out what was
recorded until then once more.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Case, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Now

from billing import subscription_reads
from customers import books
from customers.models import Book
from entitlements import burning, repeating
from entitlements.models import Entitlement
from merchants import ids, products
from merchants.errors import NotFound, Unprocessable

STEPS_MAX = 50_000  # movements that are carried out again to answer for a time in the past

Status = Entitlement.Status

# How a movement is carried out again: with when use happened and what it was reserved by, and what was granted.
STEPS = """
SELECT m.entitlement_id, m.seq, m.kind, m.source_id, m.units, m.draws, m.period_start, m.created_at,
       coalesce(e.timestamp, k.timestamp) AS happened_at, e.reservation_id,
       g.amount, g.priority, g.effective_at, g.expires_at, g.reset_least, g.reset_most, g.recurrence IS NOT NULL
FROM entitlements_movement m
LEFT JOIN metering_usageevent e ON m.kind = 'used' AND e.bucket = m.bucket AND e.id = m.source_id
LEFT JOIN metering_correction k ON m.kind = 'used' AND k.bucket = m.bucket AND k.id = m.source_id
LEFT JOIN entitlements_grant g ON m.kind IN ('granted', 'received') AND g.bucket = m.bucket AND g.id = m.source_id
"""


@dataclass(frozen=True, kw_only=True)
class Access:
    """An entitlement at a time. Units are None but of metered ones; a hard limit is reached where nothing is left."""

    entitlement: Entitlement
    status: str
    has_access: bool
    balance: Decimal | None = None
    used: Decimal | None = None
    overage: Decimal | None = None
    held: Decimal | None = None
    start: datetime | None = None
    end: datetime | None = None
    left: Mapping[str, Decimal] = field(default_factory=dict)  # of each grant, by its id in hex

    @property
    def is_soft(self) -> bool:
        """Tell whether use goes on when nothing is left."""
        return bool(self.entitlement.template.get("isSoftLimit"))

    @property
    def config(self) -> dict[str, Any] | None:
        """What a static entitlement says."""
        return self.entitlement.config


class Found:
    """A customer's entitlements at a time, those that are live first: counted, and read a page at a time."""

    def __init__(self, rows: QuerySet[Entitlement], at: datetime | None) -> None:
        self._rows = rows
        self._at = at

    def count(self) -> int:
        """Return how many there are."""
        return self._rows.count()

    def __getitem__(self, page: slice) -> list[Access]:
        return at_a_time(list(self._rows[page]), self._at)


def search(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID,
    product_id: uuid.UUID | None = None,
    feature_key: str | None = None,
    subscription_id: uuid.UUID | None = None,
    at: datetime | None = None,
) -> Found:
    """Find what a customer is or was entitled to, now or at another time.

    Raises:
        NotFound: the merchant has no such customer, product or subscription.
    """
    books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
    rows = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    if product_id is not None:
        rows = rows.filter(feature__product=products.get(merchant_id=merchant_id, product_id=product_id))
    if feature_key is not None:
        rows = rows.filter(feature__key=feature_key)
    if subscription_id is not None:
        subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
        rows = rows.filter(subscription_id=subscription_id)
    ended = Case(When(status=Status.ACTIVE, then=Value(0)), default=Value(1))
    return Found(rows.order_by(ended, "-created_at", "-id"), at)


def find(*, merchant_id: uuid.UUID, entitlement_id: uuid.UUID, at: datetime | None = None) -> Access:
    """Return one entitlement, now or at another time; raises NotFound, also for another merchant's."""
    rows = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(entitlement_id), id=entitlement_id)
    for access in at_a_time(list(rows), at):
        return access
    raise NotFound("There is no such entitlement.")


def at_a_time(entitlements: Sequence[Entitlement], at: datetime | None) -> list[Access]:
    """Say how entitlements with their ``clock`` stand, at a time or now.

    Raises:
        Unprocessable: too much has been recorded to say it of a time in the past.
    """
    metered = [each for each in entitlements if each.state is not None]
    past = [each for each in metered if at is not None and at < each.clock]  # type: ignore[attr-defined]
    then = _once_more(past, at) if at is not None and past else {}
    return [_access(each, then.get(each.id), at or each.clock) for each in entitlements]  # type: ignore[attr-defined]


def step(row: Sequence[Any]) -> repeating.Step:
    """Read a row of STEPS, from its kind on."""
    kind, source_id, units, draws, start, recorded_at, happened_at, reservation_id, *granted = row
    pool = None
    if granted[0] is not None:
        amount, priority, effective_at, expires_at, least, most, recurs = granted
        left = units if kind == "received" else amount
        pool = burning.Pool(source_id.hex, amount, left, priority, effective_at, expires_at, least, most, recurs)
    reservation = reservation_id.hex if reservation_id is not None else None
    given = [(grant_id, Decimal(part)) for grant_id, part in (json.loads(draws) if type(draws) is str else draws)]
    return repeating.Step(kind, source_id.hex, units, recorded_at, happened_at, reservation, pool, given, start)


def _of_merchant(merchant_id: uuid.UUID) -> QuerySet[Entitlement]:
    book = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"))
    rows = Entitlement.objects.filter(merchant_id=merchant_id).select_related("feature__product", "feature__metric")
    return rows.annotate(clock=Coalesce(Subquery(book.values("test_clock")), Now()))


def _access(entitlement: Entitlement, then: burning.Allowance | None, at: datetime) -> Access:
    status = _status(entitlement, at)
    is_live = status == Status.ACTIVE and entitlement.active_from <= at
    if entitlement.state is None:
        return Access(entitlement=entitlement, status=status, has_access=is_live)
    allowance = then or burning.decode(entitlement.state)
    burning.roll(allowance, at if entitlement.canceled_at is None else min(at, entitlement.canceled_at))
    balance = allowance.balance(at)
    return Access(
        entitlement=entitlement,
        status=status,
        has_access=is_live and (allowance.terms.is_soft or balance > 0),
        balance=balance,
        used=allowance.used,
        overage=allowance.overage,
        held=allowance.held,
        start=allowance.start,
        end=allowance.end,
        left={pool.grant_id: pool.left for pool in allowance.pools},
    )


def _status(entitlement: Entitlement, at: datetime) -> str:
    if entitlement.canceled_at is not None and entitlement.canceled_at <= at:
        return Status.CANCELED
    if entitlement.active_to is not None and entitlement.active_to <= at:
        return Status.EXPIRED
    return Status.ACTIVE


def _once_more(entitlements: Iterable[Entitlement], at: datetime) -> dict[uuid.UUID, burning.Allowance]:
    """Carry out what was recorded of entitlements until a time."""
    replays = {}
    for each in entitlements:
        kept = burning.decode(each.state or "")
        replays[each.id] = repeating.Replay(kept.terms, each.canceled_at, kept.cut)
    buckets = sorted({ids.bucket_of(key) for key in replays})
    for entitlement_id, rows in _steps(buckets, list(replays), at).items():
        for row in rows:
            replays[entitlement_id].carry_out(step(row))
    return {key: replay.allowance for key, replay in replays.items()}


def _steps(buckets: list[int], keys: list[uuid.UUID], at: datetime) -> dict[uuid.UUID, list[Sequence[Any]]]:
    where = "WHERE m.bucket = ANY(%s) AND m.entitlement_id = ANY(%s) AND m.created_at <= %s ORDER BY m.seq LIMIT %s"
    found: dict[uuid.UUID, list[Sequence[Any]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(STEPS + where, [buckets, keys, at, STEPS_MAX + 1])
        rows = cursor.fetchall()
    if len(rows) > STEPS_MAX:
        message = f"More than {STEPS_MAX} movements were recorded until then; ask for the present, or for fewer."
        raise Unprocessable(message, code="TOO_MUCH_TO_REPEAT", details={"field": "at"})
    for entitlement_id, _, *row in rows:
        found[entitlement_id].append(row)
    return found

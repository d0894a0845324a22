"""What subscriptions entitle to: the features that the prices of their plan include.

Everything here happens under the lock of the customer's book, and by its clock.
"""

from datetime import datetime

from django.db.models import QuerySet

from billing.models import PriceVersion, Subscription
from customers.models import Book
from entitlements import burning, issuing
from entitlements.models import Entitlement, Feature, Grant, Movement, Reservation

Status = Entitlement.Status


def start(subscription: Subscription, now: datetime) -> None:
    """Entitle a customer to what the prices of their new subscription include; what they have already stays."""
    _entitle(subscription, subscription.started_at, now)


def change(subscription: Subscription, now: datetime) -> None:
    """End what a subscription's plan before entitled to, and the one it has now does not, and entitle to the rest.

    What both include by the same template goes on. Where the templates differ, what was granted besides the old one
    (bought, or given by the merchant) and what reservations hold go on under the new. Where the new plan has no such
    feature, what reservations hold is all that is still good for use.
    """
    included = {version.feature_id: version.entitlement_template or {} for version in _sold(subscription)}
    book = _book(subscription)
    ended = []
    for entitlement in _of(subscription):
        is_over = entitlement.active_to is not None and entitlement.active_to <= now
        if is_over or included.get(entitlement.feature_id) == entitlement.template:
            continue
        if entitlement.feature_id not in included and _is_held(entitlement):
            _let_run_out(entitlement, now)
        else:
            issuing.end(book, entitlement, now)
            ended.append(entitlement)
    _entitle(subscription, now, now)
    successors = {entitlement.feature_id: entitlement for entitlement in _of(subscription)}
    for entitlement in ended:
        if entitlement.feature_id in successors:
            _carry_over(entitlement, successors[entitlement.feature_id], now)
            _hand_over(entitlement, successors[entitlement.feature_id], now)


def end(subscription: Subscription, now: datetime) -> None:
    """End what a subscription entitled to; what reservations hold of it has ended with the subscription."""
    book = _book(subscription)
    for entitlement in _of(subscription):
        issuing.end(book, entitlement, subscription.terminated_at or now)


def _entitle(subscription: Subscription, active_from: datetime, now: datetime) -> None:
    sold = _sold(subscription)
    if not sold:
        return
    wanted = Feature.objects.filter(id__in=[version.feature_id for version in sold], deleted_at=None)
    known = {feature.id: feature for feature in wanted.select_related("metric")}
    book = _book(subscription)
    for version in sold:
        feature = known.get(version.feature_id)  # type: ignore[arg-type]
        if feature is None:
            continue
        over = issuing.active(book, feature).filter(active_to__lte=now).first()
        if issuing.find_live(book, feature, now) is not None:
            continue
        made = issuing.write(
            book,
            feature,
            version.entitlement_template or {},
            active_from=active_from,
            active_to=subscription.ending_at,
            subscription_id=subscription.id,
            metadata={},
            now=now,
        )
        if over is not None:
            _hand_over(over, made, now)


def _sold(subscription: Subscription) -> QuerySet[PriceVersion]:
    """Select the prices of a subscription's plan that include a feature."""
    return subscription.plan_version.prices.filter(feature_id__isnull=False).order_by("id")


def _is_held(entitlement: Entitlement) -> bool:
    return entitlement.state is not None and bool(burning.decode(entitlement.state).held)


def _let_run_out(entitlement: Entitlement, now: datetime) -> None:
    """Have an entitlement last until now, and reservations what they hold of it for as long as they do."""
    allowance = burning.decode(entitlement.state or "")
    burning.cut_short(allowance, now, entitlement.seq)
    entitlement.active_to, entitlement.state = now, burning.encode(allowance).decode()
    entitlement.save(update_fields=["active_to", "state"])


def _carry_over(old: Entitlement, new: Entitlement, now: datetime) -> None:
    """Have what is left of grants that no template issued go on under another entitlement to the same feature.

    They keep their order, priority, expiry and what they keep at resets.
    """
    if old.state is None or new.state is None:
        return
    was, becomes = burning.decode(old.state), burning.decode(new.state)
    burning.roll(was, now)
    burning.roll(becomes, now)
    own = Grant.objects.filter(bucket=old.bucket, entitlement_id=old.id, recurrence=None, voided_at=None)
    grants = {grant.id.hex: grant for grant in own}
    for pool in [pool for pool in was.pools if pool.grant_id in grants]:
        grant = grants[pool.grant_id]
        taken = burning.carry(was, pool.grant_id)
        issuing.note(old, was, Movement.Kind.CARRIED, grant.id, pool.left, taken, now)
        burning.grant(becomes, pool)
        issuing.note(new, becomes, Movement.Kind.RECEIVED, grant.id, pool.left, [], now)
        grant.entitlement_id = new.id
        grant.save(update_fields=["entitlement_id"])
    for entitlement in (old, new):
        entitlement.save(update_fields=["seq", "state"])


def _hand_over(old: Entitlement, new: Entitlement, now: datetime) -> None:
    """Have what reservations hold of an entitlement go on under the one that takes its place."""
    if new.state is None or not _is_held(old):
        return
    was, becomes = burning.decode(old.state or ""), burning.decode(new.state)
    burning.roll(was, now)
    burning.roll(becomes, now)
    rows = Reservation.objects.filter(
        bucket=old.bucket, customer_id=old.customer_id, state=Reservation.State.OPEN, units__contains=old.id.hex
    )
    for reservation in rows.order_by("id"):
        parts = burning.decode_held(reservation.units or "[]")
        for part in [part for part in parts if part.entitlement_id == old.id.hex]:
            part.entitlement_id = new.id.hex
            if not part.hold.draws:
                continue
            units, began = burning.total(part.hold.draws), part.hold.start
            burning.hand_over(was, becomes, part.hold)
            issuing.note(old, was, Movement.Kind.PASSED, reservation.id, units, part.hold.draws, now, start=began)
            start = part.hold.start
            issuing.note(new, becomes, Movement.Kind.TAKEN, reservation.id, units, part.hold.draws, now, start=start)
        reservation.units = burning.encode_held(parts).decode()
        reservation.save(update_fields=["units"])
    for entitlement in (old, new):
        entitlement.save(update_fields=["seq", "state"])


def _book(subscription: Subscription) -> Book:
    return Book.objects.get(bucket=subscription.bucket, customer_id=subscription.customer_id)


def _of(subscription: Subscription) -> QuerySet[Entitlement]:
    """Select what a subscription entitles to."""
    return Entitlement.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        status=Status.ACTIVE,
    )

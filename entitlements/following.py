"""What subscriptions entitle to: the features that the prices of their plan include.

Everything here happens under the lock of the customer's book, and by its clock.
"""

from datetime import datetime

from django.db.models import QuerySet

from billing.models import Subscription
from customers.models import Book
from entitlements import burning, issuing
from entitlements.models import Entitlement, Feature, Grant, Movement

Status = Entitlement.Status


def start(subscription: Subscription, now: datetime) -> None:
    """Entitle a customer to what the prices of their new subscription include; what they have already stays."""
    _entitle(subscription, subscription.started_at, now)


def change(subscription: Subscription, now: datetime) -> None:
    """End what a subscription's plan before entitled to, and the one it has now does not, and entitle to the rest.

    What both include by the same template goes on; so does an entitlement of which reservations hold units. Where the
    templates differ, what was granted besides the old one (bought, or given by the merchant) goes on under the new.
    """
    included = {
        version.feature_id: version.entitlement_template or {}
        for version in subscription.plan_version.prices.filter(feature_id__isnull=False)
    }
    book = _book(subscription)
    ended = []
    for entitlement in _of(subscription):
        is_held = entitlement.state is not None and bool(burning.decode(entitlement.state).held)
        if not is_held and included.get(entitlement.feature_id) != entitlement.template:
            issuing.end(book, entitlement, now)
            ended.append(entitlement)
    _entitle(subscription, now, now)
    successors = {entitlement.feature_id: entitlement for entitlement in _of(subscription)}
    for entitlement in ended:
        if entitlement.feature_id in successors:
            _carry_over(entitlement, successors[entitlement.feature_id], now)


def end(subscription: Subscription, now: datetime) -> None:
    """End what a subscription entitled to; what reservations hold of it has ended with the subscription."""
    book = _book(subscription)
    for entitlement in _of(subscription):
        issuing.end(book, entitlement, subscription.terminated_at or now)


def _entitle(subscription: Subscription, active_from: datetime, now: datetime) -> None:
    sold = subscription.plan_version.prices.filter(feature_id__isnull=False).order_by("id")
    if not sold:
        return
    wanted = Feature.objects.filter(id__in=[version.feature_id for version in sold], deleted_at=None)
    known = {feature.id: feature for feature in wanted.select_related("metric")}
    book = _book(subscription)
    for version in sold:
        feature = known.get(version.feature_id)  # type: ignore[arg-type]
        if feature is None or issuing.find_live(book, feature, now) is not None:
            continue
        issuing.write(
            book,
            feature,
            version.entitlement_template or {},
            active_from=active_from,
            active_to=subscription.ending_at,
            subscription_id=subscription.id,
            metadata={},
            now=now,
        )


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

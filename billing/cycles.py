"""The plans and billing periods of a subscription: which is in force, and where one ends and the next begins."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing import discounts, plans, spells
from billing.minimums import Agreement
from billing.models import Subscription, TrialUsage
from billing.prices import PlanVersion as PriceBook
from billing.spells import Spell
from metering.periods import Period


class InForce(NamedTuple):
    """A plan's price book, and from when and until when it is in force; None: for as long as the subscription is."""

    prices: PriceBook
    spell: Spell
    start: datetime
    end: datetime | None


def spells_of(subscription: Subscription) -> tuple[Spell, ...]:
    """Return the plan versions of a subscription in the order they are in force, a change to come included."""
    if subscription.spells:
        return spells.read(subscription.spells)
    version_id, started_at = subscription.plan_version_id, subscription.started_at
    cadence = plans.load_version(version_id).cadence
    return (Spell(version_id.bytes, started_at, subscription.trial_ends_at or started_at, cadence),)


def in_force(subscription: Subscription) -> Iterator[InForce]:
    """Yield the price books of a subscription with their times, in order."""
    known = spells_of(subscription)
    for spell, following in zip(known, [*known[1:], None], strict=True):
        yield InForce(prices_of(spell), spell, spell.start, following and following.start)


def agreements(subscription: Subscription) -> list[Agreement]:
    """Return the plans of a subscription with the times in which what they agree holds: not before a trial's end."""
    ends = subscription.terminated_at or subscription.ending_at
    return agreements_of(spells_of(subscription), subscription.trial_ends_at, ends)


def agreements_of(known: Sequence[Spell], trial_ends_at: datetime | None, ends: datetime | None) -> list[Agreement]:
    """Return the plans of some spells with the times in which what they agree holds."""
    found = []
    for spell, after in zip(known, [*known[1:], None], strict=True):
        start = max(spell.start, trial_ends_at or spell.start)
        found.append(Agreement(prices_of(spell), start, after.start if after is not None else ends))
    return found


def prices_of(spell: Spell) -> PriceBook:
    """Return the price book of a spell."""
    return plans.load_version(uuid.UUID(bytes=spell.plan_version_id))


def prices_at(subscription: Subscription, at: datetime) -> PriceBook:
    """Return the price book that is in force at an instant."""
    return prices_of(spells.at(spells_of(subscription), at))


def discount_of_use(subscription: Subscription, period: Period) -> Decimal:
    """Return the percentage that use of a period has off, where its counter opens now."""
    is_free = subscription.trial_usage == TrialUsage.FREE
    return discounts.of_use(subscription.discounts, subscription.trial_ends_at if is_free else None, period.start)


def period_of(subscription: Subscription, at: datetime) -> Period:
    """Return the billing period that an instant lies in."""
    spell = spells.at(spells_of(subscription), at)
    return spells.period_of(spell, subscription.started_at, subscription.timezone, at)


def following(subscription: Subscription, period: Period) -> Period:
    """Return the billing period that begins where another ends."""
    return period_of(subscription, period.end)

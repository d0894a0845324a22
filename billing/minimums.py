"""What is agreed at least for a period of one or more price books, and how its use stands to it. Pure.

A minimum of one price is compared with that price's use. A commitment is compared with all use of its plan, that which
is made up to a minimum of its own included. Both are agreed for a whole period: of one in which the agreement was in
force only for a part it is the share of that part, by time. A price that several plans have which were in force in a
period has one minimum, the sum of the shares, and one use, which counts towards the commitment of each.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing import proration, rating
from billing.money import EXACT
from billing.prices import Commitment, PlanVersion, PriceVersion, minimum_of
from metering.periods import Period

_ZERO = Decimal(0)


class Shortfall(NamedTuple):
    """What is agreed at least for a price in one period, and what use comes to, in exact major units before tax."""

    price: PriceVersion
    minimum: Decimal
    used: Decimal

    @property
    def due(self) -> Decimal:
        """What is charged, in all, so that the period comes to the minimum."""
        return rating.shortfall(self.minimum, self.used)


def has_minimum(plan: PlanVersion) -> bool:
    """Tell whether anything is agreed at all."""
    return any(minimum_of(price.model) is not None for price in plan.prices)


class Agreement(NamedTuple):
    """A plan, and from when and until when it was in force, or will be; None: there is no end."""

    plan: PlanVersion
    start: datetime
    end: datetime | None


def in_force(agreements: Sequence[Agreement], period: Period) -> list[Agreement]:
    """Return those agreements that were in force in a period, or a part of it."""
    return [each for each in agreements if each.start < period.end and (each.end is None or period.start < each.end)]


def shortfalls(agreements: Sequence[Agreement], period: Period, used: Mapping[bytes, Decimal]) -> list[Shortfall]:
    """Return how each minimum of the agreements that were in force in a period stands, those of single prices first.

    Args:
        used: the exact cost of the period's use, by price version; nothing where there was none.
    """
    current = in_force(agreements, period)
    minima: dict[bytes, Decimal] = {}
    prices: dict[bytes, PriceVersion] = {}
    for plan, start, end in current:
        for price in plan.prices:
            prices[price.id] = price
            share = proration.of_period(minimum_of(price.model) or _ZERO, period, start, end)
            minima[price.id] = EXACT.add(minima.get(price.id, _ZERO), share)
    of_prices = [
        Shortfall(price, minima[price.id], used.get(price.id, _ZERO))
        for price in prices.values()
        if minimum_of(price.model) is not None and not isinstance(price.model, Commitment)
    ]
    commitments = [
        Shortfall(price, minima[price.id], _spent(price, current, minima, used))
        for price in prices.values()
        if isinstance(price.model, Commitment)
    ]
    return [*of_prices, *commitments]


def _spent(
    commitment: PriceVersion,
    agreements: Sequence[Agreement],
    minima: Mapping[bytes, Decimal],
    used: Mapping[bytes, Decimal],
) -> Decimal:
    """Sum the use of the plans that have a commitment, each price once."""
    counted = {
        price.id: max(used.get(price.id, _ZERO), minima[price.id])
        for plan, _, _ in agreements
        if any(each.id == commitment.id for each in plan.prices)
        for price in plan.prices
        if not isinstance(price.model, Commitment)
    }
    spent = _ZERO
    for cost in counted.values():
        spent = EXACT.add(spent, cost)
    return spent

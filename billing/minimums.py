"""What is agreed at least for a period of a price book, and how its use stands to it. Pure.

A minimum of one price is compared with that price's use. A commitment is compared with all use of the plan, that which
is made up to a minimum of its own included. Both are agreed for a whole period: of one in which the agreement was in
force only for a part it is the share of that part, by time.
"""

from collections.abc import Mapping
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


def shortfalls(
    plan: PlanVersion, period: Period, start: datetime, end: datetime | None, used: Mapping[bytes, Decimal]
) -> list[Shortfall]:
    """Return how each minimum stands, those of single prices first.

    Args:
        start: when the agreement came into force.
        end: when it ended, or will.
        used: the exact cost of the period's use, by price version; nothing where there was none.
    """
    of_prices, commitments = [], []
    spent = _ZERO
    for price in plan.prices:
        cost = used.get(price.id, _ZERO)
        agreed = minimum_of(price.model)
        minimum = _ZERO if agreed is None else proration.of_period(agreed, period, start, end)
        if isinstance(price.model, Commitment):
            commitments.append((price, minimum))
            continue
        if agreed is not None:
            of_prices.append(Shortfall(price, minimum, cost))
        spent = EXACT.add(spent, max(cost, minimum))
    return [*of_prices, *[Shortfall(price, minimum, spent) for price, minimum in commitments]]

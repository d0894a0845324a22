"""Budgets as the engine sees them, and how far they are used. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from metering import periods


class Mark(NamedTuple):
    """Where a window began: what usage had been charged to the pots until then, in nanos."""

    start: datetime
    end: datetime
    base: int
    crossed_at: datetime | None


class Budget(msgspec.Struct, frozen=True, gc=False):
    """A spending limit, as it is until the book's budget version changes.

    It watches what is charged to calls with an attribute: of one value, or with a tally for each value where ``value``
    is None. With a currency it counts nanos of gross charges, without one 10⁻⁹ of a unit of its metric.

    One on all that a customer spends in a currency has nothing to count: the pots do. It only marks where they stood
    when the window began.
    """

    id: bytes
    name: str
    attribute: str | None  # None: every call of the customer's
    value: str | None
    product_id: bytes | None
    metric_id: bytes | None
    currency: str | None
    window: str
    timezone: str
    limit: int
    refuses: bool
    since: Mapping[bytes, int]  # by wallet, the last charge before the budget was set
    mark: Mark | None = None  # of one on all that is spent in its currency

    @property
    def is_split(self) -> bool:
        """Whether each value of the attribute has a tally of its own."""
        return self.attribute is not None and self.value is None


class Tally(msgspec.Struct, gc=False):
    """How far a budget is used in the present window; what is held stays held when a window ends."""

    budget_id: bytes
    value: str  # "" but for budgets with a tally for each value
    start: datetime = periods.EVER.start
    end: datetime = periods.EVER.start
    spent: int = 0
    held: int = 0
    crossed_at: datetime | None = None  # when it was last spent beyond the limit, which only some budgets refuse
    base: int | None = None  # what is spent and held is the pots' beyond this; None: they are counted here
    stored: bool = False
    changed: bool = False


TallyKey = tuple[bytes, str]  # budget, value

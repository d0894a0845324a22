"""What a metric came to in a period, as the lines of one invoice count it. Pure.

Use of one price in one period may stand on several lines: as it was recorded, as it was corrected, as it was rated
after the fact. Each line counts by how much its charges moved what the metric came to; so the lines add up to that,
whatever the aggregation, and a plain price times the quantity is what each comes to. One line says it for all of them.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple, Protocol, cast

from billing.prices import Adjusted, ChargeModel, parse_model
from metering.aggregation import OVER_ALL_USES, Aggregation

# Kinds of lines that are of use, the one that says what all of them come to first.
KINDS = ("usage", "amend", "void", "rerate")
# Those that come without a quantity: each is one amount.
UNCOUNTED = ("trueup", "coupon", "unused", "rebate", "moved")
_KINDS_IF_RATED_LATER = ("rerate", "usage", "amend", "void")

_ZERO = Decimal(0)


class Counted(Protocol):
    """A line, or a sum of charges that will be one."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def price_version_id(self) -> uuid.UUID: ...
    @property
    def period_start(self) -> datetime: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def counted(self) -> Decimal | None: ...
    @property
    def covered(self) -> Decimal | None: ...


class Priced(NamedTuple):
    """How what a line is of is counted and priced; ``rank`` of a percentile."""

    aggregation: Aggregation
    model: ChargeModel
    rank: Decimal | None = None


def priced_by(aggregation: str, model: str, properties: Mapping[str, Any], rank: Decimal | None = None) -> Priced:
    """Read how a version of a metric's price counts and prices it."""
    return Priced(cast(Aggregation, aggregation), parse_model(model, properties), rank)


class Measure(NamedTuple):
    """What a metric came to in a period, and who bears it: quantity = granted + included + charged.

    Of an earlier period it is by how much that is more than was billed before; then nobody knows here how much of what
    the price includes was left, and ``included`` and ``charged`` are None where it includes something. It is ``of_all``
    where the line that says it is not all of it: others say how it was corrected.
    """

    quantity: Decimal
    granted: Decimal
    included: Decimal | None
    charged: Decimal | None
    is_change: bool
    of_all: bool = False

    @property
    def is_shared(self) -> bool:
        """Tell whether some of it is free."""
        return bool(self.granted or self.included)


def counted(line: Counted) -> Decimal:
    """Return how much a line is of: what the metric counts or, where that was not kept, what was reported."""
    return line.quantity if line.counted is None else line.counted


def rated(line: Counted) -> Decimal:
    """Return how much of it is left to the price, after what grants gave."""
    return counted(line) - (line.covered or _ZERO)


def of_lines(
    lines: Sequence[Counted], priced: Mapping[uuid.UUID, Priced], period_start: datetime
) -> dict[uuid.UUID, Measure]:
    """Return what use came to, by the id of the line that says so.

    Args:
        priced: by the id of price versions; those of fees are left out.
        period_start: of the invoice; what is of an earlier period comes late.
    """
    used = [line for line in lines if line.kind in KINDS and line.price_version_id in priced]
    found = {}
    for (version_id, start), alike in groupby(sorted(used, key=_what), key=_what):
        group = list(alike)
        if all(line.counted is not None for line in group):
            carrier = min(group, key=lambda line: _places(priced[line.price_version_id]).index(line.kind))
            measure = _measure(group, priced[version_id].model, is_change=start < period_start)
            is_moved = any(counted(line) for line in group if line is not carrier)
            found[carrier.id] = measure._replace(of_all=is_moved)
    return found


def is_told_elsewhere(line: Counted, lines: Sequence[Counted], priced: Mapping[uuid.UUID, Priced]) -> bool:
    """Tell whether a line is only of reports, for nothing, that another line counts and prices together."""
    of = priced.get(line.price_version_id)
    if of is None or of.aggregation not in OVER_ALL_USES or line.kind not in KINDS[:-1] or line.counted is None:
        return False
    return any(other.kind == "rerate" and _what(other) == _what(line) for other in lines)


def _what(line: Counted) -> tuple[uuid.UUID, datetime]:
    return line.price_version_id, line.period_start


def _places(priced: Priced) -> tuple[str, ...]:
    return _KINDS_IF_RATED_LATER if priced.aggregation in OVER_ALL_USES else KINDS


def _measure(lines: Sequence[Counted], model: ChargeModel, *, is_change: bool) -> Measure:
    quantity = sum([counted(line) for line in lines], _ZERO)
    granted = sum([line.covered or _ZERO for line in lines], _ZERO)
    free = model.included if isinstance(model, Adjusted) else _ZERO
    if free and is_change:
        return Measure(quantity, granted, None, None, is_change)
    included = min(free, max(_ZERO, quantity - granted))
    return Measure(quantity, granted, included, quantity - granted - included, is_change)

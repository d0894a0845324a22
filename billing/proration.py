"""What an amount that is agreed for a whole period comes to for a part of it. Pure.

By time, to the microsecond: the shares of the parts of a period add up to it. Amounts are exact Decimals of major
units, rounded once, to the decimals that exact amounts are kept with.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from billing.money import EXACT, round_ratio, scaled
from billing.rating import AMOUNT_DECIMALS_MAX
from metering.periods import Period

_TICK = timedelta(microseconds=1)


def share(amount: Decimal, part: timedelta, whole: timedelta) -> Decimal:
    """Return the share of an amount that a part of a period bears; all of it for the whole period."""
    if part == whole:
        return amount
    # Both doubled: the rounding wants an even denominator.
    units = round_ratio(2 * scaled(amount, AMOUNT_DECIMALS_MAX) * (part // _TICK), 2 * (whole // _TICK))
    return Decimal(units).scaleb(-AMOUNT_DECIMALS_MAX, EXACT)


def of_period(amount: Decimal, period: Period, start: datetime, end: datetime | None) -> Decimal:
    """Return the share of a period's amount that falls from ``start`` to ``end``; nothing where they do not meet."""
    part = min(period.end, end or period.end) - max(period.start, start)
    return share(amount, max(part, timedelta(0)), period.end - period.start)

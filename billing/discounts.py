"""Discounts: which percentage holds for a period, and how an amount is shared out over charges. Pure.

A percentage is looked up once, when a counter opens or a fee falls due, and pinned there: so whatever is charged at
once is discounted at once, and exactly. An amount is taken off when an invoice closes, since only then is it known of
what.
"""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from billing.money import round_ratio
from billing.rating import Totals

K = TypeVar("K", bound=Hashable)

_NONE, _ALL = Decimal(0), Decimal(100)


def percentage_at(agreed: Sequence[Sequence[Any]] | None, at: datetime) -> Decimal:
    """Return the percentage that holds for a period that begins at an instant.

    Args:
        agreed: as a subscription has them: [percentage, from, until or None for ever], times in ISO 8601.
    """
    for percentage, start, end in agreed or ():
        if datetime.fromisoformat(start) <= at and (end is None or at < datetime.fromisoformat(end)):
            return Decimal(percentage)
    return _NONE


def of_use(agreed: Sequence[Sequence[Any]] | None, free_until: datetime | None, at: datetime) -> Decimal:
    """Return the percentage that use of a period that begins at an instant has off: all of it in a free trial."""
    return _ALL if free_until is not None and at < free_until else percentage_at(agreed, at)


def shared_out(amount: int, bases: Mapping[K, int]) -> dict[K, int]:
    """Share nanos out over bases in proportion, none getting more than it is; what cannot be shared is left over.

    The shares add up to the amount or, where that is less, to the bases. They are rounded down, and what is left of
    the amount goes to those that lost most by it, the earlier first.
    """
    whole = sum(bases.values())
    amount = min(amount, whole)
    if amount <= 0:
        return {}
    shares = {key: amount * base // whole for key, base in bases.items()}
    lost = sorted(bases, key=lambda key: -(amount * bases[key] % whole))
    for key in lost[: amount - sum(shares.values())]:
        shares[key] += 1
    return {key: share for key, share in shares.items() if share}


def taken_off(charged: Totals, share: int, *, is_gross: bool) -> Totals:
    """Return what a share takes off charges that come to ``charged``: net, tax and fee in the same proportion.

    All of a base is exactly what was charged, so that nothing remains.

    Args:
        share: nanos, of the gross where tax is included in it, else of the net.
    """
    base = charged.gross if is_gross else charged.net
    if share == base:
        return charged
    net, gross, fee = (round_ratio(2 * part * share, 2 * base) for part in (charged.net, charged.gross, charged.fee))
    return Totals(net, gross - net, gross, fee)

"""The ways in which what a credit note gives back goes: off the debt of its invoice, or to the balance."""

import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from billing import discounts, money, rating
from billing.models import InvoiceLine, Subscription
from billing.rating import Totals


class Part(NamedTuple):
    """What is given back of one invoice line into one wallet.

    Where it had been given back before, by charges on an additional invoice, ``moved_from`` is the wallet they are in.
    """

    line: InvoiceLine
    totals: Totals
    wallet_id: uuid.UUID
    moved_from: uuid.UUID | None = None


def debt_part(whole: int, owed: int, most: int, currency: str, *, is_all_left: bool) -> tuple[int, int]:
    """Tell how much of what is given back comes off a debt, in whole minor units; the rest goes to the balance.

    Args:
        whole: what the lines are given back, in nanos.
        most: what is left of the invoice, and not gone beyond.
        is_all_left: nothing stays of the lines, so nothing may stay owed: what earlier notes were rounded by is made
            up for.

    Returns:
        What comes off the debt, and which part of ``whole`` that stands for: the difference is rounding.
    """
    rounded = money.from_minor(money.to_minor(whole, currency)[0], currency)
    if 0 < rounded <= owed and not is_all_left:
        return rounded, whole
    off_debt = min(owed, most if is_all_left else rounded)
    return off_debt, whole - max(0, min(whole, most) - off_debt)


def split(parts: Sequence[Part], exact: int, subscription: Subscription) -> Iterator[Part]:
    """Have the first parts, up to an exact amount, come off the debt, the others go to the balance.

    One may be cut in two.
    """
    for part in parts:
        totals = part.totals
        off = discounts.taken_off(totals, min(exact, totals.gross), is_gross=True) if exact else Totals()
        exact -= off.gross
        if off.gross:
            yield part._replace(wallet_id=subscription.credit_wallet_id, totals=off)
        if off.gross != totals.gross:
            yield part._replace(wallet_id=subscription.prepaid_wallet_id, totals=rating.difference(totals, off))

"""What rooms above sell through one-off payments: they are asked before the money is booked, and told with it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from billing.models import Payment


@dataclass(frozen=True, slots=True)
class Seller:
    """A room that knows which payments are its own; it is called in the transaction that books the money."""

    is_wanted: Callable[[Payment, datetime], bool]  # False: it cannot be had any more, and the money is the payer's
    paid: Callable[[Payment, datetime], None]


_sellers: list[Seller] = []


def register(seller: Seller) -> None:
    """Have a room asked and told about payments."""
    _sellers.append(seller)


def is_wanted(payment: Payment, now: datetime) -> bool:
    """Tell whether what was sold can still be had for money that came in."""
    return all(seller.is_wanted(payment, now) for seller in _sellers)


def paid(payment: Payment, now: datetime) -> None:
    """Tell that a payment is booked."""
    for seller in _sellers:
        seller.paid(payment, now)

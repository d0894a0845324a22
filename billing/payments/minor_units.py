"""Amounts as Stripe counts them, which are not the minor units of ISO 4217 everywhere.

It counts the ariary without decimals, the króna and the Ugandan shilling with two that have to be 00, and of currencies
with three decimals takes whole tens only (docs.stripe.com/currencies).
"""

from billing import money
from merchants.errors import Unprocessable

_WITHOUT_DECIMALS = frozenset({"MGA"})
_AS_IF_CENTS = frozenset({"ISK", "UGX"})
_WHOLE_TENS = frozenset({code for code, exponent in money.EXPONENTS.items() if exponent == 3})


class CannotBeCharged(Unprocessable):
    """No card can be charged this amount in this currency."""

    code = "AMOUNT_CANNOT_BE_CHARGED"
    message = "The payment provider cannot charge this amount in this currency."


def to_stripe(nanos: int, currency: str) -> int:
    """Return an amount as Stripe counts it; raises CannotBeCharged where it cannot."""
    if nanos < 0 or nanos % step(currency):
        raise CannotBeCharged()
    return nanos // _unit(currency)


def from_stripe(amount: int, currency: str) -> int:
    """Return an amount that Stripe counts, in nanos."""
    return amount * _unit(currency)


def step(currency: str) -> int:
    """Return of which amount, in nanos, every amount that Stripe takes is a multiple."""
    return _unit(currency) * (10 if currency in _WHOLE_TENS else 100 if currency in _AS_IF_CENTS else 1)


def _unit(currency: str) -> int:
    if currency in _WITHOUT_DECIMALS:
        return money.NANOS
    if currency in _AS_IF_CENTS:
        return money.NANOS // 100
    return money.minor_unit(currency)

"""What reservations hold of a wallet, for whom it matters since when.

The room of reservations hangs it here when it starts, so that nothing here has to know them.
"""

from collections.abc import Callable
from datetime import datetime

from billing.models import Wallet

HeldSince = Callable[[Wallet, datetime], int]

_ask: list[HeldSince] = []


def register(held_since: HeldSince) -> None:
    """Say who knows what is held."""
    _ask.append(held_since)


def held_since(wallet: Wallet, at: datetime) -> int:
    """Return what open reservations that were granted by an instant hold of a wallet, in nanos."""
    return sum(ask(wallet, at) for ask in _ask)

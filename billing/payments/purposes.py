"""What payments are for: whatever is paid for hangs here what happens when its money comes, or does not.

Each function is called in the transaction that moves the attempt on, under the lock of the customer's book, and at
most once for one attempt and one news. A payment may succeed after it had failed (a bank's late answer): then
``succeeded`` is called after ``failed``, and has to put that right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billing.models import PaymentAttempt

Follow = Callable[[PaymentAttempt, datetime], None]


class Withhold(Protocol):
    """Keep from the customer what they have not spent of a payment, up to an amount; returns how many nanos."""

    def __call__(self, attempt: PaymentAttempt, amount: int, *, source_id: object, now: datetime) -> int: ...


class Restore(Protocol):
    """Give the customer back what was withheld."""

    def __call__(self, attempt: PaymentAttempt, amount: int, *, source_id: object, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What happens to what a payment is for.

    ``succeeded`` writes the ledger entry of the money that came in, from ``clearing``, whose reference is the
    attempt's target or the attempt. ``withhold`` and ``restore`` take money back out of what it was for, and return it
    there: without them the payment cannot be refunded, and a dispute withholds nothing.
    """

    succeeded: Follow
    failed: Follow
    withhold: Withhold | None = None
    restore: Restore | None = None


def _nothing(attempt: PaymentAttempt, now: datetime) -> None:
    """A saved card is kept with its attempt; nothing else hangs on it."""


_purposes: dict[str, Purpose] = {PaymentAttempt.Purpose.SETUP: Purpose(succeeded=_nothing, failed=_nothing)}


def register(
    purpose: str, *, succeeded: Follow, failed: Follow, withhold: Withhold | None = None, restore: Restore | None = None
) -> None:
    """Say what happens to what is paid for, when the rooms start."""
    _purposes[purpose] = Purpose(succeeded=succeeded, failed=failed, withhold=withhold, restore=restore)


def of(purpose: str) -> Purpose:
    """Return what a purpose does; raises KeyError for one that nobody registered."""
    return _purposes[purpose]

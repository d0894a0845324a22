"""What payments are for: whatever is paid for hangs here what happens when its money comes, or does not.

Each function is called in the transaction that moves the attempt on, under the lock of the customer's book, and at
most once for one attempt and one news. A payment may succeed after it had failed (a bank's late answer): then
``succeeded`` is called after ``failed``, and has to put that right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from billing.models import Account, PaymentAttempt, PaymentRefund

Follow = Callable[[PaymentAttempt, datetime], None]
FollowPart = Callable[[UUID, PaymentRefund, datetime], None]


class Withhold(Protocol):
    """Take back what the customer has not spent of a payment, up to an amount; returns how many nanos.

    ``source_id`` is the refund or dispute it is taken for. The ledger entry is written by whoever asks.
    """

    def __call__(self, attempt: PaymentAttempt, amount: int, *, source_id: UUID, now: datetime) -> int: ...


class Restore(Protocol):
    """Give the customer back what was withheld for a refund or dispute."""

    def __call__(self, attempt: PaymentAttempt, amount: int, *, source_id: UUID, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """How money gets back out of what it was paid for: from which account, and what has to change with it."""

    pot: Account.Kind
    withhold: Withhold
    restore: Restore


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What happens to what a payment is for.

    ``succeeded`` writes the ledger entry of the money that came in, from ``clearing``, whose reference is the
    attempt's target or the attempt. Without ``returns`` the payment cannot be refunded, and a dispute of it takes
    nothing from the customer.
    """

    succeeded: Follow
    failed: Follow
    returns: Returns | None = None


def _nothing(attempt: PaymentAttempt, now: datetime) -> None:
    """A saved card is kept with its attempt; nothing else hangs on it."""


_withdrawn: list[FollowPart] = []
_purposes: dict[str, Purpose] = {PaymentAttempt.Purpose.SETUP: Purpose(succeeded=_nothing, failed=_nothing)}


def register(purpose: str, *, succeeded: Follow, failed: Follow, returns: Returns | None = None) -> None:
    """Say what happens to what is paid for, when the rooms start."""
    _purposes[purpose] = Purpose(succeeded=succeeded, failed=failed, returns=returns)


def of(purpose: str) -> Purpose:
    """Return what a purpose does; raises KeyError for one that nobody registered."""
    return _purposes[purpose]


def register_withdrawals(refunded: FollowPart) -> None:
    """Say what happens when a refund that is a part of a withdrawal arrives or fails, when the rooms start.

    It is called with the withdrawal's id, in the transaction that moves the refund on, under the lock of the book.
    """
    _withdrawn.append(refunded)


def withdrawal_refunded(made: PaymentRefund, now: datetime) -> None:
    """Tell the withdrawal that a refund is a part of, if it is one, that it arrived or failed."""
    if made.withdrawal_id is not None:
        for follow in _withdrawn:
            follow(made.withdrawal_id, made, now)

"""What the rooms above do when a subscription starts, changes its plan or ends, and with features that prices include.

They hang it here when they start, so that nothing here has to know them. It happens in the transaction of what it
follows, and under its locks.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from billing.models import PaymentAttempt, Subscription, TopUp, Wallet
from merchants.errors import NotFound
from metering.models import BillableMetric

Follow = Callable[[Subscription, datetime], None]


class Include(Protocol):
    """Let a price of a product's metric (or of a fee) include a feature; returns its template as it is kept."""

    def __call__(
        self, *, merchant_id: UUID, product_id: UUID, metric: BillableMetric | None, feature_id: UUID, template: Any
    ) -> dict[str, Any]: ...


_started: list[Follow] = []
_changed: list[Follow] = []
_ended: list[Follow] = []
_given_up: list[Follow] = []
_renewed: list[Follow] = []
_topped_up: list[Callable[[Wallet, datetime], None]] = []
_top_up_failed: list[Callable[[TopUp, PaymentAttempt, datetime], None]] = []
_include: list[Include] = []


def _nothing(subscription: Subscription, now: datetime) -> None:
    """Follow nothing."""


def register(
    *,
    started: Follow = _nothing,
    changed: Follow = _nothing,
    ended: Follow = _nothing,
    given_up: Follow = _nothing,
    renewed: Follow = _nothing,
) -> None:
    """Have something done when a subscription starts, changes its plan, ends with or without a start, or renews."""
    _started.append(started)
    _changed.append(changed)
    _ended.append(ended)
    _given_up.append(given_up)
    _renewed.append(renewed)


def register_top_ups(
    *, came: Callable[[Wallet, datetime], None], failed: Callable[[TopUp, PaymentAttempt, datetime], None]
) -> None:
    """Have something done when money comes into a prepaid wallet, or its payment is declined."""
    _topped_up.append(came)
    _top_up_failed.append(failed)


def register_features(include: Include) -> None:
    """Say whose features prices include."""
    _include.append(include)


def started(subscription: Subscription, now: datetime) -> None:
    """Tell that a subscription starts."""
    for follow in _started:
        follow(subscription, now)


def changed(subscription: Subscription, now: datetime) -> None:
    """Tell that a subscription has another plan from now on."""
    for follow in _changed:
        follow(subscription, now)


def ended(subscription: Subscription, now: datetime) -> None:
    """Tell that a subscription has ended that had started."""
    for follow in _ended:
        follow(subscription, now)


def given_up(subscription: Subscription, now: datetime) -> None:
    """Tell that a subscription has ended that had not started."""
    for follow in _given_up:
        follow(subscription, now)


def renewed(subscription: Subscription, now: datetime) -> None:
    """Tell that a subscription's next period has begun, whose fees in advance are charged; told again meanwhile."""
    for follow in _renewed:
        follow(subscription, now)


def topped_up(wallet: Wallet, now: datetime) -> None:
    """Tell that money has come into a prepaid wallet."""
    for follow in _topped_up:
        follow(wallet, now)


def top_up_failed(made: TopUp, attempt: PaymentAttempt, now: datetime) -> None:
    """Tell that the payment of a top-up was declined."""
    for follow in _top_up_failed:
        follow(made, attempt, now)


def include(
    *, merchant_id: UUID, product_id: UUID, metric: BillableMetric | None, feature_id: UUID, template: Any
) -> dict[str, Any]:
    """Ask whether a price may include a feature; raises NotFound where there are no features."""
    for ask in _include:
        return ask(
            merchant_id=merchant_id, product_id=product_id, metric=metric, feature_id=feature_id, template=template
        )
    raise NotFound("There is no such feature.")

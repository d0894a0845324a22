"""What reduced the lines of an invoice, by name: a percentage that was pinned, or coupons that took amounts off."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from billing import money
from billing.models import Charge, Coupon, CouponUse, Redemption, Subscription, TrialUsage

_ALL, _NONE = Decimal(100), Decimal(0)


class Reducible(Protocol):
    """A line, or a sum of charges that will be one."""

    @property
    def invoice_id(self) -> uuid.UUID: ...
    @property
    def wallet_id(self) -> uuid.UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def price_version_id(self) -> uuid.UUID: ...
    @property
    def period_start(self) -> datetime: ...


class Taken(NamedTuple):
    """What one coupon took off one line, in nanos: below zero."""

    coupon: Coupon
    net: int
    gross: int


class Reduction(NamedTuple):
    """A percentage off, with the coupon that gives it, or a trial that is free; or what coupons took off."""

    percent: Decimal = _NONE
    coupon: Coupon | None = None
    is_trial: bool = False
    taken: tuple[Taken, ...] = ()

    @property
    def words(self) -> str:
        """Say a percentage: ``25% off, coupon SPRING25``; empty where there is none."""
        if self.is_trial:
            return "free trial"
        if not self.percent:
            return ""
        off = f"{money.plain(self.percent)}% off"
        return off if self.coupon is None else f"{off}, coupon {self.coupon.code}"

    @property
    def codes(self) -> str:
        """Name the coupons that took an amount off: ``Coupon WELCOME``."""
        known = list(dict.fromkeys([each.coupon.code for each in self.taken]))
        return f"Coupon{'s' if len(known) > 1 else ''} {', '.join(known)}" if known else "Coupon"


NOTHING = Reduction()
_Key = tuple[uuid.UUID, uuid.UUID, uuid.UUID, datetime]  # invoice, wallet, price version, period start


def of_lines(
    subscription: Subscription,
    lines: Sequence[Reducible],
    percentages: Mapping[tuple[uuid.UUID, datetime], Decimal],
) -> list[Reduction]:
    """Return what reduced each of some lines of a subscription's invoices.

    Args:
        percentages: those pinned, by price version and start of the period; a price without one has none off.
    """
    taken = _taken(subscription, {line.invoice_id for line in lines if line.kind == Charge.Kind.COUPON})
    given = list(_given(subscription)) if any(percentages.values()) else []
    found = []
    for line in lines:
        if line.kind == Charge.Kind.COUPON:
            key = (line.invoice_id, line.wallet_id, line.price_version_id, line.period_start)
            found.append(Reduction(taken=tuple(taken.get(key, ()))))
        else:
            percent = percentages.get((line.price_version_id, line.period_start), _NONE)
            found.append(_percentage(subscription, given, percent, line.period_start))
    return found


def _given(subscription: Subscription) -> Iterable[Redemption]:
    own = Redemption.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    return own.filter(coupon__percent_off__isnull=False).select_related("coupon")


def _percentage(
    subscription: Subscription, given: Iterable[Redemption], percent: Decimal, period_start: datetime
) -> Reduction:
    """Say where a percentage comes from; a subscription has one at a time."""
    if not percent:
        return NOTHING
    ends_at = subscription.trial_ends_at if subscription.trial_usage == TrialUsage.FREE else None
    if percent == _ALL and ends_at is not None and period_start < ends_at:
        return Reduction(percent, is_trial=True)
    for each in given:
        if each.starts_at <= period_start and (each.ends_at is None or period_start < each.ends_at):
            return Reduction(percent, each.coupon if each.coupon.percent_off == percent else None)
    return Reduction(percent)


def _taken(subscription: Subscription, invoice_ids: Collection[uuid.UUID]) -> dict[_Key, list[Taken]]:
    if not invoice_ids:
        return {}
    redeemed = Redemption.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    by_id = {each.id: each.coupon for each in redeemed.select_related("coupon")}
    uses = CouponUse.objects.filter(bucket=subscription.bucket, invoice_id__in=invoice_ids, redemption_id__in=by_id)
    coupons = {use.id: by_id[use.redemption_id] for use in uses.order_by("created_at", "id")}
    taken: dict[_Key, list[Taken]] = defaultdict(list)
    charges = Charge.objects.filter(bucket=subscription.bucket, source_id__in=list(coupons), kind=Charge.Kind.COUPON)
    for charge in charges.order_by("seq"):
        key = (charge.invoice_id, charge.wallet_id, charge.price_version_id, charge.period_start)
        taken[key].append(Taken(coupons[charge.source_id], charge.net, charge.gross))
    return taken

"""Coupons: what a merchant's customers may redeem. What one is worth never changes; it can only be withdrawn."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from billing import money
from billing.models import Coupon, CouponClaim, Plan
from merchants import audit, ids, products
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, ValidationFailed

PERIODS_MAX = 120
REDEMPTIONS_MAX = 10**9

Duration = Coupon.Duration


@dataclass(frozen=True, kw_only=True)
class NewCoupon:
    """A coupon as it is asked for: a percentage, or an amount of major units in a currency."""

    code: str
    name: str
    duration: str
    percent_off: Decimal | None = None
    amount_off: Decimal | None = None
    currency: str | None = None
    periods: int | None = None
    max_redemptions: int | None = None
    expires_at: datetime | None = None
    product_id: UUID | None = None
    plan_id: UUID | None = None


def search(*, merchant_id: UUID) -> QuerySet[Coupon]:
    """Select a merchant's coupons with ``redeemed``, how often each was, newest first."""
    claim = CouponClaim.objects.filter(coupon_id=OuterRef("id"), merchant_id=OuterRef("merchant_id"))
    own = Coupon.objects.filter(merchant_id=merchant_id, deleted_at=None)
    return own.annotate(redeemed=Coalesce(Subquery(claim.values("redeemed")), 0)).order_by("-created_at", "-id")


def get(*, merchant_id: UUID, coupon_id: UUID) -> Coupon:
    """Find a coupon.

    Raises:
        NotFound: the merchant has no such coupon.
    """
    coupon = search(merchant_id=merchant_id).filter(id=coupon_id).first()
    if coupon is None:
        raise NotFound("There is no such coupon.")
    return coupon


def create(*, merchant_id: UUID, new: NewCoupon, actor: Actor, now: datetime) -> Coupon:
    """Make a coupon.

    Raises:
        NotFound: the merchant has no such product or plan.
        ValidationFailed: its parts do not fit together.
        Conflict: another coupon has the same code.
    """
    _check(new, now)
    if new.product_id is not None:
        products.get(merchant_id=merchant_id, product_id=new.product_id)
    if new.plan_id is not None and not Plan.objects.filter(merchant_id=merchant_id, id=new.plan_id).exists():
        raise NotFound("There is no such plan.", details={"field": "planId"})
    periods = {Duration.ONCE.value: 1, Duration.REPEATING.value: new.periods}.get(new.duration)
    try:
        with transaction.atomic():
            made = Coupon.objects.create(
                merchant_id=merchant_id,
                code=new.code,
                name=new.name,
                percent_off=new.percent_off,
                amount_off=None if new.amount_off is None else money.to_nanos(new.amount_off),
                currency=new.currency or "",
                duration=new.duration,
                # An amount that is given once is given until it is used up.
                periods=None if new.amount_off is not None and new.duration == Duration.ONCE else periods,
                max_redemptions=new.max_redemptions,
                expires_at=new.expires_at,
                product_id=new.product_id,
                plan_id=new.plan_id,
                created_at=now,
                updated_at=now,
            )
            _record(made, "coupon.created", actor, now)
    except IntegrityError as error:
        if "coupon_code_once_per_merchant" not in str(error):
            raise
        raise Conflict("Another coupon has this code.", code="COUPON_CODE_TAKEN", details={"field": "code"}) from error
    return get(merchant_id=merchant_id, coupon_id=made.id)


def withdraw(*, merchant_id: UUID, coupon_id: UUID, actor: Actor, now: datetime) -> None:
    """Let nobody redeem a coupon any more; what was redeemed holds, and its code is free.

    Raises:
        NotFound: the merchant has no such coupon.
    """
    with transaction.atomic():
        coupon = get(merchant_id=merchant_id, coupon_id=coupon_id)
        coupon.deleted_at = coupon.updated_at = now
        coupon.save(update_fields=["deleted_at", "updated_at"])
        _record(coupon, "coupon.withdrawn", actor, now)


def _check(new: NewCoupon, now: datetime) -> None:
    if (new.percent_off is None) == (new.amount_off is None):
        raise _refused("Give either percentOff or amountOff.", "percentOff", "PERCENT_OR_AMOUNT")
    if new.percent_off is not None and not 0 < new.percent_off <= 100:
        raise _refused("percentOff must be above 0 and at most 100.", "percentOff", "INVALID_RATE")
    if new.amount_off is not None and new.amount_off <= 0:
        raise _refused("amountOff must be above 0.", "amountOff", "INVALID_AMOUNT")
    if (new.amount_off is None) != (new.currency is None):
        raise _refused("A currency goes with amountOff, and with nothing else.", "currency", "INVALID_CURRENCY")
    if (new.duration == Duration.REPEATING) != (new.periods is not None):
        raise _refused("periods goes with the duration repeating, and with no other.", "periods", "INVALID_DURATION")
    if new.expires_at is not None and new.expires_at <= now:
        raise _refused("expiresAt must lie in the future.", "expiresAt", "EXPIRES_IN_PAST")


def _refused(message: str, field: str, code: str) -> ValidationFailed:
    return ValidationFailed(message, field=field, code=code)


def _record(coupon: Coupon, action: str, actor: Actor, now: datetime) -> None:
    target = ids.text("cpn", coupon.id)
    audit.append(merchant_id=coupon.merchant_id, actor=actor, action=action, target=target, now=now)

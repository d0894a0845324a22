"""Coupons: the list, a form that makes one, one that withdraws one, and their redemption for a customer."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import coupons, redemptions, subscription_reads
from dashboard import coupon_forms, forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.reads import catalogue
from merchants.errors import ServiceError
from ui import pages

_FIELDS = {
    "percentOff": "percent_off",
    "amountOff": "amount_off",
    "maxRedemptions": "max_redemptions",
    "couponCode": "code",
}


@page("coupons:read")
def listing(request: SeatedRequest) -> HttpResponse:
    found = catalogue.coupons(merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""))
    context = {"nav": "coupons", "seat": request.seat, "page": found, "now": timezone.now()}
    return pages.answer(request, "dashboard/coupons.html", context)


@page("coupons:write", writes="coupons:write")
def new(request: SeatedRequest) -> HttpResponse:
    """A form that makes a coupon."""
    form = coupon_forms.NewCoupon(sent(request))

    def act(given: Given) -> str:
        said = {name: value for name, value in given.items() if value not in ("", None)}
        wanted = coupons.NewCoupon(**said)
        made = coupons.create(
            merchant_id=request.seat.merchant.id, new=wanted, actor=actor(request), now=timezone.now()
        )
        return f"Coupon {made.code} created. Redeem it from a customer’s page, or by the API."

    return fill(
        request,
        form,
        act,
        nav="coupons",
        title="New coupon",
        lead="A discount on subscriptions. What it is worth cannot be changed once it is made.",
        verb="Create coupon",
        back=to(request, "coupons"),
        names=_FIELDS,
    )


@page("coupons:write", writes="coupons:write")
def withdraw(request: SeatedRequest, coupon_id: str) -> HttpResponse:
    """Ask, and then let nobody redeem a coupon any more."""
    merchant_id, key = request.seat.merchant.id, public_id("cpn", coupon_id)
    coupon = coupons.get(merchant_id=merchant_id, coupon_id=key)
    if request.method == "POST":
        coupons.withdraw(merchant_id=merchant_id, coupon_id=key, actor=actor(request), now=timezone.now())
        messages.success(request, f"Coupon {coupon.code} is withdrawn. Whoever has redeemed it keeps its discount.")
        return redirect(to(request, "coupons"))
    context = {"nav": "coupons", "seat": request.seat, "coupon": coupon, "back": to(request, "coupons")}
    return pages.answer(request, "dashboard/coupon_withdraw.html", context)


@page("subscriptions:write", writes="subscriptions:write")
def redeem(request: SeatedRequest, customer_id: str, subscription_id: str) -> HttpResponse:
    """A form that redeems a coupon for one of a customer's subscriptions, and what was redeemed before."""
    merchant_id, key = request.seat.merchant.id, public_id("sub", subscription_id)
    subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=key)
    if subscription.customer_id != public_id("cus", customer_id):
        raise Http404
    form = coupon_forms.RedeemCoupon(sent(request))
    if form.is_valid():
        try:
            redemptions.redeem(merchant_id=merchant_id, subscription_id=key, code=form.cleaned_data["code"])
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=_FIELDS)
        else:
            messages.success(request, "Coupon redeemed.")
            return redirect(to(request, "redeem", customer_id, subscription_id))
    context = {
        "nav": "customers",
        "seat": request.seat,
        "form": form,
        "subscription": subscription,
        "redeemed": redemptions.of_subscription(merchant_id=merchant_id, subscription_id=key),
        "title": "Coupons",
        "lead": f"Discounts on {subscription.name}.",
        "verb": "Redeem coupon",
        "back": to(request, "customer", customer_id),
    }
    return pages.answer(request, "dashboard/redeem.html", context)

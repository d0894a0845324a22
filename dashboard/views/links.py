"""Payment links and authorization links: the lists, forms that make one, and taking one back."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import money
from billing.models import PaymentLink
from billing.payments import authorizations, links
from dashboard import link_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.asking import ask
from dashboard.filling import Done, Given, fill, sent
from dashboard.reads import links as reads
from dashboard.reads import offers
from merchants import ids, origins
from merchants.errors import ServiceError
from ui import pages

_LINK_FIELDS = {"successRedirectUrl": "success_url", "maxUses": "max_uses", "resourceContent": "resource_content"}
_PERSON_FIELDS = {"redirectUrl": "redirect_url", "minimumAccountBalance": "minimum_balance", "planId": "plan"}


# --- payment links ---------------------------------------------------------------------------------------


@page("paymentLinks:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Payment links, newest first."""
    found = reads.payment_links(merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""))
    context = {"nav": "payment-links", "seat": request.seat, "page": found, "now": timezone.now()}
    return pages.answer(request, "dashboard/payment_links.html", context)


@page("paymentLinks:write", writes="paymentLinks:write")
def new(request: SeatedRequest) -> HttpResponse:
    """A form that makes a payment link."""
    form = link_forms.NewPaymentLink(sent(request))

    def act(given: Given) -> Done:
        said = {name: value for name, value in given.items() if value not in ("", None)}
        wanted = links.NewLink(**said | {"amount": money.to_nanos(given["amount"])})
        made = links.create(merchant_id=request.seat.merchant.id, new=wanted, actor=actor(request), now=timezone.now())
        return Done(
            "Payment link created. Copy its address and give it to who shall pay.",
            to(request, "payment-link", ids.text("pl", made.id)),
        )

    return fill(
        request,
        form,
        act,
        nav="payment-links",
        title="New payment link",
        lead="Whoever has the link may pay it. What it costs cannot be changed once it is made.",
        verb="Create link",
        back=to(request, "payment-links"),
        names=_LINK_FIELDS,
    )


@page("paymentLinks:read", writes="paymentLinks:write")
def show(request: SeatedRequest, link_id: str) -> HttpResponse:
    """A payment link with its payments; its form switches it off, or on again."""
    merchant_id, key = request.seat.merchant.id, public_id("pl", link_id)
    link = links.get(merchant_id=merchant_id, link_id=key)
    if request.method == "POST":
        is_on = link.status == PaymentLink.Status.ACTIVE
        wanted = PaymentLink.Status.DISABLED if is_on else PaymentLink.Status.ACTIVE
        changes = {"status": wanted}
        links.change(merchant_id=merchant_id, link_id=key, changes=changes, actor=actor(request), now=timezone.now())
        messages.success(request, "The link is switched off." if is_on else "The link is switched on.")
        return redirect(to(request, "payment-link", link_id))
    context = {
        "nav": "payment-links",
        "seat": request.seat,
        "link": link,
        "link_id": link_id,
        "url": links.url(link),
        "under_way": link.uses - link.completed,
        "refused": links.refusal(link, timezone.now()),
        "page": reads.payments(merchant_id=merchant_id, link_id=key, cursor=request.GET.get("cursor", "")),
    }
    return pages.answer(request, "dashboard/payment_link.html", context)


# --- authorization links ---------------------------------------------------------------------------------


@page("customers:read")
def authorization_list(request: SeatedRequest) -> HttpResponse:
    """Authorization links, newest first."""
    found = reads.authorizations(
        merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""), now=timezone.now()
    )
    context = {"nav": "authorizations", "seat": request.seat, "page": found}
    return pages.answer(request, "dashboard/authorizations.html", context)


@page("customers:write", writes="customers:write")
def authorization_new(request: SeatedRequest) -> HttpResponse:
    """A form that invites a person to a plan."""
    offered = offers.plans(request.seat.merchant.id)
    form = link_forms.NewAuthorization(sent(request), plans=offered)

    def act(given: Given) -> str:
        wanted = authorizations.NewAuthorization(
            email=given["email"],
            plan_id=given["plan"].plan_id,
            currency=given["plan"].currency,
            minimum_balance=money.to_nanos(given["minimum_balance"] or "0"),
            auto_charge=given["auto_charge"],
            redirect_url=given["redirect_url"] or None,
        )
        authorizations.create(
            merchant_id=request.seat.merchant.id, new=wanted, actor=actor(request), now=timezone.now()
        )
        return f"Link for {wanted.email} created. Copy it from the list, and send it to them."

    return fill(
        request,
        form,
        act,
        nav="authorizations",
        title="New authorization link",
        lead="Invite one person to a plan. They say who they are, accept it and pay what is due at the start.",
        verb="Create link",
        back=to(request, "authorizations"),
        has_choices=bool(offered),
        none="You have no plan yet. Create one first.",
        none_path=to(request, "plan-new"),
        none_verb="Create plan",
        names=_PERSON_FIELDS,
    )


@page("customers:write", writes="customers:write")
def authorization_revoke(request: SeatedRequest, authorization_id: str) -> HttpResponse:
    """Ask, and then take an invitation back."""
    merchant_id, key = request.seat.merchant.id, public_id("auth", authorization_id)
    found = authorizations.get(merchant_id=merchant_id, authorization_id=key, now=timezone.now())
    if request.method == "POST":
        try:
            authorizations.revoke(
                merchant_id=merchant_id, authorization_id=key, actor=actor(request), now=timezone.now()
            )
        except ServiceError as refusal:
            messages.error(request, f"{refusal.message} Nothing was changed.")
        else:
            messages.success(request, f"The link for {found.email} opens nothing any more.")
        return redirect(to(request, "authorizations"))
    return ask(
        request,
        nav="authorizations",
        title="Revoke link",
        lead=f"For {found.email}, to {found.plan.name}.",
        text="Whoever opens it reads that it has expired. You can invite the person again.",
        verb="Revoke link",
        back=to(request, "authorizations"),
    )


# --- the sites that links may lead to --------------------------------------------------------------------


@page("organization:write", writes="organization:write")
def allowed_origins(request: SeatedRequest) -> HttpResponse:
    """Where customers may be sent from hosted pages, and which sites may show those in a frame."""
    merchant = request.seat.merchant
    initial = {"origins": "\n".join(merchant.allowed_origins)}
    form = link_forms.AllowedOrigins(sent(request), initial=initial)

    def act(given: Given) -> str:
        origins.allow(
            merchant_id=merchant.id,
            origins=given["origins"].split(),
            actor=actor(request),
            now=timezone.now(),
        )
        return "Saved."

    return fill(
        request,
        form,
        act,
        nav="organization",
        title="Allowed sites",
        lead="Payment pages lead back to these sites alone, and no other site may show them in a frame.",
        verb="Save",
        back=to(request, "organization"),
        names={"allowedOrigins": "origins"},
    )

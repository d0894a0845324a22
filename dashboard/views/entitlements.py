"""Features of products, what customers are entitled to of them, and the grants behind it."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from customers.models import Customer
from dashboard import entitlement_forms
from dashboard.access import SeatedRequest, actor, find_customer, page, public_id, to
from dashboard.asking import ask
from dashboard.filling import Done, Given, fill, sent
from dashboard.reads import entitlements as reads
from entitlements import features, granting, issuing
from entitlements.granting import NewGrant
from entitlements.issuing import NewEntitlement
from entitlements.models import Feature
from merchants import idempotency, ids, products
from merchants.errors import ServiceError
from ui import pages

ENTITLE_NAMES = {
    "featureId": "feature",
    "activeTo": "active_to",
    "template.issueAfterReset": "units",
    "template.resetMaxRollover": "rollover",
    "template.config": "config",
}
GRANT_NAMES = {"expiresAt": "expires_at", "resetMaxRollover": "rollover"}


@page("features:write", writes="features:write")
def feature_new(request: SeatedRequest, product_id: str) -> HttpResponse:
    """A form that adds a feature to a product."""
    product = products.get(merchant_id=request.seat.merchant.id, product_id=public_id("prod", product_id))
    metrics = reads.countable(merchant_id=product.merchant_id, product_id=product.id)
    form = entitlement_forms.NewFeature(sent(request), metrics=metrics)

    def act(given: Given) -> str:
        chosen = {**given}
        metric_id = chosen.pop("metric")
        features.create(
            merchant_id=product.merchant_id,
            product_id=product.id,
            metric_id=ids.parse("bm", metric_id) if metric_id else None,
            now=timezone.now(),
            **chosen,
        )
        return f"{chosen['name']} can be included in plans and given to customers."

    return fill(
        request,
        form,
        act,
        nav="products",
        title="New feature",
        lead=f"What of {product.name} a plan includes, or a customer is given.",
        verb="Create feature",
        back=to(request, "product", product_id),
        names={"billableMetricId": "metric"},
    )


@page("entitlements:write", writes="entitlements:write")
def entitle(request: SeatedRequest, customer_id: str) -> HttpResponse:
    """A form that entitles a customer to a feature."""
    customer = find_customer(request, customer_id)
    choices = reads.choices(merchant_id=customer.merchant_id)
    form = entitlement_forms.Entitle(sent(request), features=choices)

    def act(given: Given) -> Done:
        made = issuing.issue(
            merchant_id=customer.merchant_id,
            customer_id=customer.id,
            new=_entitlement(customer, given),
            actor=actor(request),
        )
        return Done(
            f"{customer.name} is entitled to {made.feature.name}.",
            to(request, "entitlement", customer_id, ids.text("ent", made.id)),
        )

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="Entitle",
        lead=f"What {customer.name} may use, before anything is charged.",
        verb="Entitle",
        back=to(request, "customer", customer_id),
        has_choices=bool(choices),
        none="None of your products has a feature. Add one on a product’s page.",
        none_path=to(request, "products"),
        none_verb="Go to products",
        names=ENTITLE_NAMES,
    )


@page("entitlements:read")
def show(request: SeatedRequest, customer_id: str, entitlement_id: str) -> HttpResponse:
    """An entitlement, how far it is used, and the grants behind it."""
    customer, view = _entitled(request, customer_id, entitlement_id)
    context = {
        "nav": "customers",
        "seat": request.seat,
        "customer": customer,
        "customer_id": customer_id,
        "view": view,
        "back": to(request, "customer", customer_id),
    }
    return pages.answer(request, "dashboard/entitlement.html", context)


@page("entitlements:write", writes="entitlements:write")
def end(request: SeatedRequest, customer_id: str, entitlement_id: str) -> HttpResponse:
    """Ask once more, then end an entitlement."""
    customer, view = _entitled(request, customer_id, entitlement_id)
    back = to(request, "entitlement", customer_id, entitlement_id)
    if request.method == "POST":
        try:
            issuing.cancel(
                merchant_id=customer.merchant_id, entitlement_id=view.access.entitlement.id, actor=actor(request)
            )
        except ServiceError as refusal:
            messages.error(request, refusal.message)
            return redirect(back)
        messages.success(request, f"{customer.name} is not entitled to {view.row.name} any more.")
        return redirect(to(request, "customer", customer_id))
    text = "It ends at once, and what is left of its grants is lost. What was used stays free."
    title = f"End “{view.row.name}”"
    return ask(request, nav="customers", title=title, lead=customer.name, text=text, verb="End entitlement", back=back)


@page("entitlements:write", writes="entitlements:write")
def grant(request: SeatedRequest, customer_id: str, entitlement_id: str) -> HttpResponse:
    """A form that grants units."""
    customer, view = _entitled(request, customer_id, entitlement_id)
    back = to(request, "entitlement", customer_id, entitlement_id)
    if not view.is_metered:
        raise Http404
    form = entitlement_forms.NewGrant(sent(request), initial={"key": uuid.uuid4()})

    def act(given: Given) -> str:
        granting.create(
            merchant_id=customer.merchant_id,
            entitlement_id=view.access.entitlement.id,
            new=_grant(given),
            actor=actor(request),
        )
        return "Units granted. They cover what is used from now on."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title=f"Grant {view.row.name}",
        lead=f"What {customer.name} may use of it free of charge. {view.row.left} are left now.",
        verb="Grant",
        back=back,
        names=GRANT_NAMES,
    )


@page("entitlements:write", writes="entitlements:write")
def void(request: SeatedRequest, customer_id: str, entitlement_id: str, grant_id: str) -> HttpResponse:
    """Ask once more, then take away what is left of a grant."""
    customer, view = _entitled(request, customer_id, entitlement_id)
    back = to(request, "entitlement", customer_id, entitlement_id)
    found = granting.get(entitlement=view.access.entitlement, grant_id=public_id("grt", grant_id))
    if request.method == "POST":
        try:
            granting.void(
                merchant_id=customer.merchant_id,
                entitlement_id=found.entitlement_id,
                grant_id=found.id,
                actor=actor(request),
            )
        except ServiceError as refusal:
            messages.error(request, refusal.message)
        else:
            messages.success(request, "The grant is voided.")
        return redirect(back)
    text = "What is left of it is taken away at once. What was used of it stays free, and what is held stays held."
    lead = f"{view.row.name} of {customer.name}"
    return ask(request, nav="customers", title="Void grant", lead=lead, text=text, verb="Void grant", back=back)


def _entitled(request: SeatedRequest, customer_id: str, entitlement_id: str) -> tuple[Customer, reads.View]:
    customer = find_customer(request, customer_id)
    view = reads.view(
        merchant_id=customer.merchant_id, entitlement_id=public_id("ent", entitlement_id), now=timezone.now()
    )
    if view.access.entitlement.customer_id != customer.id:
        raise Http404
    return customer, view


def _entitlement(customer: Customer, data: dict[str, Any]) -> NewEntitlement:
    feature = features.get(merchant_id=customer.merchant_id, feature_id=ids.parse("feat", data["feature"]))
    return NewEntitlement(feature_id=feature.id, template=_template(feature, data), active_to=data["active_to"])


def _template(feature: Feature, data: dict[str, Any]) -> dict[str, Any]:
    """Write what the form says as a template; what it says of other types of feature is left out."""
    if feature.type == Feature.Type.BOOLEAN:
        return {}
    if feature.type == Feature.Type.STATIC:
        return {"config": data["config"]}
    template = {"usagePeriod": {"interval": data["period"]}, "isSoftLimit": data["is_soft"]}
    if data["units"]:
        # A template without a bound lets nothing roll over; the form without one lets all.
        most = data["units"] if data["rollover"] is None else data["rollover"]
        template |= {"issueAfterReset": data["units"], "resetMaxRollover": most}
    return template


def _grant(data: dict[str, Any]) -> NewGrant:
    said = {name: str(value) for name, value in data.items()}
    return NewGrant(
        amount=data["amount"],
        key=data["key"].hex,
        fingerprint=idempotency.fingerprint(said),
        expires_at=data["expires_at"],
        priority=data["priority"],
        reset_most=data["rollover"],
    )

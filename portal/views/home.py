"""The portal's own page: balance, use, limits and invoices of one subscription."""

import secrets
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import documents, money
from billing.documents import files
from billing.models import Document, Subscription
from billing.payments import checkout, tokens
from customers import books, notices
from customers.models import Customer
from entitlements import budgets
from entitlements.models import Budget
from merchants import ids
from merchants.errors import Conflict, NotFound, ServiceError
from merchants.models import Mode
from portal import balance, credits, forms, limits, reads, sessions
from portal.doors import count_start, private
from ui import allowances, charts, downloads, fmt, pages, refused, spans

PERIOD = "30d"
REMINDERS = {"lowBalance": "e-mails about a low balance", "renewalReminder": "reminders before renewals"}


@private
@require_safe
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Trade a link for a session, and leave its token behind."""
    response = redirect("portal:home")
    sessions.begin(response, token=token, now=timezone.now(), is_secure=request.is_secure())
    return response


@private
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Balance, spend, usage, events and invoices."""
    return _statement(request)


@private
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The same, when something has changed since it was last shown."""
    return _statement(request, part="live")


@private
@require_POST
def top_up(request: HttpRequest) -> HttpResponse:
    """Open the page on which money is added to the balance."""
    subscription, _ = sessions.opened(request, now=timezone.now())
    form = forms.AddMoney(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was added: type an amount of at least 1.00, such as 25.00.")
        return redirect("portal:home")
    try:
        count_start(request, timezone.now())
        opened = checkout.open_top_up(
            merchant_id=subscription.merchant_id,
            wallet_id=subscription.prepaid_wallet_id,
            amount=money.to_nanos(form.cleaned_data["amount"]),
        )
    except ServiceError as refusal:
        messages.error(request, f"Nothing was added: {refusal.message}")
        return redirect("portal:home")
    return redirect("portal:pay", tokens.make(tokens.SESSION, opened.id))


@private
@require_POST
def set_limit(request: HttpRequest) -> HttpResponse:
    """Set a limit of the customer's own."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    form = forms.NewLimit(request.POST)
    if not form.is_valid():
        messages.error(request, "No limit was set: type an amount, such as 25.00.")
        return redirect("portal:home")
    try:
        limits.set_own(
            customer=customer,
            currency=subscription.currency,
            zone=subscription.timezone,
            wanted=form.cleaned_data,
        )
    except ServiceError as refusal:
        messages.error(request, f"No limit was set: {refusal.message}")
    else:
        messages.success(request, "Limit set. It counts from now on.")
    return redirect("portal:home")


@private
@require_POST
def change_limit(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Change or remove one of the customer's own limits; what the merchant has set is not theirs to change."""
    _, customer = sessions.opened(request, now=timezone.now())
    form = forms.ChangedLimit(request.POST)
    try:
        named = _own_limit(customer, budget_id)
        if "remove" in request.POST:
            budgets.archive(**named)
            messages.success(request, "Limit removed.")
        elif form.is_valid():
            budgets.change(**named, changes={"limit": money.to_nanos(form.cleaned_data["amount"])})
            messages.success(request, "Limit changed.")
        else:
            messages.error(request, "Nothing was changed: type an amount, such as 25.00.")
    except ServiceError as refusal:
        messages.error(request, f"Nothing was changed: {refusal.message}")
    return redirect("portal:home")


def _own_limit(customer: Customer, text: str) -> dict[str, Any]:
    """Name a budget of this customer's for an activity; raises NotFound for any other."""
    try:
        budget_id = ids.parse("bgt", text)
    except ids.InvalidId as error:
        raise NotFound() from error
    if budgets.find(merchant_id=customer.merchant_id, budget_id=budget_id).customer_id != customer.id:
        raise NotFound()
    return {"merchant_id": customer.merchant_id, "budget_id": budget_id, "by": Budget.Setter.CUSTOMER}


@private
@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Every movement of the balance, and the balance after it."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    context = balance.history(subscription, customer, request.GET.dict())
    context["withdrawal"] = forms.Withdrawal(initial={"key": secrets.token_hex(16)}, auto_id="withdrawal_%s")
    with timezone.override(ZoneInfo(subscription.timezone)):
        return pages.answer(request, "portal/history.html", context)


@private
@require_safe
def history_export(request: HttpRequest) -> HttpResponseBase:
    """The same as a file, whole."""
    subscription, _ = sessions.opened(request, now=timezone.now())
    return balance.export(request, subscription)


@private
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """End the session in this browser."""
    response = pages.answer(request, "portal/left.html", {})
    sessions.end(response)
    return response


@private
@require_safe
def invoice_pdf(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """An issued invoice of the session's subscription, as a file."""
    return _pdf(
        request, lambda own: documents.of_subscription(subscription=own, invoice_id=ids.parse("inv", invoice_id))
    )


@private
@require_safe
def credit_note_pdf(request: HttpRequest, credit_note_id: str) -> HttpResponse:
    """A credit note of the session's subscription, as a file."""
    return _pdf(
        request,
        lambda own: documents.credit_note_of_subscription(
            subscription=own, credit_note_id=ids.parse("cn", credit_note_id)
        ),
    )


def _pdf(request: HttpRequest, find: Callable[[Subscription], Document]) -> HttpResponse:
    now = timezone.now()
    subscription, customer = sessions.opened(request, now=now)
    try:
        document = find(subscription)
    except (ids.InvalidId, NotFound, Conflict) as error:
        raise Http404 from error
    file = files.of(document, now)
    return downloads.attached(bytes(file.pdf), files.name_of(document, customer.merchant.organization.slug, "pdf"))


def _statement(request: HttpRequest, *, part: str = "") -> HttpResponse:
    now = timezone.now()
    subscription, customer = sessions.opened(request, now=now)
    zone = ZoneInfo(subscription.timezone)
    own_time = books.time_of(subscription.bucket, customer.id, now)
    span = spans.span(PERIOD, now=own_time, zone=zone)
    statement = reads.statement(subscription=subscription, span=span)
    caps = limits.limits(customer=customer, now=own_time)
    included = allowances.rows(merchant_id=customer.merchant_id, customer_id=customer.id)
    given_back = credits.of(subscription)
    turned_down = refused.latest(merchant_id=customer.merchant_id, customer_id=customer.id, now=now)
    stamp = (
        statement.stamp
        + "".join(row.id for row in turned_down[:1])
        + allowances.stamp(included)
        + credits.stamp(given_back)
        + "".join(f".{cap.id[-6:]}{cap.limit}{cap.used}{cap.held}" for cap in caps)
    )
    if part and request.GET.get("seen") == stamp:
        return pages.unchanged()
    context = {
        "merchant": customer.merchant.organization.name,
        "is_test": customer.merchant.mode == Mode.TEST,
        "customer": customer,
        "subscription": subscription,
        "statement": statement,
        "stamp": stamp,
        "limits": caps,
        "included": included,
        "refused": turned_down,
        "credit_notes": given_back,
        "new_limit": forms.NewLimit(auto_id="limit_%s"),
        "chart": _chart(statement, span),
        "add_money": forms.AddMoney(auto_id="add_%s"),
    }
    with timezone.override(zone):
        return pages.answer(request, "portal/home.html", context, part=part)


@private
@csrf_exempt  # a mail client's own button posts without a page of ours (RFC 8058)
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Stop the reminders of one kind; following the link alone, as scanners do, stops nothing."""
    is_done = request.method == "POST"
    try:
        customer, setting = notices.unsubscribe(token, timezone.now()) if is_done else notices.read(token)
    except NotFound:
        return pages.answer(request, "portal/unsubscribe_unknown.html", {}, status=404)
    organization = customer.merchant.organization.name
    context = {"merchant": organization, "what": REMINDERS.get(setting, "these e-mails"), "is_done": is_done}
    return pages.answer(request, "portal/unsubscribe.html", {**context, "email": customer.email})


def _chart(statement: reads.Statement, span: spans.Span) -> charts.Chart:
    nothing = [charts.Series(name="Spend", tone="s1", values=[0] * len(span.labels))]
    return charts.bars(
        charts.Plot(
            id="usage",
            labels=span.labels,
            series=statement.daily or nothing,
            axis=lambda nanos: fmt.axis(nanos, statement.currency),
            show=lambda nanos: fmt.charge(int(nanos), statement.currency),
            summary="Your spend per day over 30 days, split by what was used.",
        )
    )

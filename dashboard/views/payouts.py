"""A merchant's balance and payouts."""

import secrets

from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone

from billing import money, payouts
from billing.payouts import NewPayout
from dashboard import wallet_forms
from dashboard.access import SeatedRequest, actor, file_name, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.reads import payouts as reads
from dashboard.reads import withdrawals
from merchants import csv_files
from ui import fmt, pages


@page("payouts:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """The balance in each currency, and the payouts."""
    merchant_id = request.seat.merchant.id
    waiting = withdrawals.waiting(merchant_id) if request.seat.may("wallets:read") else []
    context = {
        "nav": "payouts",
        "seat": request.seat,
        "pots": reads.pots(merchant_id),
        "page": reads.listing(merchant_id=merchant_id, cursor=request.GET.get("cursor", "")),
        "withdrawals": waiting,
    }
    return pages.answer(request, "dashboard/payouts.html", context)


@page("payouts:read")
def export(request: SeatedRequest) -> StreamingHttpResponse:
    """All payouts, as a file."""
    lines = reads.lines(request.seat.merchant.id)
    return csv_files.answer(request, file_name(request, "payouts", timezone.now()), reads.HEADER, lines)


@page("payouts:write", writes="payouts:write")
def new(request: SeatedRequest) -> HttpResponse:
    """A form that has the balance, or a part of it, paid out."""
    pots = [pot for pot in reads.pots(request.seat.merchant.id) if pot.balance.available > 0]
    form = wallet_forms.NewPayout(
        sent(request),
        currencies=[(pot.balance.currency, _said(pot)) for pot in pots],
        initial={"key": secrets.token_hex(16)},
    )

    def act(given: Given) -> str:
        amount = given["amount"]
        wanted = NewPayout(currency=given["currency"], amount=None if amount is None else money.to_nanos(amount))
        made, _ = payouts.create(
            merchant_id=request.seat.merchant.id, new=wanted, key=given["key"], actor=actor(request)
        )
        return f"{fmt.money(made.amount, made.currency)} is on its way to you."

    return fill(
        request,
        form,
        act,
        nav="payouts",
        back=to(request, "payouts"),
        title="Pay out",
        lead="Your balance, or a part of it, goes to your bank account.",
        verb="Pay out",
        has_choices=bool(pots),
        none="There is nothing to pay out yet. What customers use of what they have paid in is added here.",
        none_path=to(request, "payouts"),
        none_verb="Back to payouts",
    )


@page("payouts:write", writes="payouts:write")
def end(request: SeatedRequest, payout_id: str) -> HttpResponse:
    """A form that says how a payout ended that is carried out past us."""
    merchant_id, key = request.seat.merchant.id, public_id("po", payout_id)
    made = payouts.find(merchant_id=merchant_id, payout_id=key)
    form = wallet_forms.EndPayout(sent(request))

    def act(given: Given) -> str:
        is_paid = given["outcome"] == "paid"
        said = {"reference" if is_paid else "failure": given["text"]}
        payouts.end(merchant_id=merchant_id, payout_id=key, is_paid=is_paid, **said, actor=actor(request))
        return "Payout paid." if is_paid else "Payout failed; it is in your balance again."

    return fill(
        request,
        form,
        act,
        nav="payouts",
        back=to(request, "payouts"),
        title=f"Payout {made.number}",
        lead=f"{fmt.money(made.amount, made.currency)}: say how it ended.",
        verb="Save",
    )


@page("payouts:write", writes="payouts:write")
def schedule(request: SeatedRequest, currency: str) -> HttpResponse:
    """A form that says when a balance is paid out by itself."""
    merchant_id = request.seat.merchant.id
    known = payouts.schedules(merchant_id).filter(currency=currency[:3]).first()
    initial = {"interval": known.interval, "minimum": money.from_nanos(known.minimum)} if known else {}
    form = wallet_forms.Schedule(sent(request), currency=currency[:3], initial=initial)

    def act(given: Given) -> str:
        payouts.schedule(
            merchant_id=merchant_id,
            currency=money.currency(currency),
            interval=given["interval"] or None,
            minimum=money.to_nanos(given["minimum"] or "0"),
            actor=actor(request),
            now=timezone.now(),
        )
        return "Schedule saved."

    return fill(
        request,
        form,
        act,
        nav="payouts",
        back=to(request, "payouts"),
        title="Payout schedule",
        lead=f"When your balance in {currency[:3]} is paid out by itself.",
        verb="Save schedule",
    )


def _said(pot: reads.Pot) -> str:
    return f"{pot.balance.currency}: {fmt.money(pot.balance.available, pot.balance.currency)}"

"""What customers take back of their balance: the list, one with its history, and the merchant's decision."""

from django.http import HttpResponse
from django.shortcuts import redirect

from billing import withdrawals
from dashboard import wallet_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.filters import WithdrawalFilter
from dashboard.reads import withdrawals as reads
from ui import pages


@page("wallets:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Withdrawals, newest first, narrowed by the query string."""
    form = WithdrawalFilter(request.GET)
    status = form.cleaned_data["status"] if form.is_valid() else ""
    found = reads.listing(merchant_id=request.seat.merchant.id, status=status, cursor=request.GET.get("cursor", ""))
    context = {"nav": "payouts", "seat": request.seat, "form": form, "status": status, "page": found}
    return pages.answer(request, "dashboard/withdrawals.html", context, part="results")


@page("wallets:read")
def show(request: SeatedRequest, withdrawal_id: str) -> HttpResponse:
    """One withdrawal: where it goes, what became of it, and who did what."""
    view = reads.view(merchant_id=request.seat.merchant.id, withdrawal_id=public_id("wd", withdrawal_id))
    context = {"nav": "payouts", "seat": request.seat, "view": view, "row": view.row, "made": view.row.says}
    return pages.answer(request, "dashboard/withdrawal.html", context)


@page("wallets:write", writes="wallets:write")
def move(request: SeatedRequest, withdrawal_id: str) -> HttpResponse:
    """A form that approves a withdrawal or rejects it, or says how what is paid by hand ended."""
    merchant_id, key = request.seat.merchant.id, public_id("wd", withdrawal_id)
    made, back = withdrawals.find(merchant_id=merchant_id, withdrawal_id=key), to(request, "withdrawal", withdrawal_id)
    if not reads.is_open(made):
        return redirect(back)
    form = wallet_forms.MoveWithdrawal(sent(request), state=made.state)

    def act(given: Given) -> str:
        state, text = given["outcome"], given["text"]
        said = {"reference" if state == "paid" else "reason": text}
        withdrawals.move(merchant_id=merchant_id, withdrawal_id=key, to=state, **said, actor=actor(request))
        return f"Withdrawal {state}."

    return fill(
        request,
        form,
        act,
        nav="payouts",
        title="Withdrawal",
        lead=reads.lead(made),
        verb="Save",
        back=back,
    )

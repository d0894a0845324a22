"""The portal's pages of a balance: how it came to be."""

from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, StreamingHttpResponse

from billing import credits, wallets, withdrawals
from billing.models import CreditLot, Subscription, Wallet, Withdrawal
from customers.models import Customer
from merchants import csv_files, ids
from merchants.models import Mode
from ui import fmt, movements

WITHDRAWALS_SHOWN = 5


def context(subscription: Subscription, customer: Customer) -> dict[str, Any]:
    """What every page of the portal shows around its own content."""
    return {
        "merchant": customer.merchant.organization.name,
        "is_test": customer.merchant.mode == Mode.TEST,
        "customer": customer,
        "subscription": subscription,
    }


def history(subscription: Subscription, customer: Customer, query: dict[str, str]) -> dict[str, Any]:
    """Gather a page of the history of a subscription's balance, and the credit that is left."""
    wallet = _wallet(subscription)
    zone = ZoneInfo(subscription.timezone)
    lots: list[CreditLot] = list(
        credits.search(merchant_id=customer.merchant_id, wallet_id=wallet.id).filter(remaining__gt=0)
    )
    return {
        **context(subscription, customer),
        "wallet": wallet,
        "credits": lots,
        "withdrawals": [
            (ids.text("wd", made.id), made, _says(made))
            for made in withdrawals.search(merchant_id=customer.merchant_id, wallet_id=wallet.id)[:WITHDRAWALS_SHOWN]
        ],
        "withdrawable": withdrawals.withdrawable(wallet),
        "history": movements.history(wallet, query=query, zone=zone),
        "spans": movements.SPANS,
    }


def _says(made: Withdrawal) -> list[str]:
    """Say to a customer where what they take back goes."""
    says = [made.reason] if made.reason else []
    if made.to_cards:
        says.append(f"{fmt.money(made.to_cards, made.currency)} to the cards that paid")
    if by_hand := withdrawals.by_hand(made):
        says.append(f"{fmt.money(by_hand, made.currency)} by hand")
    if made.returned and made.state not in (Withdrawal.State.REJECTED, Withdrawal.State.CANCELLED):
        says.append(f"{fmt.money(made.returned, made.currency)} did not arrive, and is in your balance again")
    return says


def export(request: HttpRequest, subscription: Subscription) -> StreamingHttpResponse:
    """The whole history, as a file."""
    lines = movements.lines(_wallet(subscription), zone=ZoneInfo(subscription.timezone))
    return csv_files.answer(request, "balance-history", movements.HEADER, lines)


def _wallet(subscription: Subscription) -> Wallet:
    return wallets.find(merchant_id=subscription.merchant_id, wallet_id=subscription.prepaid_wallet_id)

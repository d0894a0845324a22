"""The history of a balance, in the words of the dashboard and the portal, and as a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from billing import histories, money
from billing.histories import InvalidPlace, Movement, Place
from billing.models import Wallet
from ui import fmt

SHOWN: Final = 50
SPANS: Final = (("hour", "By hour"), ("day", "By day"))
WORDS: Final = {
    "usage": "Use and fees",
    "top_up_received": "Top-up",
    "credit_granted": "Credit",
    "credit_expired": "Credit expired",
    "credit_voided": "Credit taken back",
    "withdrawal_requested": "Withdrawal",
    "withdrawal_returned": "Withdrawal returned",
    "refund_begun": "Refund",
    "refund_failed": "Refund returned",
    "dispute_opened": "Chargeback",
    "dispute_won": "Chargeback returned",
    "invoice_issued": "Invoice issued",
}
HEADER: Final = ("at", "what", "amount", "balance", "currency", "charges", "first_charge_at", "last_charge_at")


@dataclass(frozen=True, slots=True)
class Row:
    """One movement as it is shown."""

    words: str
    amount: str
    is_gain: bool
    balance: fmt.Aligned
    at: datetime
    charges: int
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class History:
    """A page of a balance's history."""

    rows: list[Row]
    span: str
    older: str  # where the next page begins
    is_first: bool


def history(wallet: Wallet, *, query: dict[str, str], zone: ZoneInfo) -> History:
    """Return the page of a wallet's history that a query string asks for; what is none in it means the first."""
    span = query.get("by", "")
    span = span if span in dict(SPANS) else "hour"
    after = _place(query.get("after", ""))
    found = histories.page(wallet, after=after, limit=SHOWN, span=span, zone=zone)
    balances = fmt.align([row.balance for row in found.rows], wallet.currency)
    return History(
        rows=[_row(row, balance, wallet.currency) for row, balance in zip(found.rows, balances, strict=True)],
        span=span,
        older="" if found.following is None else str(found.following),
        is_first=after is None,
    )


def lines(wallet: Wallet, *, zone: ZoneInfo) -> Iterator[list[list[str]]]:
    """Return every movement of a wallet as the lines of a file, use by the hour of a zone; newest first."""
    for batch in histories.everything(wallet, span="hour", zone=zone):
        yield [_line(row, wallet.currency) for row in batch]


def words(kind: str, amount: int) -> str:
    """Say what kind of movement it is; what was charged and came back, by a credit note say, is no use."""
    if kind == "usage" and amount > 0:
        return "Given back"
    return WORDS.get(kind) or kind.replace("_", " ").capitalize()


def _place(text: str) -> Place | None:
    try:
        return Place.read(text)
    except InvalidPlace:
        return None


def _row(row: Movement, balance: fmt.Aligned, currency: str) -> Row:
    amount = fmt.charge(row.amount, currency)
    return Row(
        words=words(row.kind, row.amount),
        amount=f"+{amount}" if row.amount > 0 else amount,
        is_gain=row.amount > 0,
        balance=balance,
        at=row.at,
        charges=row.charges,
        since=row.since,
        until=row.until,
    )


def _line(row: Movement, currency: str) -> list[str]:
    return [
        _time(row.at),
        words(row.kind, row.amount),
        money.from_nanos(row.amount),
        money.from_nanos(row.balance),
        currency,
        str(row.charges or ""),
        _time(row.since),
        _time(row.until),
    ]


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""

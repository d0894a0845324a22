"""What a merchant is owed and was paid, and what their customers take back, as pages and files show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from billing import merchant_balances, money, payouts, withdrawals
from billing.merchant_balances import Balance
from billing.models import Payout, PayoutSchedule, Withdrawal
from customers.models import Customer
from dashboard.reads import naming
from merchants import csv_files, ids
from ui import fmt
from ui.paging import Page, page

BATCH = 1_000
WITHDRAWALS_SHOWN = 50
HEADER: Final = (
    "payout_id", "number", "created_at", "amount", "currency", "status", "reference", "failure", "resolved_at",
)  # fmt: skip
OPEN: Final = (Withdrawal.State.REQUESTED, Withdrawal.State.APPROVED)


@dataclass(frozen=True, slots=True)
class Pot:
    """One currency: the balance, and when it is paid out by itself."""

    balance: Balance
    schedule: PayoutSchedule | None


@dataclass(frozen=True, slots=True)
class PayoutRow:
    """One payout."""

    id: str
    says: Payout


@dataclass(frozen=True, slots=True)
class WithdrawalRow:
    """One withdrawal, and whose it is."""

    id: str
    customer_id: str
    customer: str
    says: Withdrawal
    statement: str

    @property
    def is_open(self) -> bool:
        """Tell whether the merchant has something to decide or to pay."""
        return is_open(self.says)


def is_open(made: Withdrawal) -> bool:
    """Tell whether a withdrawal waits for the merchant, and not for cards alone."""
    return made.state == Withdrawal.State.REQUESTED or made.by_hand == Withdrawal.ByHand.DUE


def lead(made: Withdrawal) -> str:
    """Say what a withdrawal is, and where it goes, or would if it was approved now."""
    names = Customer.objects.filter(bucket=made.bucket, id=made.customer_id).values_list("name", flat=True)
    whose = next(iter(names), "a deleted customer")
    words = [f"{fmt.money(made.amount, made.currency)} of the money of {whose}, already out of their balance."]
    if made.state == Withdrawal.State.REQUESTED:
        words.append(_ways(made))
    elif statement := withdrawals.statement(made):
        words.append(statement)
    if made.note:
        words.append(f"They write: {made.note}")
    return " ".join(words)


def _ways(made: Withdrawal) -> str:
    to_cards = sum([way.amount for way in withdrawals.ways(made)])
    by_hand = made.amount - to_cards
    if not to_cards:
        return "No card payment is left that it could go back to: approved, it is yours to pay by hand."
    if not by_hand:
        return "Approved, all of it goes back to the cards that paid."
    cards, hand = fmt.money(to_cards, made.currency), fmt.money(by_hand, made.currency)
    return f"Approved, {cards} goes back to the cards that paid; {hand} cannot, and is yours to pay by hand."


def pots(merchant_id: UUID) -> list[Pot]:
    """Return a merchant's balances, each with its schedule."""
    scheduled = {each.currency: each for each in payouts.schedules(merchant_id)}
    return [Pot(each, scheduled.get(each.currency)) for each in merchant_balances.balances(merchant_id)]


def listing(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of a merchant's payouts, newest first."""
    found = page(payouts.search(merchant_id=merchant_id), cursor=cursor)
    rows: list[Any] = [PayoutRow(ids.text("po", each.id), each) for each in found.rows]
    return Page(rows=rows, newer=found.newer, older=found.older)


def open_withdrawals(merchant_id: UUID) -> list[WithdrawalRow]:
    """Return what customers wait for, oldest first."""
    rows = list(
        withdrawals.search(merchant_id=merchant_id).filter(state__in=OPEN).order_by("created_at")[:WITHDRAWALS_SHOWN]
    )
    names = naming.customers((row.bucket, row.customer_id) for row in rows)
    return [
        WithdrawalRow(
            id=ids.text("wd", row.id),
            customer_id=ids.text("cus", row.customer_id),
            customer=names.get(row.customer_id, ""),
            says=row,
            statement=withdrawals.statement(row),
        )
        for row in rows
    ]


def lines(merchant_id: UUID) -> Iterator[list[list[str]]]:
    """Return every payout as the lines of a file, newest first."""
    cursor = ""
    while True:
        found = page(payouts.search(merchant_id=merchant_id), cursor=cursor, size=BATCH)
        yield [_line(row) for row in found.rows]
        cursor = found.older
        if not cursor:
            return


def _line(row: Payout) -> list[str]:
    return [
        ids.text("po", row.id),
        str(row.number),
        _time(row.created_at),
        money.from_nanos(row.amount),
        row.currency,
        row.state,
        csv_files.text(row.reference),
        csv_files.text(row.failure),
        _time(row.resolved_at),
    ]


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""

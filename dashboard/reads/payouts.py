"""What a merchant is owed and was paid, as pages and files show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from billing import merchant_balances, money, payouts
from billing.merchant_balances import Balance
from billing.models import Payout, PayoutSchedule
from merchants import csv_files, ids
from ui.paging import Page, page

BATCH = 1_000
HEADER: Final = (
    "payout_id", "number", "created_at", "amount", "currency", "status", "reference", "failure", "resolved_at",
)  # fmt: skip


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


def pots(merchant_id: UUID) -> list[Pot]:
    """Return a merchant's balances, each with its schedule."""
    scheduled = {each.currency: each for each in payouts.schedules(merchant_id)}
    return [Pot(each, scheduled.get(each.currency)) for each in merchant_balances.balances(merchant_id)]


def listing(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of a merchant's payouts, newest first."""
    found = page(payouts.search(merchant_id=merchant_id), cursor=cursor)
    rows: list[Any] = [PayoutRow(ids.text("po", each.id), each) for each in found.rows]
    return Page(rows=rows, newer=found.newer, older=found.older)


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

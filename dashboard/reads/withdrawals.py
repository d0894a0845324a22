"""What customers take back of their balance, as pages show it: what waits, what has ended, and how it came to that."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from billing import withdrawals
from billing.models import PaymentRefund, Withdrawal
from dashboard.reads import audit_log, naming
from dashboard.reads.payments import REFUND_STATES
from merchants import ids
from merchants.models import AuditEntry
from ui import fmt
from ui.paging import Page, page

State = Withdrawal.State
SHOWN = 50
STATES: Final = {
    State.REQUESTED.value: "Asked for",
    State.APPROVED.value: "On its way",
    State.PAID.value: "Paid",
    State.REJECTED.value: "Rejected",
    State.CANCELLED.value: "Called off",
    State.FAILED.value: "Failed",
}
OPEN: Final = (State.REQUESTED, State.APPROVED)
_STEPS: Final = {
    "withdrawal.requested": "Asked for",
    "withdrawal.approved": "Approved",
    "withdrawal.rejected": "Rejected: the money is in the balance again",
    "withdrawal.cancelled": "Called off: the money is in the balance again",
    "withdrawal.paid": "Paid by hand",
    "withdrawal.failed": "Not paid by hand: that part is in the balance again",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One withdrawal, and whose it is."""

    id: str
    customer_id: str
    customer: str
    says: Withdrawal
    statement: str

    @property
    def words(self) -> str:
        return STATES[self.says.state]

    @property
    def is_open(self) -> bool:
        """Tell whether the merchant has something to decide or to pay."""
        return is_open(self.says)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a withdrawal."""

    at: datetime
    words: str
    who: str


@dataclass(frozen=True, slots=True)
class Part:
    """What goes back, or went back, to one card payment."""

    says: PaymentRefund
    payment_id: str
    words: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page of a withdrawal."""

    row: Row
    wallet_id: str
    lead: str
    by_hand: int  # nanos; 0 while nobody has approved it
    steps: list[Step]
    parts: list[Part]


def is_open(made: Withdrawal) -> bool:
    """Tell whether a withdrawal waits for the merchant, and not for cards alone."""
    return made.state == State.REQUESTED or made.by_hand == Withdrawal.ByHand.DUE


def waiting(merchant_id: UUID) -> list[Row]:
    """Return what customers wait for, oldest first."""
    rows = withdrawals.search(merchant_id=merchant_id).filter(state__in=OPEN).order_by("created_at")
    return _described(list(rows[:SHOWN]))


def listing(*, merchant_id: UUID, status: str, cursor: str) -> Page[Any]:
    """Return a page of a merchant's withdrawals, the newest first."""
    rows = withdrawals.search(merchant_id=merchant_id, state=status if status in STATES else None)
    found = page(rows, cursor=cursor)
    return Page(rows=_described(found.rows), newer=found.newer, older=found.older)


def view(*, merchant_id: UUID, withdrawal_id: UUID) -> View:
    """Gather the page of a withdrawal; raises NotFound."""
    made = withdrawals.find(merchant_id=merchant_id, withdrawal_id=withdrawal_id)
    parts = [
        Part(each, ids.text("att", each.attempt_id), REFUND_STATES[each.state]) for each in withdrawals.refunds_of(made)
    ]
    return View(
        row=_described([made])[0],
        wallet_id=ids.text("acc", made.wallet_id),
        lead=lead(made),
        by_hand=withdrawals.by_hand(made),
        steps=_steps(made, parts),
        parts=parts,
    )


def lead(made: Withdrawal) -> str:
    """Say what a withdrawal is, and where it goes, or would if it was approved now."""
    whose = naming.customers([(made.bucket, made.customer_id)]).get(made.customer_id, "a deleted customer")
    already = ", already out of their balance" if made.state in OPEN else ""
    words = [f"{fmt.money(made.amount, made.currency)} of the money of {whose}{already}."]
    if made.state == State.REQUESTED:
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


def _steps(made: Withdrawal, parts: Sequence[Part]) -> list[Step]:
    """List what happened, in order: what people did, and what became of the parts that went to cards."""
    entries = AuditEntry.objects.filter(merchant_id=made.merchant_id, target=ids.text("wd", made.id)).order_by("number")
    done = list(entries)
    steps = [
        Step(entry.at, _STEPS.get(entry.action, shown.action), shown.actor)
        for entry, shown in zip(done, audit_log.described(done), strict=True)
    ]
    for part in parts:
        if part.says.resolved_at is not None:
            amount = fmt.money(part.says.amount, part.says.currency)
            is_there = part.says.state == PaymentRefund.State.SUCCEEDED
            ended = "went back to a card" if is_there else "did not reach a card, and is in the balance again"
            steps.append(Step(part.says.resolved_at, f"{amount} {ended}", "Payment provider"))
    return sorted(steps, key=lambda step: step.at)


def _described(rows: Sequence[Withdrawal]) -> list[Row]:
    names = naming.customers((row.bucket, row.customer_id) for row in rows)
    return [
        Row(
            id=ids.text("wd", row.id),
            customer_id=ids.text("cus", row.customer_id),
            customer=names.get(row.customer_id, "Deleted customer"),
            says=row,
            statement=withdrawals.statement(row),
        )
        for row in rows
    ]

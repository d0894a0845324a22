"""Payments as lists and pages show them: what became of each, who said so, and what went back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from billing import first_payments
from billing.models import AttemptStep, PaymentAttempt, PaymentDispute, PaymentMethod, PaymentRefund, ProviderLine
from billing.payments import accounts, attempts, cards, disputes, payment_reads, provider_lines, purposes, refunds
from billing.payments.accounts import Shown
from dashboard.reads import naming
from merchants import ids
from merchants.models import Merchant, Mode
from ui.paging import Page, page

State = PaymentAttempt.State
STATES: Final = {
    State.CREATED.value: "Begun",
    State.SUBMITTING.value: "Asking",
    State.SUCCEEDED.value: "Paid",
    State.PROCESSING.value: "Processing",
    State.REQUIRES_ACTION.value: "Waits for payer",
    State.DECLINED.value: "Declined",
    State.UNKNOWN.value: "Not answered",
    State.CANCELLED.value: "Given up",
}
EXPLAINED: Final = {
    State.UNKNOWN.value: "The provider was asked and has not answered. It is asked again under the same key until it "
    "does, so nothing is charged twice.",
    State.PROCESSING.value: "The provider has taken it and needs time, as bank debits do.",
    State.REQUIRES_ACTION.value: "It goes on when the payer has paid on the page, or confirmed it with their bank.",
}
REFUND_STATES: Final = {
    PaymentRefund.State.CREATED.value: "Begun",
    PaymentRefund.State.SUBMITTING.value: "Asking",
    PaymentRefund.State.SUCCEEDED.value: "Given back",
    PaymentRefund.State.PROCESSING.value: "On its way",
    PaymentRefund.State.UNKNOWN.value: "Not answered",
    PaymentRefund.State.FAILED.value: "Failed",
}
DISPUTE_STATES: Final = {"open": "Bank decides", "won": "Won", "lost": "Lost"}
SOURCES: Final = {
    "caller": "Us",
    "answer": "Provider’s answer",
    "webhook": "Provider’s webhook",
    "poll": "We asked again",
    "reconcile": "Reconciliation",
}
PROVIDERS: Final = {"test": "Test provider", "stripe": "Stripe", "recorded": "Recorded by hand"}
PURPOSES: Final = {
    "topup": "Top-up",
    "invoice": "Invoice",
    "subscription": "Start of a subscription",
    "payment": "One-off payment",
    "setup": "Card saved",
}
FILTERS: Final = {
    "paid": ("Paid", [State.SUCCEEDED]),
    "open": ("On its way", [*attempts.OPEN]),
    "declined": ("Declined", [State.DECLINED]),
    "cancelled": ("Given up", [State.CANCELLED]),
}


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """One line of a list of payments."""

    id: str
    attempt: PaymentAttempt
    customer_id: str  # empty for somebody who is nobody's customer
    customer: str
    is_first: bool  # what a subscription began with

    @property
    def words(self) -> str:
        return STATES[self.attempt.state]

    @property
    def purpose(self) -> str:
        return PURPOSES["subscription" if self.is_first else self.attempt.purpose]

    @property
    def provider(self) -> str:
        return PROVIDERS[self.attempt.provider]


@dataclass(frozen=True, slots=True)
class PaymentView:
    """Everything a payment's page shows."""

    row: PaymentRow
    explained: str
    card: PaymentMethod | None
    steps: list[tuple[AttemptStep, str, str]]
    refunds: list[tuple[PaymentRefund, str]]
    disputes: list[tuple[PaymentDispute, str]]
    left: int  # nanos that have not gone back
    lines: list[ProviderLine]  # of the provider's own account
    is_reachable: bool  # the account that took it is the one that is connected

    @property
    def is_refundable(self) -> bool:
        attempt = self.row.attempt
        is_disputed = any(dispute.state != PaymentDispute.State.WON for dispute, _ in self.disputes)
        can_return = purposes.of(attempt.purpose).returns is not None and bool(attempt.provider_ref)
        is_left = attempt.state == State.SUCCEEDED and self.left > 0
        return is_left and can_return and self.is_reachable and not is_disputed


@dataclass(frozen=True, slots=True)
class ProviderView:
    """What the page of payment providers shows."""

    account: Shown | None
    webhook_url: str
    is_test: bool
    cards: list[tuple[str, str]]


def listing(*, merchant_id: UUID, status: str, cursor: str) -> Page[Any]:
    """Return a page of a merchant's payments, the newest first."""
    rows = payment_reads.search(merchant_id=merchant_id).exclude(purpose=PaymentAttempt.Purpose.SETUP)
    if status in FILTERS:
        rows = rows.filter(state__in=FILTERS[status][1])
    found = page(rows, cursor=cursor)
    return Page(rows=_described(found.rows), newer=found.newer, older=found.older)


def view(*, merchant_id: UUID, attempt_id: UUID) -> PaymentView:
    """Gather a payment's page; raises NotFound."""
    attempt = attempts.find(merchant_id=merchant_id, attempt_id=attempt_id)
    card = attempt.method_id and PaymentMethod.objects.filter(bucket=attempt.bucket, id=attempt.method_id).first()
    return PaymentView(
        row=_described([attempt])[0],
        explained=EXPLAINED.get(attempt.state, ""),
        card=card or None,
        steps=[(step, STATES[step.state], SOURCES[step.source]) for step in attempts.steps_of(attempt)],
        refunds=[(made, REFUND_STATES[made.state]) for made in refunds.of_attempt(attempt)],
        disputes=[(dispute, DISPUTE_STATES[dispute.state]) for dispute in disputes.of_attempt(attempt)],
        left=attempt.amount - attempt.refunded,
        lines=list(provider_lines.of_attempt(attempt)),
        is_reachable=attempt.account_id == accounts.connected(attempt.merchant_id, attempt.provider),
    )


def provider(merchant: Merchant) -> ProviderView:
    """Gather the page of payment providers."""
    return ProviderView(
        account=accounts.shown(merchant.id),
        webhook_url=f"{settings.PUBLIC_URL}/webhooks/in/stripe/{ids.text('org', merchant.id)}",
        is_test=merchant.mode == Mode.TEST,
        cards=[(" ".join([card.number[at : at + 4] for at in range(0, 16, 4)]), card.says) for card in cards.ALL],
    )


def _described(found: Sequence[PaymentAttempt]) -> list[PaymentRow]:
    names = naming.customers((attempt.bucket, attempt.customer_id) for attempt in found)
    first = first_payments.among(found)
    return [
        PaymentRow(
            id=ids.text("att", attempt.id),
            attempt=attempt,
            customer_id=ids.text("cus", attempt.customer_id) if attempt.customer_id in names else "",
            customer=names.get(attempt.customer_id, "A guest"),
            is_first=attempt.id in first,
        )
        for attempt in found
    ]

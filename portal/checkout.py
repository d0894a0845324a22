"""What a hosted payment page shows: what is paid for, how it may be paid, and where it stands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils import timezone

from billing.models import Invoice, Payment, PaymentAttempt, PaymentMethod, PaymentSession, ProviderCode, Subscription
from billing.payments import cards, checkout, links, methods, providers, sessions, tokens
from customers.models import Customer
from merchants import ids
from merchants.models import Merchant, Mode
from ui import fmt

Status, Entity = PaymentSession.Status, PaymentSession.Entity

FROM_PORTAL: Final = (Entity.TOPUP, Entity.CUSTOMER)  # where a customer opens the session themselves
WAITS, CONFIRM, PROCESSING, PAID, OVER = "waits", "confirm", "processing", "paid", "over"
_REASONS: Final = {
    Status.EXPIRED.value: ("This payment has expired", "The time to make it is over, and nothing was charged."),
    Status.CANCELLED.value: ("Nothing to pay any more", "It was settled otherwise or taken back. Nothing was charged."),
    Status.FAILED.value: ("This payment was stopped", "Too many cards were declined. Nothing was charged."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page. ``stamp`` changes whenever what is shown does."""

    session: PaymentSession
    merchant: str
    is_test: bool
    origins: list[str]
    step: str
    title: str
    words: str
    lines: list[tuple[str, str]]
    amount: str
    takes_test_card: bool
    methods: list[PaymentMethod]
    action_url: str
    content: str
    receipt: str
    reason: tuple[str, str] | None
    buyer: Customer | None  # who makes the first payment of a subscription, while it waits for them

    @property
    def is_setup(self) -> bool:
        return self.session.mode == PaymentSession.Mode.SETUP

    @property
    def stamp(self) -> str:
        return f"{self.step}.{self.session.attempts}.{self.session.status}"

    @property
    def expires_at(self) -> datetime | None:
        """Until when the page says that it is open: an invoice's own address opens another one after that."""
        return None if self.session.entity == Entity.INVOICE else self.session.expires_at

    @property
    def invoice_token(self) -> str:
        """What opens the paid invoice itself; empty for anything else."""
        is_invoice = self.session.entity == Entity.INVOICE
        return tokens.make(tokens.INVOICE, self.session.entity_id) if is_invoice else ""

    @property
    def back_url(self) -> str:
        """Where the merchant has the payer go from here."""
        return self.session.success_url if self.step == PAID else self.session.failure_url

    @property
    def event(self) -> str:
        """What the page around a frame is told; nothing while the payer is still at it."""
        return {PAID: "payment_success", OVER: "payment_error"}.get(self.step, "")

    @property
    def public_id(self) -> str:
        return ids.text("ps", self.session.id)


def page(session: PaymentSession, *, customer_id: UUID | None, now: datetime) -> Page:
    """Read the page of a session.

    Args:
        customer_id: the customer who is in their own portal, if anybody is: only they are offered what they saved.
    """
    session = sessions.up_to_date(session, now)
    merchant = Merchant.objects.select_related("organization").get(id=session.merchant_id)
    attempt = checkout.attempt_of(session)
    step = _step(session, attempt)
    waits = step == WAITS
    title, words = _about(session)
    return Page(
        session=session,
        merchant=merchant.organization.name,
        is_test=merchant.mode == Mode.TEST,
        origins=list(merchant.allowed_origins),
        step=step,
        title=title,
        words=words,
        lines=[(line, fmt.money(int(nanos), session.currency)) for line, nanos in session.breakdown],
        amount=fmt.money(session.amount, session.currency),
        takes_test_card=waits and _takes_test_cards(session.merchant_id),
        methods=_methods(session) if waits and customer_id == session.customer_id else [],
        action_url=attempt.action_url if attempt and step == CONFIRM else "",
        content=links.content_for(session) if step == PAID and session.entity == Entity.PAYMENT else "",
        receipt=_receipt(session) if step == PAID else "",
        reason=_REASONS.get(session.status),
        buyer=_buyer(session) if waits else None,
    )


def _step(session: PaymentSession, attempt: PaymentAttempt | None) -> str:
    if session.status == Status.COMPLETED:
        return PAID
    if session.status == Status.PENDING:
        return WAITS
    if session.status != Status.PROCESSING:
        return OVER
    return CONFIRM if attempt and attempt.state == PaymentAttempt.State.REQUIRES_ACTION else PROCESSING


def _takes_test_cards(merchant_id: UUID) -> bool:
    try:
        return providers.code_for(merchant_id) == ProviderCode.TEST
    except providers.NoProvider:
        return False


def _methods(session: PaymentSession) -> list[PaymentMethod]:
    if session.is_guest or session.mode == PaymentSession.Mode.SETUP:
        return []
    return list(methods.search(merchant_id=session.merchant_id, customer_id=session.customer_id))


def _buyer(session: PaymentSession) -> Customer | None:
    if session.entity != Entity.SUBSCRIPTION:
        return None
    return Customer.objects.filter(bucket=session.bucket, id=session.customer_id).first()


def _about(session: PaymentSession) -> tuple[str, str]:
    """Say what a session is for: a title, and a few words more."""
    place = {"bucket": session.bucket, "id": session.entity_id}
    if session.entity == Entity.SUBSCRIPTION:
        subscription = Subscription.objects.select_related("plan").get(**place)
        return subscription.plan.name, "To start your subscription"
    if session.entity == Entity.INVOICE:
        invoice = Invoice.objects.get(**place)
        due = f" by {fmt.day(timezone.localtime(invoice.due_at))}" if invoice.due_at else ""
        words = f"To be paid{due}" if session.status in sessions.OPEN else ""
        return f"Invoice {invoice.number or ''}".strip(), words
    if session.entity == Entity.PAYMENT:
        payment = Payment.objects.get(**place)
        return payment.description or payment.reference or "Payment", ""
    if session.entity == Entity.TOPUP:
        return "Add money", "Into your balance, to be used as you go"
    return "Save a card", "Nothing is charged now"


def _receipt(session: PaymentSession) -> str:
    """The number that a payer may name to the merchant."""
    return ids.text(sessions.PREFIXES[session.entity], session.entity_id)


def test_cards() -> list[tuple[str, str]]:
    """List the test provider's cards by number, each with what it does."""
    return [(_grouped(card.number), card.says) for card in cards.ALL]


def token_of(number: str) -> str | None:
    """Return the test card of a number, however it is spaced; None where there is none."""
    card = cards.BY_NUMBER.get("".join(number.split()))
    return card.token if card else None


def _grouped(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))

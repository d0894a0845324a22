"""The built-in test provider: charges cards that nobody's money is behind, and behaves as real providers do.

It keeps what it did in tables of its own, answers a key it has seen with what became of it for a day and forgets it
then, lets payments take time, and sends signed webhooks to the same address that real providers use. It takes its time
from the database and commits for itself, as a provider elsewhere would.
"""

import hmac
import json
import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from billing import money
from billing.models import SimulatedDelivery, SimulatedObject
from billing.payments import cards
from billing.payments.cards import TestCard
from billing.payments.provider import (
    BadWebhook,
    Card,
    DisputeFacts,
    DisputeState,
    Hint,
    Line,
    Order,
    Outcome,
    Payer,
    ProviderDown,
    ProviderError,
    RefundOrder,
    State,
    Subject,
)
from merchants import idempotency, ids

SIGNATURE_HEADER = "Farthing-Test-Signature"
TOLERANCE_SECONDS = 300
KEY_LIFE = timedelta(hours=24)
PROCESSING = timedelta(seconds=3)
PAGE_LIFE = timedelta(hours=24)
LATE = timedelta(days=1)
DISPUTE_FEE = 15 * money.NANOS  # of any currency

Kind = SimulatedObject.Kind


class Simulator:
    """The test provider, opened by one merchant."""

    code = "test"

    def __init__(self, merchant_id: uuid.UUID) -> None:
        self.merchant_id = merchant_id

    # --- payments ---

    def ensure_customer(self, payer: Payer, key: str) -> str:
        return ""

    def charge(self, order: Order) -> Outcome:
        card = cards.BY_TOKEN.get(order.method_ref)
        if card is None:
            raise ProviderError("There is no such test card.")
        made, is_new = self._made(Kind.PAYMENT if order.amount else Kind.SETUP, order, card)
        if is_new and not card.is_answered:
            raise ProviderDown("The answer was lost.")
        return self._outcome(made)

    def start_checkout(self, order: Order) -> Outcome:
        return self._outcome(self._made(Kind.PAYMENT, order, None)[0])

    def start_setup(self, order: Order) -> Outcome:
        return self._outcome(self._made(Kind.SETUP, order, None)[0])

    def cancel(self, ref: str) -> Outcome:
        with transaction.atomic():
            found = self._lock(ref)
            if found.state == State.REQUIRES_ACTION:
                _become(found, State.CANCELLED)
        return self._outcome(found)

    def fetch(self, ref: str) -> Outcome:
        with transaction.atomic():
            found = self._lock(ref)
        return self._outcome(found)

    def find(self, attempt_id: uuid.UUID, around: datetime) -> list[Outcome]:
        mine = self._objects().filter(kind__in=(Kind.PAYMENT, Kind.SETUP), owner_id=attempt_id)
        return [self.fetch(made.ref) for made in mine.order_by("created_at")]

    def payments_since(self, since: datetime) -> Iterator[Outcome]:
        for made in self._objects().filter(kind=Kind.PAYMENT, created_at__gte=since).order_by("created_at"):
            yield self._outcome(made)

    def forget_card(self, ref: str) -> None:
        """Do nothing: a test card belongs to nobody."""

    # --- refunds and disputes ---

    def refund(self, order: RefundOrder) -> Outcome:
        fingerprint = idempotency.fingerprint(order.payment_ref, order.amount, order.currency)
        with transaction.atomic():
            payment = self._lock(order.payment_ref)
            replayed = self._under_key(order.key, fingerprint)
            if replayed is not None:
                return self._outcome(replayed)
            if payment.state != State.SUCCEEDED or payment.refunded + order.amount > payment.amount:
                raise ProviderError("The payment has not so much left to give back.")
            state = cards.BY_TOKEN[payment.card].refunds
            if state == State.SUCCEEDED:
                payment.refunded += order.amount
                payment.save(update_fields=["refunded"])
            made = self._write(
                Kind.REFUND,
                key=order.key,
                fingerprint=fingerprint,
                owner_id=order.refund_id,
                payment_ref=payment.ref,
                amount=order.amount,
                currency=order.currency,
                card=payment.card,
                state=state,
                code="" if state == State.SUCCEEDED else "refund_failed",
            )
            _tell(made)
        return self._outcome(made)

    def fetch_refund(self, ref: str) -> Outcome:
        return self.fetch(ref)

    def find_refund(self, order: RefundOrder) -> list[Outcome]:
        return [self._outcome(made) for made in self._objects().filter(kind=Kind.REFUND, owner_id=order.refund_id)]

    def fetch_dispute(self, ref: str) -> DisputeFacts:
        with transaction.atomic():
            return _dispute_facts(self._lock(ref))

    def refunds_since(self, since: datetime) -> Iterator[Outcome]:
        for made in self._objects().filter(kind=Kind.REFUND, created_at__gte=since).order_by("created_at"):
            yield self._outcome(made)

    def disputes_since(self, since: datetime) -> Iterator[DisputeFacts]:
        opened = self._objects().filter(kind=Kind.DISPUTE, created_at__gte=since).exclude(state="")
        for made in opened.order_by("created_at"):
            yield _dispute_facts(made)

    # --- webhooks ---

    def read_webhook(self, raw: bytes, headers: Mapping[str, str], now: datetime) -> Hint:
        said = dict(part.split("=", 1) for part in headers[SIGNATURE_HEADER].split(","))
        if abs(now.timestamp() - int(said["t"])) > TOLERANCE_SECONDS:
            raise BadWebhook("The message is too old, or from the future.")
        if not hmac.compare_digest(said["v1"], _signature(self.merchant_id, int(said["t"]), raw)):
            raise BadWebhook("The signature is wrong.")
        event = json.loads(raw)
        return Hint(
            event_id=event["id"], type=event["type"], subject=Subject(event["subject"]), ref=event["data"]["ref"]
        )

    # --- what it keeps ---

    def _made(self, kind: str, order: Order, card: TestCard | None) -> tuple[SimulatedObject, bool]:
        try:
            return self._make(kind, order, card)
        except IntegrityError as error:
            raise ProviderDown("A request with this key is in progress.") from error

    def _make(self, kind: str, order: Order, card: TestCard | None) -> tuple[SimulatedObject, bool]:
        fingerprint = idempotency.fingerprint(
            kind, order.amount, order.currency, order.method_ref, order.save_card, order.return_url
        )
        with transaction.atomic():
            replayed = self._under_key(order.key, fingerprint)
            if replayed is not None:
                return replayed, False
            made = self._write(
                kind,
                key=order.key,
                fingerprint=fingerprint,
                owner_id=order.attempt_id,
                amount=order.amount,
                currency=order.currency,
                save_card=order.save_card or kind == Kind.SETUP,
                return_url=order.return_url,
                state=State.REQUIRES_ACTION,
                page_secret=secrets.token_urlsafe(24),
                next_state=State.CANCELLED,
                due_at=Now() + PAGE_LIFE,
            )
            if card is not None:
                _charge(made, card)
        return made, True

    def _under_key(self, key: str, fingerprint: bytes) -> SimulatedObject | None:
        """Return what was made under a key within a day; a transaction that is making it is waited for."""
        keyed = self._objects().select_for_update().filter(idempotency_key=key)
        keyed.filter(created_at__lte=Now() - KEY_LIFE).update(idempotency_key=None)
        found = keyed.first()
        if found is not None and bytes(found.fingerprint or b"") != fingerprint:
            raise ProviderError("The idempotency key was used for another request.")
        return found

    def _write(self, kind: str, *, key: str, fingerprint: bytes, **columns: object) -> SimulatedObject:
        ref = f"sim_{ids.new().hex}"
        return SimulatedObject.objects.create(
            merchant_id=self.merchant_id,
            ref=ref,
            kind=kind,
            idempotency_key=key,
            fingerprint=fingerprint,
            created_at=Now(),
            **columns,
        )

    def _objects(self) -> QuerySet[SimulatedObject]:
        return SimulatedObject.objects.filter(merchant_id=self.merchant_id)

    def _lock(self, ref: str) -> SimulatedObject:
        """Lock an object, moved on to its next state where that is due; in a transaction."""
        return lock(self.merchant_id, ref)

    def _outcome(self, made: SimulatedObject) -> Outcome:
        card = cards.BY_TOKEN.get(made.card)
        waits = made.state == State.REQUIRES_ACTION
        return Outcome(
            state=State(made.state),
            ref=made.ref,
            attempt_id=made.owner_id,
            amount=None if made.kind == Kind.SETUP else made.amount,
            currency=made.currency,
            url=page_url(made) if waits else "",
            code=made.code,
            message=card.message if card and made.code and made.kind != Kind.REFUND else "",
            card=_card(card) if card and made.save_card else None,
            payment_ref=made.payment_ref,
        )


def page_url(made: SimulatedObject) -> str:
    """Return where a payer enters a test card, or confirms a payment."""
    merchant = ids.text("org", made.merchant_id)
    return f"{settings.PUBLIC_URL}/portal/testCard/{merchant}/{made.ref}/{made.page_secret}"


def lock(merchant_id: uuid.UUID, ref: str) -> SimulatedObject:
    """Lock an object, moved on to its next state where that is due; in a transaction. Raises ProviderError."""
    query = SimulatedObject.objects.select_for_update().filter(merchant_id=merchant_id, ref=ref)
    found = query.first()
    if found is None:
        raise ProviderError("The test provider knows nothing of this name.")
    if query.filter(due_at__lte=Now()).exists():
        _become(found, found.next_state)
    return found


def charge_card(made: SimulatedObject, card: TestCard) -> None:
    """Have a locked payment or setup that waits for its payer charged to a card."""
    _charge(made, card)


def confirm(made: SimulatedObject, *, is_approved: bool) -> None:
    """Have a locked payment that waits for its payer's confirmation confirmed, or refused."""
    if is_approved:
        _become(made, State.SUCCEEDED)
    else:
        _become(made, State.DECLINED, code="authentication_failed")


def _charge(made: SimulatedObject, card: TestCard) -> None:
    made.card, made.code = card.token, ""
    made.save(update_fields=["card", "code"])
    if card.state == State.REQUIRES_ACTION:
        return
    _become(made, card.state, code=card.code if card.state == State.DECLINED else "")
    if card.then is not None:
        made.next_state, made.due_at = card.then, Now() + PROCESSING
        made.save(update_fields=["next_state", "due_at"])


def _become(made: SimulatedObject, state: str, code: str | None = None) -> None:
    """Move an object on, and tell the merchant about it."""
    card = cards.BY_TOKEN.get(made.card)
    if code is None:
        code = card.code if card is not None and state == State.DECLINED else ""
    made.state, made.code, made.next_state, made.due_at = state, code, "", None
    made.save(update_fields=["state", "code", "next_state", "due_at"])
    _tell(made)
    if made.kind == Kind.DISPUTE and state == DisputeState.OPEN and card is not None and card.dispute != state:
        made.next_state, made.due_at = card.dispute, Now() + PROCESSING
        made.save(update_fields=["next_state", "due_at"])
    if made.kind == Kind.PAYMENT and state == State.SUCCEEDED and card is not None and card.dispute:
        _dispute(made, card)


def _dispute(payment: SimulatedObject, card: TestCard) -> None:
    """Have the payer dispute a payment a few seconds from now, and their bank decide some seconds later."""
    SimulatedObject.objects.create(
        merchant_id=payment.merchant_id,
        ref=f"sim_{ids.new().hex}",
        kind=Kind.DISPUTE,
        state="",
        next_state=DisputeState.OPEN,
        due_at=Now() + PROCESSING,
        payment_ref=payment.ref,
        card=card.token,
        amount=payment.amount,
        currency=payment.currency,
        created_at=Now(),
    )


def _dispute_facts(made: SimulatedObject) -> DisputeFacts:
    """Say what a dispute is, and what it came to: it costs a fee, which comes back where it is won."""
    fee = money.to_minor(DISPUTE_FEE, made.currency)[0]
    lines = [Line(ref=f"{made.ref}-out", amount=-made.amount, fee=fee, currency=made.currency, charged=-made.amount)]
    if made.state == DisputeState.WON:
        lines.append(replace(lines[0], ref=f"{made.ref}-back", amount=made.amount, charged=made.amount, fee=-fee))
    return DisputeFacts(
        ref=made.ref,
        payment_ref=made.payment_ref,
        state=DisputeState(made.state),
        amount=made.amount,
        currency=made.currency,
        reason="fraudulent",
        lines=tuple(lines),
    )


def _card(card: TestCard) -> Card:
    return Card(ref=card.token, brand=cards.BRAND, last4=card.last4, exp_month=cards.EXP_MONTH, exp_year=cards.EXP_YEAR)


def _tell(made: SimulatedObject) -> None:
    card = cards.BY_TOKEN.get(made.card)
    subject = {Kind.REFUND: Subject.REFUND, Kind.DISPUTE: Subject.DISPUTE}.get(Kind(made.kind), Subject.PAYMENT)
    event = {
        "id": f"evt_{ids.new().hex}",
        "type": f"{made.kind}.{made.state}",
        "subject": subject,
        "data": {"ref": made.ref, "state": made.state, "amount": made.amount, "currency": made.currency},
    }
    SimulatedDelivery.objects.create(
        merchant_id=made.merchant_id,
        id=ids.new(),
        body=json.dumps(event),
        copies=card.webhooks if card else 1,
        send_at=Now() + (LATE if card and card.is_late else timedelta()),
    )


def _signature(merchant_id: uuid.UUID, stamp: int, raw: bytes) -> str:
    secret = salted_hmac("billing.payments.simulator", merchant_id.hex, algorithm="sha256").digest()
    return hmac.new(secret, b"%d.%b" % (stamp, raw), sha256).hexdigest()


def sign(merchant_id: uuid.UUID, raw: bytes, now: datetime) -> dict[str, str]:
    """Return the headers that a message of the test provider carries."""
    stamp = int(now.timestamp())
    return {SIGNATURE_HEADER: f"t={stamp},v1={_signature(merchant_id, stamp, raw)}"}

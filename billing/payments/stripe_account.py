"""Stripe, opened with one merchant's keys.

Card numbers never come here: payers give them to Stripe's own pages. Every request carries our key from the row it is
about, so that asking again changes nothing; the SDK's own retries use the same one.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar, cast

import stripe
from stripe.params import (
    CustomerCreateParams,
    DisputeListParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    RefundCreateParams,
    RefundListParams,
    RefundRetrieveParams,
)
from stripe.params.checkout import SessionCreateParams, SessionListParams, SessionRetrieveParams

from billing.payments import stripe_reading
from billing.payments.provider import (
    BadWebhook,
    DisputeFacts,
    Hint,
    Order,
    Outcome,
    Payer,
    ProviderDown,
    ProviderError,
    ProviderSilent,
    RefundOrder,
    State,
    Subject,
)
from billing.payments.stripe_reading import ATTEMPT, HOSTED, REFUND
from billing.payments.stripe_wire import RETRIES_MAX, TooSlow, Wire

TOLERANCE_SECONDS = 300
TAKEN = "latest_charge.balance_transaction"  # what Stripe took for a payment, and in which currency it settles it
PAGE_SIZE = 100
# What is looked up by time was made at most so long before or after it was asked for.
AROUND = timedelta(days=1)

_REFUSALS = (stripe.InvalidRequestError, stripe.AuthenticationError, stripe.PermissionError, stripe.IdempotencyError)

_Ask = TypeVar("_Ask", bound=Callable[..., Any])


def _asks(ask: _Ask) -> _Ask:
    """Translate what Stripe's library raises; what is no clear refusal may have happened."""

    @wraps(ask)
    def asked(*args: Any, **kwargs: Any) -> Any:
        try:
            return ask(*args, **kwargs)
        except _REFUSALS as refused:
            raise ProviderError(_said(refused)) from refused
        except TooSlow as silent:
            raise ProviderSilent(_said(silent)) from silent
        except stripe.StripeError as silent:
            raise ProviderDown(_said(silent)) from silent

    return cast(_Ask, asked)


def _said(error: stripe.StripeError) -> str:
    return str(error.user_message or error)[:400]


class StripeAccount:
    """A merchant's account at Stripe."""

    code = "stripe"

    def __init__(self, *, secret_key: str, webhook_secret: str | None, base_url: str | None = None) -> None:
        self.is_live = "_live_" in secret_key
        self.webhook_secret = webhook_secret
        self.client = stripe.StripeClient(
            secret_key,
            # Its client retries nothing, and waits for 80 seconds, unless it is told otherwise.
            max_network_retries=RETRIES_MAX,
            http_client=Wire(),
            base_addresses={"api": base_url} if base_url else None,
        ).v1

    @_asks
    def identity(self) -> str:
        """Return Stripe's own name for the account; empty where the key may not ask for it."""
        try:
            return self.client.accounts.retrieve_current().id
        except (stripe.PermissionError, stripe.InvalidRequestError):
            return ""

    # --- payments ---

    @_asks
    def ensure_customer(self, payer: Payer, key: str) -> str:
        params: CustomerCreateParams = {
            "name": payer.name,
            "email": payer.email,
            "metadata": {"farthing_customer": payer.customer_id.hex},
        }
        return self.client.customers.create(params, {"idempotency_key": key}).id

    @_asks
    def charge(self, order: Order) -> Outcome:
        params: PaymentIntentCreateParams = {
            "amount": order.amount,
            "currency": order.currency.lower(),
            "customer": order.customer_ref,
            "payment_method": order.method_ref,
            "allowed_payment_method_types": ["card"],
            "confirm": True,
            "off_session": True,
            "expand": [TAKEN],
            "metadata": {ATTEMPT: order.attempt_id.hex},
        }
        try:
            intent = self.client.payment_intents.create(params, {"idempotency_key": order.key})
        except stripe.CardError as declined:
            return stripe_reading.declined(declined, order)
        outcome = stripe_reading.of_intent(intent)
        if outcome.state == State.REQUIRES_ACTION and not outcome.url:
            # Its owner is away and nobody can confirm it: they have to pay on a page instead.
            self.client.payment_intents.cancel(intent.id)
            return stripe_reading.needs_owner(outcome)
        return outcome

    @_asks
    def start_checkout(self, order: Order) -> Outcome:
        metadata = {ATTEMPT: order.attempt_id.hex}
        params: SessionCreateParams = {
            "mode": "payment",
            # Others tell days later whether they were paid, and leave the payment open for as long.
            "allowed_payment_method_types": ["card"],
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": order.currency.lower(),
                        "unit_amount": order.amount,
                        "product_data": {"name": order.description},
                    },
                }
            ],
            "success_url": order.return_url,
            "cancel_url": order.return_url,
            "client_reference_id": order.attempt_id.hex,
            "metadata": metadata,
            "payment_intent_data": {"metadata": {**metadata, HOSTED: "1"}},
        }
        if order.customer_ref:
            params["customer"] = order.customer_ref
        if order.save_card:
            params["payment_intent_data"]["setup_future_usage"] = "off_session"
        session = self.client.checkout.sessions.create(params, {"idempotency_key": order.key})
        return stripe_reading.of_session(session)

    @_asks
    def start_setup(self, order: Order) -> Outcome:
        metadata = {ATTEMPT: order.attempt_id.hex}
        params: SessionCreateParams = {
            "mode": "setup",
            "customer": order.customer_ref,
            "allowed_payment_method_types": ["card"],
            "success_url": order.return_url,
            "cancel_url": order.return_url,
            "client_reference_id": order.attempt_id.hex,
            "metadata": metadata,
            "setup_intent_data": {"metadata": metadata},
        }
        session = self.client.checkout.sessions.create(params, {"idempotency_key": order.key})
        return stripe_reading.of_session(session)

    @_asks
    def cancel(self, ref: str) -> Outcome:
        try:
            if ref.startswith("cs_"):
                self.client.checkout.sessions.expire(ref)
            else:
                self.client.payment_intents.cancel(ref)
        except stripe.InvalidRequestError:
            pass  # it is too late for that: what it has become is told below
        return self._fetch(ref)

    @_asks
    def fetch(self, ref: str) -> Outcome:
        return self._fetch(ref)

    def _fetch(self, ref: str) -> Outcome:
        if ref.startswith("cs_"):
            of_session: SessionRetrieveParams = {
                "expand": ["payment_intent.payment_method", f"payment_intent.{TAKEN}", "setup_intent.payment_method"]
            }
            return stripe_reading.of_session(self.client.checkout.sessions.retrieve(ref, of_session))
        of_intent: PaymentIntentRetrieveParams = {"expand": ["payment_method", TAKEN]}
        return stripe_reading.of_intent(self.client.payment_intents.retrieve(ref, of_intent))

    @_asks
    def find(self, attempt_id: uuid.UUID, around: datetime) -> list[Outcome]:
        between = {"gte": int((around - AROUND).timestamp()), "lte": int((around + AROUND).timestamp())}
        intents: PaymentIntentListParams = {"created": between, "limit": PAGE_SIZE}  # type: ignore[typeddict-item]
        found = [
            stripe_reading.of_intent(intent)
            for intent in self.client.payment_intents.list(intents).auto_paging_iter()
            if stripe_reading.belongs_to(intent, ATTEMPT) == attempt_id
        ]
        if found:
            return found
        sessions: SessionListParams = {"created": between, "limit": PAGE_SIZE}  # type: ignore[typeddict-item]
        return [
            stripe_reading.of_session(session)
            for session in self.client.checkout.sessions.list(sessions).auto_paging_iter()
            if stripe_reading.belongs_to(session, ATTEMPT) == attempt_id
        ]

    def payments_since(self, since: datetime) -> Iterator[Outcome]:
        params: PaymentIntentListParams = {
            "created": {"gte": int(since.timestamp())},
            "limit": PAGE_SIZE,
            "expand": [f"data.{TAKEN}"],
        }
        for intent in self._each(lambda: self.client.payment_intents.list(params)):
            if stripe_reading.belongs_to(intent, ATTEMPT) is not None:
                yield stripe_reading.of_intent(intent)

    @_asks
    def forget_card(self, ref: str) -> None:
        self.client.payment_methods.detach(ref)

    # --- refunds and disputes ---

    @_asks
    def refund(self, order: RefundOrder) -> Outcome:
        params: RefundCreateParams = {
            "payment_intent": order.payment_ref,
            "amount": order.amount,
            "metadata": {REFUND: order.refund_id.hex},
            "expand": ["balance_transaction"],
        }
        return stripe_reading.of_refund(self.client.refunds.create(params, {"idempotency_key": order.key}))

    @_asks
    def fetch_refund(self, ref: str) -> Outcome:
        whole: RefundRetrieveParams = {"expand": ["balance_transaction", "failure_balance_transaction"]}
        return stripe_reading.of_refund(self.client.refunds.retrieve(ref, whole))

    @_asks
    def find_refund(self, order: RefundOrder) -> list[Outcome]:
        params: RefundListParams = {"payment_intent": order.payment_ref, "limit": PAGE_SIZE}
        return [
            stripe_reading.of_refund(made)
            for made in self.client.refunds.list(params).auto_paging_iter()
            if stripe_reading.belongs_to(made, REFUND) == order.refund_id
        ]

    def refunds_since(self, since: datetime) -> Iterator[Outcome]:
        params: RefundListParams = {
            "created": {"gte": int(since.timestamp())},
            "limit": PAGE_SIZE,
            "expand": ["data.balance_transaction", "data.failure_balance_transaction"],
        }
        for made in self._each(lambda: self.client.refunds.list(params)):
            yield stripe_reading.of_refund(made)

    @_asks
    def fetch_dispute(self, ref: str) -> DisputeFacts | None:
        return stripe_reading.of_dispute(self.client.disputes.retrieve(ref))

    def disputes_since(self, since: datetime) -> Iterator[DisputeFacts]:
        params: DisputeListParams = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
        for dispute in self._each(lambda: self.client.disputes.list(params)):
            facts = stripe_reading.of_dispute(dispute)
            if facts is not None:
                yield facts

    @_asks
    def _read_all(self, listing: Callable[[], Any]) -> list[Any]:
        return list(listing().auto_paging_iter())

    def _each(self, listing: Callable[[], Any]) -> Iterator[Any]:
        yield from self._read_all(listing)

    # --- webhooks ---

    def read_webhook(self, raw: bytes, headers: Mapping[str, str], now: datetime) -> Hint:
        if not self.webhook_secret:
            raise BadWebhook("No webhook secret is set.")
        header = headers["Stripe-Signature"]
        text = raw.decode()
        stripe.WebhookSignature.verify_header(text, header, self.webhook_secret, TOLERANCE_SECONDS)
        stamp = int(dict(part.split("=", 1) for part in header.split(","))["t"])
        if stamp > now.timestamp() + TOLERANCE_SECONDS:  # which the library lets pass
            raise BadWebhook("The message is from the future.")
        event = json.loads(text)
        if event["livemode"] != self.is_live:
            raise BadWebhook("The message is of the other mode.")
        subject, ref = _subject(event["type"], event["data"]["object"])
        return Hint(event_id=event["id"], type=event["type"], subject=subject, ref=ref)


def _subject(type: str, about: Mapping[str, Any]) -> tuple[Subject, str]:
    """Say what an event is about, and its name; most of Stripe's events mean nothing to us."""
    match about.get("object"):
        case "payment_intent" | "checkout.session":
            return Subject.PAYMENT, about["id"]
        case "refund":
            return Subject.REFUND, about["id"]
        case "dispute":
            return Subject.DISPUTE, about["id"]
        case "charge" if about.get("payment_intent"):  # which tells what was taken for it, some time later
            return Subject.PAYMENT, about["payment_intent"]
    return Subject.OTHER, str(about.get("id", ""))

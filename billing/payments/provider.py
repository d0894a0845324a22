"""What a payment provider is to us: what we may ask of it, and what it can answer.

Providers count in whole minor units of a currency. No provider is ever asked while a database transaction is open.
Whatever it does not answer in time is UNKNOWN: it may have happened.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """What has become of a payment, as far as a provider can say."""

    SUCCEEDED = "succeeded"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class ProviderError(Exception):
    """The provider refused what it was asked, and nothing came of it: what we sent is at fault, or our keys are."""


class ProviderDown(Exception):
    """The provider gave no answer: what it was asked may or may not have happened."""


class ProviderSilent(ProviderDown):
    """It gave no answer in all the time that there is: whoever asks it again soon will wait as long."""


class BadWebhook(Exception):
    """A message that does not come from the provider, or not now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A saved way to pay, as the provider describes it; nothing that could be paid with elsewhere."""

    ref: str
    customer_ref: str = ""
    kind: str = "card"
    brand: str = ""
    last4: str = ""
    exp_month: int | None = None
    exp_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a provider's account: what moved there, and what the provider took for it.

    Args:
        amount: minor units of the account's ``currency``; below zero where it left.
        fee: minor units of it; below zero where it was given back.
        charged: what moved in minor units of the payment's currency.
        exchange_rate: as the provider writes it; empty where there is one currency.
    """

    ref: str
    amount: int
    fee: int
    currency: str
    charged: int
    exchange_rate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a provider says of a payment, a refund or the saving of a card.

    Args:
        ref: the provider's name for it, under which it can be fetched; empty where it has none yet.
        attempt_id: whose it is, as we told the provider; None where it is not ours.
        amount: minor units; None where no money is at stake.
        url: where the payer has to go, for REQUIRES_ACTION.
        code: why it was declined, in the provider's words for machines.
        payment_ref: the payment that a refund belongs to.
        lines: what the provider's account has of it by now.
    """

    state: State
    ref: str = ""
    attempt_id: uuid.UUID | None = None
    amount: int | None = None
    currency: str = ""
    url: str = ""
    code: str = ""
    message: str = ""
    card: Card | None = None
    payment_ref: str = ""
    lines: tuple[Line, ...] = ()

    @classmethod
    def requires_action(cls, url: str, **facts: object) -> "Outcome":
        """Say that the payer has to go somewhere first."""
        return cls(state=State.REQUIRES_ACTION, url=url, **facts)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A payment as it is handed to a provider, the same every time it is.

    Args:
        key: the idempotency key; a provider that knows it does nothing again.
        amount: minor units; 0 to save a card.
        method_ref: the saved card or token to charge; empty for a hosted page, where the payer chooses.
        return_url: where a hosted page leads when it is done with.
    """

    attempt_id: uuid.UUID
    key: str
    amount: int
    currency: str
    description: str
    customer_ref: str = ""
    method_ref: str = ""
    return_url: str = ""
    save_card: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """A refund as it is handed to a provider; amount in minor units."""

    refund_id: uuid.UUID
    key: str
    payment_ref: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Whom a provider keeps cards for."""

    customer_id: uuid.UUID
    name: str
    email: str


class DisputeState(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeFacts:
    """A payment that its payer disputes with their bank; amount in minor units."""

    ref: str
    payment_ref: str
    state: DisputeState
    amount: int
    currency: str
    reason: str = ""
    lines: tuple[Line, ...] = ()


class Subject(StrEnum):
    """What a message of a provider is about."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE = "dispute"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """That something happened to something. What it is now is asked of the provider: hints come late and shuffled."""

    event_id: str
    type: str
    subject: Subject
    ref: str


class Provider(Protocol):
    """A payment provider, opened with one merchant's keys.

    Every question raises ProviderDown where there is no answer, and ProviderError where it is refused.
    """

    code: str

    def ensure_customer(self, payer: Payer, key: str) -> str:
        """Return the provider's name for a customer, made where it has none."""

    def charge(self, order: Order) -> Outcome:
        """Charge a saved card while its owner is away."""

    def start_checkout(self, order: Order) -> Outcome:
        """Open a hosted page on which the payer pays."""

    def start_setup(self, order: Order) -> Outcome:
        """Open a hosted page on which the payer saves a card."""

    def cancel(self, ref: str) -> Outcome:
        """Give up a payment that has not happened yet; returns what it is then."""

    def fetch(self, ref: str) -> Outcome:
        """Tell what a payment is now."""

    def find(self, attempt_id: uuid.UUID, around: datetime) -> list[Outcome]:
        """Look for an attempt's payments, made within a day of a time, by the id we gave them."""

    def refund(self, order: RefundOrder) -> Outcome:
        """Give back a part of a payment."""

    def fetch_refund(self, ref: str) -> Outcome:
        """Tell what a refund is now."""

    def find_refund(self, order: RefundOrder) -> list[Outcome]:
        """Look for a refund by the id we gave it."""

    def fetch_dispute(self, ref: str) -> DisputeFacts | None:
        """Tell what a dispute is now; None for a question that takes no money."""

    def forget_card(self, ref: str) -> None:
        """Drop a saved card."""

    def read_webhook(self, raw: bytes, headers: Mapping[str, str], now: datetime) -> Hint:
        """Read a message; raises BadWebhook, or whatever else, unless it is the provider's and fresh."""

    def payments_since(self, since: datetime) -> Iterator[Outcome]:
        """List the payments made for us since a time."""

    def refunds_since(self, since: datetime) -> Iterator[Outcome]:
        """List the refunds made since a time, by whomever; their ``attempt_id`` is the id of our refund."""

    def disputes_since(self, since: datetime) -> Iterator[DisputeFacts]:
        """List the disputes opened since a time."""

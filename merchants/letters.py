"""What each kind of e-mail says, before it is put into its text and its HTML.

Wordings are filled from a context of strings; a fact whose value is missing or empty is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


class UnknownLetter(LookupError):
    """No kind of e-mail has this name."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of an e-mail's table."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail's content, the same in text and in HTML."""

    subject: str
    heading: str
    opening: str
    facts: list[Fact]
    action: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The wording of one kind of e-mail."""

    subject: str
    heading: str
    opening: str
    facts: Mapping[str, str] = field(default_factory=dict)  # {label: name in the context}
    action: str = ""  # on the button to the context's ``url``
    setting: str | None = None  # the customer's notification setting that stops it
    # Whether the reader may stop it with a click. What documents a payment or a debt only the merchant stops.
    can_unsubscribe: bool = False


KINDS: dict[str, Kind] = {
    "receipt": Kind(
        subject="Your receipt from {merchant}",
        heading="Thank you for your payment",
        opening="{merchant} has received {amount}.",
        facts={
            "Amount": "amount",
            "For": "what",
            "Invoice": "number",
            "Paid with": "method",
            "Date": "date",
            "Reference": "reference",
        },
        action="View details",
        setting="invoicePaid",
    ),
    "invoice_issued": Kind(
        subject="Invoice {number} from {merchant}",
        heading="Your invoice is ready",
        opening="{merchant} has issued invoice {number} over {amount}.",
        facts={
            "Invoice": "number",
            "Period": "period",
            "Total": "amount",
            "Still to pay": "unpaid",
            "Due": "due",
            "Payment": "payment",
        },
        action="View invoice",
        setting="invoiceIssued",
    ),
    "payment_needed": Kind(
        subject="Invoice {number} from {merchant} is to be paid",
        heading="Your invoice is to be paid",
        opening="Of invoice {number}, {unpaid} is to be paid: {merchant} has no saved card of yours to charge, and "
        "your balance does not cover it.",
        facts={"Invoice": "number", "Period": "period", "Total": "amount", "Still to pay": "unpaid", "Due": "due"},
        action="Pay invoice",
    ),
    "payment_failed": Kind(
        subject="Your payment to {merchant} did not go through",
        heading="Your payment did not go through",
        opening="{merchant} could not collect {amount}. Nothing was charged.",
        facts={
            "Amount": "amount",
            "For": "what",
            "Invoice": "number",
            "Reason": "reason",
            "We try again on": "next_attempt",
        },
        action="Update payment",
    ),
    "invoice_reminder": Kind(
        subject="Invoice {number} from {merchant} is not paid yet",
        heading="A reminder of your invoice",
        opening="Of invoice {number} from {merchant}, {unpaid} is still to be paid.",
        facts={"Invoice": "number", "Still to pay": "unpaid", "Due": "due"},
        action="Pay invoice",
    ),
    "low_balance": Kind(
        subject="Your balance at {merchant} is low",
        heading="Your balance is low",
        opening="You have {available} left with {merchant}. When it is used up, calls may be refused.",
        facts={"Available": "available", "Alert below": "threshold"},
        action="Top up",
        setting="lowBalance",
        can_unsubscribe=True,
    ),
    "auto_topup_stopped": Kind(
        subject="Automatic top-up at {merchant} was switched off",
        heading="Automatic top-up was switched off",
        opening="Your balance at {merchant} does not fill itself up any more: {reason}. "
        "When it is used up, calls may be refused.",
        facts={"Available": "available", "It added": "terms", "Switched off": "date"},
        action="Add money or switch it on",
    ),
    "renewal_reminder": Kind(
        subject="{plan} at {merchant} renews on {date}",
        heading="Your subscription renews soon",
        opening="Your subscription to {plan} at {merchant} renews on {date}.",
        facts={"Subscription": "name", "Plan": "plan", "Renews on": "date", "Recurring fees": "amount"},
        action="View subscription",
        setting="renewalReminder",
        can_unsubscribe=True,
    ),
    "refill_needed": Kind(
        subject="{amount} is needed for {plan} at {merchant}",
        heading="Your balance is to be filled up",
        opening="Your subscription to {plan} renewed on {date}, and your balance is to hold {minimum} then. {merchant} "
        "has no saved card of yours to charge for what it lacks.",
        facts={"To pay": "amount", "Subscription": "name", "Open until": "until"},
        action="Add money",
    ),
    "refill_declined": Kind(
        subject="Your payment to {merchant} did not go through",
        heading="Your payment did not go through",
        opening="Your subscription to {plan} renewed on {date}, and your balance is to hold {minimum} then. {merchant} "
        "could not charge your card {amount} for what it lacks. Nothing was charged.",
        facts={
            "To pay": "amount",
            "Reason": "reason",
            "Subscription": "name",
            "Open until": "until",
            "We charge what it lacks on": "next_attempt",
        },
        action="Add money",
    ),
    "refill_reminder": Kind(
        subject="{amount} is still needed for {plan} at {merchant}",
        heading="A reminder to fill up your balance",
        opening="Since your subscription to {plan} renewed on {date}, your balance lacks {amount}. When it is used up, "
        "calls may be refused.",
        facts={"To pay": "amount", "Subscription": "name", "Open until": "until"},
        action="Add money",
    ),
    "endpoint_disabled": Kind(
        subject="A webhook endpoint of {merchant} was disabled",
        heading="A webhook endpoint was disabled",
        opening="{reason} Events are no longer sent to it; they can be sent again after you enable it.",
        facts={"Endpoint": "endpoint", "Disabled": "date"},
        action="View endpoint",
    ),
}


def named(name: str) -> Kind:
    """Return a kind of e-mail; raises UnknownLetter."""
    try:
        return KINDS[name]
    except KeyError:
        raise UnknownLetter(name) from None


def write(kind: Kind, context: Mapping[str, str]) -> Letter:
    """Fill a kind's wording; raises KeyError when the context lacks what a sentence needs."""
    url = context.get("url", "")
    return Letter(
        subject=kind.subject.format_map(context),
        heading=kind.heading.format_map(context),
        opening=kind.opening.format_map(context),
        facts=[Fact(label, context[name]) for label, name in kind.facts.items() if context.get(name)],
        action=kind.action if url else "",
        url=url,
    )

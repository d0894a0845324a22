"""The catalogue of events: every type a merchant can be told about, with its version and an example of its data.

The version is part of the name. Members may be added to a type's data; where one would change its meaning or go away,
a type of a new version is declared beside the old one.
"""

from dataclasses import dataclass
from typing import Any

from merchants import ids

_EXAMPLE_KEY = bytes.fromhex("01930a5c7b1e7c3d9a4f0123456789ab")
_AT = "2026-11-15T12:00:00Z"
_PERIOD = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}


class UnknownEventType(LookupError):
    """The catalogue declares no such type."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type: its name with its version, what it says, and its data as an example; ``object`` tells which it is."""

    name: str
    says: str
    example: dict[str, Any]
    also: tuple[dict[str, Any], ...] = ()  # of other objects that it tells of

    @property
    def examples(self) -> tuple[dict[str, Any], ...]:
        """One of each object that it tells of."""
        return (self.example, *self.also)

    @property
    def resource(self) -> str:
        """What it is about: the name's first part."""
        return self.name.partition(".")[0]


def _id(prefix: str) -> str:
    return ids.text(prefix, _EXAMPLE_KEY)


_CUSTOMER = {"merchantId": _id("org"), "customerId": _id("cus")}
_SUBSCRIPTION = {
    "id": _id("sub"),
    "object": "subscription",
    **_CUSTOMER,
    "planId": _id("plan"),
    "planVersion": 1,
    "name": "Pay as you go",
    "status": "active",
    "currency": "USD",
    "startedAt": _AT,
    "endingAt": None,
    "currentPeriodStart": _PERIOD["periodStart"],
    "currentPeriodEnd": _PERIOD["periodEnd"],
    "walletId": _id("acc"),
    "terminatedAt": None,
    "terminationReason": "",
}
_INVOICE = {
    "id": _id("inv"),
    "object": "invoice",
    **_CUSTOMER,
    "subscriptionId": _id("sub"),
    "invoiceNumber": "INV-000042",
    "status": "ISSUED",
    "currency": "USD",
    **_PERIOD,
    "subtotal": "40.00",
    "totalTax": "8.00",
    "grandTotal": "48.00",
    "paidAmount": "0.00",
    "unpaidAmount": "48.00",
    "issuedAt": _AT,
    "paidAt": None,
}
_PAYMENT: dict[str, Any] = {
    "id": _id("pay"),
    "object": "payment",
    **_CUSTOMER,
    "paymentLinkId": None,
    "ordererId": None,
    "amount": "48.00",
    "currency": "USD",
    "status": "completed",
    "reference": "order-1742",
    "metadata": {},
}
_SESSION = {
    "id": _id("ps"),
    "object": "paymentSession",
    **_CUSTOMER,
    "mode": "payment",
    "entity": "invoice",
    "entityId": _id("inv"),
    "amount": "48.00",
    "currency": "USD",
    "status": "completed",
    "expiresAt": _AT,
}
_TOP_UP = {
    "id": _id("top"),
    "object": "topup",
    **_CUSTOMER,
    "walletId": _id("acc"),
    "amount": "25.00",
    "currency": "USD",
    "status": "success",
    "isAutoTopup": False,
    "createdAt": _AT,
}
_WITHDRAWAL = {
    "id": _id("wd"),
    "object": "withdrawal",
    **_CUSTOMER,
    "walletId": _id("acc"),
    "amount": "20.00",
    "returned": "0.00",
    "currency": "USD",
    "status": "requested",
    "note": "Too much was paid in.",
    "reason": "",
    "createdAt": _AT,
    "resolvedAt": None,
}
_DISPUTE = {
    "id": _id("disp"),
    "object": "dispute",
    **_CUSTOMER,
    "subject": "usage",
    "usageEventId": _id("usg"),
    "paymentAttemptId": None,
    "amount": "1.20",
    "currency": "USD",
    "status": "pending",
    "reason": "Charged twice for the same call.",
    "providerFee": None,
    "createdAt": _AT,
    "resolvedAt": None,
}

_PAYMENT_DISPUTE = {
    **_DISPUTE,
    "subject": "payment",
    "usageEventId": None,
    "paymentAttemptId": _id("att"),
    "amount": "48.00",
    "reason": "fraudulent",
    "providerFee": {"amount": "15.00", "currency": "USD"},
}

_WHO: dict[str, Any] = {
    "id": _id("cus"),
    "object": "customer",
    "merchantId": _id("org"),
    "consumerId": _id("org"),
    "name": "Northwind",
    "email": "billing@northwind.example",
    "phone": "",
    "address": {"line1": "1 rue de la Paix", "city": "Paris", "zipCode": "75002", "country": "FR"},
    "taxId": "FR40303265045",
    "externalId": "crm-1042",
    "createdAt": _AT,
    "updatedAt": _AT,
}

TYPES: tuple[EventType, ...] = (
    EventType("customer.created.v0", "A customer was entered.", _WHO),
    EventType("customer.updated.v0", "Something that is known of a customer was changed.", _WHO),
    EventType(
        "subscription.created.v0",
        "A subscription was made; it may wait for its first payment.",
        {**_SUBSCRIPTION, "status": "pending_payment"},
    ),
    EventType(
        "subscription.updated.v0",
        "A subscription became active, moved to another plan, or was changed.",
        _SUBSCRIPTION,
    ),
    EventType(
        "subscription.cancelled.v0",
        "A subscription ended.",
        {**_SUBSCRIPTION, "status": "terminated", "terminatedAt": _AT, "terminationReason": "No longer needed."},
    ),
    EventType("invoice.issued.v0", "An invoice was closed over its period and numbered.", _INVOICE),
    EventType(
        "invoice.paid.v0",
        "Nothing is owed on an invoice any more.",
        {**_INVOICE, "status": "PAID", "paidAmount": "48.00", "unpaidAmount": "0.00", "paidAt": _AT},
    ),
    EventType(
        "invoice.payment_failed.v0",
        "An invoice could not be collected; it may be tried again.",
        {**_INVOICE, "failureCode": "card_declined", "failureReason": "The card was declined.", "nextAttemptAt": _AT},
    ),
    EventType("invoice.voided.v0", "An invoice was withdrawn.", {**_INVOICE, "status": "CANCELLED"}),
    EventType(
        "credit_note.issued.v0",
        "A credit note takes back part of an invoice.",
        {
            "id": _id("cn"),
            "object": "creditNote",
            **_CUSTOMER,
            "invoiceId": _id("inv"),
            "creditNoteNumber": "CN-000007",
            "currency": "USD",
            "grandTotal": "12.00",
            "reason": "Service was interrupted.",
            "issuedAt": _AT,
        },
    ),
    EventType("payment.completed.v0", "A payment came in.", _PAYMENT),
    EventType(
        "payment.failed.v0",
        "A payment was declined.",
        {**_PAYMENT, "status": "failed", "failureCode": "card_declined", "failureReason": "The card was declined."},
    ),
    EventType("payment_session.completed.v0", "What a payment session was opened for is paid.", _SESSION),
    EventType(
        "payment_session.expired.v0",
        "A payment session ran out of time unpaid.",
        {**_SESSION, "status": "expired"},
    ),
    EventType("topup.succeeded.v0", "Money came into a wallet.", _TOP_UP),
    EventType(
        "topup.failed.v0",
        "A top-up of a wallet was declined.",
        {**_TOP_UP, "status": "failed", "failureCode": "card_declined", "failureReason": "The card was declined."},
    ),
    EventType(
        "auto_topup.deactivated.v0",
        "Automatic top-up of a wallet was switched off.",
        {"object": "auto_topup", **_CUSTOMER, "walletId": _id("acc"), "reason": "payment_failed", "at": _AT},
    ),
    EventType(
        "wallet.low_balance.v0",
        "What is available in a wallet fell below the alert's threshold.",
        {
            "id": _id("acc"),
            "object": "wallet",
            **_CUSTOMER,
            "available": "4.20",
            "threshold": "5.00",
            "currency": "USD",
        },
    ),
    EventType(
        "refund.succeeded.v0",
        "Money went back to where it came from.",
        {
            "id": _id("re"),
            "object": "refund",
            **_CUSTOMER,
            "paymentAttemptId": _id("att"),
            "withdrawalId": None,
            "amount": "12.00",
            "currency": "USD",
            "status": "succeeded",
            "reason": "Service was interrupted.",
        },
    ),
    EventType(
        "dispute.created.v0",
        "A customer disputes a usage event, or a card holder a payment.",
        _DISPUTE,
        also=(_PAYMENT_DISPUTE,),
    ),
    EventType(
        "dispute.resolved.v0",
        "A dispute was decided.",
        {**_DISPUTE, "status": "accepted", "resolvedAt": _AT},
        also=({**_PAYMENT_DISPUTE, "status": "lost", "resolvedAt": _AT},),
    ),
    EventType("withdrawal.requested.v0", "A customer asks for money back: approve it or not.", _WITHDRAWAL),
    EventType(
        "withdrawal.resolved.v0",
        "A withdrawal was paid, failed, was rejected or cancelled; what was returned is in the wallet again.",
        {**_WITHDRAWAL, "status": "paid", "resolvedAt": _AT},
    ),
    EventType(
        "payout.paid.v0",
        "Your balance, or a part of it, was paid out to you.",
        {
            "id": _id("po"),
            "object": "payout",
            "merchantId": _id("org"),
            "amount": "1240.00",
            "currency": "USD",
            "status": "paid",
            "paidAt": _AT,
        },
    ),
    EventType(
        "grant.created.v0",
        "A customer was granted units of a feature.",
        {
            "id": _id("grt"),
            "object": "grant",
            **_CUSTOMER,
            "entitlementId": _id("ent"),
            "amount": "1000",
            "priority": 1,
            "effectiveAt": _AT,
            "expiresAt": None,
            "createdAt": _AT,
        },
    ),
    EventType(
        "budget.crossed.v0",
        "A budget was spent up to its limit; told once for each window.",
        {
            "id": _id("bgt"),
            "object": "budget",
            **_CUSTOMER,
            "name": "Daily limit",
            "limit": "50.00",
            "currency": "USD",
            "windowStart": _AT,
            "crossedAt": _AT,
        },
    ),
    EventType(
        "webhook.test.v0",
        "Sent when you ask an endpoint to be tested; goes to that endpoint alone.",
        {"object": "test", "merchantId": _id("org"), "webhookId": _id("we"), "message": "It works."},
    ),
)

#: Not to be chosen: it is sent when asked for, whatever an endpoint listens for.
TEST = "webhook.test.v0"

_BY_NAME = {each.name: each for each in TYPES}
NAMES = frozenset(_BY_NAME)
CHOOSABLE = tuple(each for each in TYPES if each.name != TEST)


def named(name: str) -> EventType:
    """Return a type by its name; raises UnknownEventType."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownEventType(f"{name} is not in the catalogue of events") from None

"""Merchants whose hosted pages are paid, and the browsers that pay there."""

from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from billing.models import PaymentSession, Plan
from billing.payments import sessions
from merchants.models import Merchant
from tests import factories

NOW = factories.NOW
NANOS = 10**9
SUCCEEDS, DECLINED, CONFIRMS = "4242424242424242", "4000000000000002", "4000000000003220"


def plan_with_fee(merchant: Merchant, *, fee: str = "10", **version: Any) -> Plan:
    """A plan that begins with a fee."""
    product = factories.product(merchant=merchant)
    price = factories.price(fee=factories.fee(product=product), unit_price=fee, term="in_advance", cadence="P1M")
    return factories.plan(product=product, prices=[price], **version)


def path(session: PaymentSession) -> str:
    """Where a session's page is."""
    return urlsplit(sessions.url(session)).path


def pay(session: PaymentSession, number: str = SUCCEEDS, client: Client | None = None) -> Any:
    """Type a test card's number on the page of a session, and press the button."""
    return (client or Client()).post(f"{path(session)}/submit", {"number": number})


def fresh(row: Any) -> Any:
    """The row as it is now."""
    return type(row).objects.get(bucket=row.bucket, id=row.id)

"""A sample of how a merchant's invoices look: made up, kept nowhere, and marked as what it is."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from billing import policies, sellers, taxes
from billing.documents import gathering, rendering
from billing.models import Seller
from billing.payments import tokens
from customers import addresses, countries
from merchants.models import Merchant

_LINES = (
    ("Requests", "Calls of the API", "264111", "request", "0.004", "1056.44"),
    ("Compute time", "", "1988195", "second", "0.00035", "695.87"),
    ("Platform fee", "", "1", "", "49", "49.00"),
)


def invoice(merchant_id: uuid.UUID, now: datetime) -> bytes:
    """Return the PDF of a sample invoice with what is set now."""
    merchant = Merchant.objects.select_related("organization").get(id=merchant_id)
    seller = sellers.of(merchant_id)
    return rendering.pdf(_sample(merchant, seller, now), logo=sellers.logo(seller))


def _sample(merchant: Merchant, seller: Seller, now: datetime) -> dict[str, Any]:
    day = now.date()
    first = (day.replace(day=1) - timedelta(days=1)).replace(day=1)
    last = day.replace(day=1) - timedelta(days=1)
    number, who = f"{seller.number_prefix}SAMPLE", gathering.seller_of(merchant, seller)
    due = (day + timedelta(days=policies.of(merchant.id).net_days)).isoformat()
    address = {"line1": "1 Sample Street", "city": "Sampletown", "country": seller.address.get("country", "US")}
    return {
        "version": gathering.VERSION,
        "layout": gathering.LAYOUT,
        "kind": "invoice",
        "number": number,
        "currency": "USD",
        "issueDate": day.isoformat(),
        "dueDate": due,
        "timezone": merchant.organization.timezone,
        "period": {
            "start": f"{first}T00:00:00+00:00",
            "end": f"{day.replace(day=1)}T00:00:00+00:00",
            "firstDay": first.isoformat(),
            "lastDay": last.isoformat(),
        },
        "seller": who,
        "buyer": {
            "name": "Sample Customer",
            "email": "billing@customer.example",
            "address": address,
            "addressLines": addresses.lines(address),
            "countryName": countries.NAMES.get(address["country"], ""),
            "taxId": "",
            "vatId": "",
        },
        "lines": [
            {
                "name": name, "says": says, "tiers": [], "quantity": quantity, "unit": unit, "unitPrice": price,
                "net": net, "taxRate": "0",
            }
            for name, says, quantity, unit, price, net in _LINES
        ],
        "taxes": [
            {"category": taxes.Category.ZERO.value, "rate": "0", "net": "1801.31", "tax": "0.00", "reason": ""}
        ],
        "totals": {
            "net": "1801.31", "tax": "0.00", "rounding": "0.00", "total": "1801.31", "paid": "0.00", "due": "1801.31",
        },
        "payment": {"url": tokens.url(tokens.INVOICE, merchant.id)},  # no invoice has that id: it leads nowhere
        "notes": ["This is a sample. Nothing is owed.", *gathering.pay_words(who, number, due)],
    }  # fmt: skip

"""Documents to print, made up: what a frozen invoice says, with anything of it exchanged."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billing import documents
from billing.models import CreditNote, Invoice
from billing.taxes import REASONS, Category
from merchants import ids

LINE: dict[str, Any] = {
    "id": "line_1",
    "kind": "usage",
    "name": "Premium submissions",
    "says": "",
    "tiers": [],
    "periodStart": "2026-10-01T00:00:00+00:00",
    "quantity": "264111",
    "unit": "submission",
    "unitPrice": "0.004",
    "net": "1056.44",
    "exactNet": "1056.444",
    "exactTax": "0.00",
    "taxRate": "0",
    "taxCategory": "AE",
}


def paper(*, lines: list[dict[str, Any]] | None = None, **changed: Any) -> dict[str, Any]:
    """A document of one line, owed in part; lines are given by what differs from the usual one."""
    made = {
        "version": 1,
        "layout": 1,
        "kind": "invoice",
        "id": "inv_1",
        "number": "INV-2041",
        "currency": "USD",
        "issueDate": "2026-11-01",
        "dueDate": "2026-11-15",
        "timezone": "UTC",
        "period": {
            "start": "2026-10-01T00:00:00+00:00",
            "end": "2026-11-01T00:00:00+00:00",
            "firstDay": "2026-10-01",
            "lastDay": "2026-10-31",
        },
        "seller": {
            "id": "org_1",
            "name": "Judgebox GmbH",
            "initials": "JG",
            "address": {"line1": "Torstraße 12", "zipCode": "10119", "city": "Berlin", "country": "DE"},
            "addressLines": ["Torstraße 12", "10119 Berlin", "DE"],
            "email": "billing@judgebox.example",
            "website": "",
            "vatId": "DE136695976",
            "taxNumber": "",
            "registration": "HRB 12345 B",
            "accent": "#4b4acf",
            "logo": None,
            "footer": "",
            "paymentTerms": "Payable within 14 days.",
            "mode": "live",
        },
        "buyer": {
            "id": "cus_1",
            "name": "Northwind Labs SAS",
            "email": "billing@northwind.example",
            "address": {"line1": "1 rue de la Paix", "zipCode": "75002", "city": "Paris", "country": "FR"},
            "addressLines": ["1 rue de la Paix", "75002 Paris", "FR"],
            "taxId": "FR40303265045",
            "vatId": "FR40303265045",
            "externalId": "",
        },
        "subscription": "Pay as you go",
        "lines": [LINE | each for each in ([{}] if lines is None else lines)],
        "taxes": [{"category": "AE", "rate": "0", "net": "1056.44", "tax": "0.00", "reason": "Reverse charge"}],
        "totals": {
            "net": "1056.44", "tax": "0.00", "rounding": "0.00", "total": "1056.44", "paid": "200.00", "due": "856.44",
            "exactNet": "1056.444", "exactTax": "0.00", "exactPaid": "200.00",
        },
        "notes": ["Reverse charge: the recipient is liable for VAT."],
    }  # fmt: skip
    return made | changed


def balanced(*lines: dict[str, Any], paid: str = "0.00", rounding: str = "0.00", **changed: Any) -> dict[str, Any]:
    """A document of these lines with taxes and totals that go with them."""
    whole = [LINE | {"taxCategory": "S", "taxRate": "19"} | line for line in lines]
    nets: dict[tuple[str, str], Decimal] = {}
    for line in whole:
        key = (line["taxCategory"], line["taxRate"])
        nets[key] = nets.get(key, Decimal(0)) + Decimal(line["net"])
    cent = Decimal("0.01")
    summary = [
        {
            "category": category,
            "rate": rate,
            "net": f"{net:.2f}",
            "tax": str((net * Decimal(rate) / 100).quantize(cent, ROUND_HALF_UP)),
            "reason": REASONS.get(Category(category), ""),
        }
        for (category, rate), net in nets.items()
    ]
    net = sum([Decimal(each["net"]) for each in summary], Decimal(0))
    tax = sum([Decimal(each["tax"]) for each in summary], Decimal(0))
    total = net + tax + Decimal(rounding)
    totals = {"net": net, "tax": tax, "rounding": rounding, "total": total, "paid": paid, "due": total - Decimal(paid)}
    made = paper(lines=whole, taxes=summary, totals={name: f"{Decimal(value):.2f}" for name, value in totals.items()})
    return made | changed


def credited(invoice: Invoice) -> CreditNote:
    """A credit note over nothing, with its document."""
    nothing = dict.fromkeys(("subtotal", "total_tax", "rounding", "total", "to_receivable", "to_balance", "to_card"), 0)
    note = CreditNote.objects.create(
        bucket=invoice.bucket,
        id=ids.new(invoice.bucket),
        customer_id=invoice.customer_id,
        merchant_id=invoice.merchant_id,
        subscription_id=invoice.subscription_id,
        invoice_id=invoice.id,
        number="CN-000001",
        reason="other",
        currency=invoice.currency,
        issued_at=invoice.created_at,
        **nothing,
    )
    documents.freeze_credit_note(note, [], invoice.created_at)
    return note

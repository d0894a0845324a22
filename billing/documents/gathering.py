"""Gathering what a document says, from rows as they are when it is issued.

What is printed is in whole minor units: each line is rounded by itself, half away from zero, and so is the tax of
each rate. A row of its own, "rounding", says what that and whole minor units of what is owed add to the exact charges;
those stand beside the printed figures, to the nano.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from billing import first_payments, invoice_sessions, measures, money, taxes, wording
from billing.documents import tiers, words
from billing.measures import Measure, Priced
from billing.models import Charge, Invoice, InvoiceLine, ManualLine, PriceVersion, Seller, Subscription
from billing.prices import ChargeModel, Standard, parse_model, plain_of
from billing.taxes import Category
from customers import addresses, bank_accounts, countries, tax_ids
from customers.models import Customer
from merchants import ids
from merchants.models import Merchant
from metering.aggregation import Aggregation

ROUNDING_STATED = (
    "Use is priced to nine decimals. Each line and each tax is rounded to whole minor units, half away from zero; "
    "the difference to the exact charges is shown as rounding."
)
VERSION = 1
LAYOUT = 1
_ZERO = Decimal(0)


class Facts(NamedTuple):
    """Whom a document is between."""

    merchant: Merchant
    seller: Seller
    customer: Customer
    subscription: Subscription


class Taxed(NamedTuple):
    """What decides why a line is taxed as it is."""

    is_exempt: bool
    is_reverse: bool
    is_registered: bool
    is_export: bool

    def category(self, rate: Decimal) -> Category:
        """Tell why a line is taxed at its rate, in percent."""
        return taxes.categorise(rate, **self._asdict())


def of_invoice(invoice: Invoice, now: datetime) -> dict[str, Any]:
    """Return everything that an issued invoice's document shows, in JSON's types; amounts are decimal strings."""
    facts = facts_of(invoice)
    rows = list(InvoiceLine.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id).order_by("position"))
    lines = _lines(rows, facts, invoice)
    summary = summary_of(lines, invoice.currency)
    parties, due = between(invoice, facts), _due(invoice, facts, now)
    return {
        "kind": "invoice",
        "id": ids.text("inv", invoice.id),
        "number": invoice.number,
        "currency": invoice.currency,
        "issueDate": local_day(now, facts),
        "dueDate": due,
        **parties,
        "lines": lines,
        "taxes": summary,
        "totals": _totals(invoice, lines, summary),
        **_paid_by(invoice, rows, facts),
        "notes": [*reasons_of(summary), ROUNDING_STATED, *pay_words(parties["seller"], invoice.number, due)],
        **_online(invoice),
    }


def _online(invoice: Invoice) -> dict[str, Any]:
    """Say where an invoice can be paid, if something is owed on it as its document is written down."""
    where = invoice_sessions.url(invoice)
    return {"payment": {"url": where}} if where else {}


def _paid_by(invoice: Invoice, rows: Sequence[InvoiceLine], facts: Facts) -> dict[str, Any]:
    """Say how an invoice was paid that the prepaid balance has not paid alone."""
    paid = _paid(invoice)
    by_card = first_payments.by_card(facts.subscription, invoice, rows) if paid > 0 else None
    if by_card is None:
        return {}
    card = Decimal(minor(min(by_card.amount, paid), invoice.currency))
    balance = Decimal(minor(paid, invoice.currency)) - card
    return {"paidBy": {"card": f"{card:f}", "cardDate": local_day(by_card.at, facts), "balance": f"{balance:f}"}}


def facts_of(invoice: Invoice) -> Facts:
    """Look up whom an invoice is between."""
    merchant = Merchant.objects.select_related("organization", "seller").get(id=invoice.merchant_id)
    return Facts(
        merchant,
        getattr(merchant, "seller", None) or Seller(merchant=merchant),
        Customer.objects.get(bucket=invoice.bucket, id=invoice.customer_id),
        Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id),
    )


def pay_words(seller: Mapping[str, Any], number: str | None, due: str | None) -> list[str]:
    """Say how to pay: the seller's terms, and the account to send money to where something is due."""
    bank = seller["bank"] if due else None
    said = [seller["paymentTerms"]] if seller["paymentTerms"] else []
    if bank:
        account = f"IBAN {bank_accounts.spaced(bank['iban'])}" if bank["iban"] else f"account {bank['account']}"
        code = f"{'BIC' if bank['bic'] else 'bank code'} {bank['code']}" if bank["code"] else ""
        parts = ", ".join(filter(None, [bank["holder"], account, code, bank["name"]]))
        said.append(f"To pay by bank transfer: {parts}. Reference: {number}.")
    return said


# --- who and when ----------------------------------------------------------------------------------------


def seller_of(merchant: Merchant, seller: Seller) -> dict[str, Any]:
    """Say who sells."""
    name = seller.legal_name or merchant.organization.name
    return {
        "id": ids.text("org", merchant.id),
        "name": name,
        "initials": "".join(word[0] for word in name.split()[:2]).upper(),
        "address": dict(seller.address),
        "addressLines": addresses.lines(seller.address),
        "countryName": countries.NAMES.get(seller.address.get("country", ""), ""),
        "email": seller.email,
        "website": seller.website,
        "vatId": seller.vat_id,
        "taxNumber": seller.tax_number,
        "registration": seller.registration,
        "bank": _bank(name, seller),
        "accent": seller.accent,
        "logo": bytes(seller.logo_digest).hex() if seller.logo_digest else None,
        "footer": seller.footer,
        "paymentTerms": seller.payment_terms,
        "mode": merchant.mode,
    }


def _bank(name: str, seller: Seller) -> dict[str, str] | None:
    if not seller.bank_account:
        return None
    return {
        "holder": seller.account_holder or name,
        "name": seller.bank_name,
        "account": seller.bank_account,
        "iban": bank_accounts.iban(seller.bank_account) or "",
        "code": seller.bank_code,
        "bic": bank_accounts.bic(seller.bank_code) or "",
    }


def _buyer(facts: Facts) -> dict[str, Any]:
    customer = facts.customer
    return {
        "id": ids.text("cus", customer.id),
        "name": customer.name,
        "email": customer.email,
        "address": dict(customer.address),
        "addressLines": addresses.lines(customer.address),
        "countryName": countries.NAMES.get(customer.address.get("country", ""), ""),
        "taxId": customer.tax_id,
        "vatId": tax_ids.eu_vat_id(customer.tax_id) or "",
        "externalId": customer.external_id or "",
    }


def between(invoice: Invoice, facts: Facts) -> dict[str, Any]:
    """Say what documents of an invoice have in common: who, and for which time."""
    return {
        "version": VERSION,
        "layout": LAYOUT,
        "timezone": facts.subscription.timezone,
        "period": _period(invoice.period_start, invoice.period_end, facts.subscription.timezone),
        "seller": seller_of(facts.merchant, facts.seller),
        "buyer": _buyer(facts),
        "subscription": facts.subscription.name,
    }


def local_day(now: datetime, facts: Facts) -> str:
    """Say which day it is where the merchant is."""
    return now.astimezone(ZoneInfo(facts.merchant.organization.timezone)).date().isoformat()


def _due(invoice: Invoice, facts: Facts, now: datetime) -> str | None:
    if not invoice.owed_amount or invoice.owed_amount < 0:
        return None
    return local_day(invoice.due_at or now + timedelta(days=facts.seller.payment_days), facts)


def _period(start: datetime, end: datetime, timezone: str) -> dict[str, str]:
    """Say a period: its instants, and the days it touches, both included."""
    zone = ZoneInfo(timezone)
    last = max(start, end - timedelta(microseconds=1))
    return {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "firstDay": start.astimezone(zone).date().isoformat(),
        "lastDay": last.astimezone(zone).date().isoformat(),
    }


# --- lines -----------------------------------------------------------------------------------------------


def _lines(rows: Sequence[InvoiceLine], facts: Facts, invoice: Invoice) -> list[dict[str, Any]]:
    currency = invoice.currency
    versions = PriceVersion.objects.select_related("price__billable_metric", "price__fee").in_bulk(
        {row.price_version_id for row in rows}
    )
    # A line made by hand has itself in place of a price.
    made = ManualLine.objects.filter(
        bucket=facts.customer.bucket, id__in={row.price_version_id for row in rows} - versions.keys()
    )
    by_hand = {line.id: line for line in made}
    taxed = taxed_by(facts)
    priced = {
        version.id: measures.priced_by(metric.aggregation, version.model, version.properties, metric.percentile)
        for version in versions.values()
        if (metric := version.price.billable_metric) is not None
    }
    measured = measures.of_lines(rows, priced, invoice.period_start)
    return [
        _line(row, currency, taxed)
        | (
            _sold(row, versions[row.price_version_id], priced.get(row.price_version_id), measured.get(row.id), currency)
            if row.price_version_id in versions
            else _by_hand(by_hand[row.price_version_id])
        )
        for row in rows
        if not measures.is_told_elsewhere(row, rows, priced)
    ]


def taxed_by(facts: Facts) -> Taxed:
    """Gather what decides why lines are taxed as they are."""
    home, abroad = facts.seller.address.get("country", ""), facts.customer.address.get("country", "")
    return Taxed(
        is_exempt=facts.subscription.tax_exempt,
        is_reverse=taxes.is_reverse_charged(
            seller_country=home, buyer_country=abroad, buyer_tax_id=facts.customer.tax_id
        ),
        is_registered=bool(facts.seller.vat_id or facts.seller.tax_number),
        is_export=home in tax_ids.EU_COUNTRIES and abroad != "" and abroad not in tax_ids.EU_COUNTRIES,
    )


def _line(row: InvoiceLine, currency: str, taxed: Taxed) -> dict[str, Any]:
    return {
        "id": ids.text("line", row.id),
        "kind": str(row.kind),
        "name": row.description,
        "periodStart": row.period_start.isoformat(),
        "net": minor(row.net, currency),
        "exactNet": money.from_nanos(row.net),
        "exactTax": money.from_nanos(row.tax),
        "taxRate": money.plain(row.tax_rate),
        "taxCategory": taxed.category(row.tax_rate).value,
    }


def _by_hand(manual: ManualLine) -> dict[str, Any]:
    return {
        "says": manual.description,
        "details": [],
        "tiers": [],
        "quantity": money.plain(manual.quantity),
        "unit": "",
        "unitPrice": money.plain(manual.unit_price),
    }


def _sold(
    row: InvoiceLine, version: PriceVersion, priced: Priced | None, measure: Measure | None, currency: str
) -> dict[str, Any]:
    """Say how much of what a line is for, and how that is priced."""
    metric, model = version.price.billable_metric, parse_model(version.model, version.properties)
    quantity, unit_price = _quantity(row, model, measure)
    voice = words.Voice(currency, metric.unit if metric is not None else "")
    is_usage = row.kind in measures.KINDS and priced is not None
    return {
        "says": _says(row, version, voice, is_shown=unit_price is not None),
        "details": [said] if measure and priced and (said := wording.came_to(measure, priced, voice)) else [],
        "tiers": tiers.detail(model, measures.rated(row), row.net) if is_usage else [],
        "quantity": None if row.kind in measures.UNCOUNTED else money.plain(quantity),
        "unit": metric.unit if metric is not None else "",
        "unitPrice": None if unit_price is None else money.plain(unit_price),
    }


def _says(row: InvoiceLine, version: PriceVersion, voice: words.Voice, *, is_shown: bool) -> str:
    """Say the price of a line in words, where it is more than so much for each of what is shown."""
    metric = version.price.billable_metric
    model = parse_model(version.model, version.properties)
    if metric is None or row.kind in measures.UNCOUNTED:
        return ""
    if isinstance(model, Standard):
        about = metric.description if row.kind == Charge.Kind.USAGE else ""
        return about or ("" if is_shown else wording.in_words(model, voice))
    return wording.in_words(model, voice, cast(Aggregation, metric.aggregation), for_customers=True)


def _quantity(row: InvoiceLine, model: ChargeModel, measure: Measure | None) -> tuple[Decimal, Decimal | None]:
    """Return how much is billed, and the price of one where that times the quantity is the line's amount; else None.

    What is free is not billed: where all but that is so much for each, the quantity is the rest.
    """
    quantity, plain_model = measures.counted(row), plain_of(model)
    if row.kind in measures.UNCOUNTED or not isinstance(plain_model, Standard):
        return quantity, None
    left = measures.rated(row)
    candidates = [quantity, left, *([left - measure.included] if measure and measure.included else [])]
    for billed in candidates:
        if money.round_nanos(money.EXACT.multiply(billed, plain_model.unit_price)) == row.net:
            return billed, plain_model.unit_price
    return quantity, None


# --- sums ------------------------------------------------------------------------------------------------


def summary_of(lines: Iterable[Mapping[str, Any]], currency: str) -> list[dict[str, Any]]:
    """Add up lines by why and how much they are taxed; the tax is what was charged, in whole minor units."""
    net: dict[tuple[str, Decimal], Decimal] = defaultdict(Decimal)
    tax: dict[tuple[str, Decimal], int] = defaultdict(int)
    for line in lines:
        key = (str(line["taxCategory"]), Decimal(line["taxRate"]))
        net[key] += Decimal(line["net"])
        tax[key] += money.to_nanos(line["exactTax"])
    return [
        {
            "category": category,
            "rate": money.plain(rate),
            "net": f"{net[category, rate]:f}",
            "tax": minor(tax[category, rate], currency),
            "reason": taxes.REASONS.get(Category(category), ""),
        }
        for category, rate in sorted(net, key=lambda key: (key[0], -key[1]))
    ]


def summed(
    lines: Iterable[Mapping[str, Any]], summary: Iterable[Mapping[str, Any]], currency: str, *, paid: int, due: int
) -> dict[str, str]:
    """Total a document: net + tax + rounding = total, and total − paid = due; ``paid`` and ``due`` are nanos."""
    net = sum([Decimal(line["net"]) for line in lines], _ZERO)
    tax = sum([Decimal(each["tax"]) for each in summary], _ZERO)
    settled, open_ = Decimal(minor(paid, currency)), Decimal(minor(due, currency))
    total = settled + open_
    rounding = total - net - tax
    printed = {"net": net, "tax": tax, "rounding": rounding, "total": total, "paid": settled, "due": open_}
    return {name: f"{amount:.{money.EXPONENTS[currency]}f}" for name, amount in printed.items()}


def _totals(
    invoice: Invoice, lines: Iterable[Mapping[str, Any]], summary: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    paid = _paid(invoice)
    return {
        **summed(lines, summary, invoice.currency, paid=paid, due=invoice.owed_amount or 0),
        "exactNet": money.from_nanos(invoice.subtotal or 0),
        "exactTax": money.from_nanos(invoice.total_tax or 0),
        "exactPaid": money.from_nanos(paid),
    }


def _paid(invoice: Invoice) -> int:
    """Return what was paid of it as it was issued, in nanos; what is paid later is not on it."""
    return (invoice.grand_total or 0) - (invoice.owed_amount or 0)


def reasons_of(summary: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say why less or no tax is charged, each reason once."""
    return [f"{reason}." for reason in dict.fromkeys(str(each["reason"]) for each in summary) if reason]


def minor(nanos: int, currency: str) -> str:
    """Write an amount in whole minor units."""
    minor, _ = money.to_minor(nanos, currency)
    return money.from_nanos(money.from_minor(minor, currency), money.EXPONENTS[currency])

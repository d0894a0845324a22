"""From what a document says to what its pages print, as layout 1 sets it. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from billing.documents import words
from billing.documents.glyphs import printable

TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}
_MIDNIGHT = "00:00"


def pages(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return every text that the layout sets, in its order; nothing in it is markup."""
    currency = document["currency"]
    printed = {
        "title": TITLES[document["kind"]],
        "number": document["number"],
        "issued": document["issueDate"],
        "accent": document["seller"]["accent"],
        "logo": document["seller"]["logo"],
        "mark": document["seller"]["initials"],
        "seller": {"name": document["seller"]["name"], "lines": _seller(document["seller"])},
        "buyer": {"name": document["buyer"]["name"], "lines": _buyer(document["buyer"])},
        "facts": _facts(document),
        "headline": _headline(document),
        "lines": [_line(line, document) for line in document["lines"]],
        "totals": _totals(document),
        "due": [_due_label(document), words.amount(document["totals"]["due"], currency)],
        "taxes": _taxes(document),
        "notes": list(document["notes"]),
        "footer": document["seller"]["footer"],
        "foot": _foot(document["seller"]),
        "isTest": document["seller"]["mode"] == "test",
        "online": _online(document),
    }
    cleaned: dict[str, Any] = _printable(printed)
    return cleaned


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {name: _printable(each) for name, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value


# --- who, when and how much ------------------------------------------------------------------------------


def _seller(seller: Mapping[str, Any]) -> list[str]:
    return [*_address(seller), *filter(None, [seller["email"], seller["website"]])]


def _buyer(buyer: Mapping[str, Any]) -> list[str]:
    tax_id = buyer["vatId"] or buyer["taxId"]
    return [*_address(buyer), buyer["email"], *([f"VAT {tax_id}" if buyer["vatId"] else tax_id] if tax_id else [])]


def _address(party: Mapping[str, Any]) -> list[str]:
    country = party["address"].get("country", "")
    lines = list(party["addressLines"])
    if country and lines and lines[-1] == country:
        lines[-1] = party.get("countryName") or country
    return lines


def _facts(document: Mapping[str, Any]) -> list[list[str]]:
    facts = [["Issued", words.short_day(document["issueDate"])]]
    if document["dueDate"]:
        facts.append(["Due", words.short_day(document["dueDate"])])
    facts += _period(document)
    facts.append(["Currency", document["currency"]])
    if document.get("corrects"):
        facts.append(["Corrects", document["corrects"]["number"]])
    return facts


def _period(document: Mapping[str, Any]) -> list[list[str]]:
    """Say the period in days, or to the minute where it does not begin and end at midnight."""
    period, zone = document["period"], document["timezone"]
    if period is None:
        return []
    start, end = (words.moment(period[name], zone) for name in ("start", "end"))
    if start.endswith(_MIDNIGHT) and end.endswith(_MIDNIGHT):
        return [["Period", words.days(period["firstDay"], period["lastDay"])], ["Time zone", _zone(zone)]]
    return [["From", start], ["To", end], ["Time zone", _zone(zone)]]


def _zone(name: str) -> str:
    return str(ZoneInfo(name).key).replace("_", " ")


def _headline(document: Mapping[str, Any]) -> str:
    currency, totals = document["currency"], document["totals"]
    due = Decimal(totals["due"])
    if document["kind"] == "credit_note":
        return f"{words.amount(totals['total'], currency)} credited"
    if due > 0:
        return f"{words.amount(totals['due'], currency)} due {words.day(document['dueDate'])}"
    if due < 0:
        return f"{words.amount(totals['due'].lstrip('-'), currency)} in your favour"
    return f"{words.amount(totals['total'], currency)} paid"


def _due_label(document: Mapping[str, Any]) -> str:
    if document["kind"] == "credit_note":
        return "Amount credited"
    return "Credit balance" if Decimal(document["totals"]["due"]) < 0 else "Amount due"


def _online(document: Mapping[str, Any]) -> list[str]:
    """Say that it can be paid online; nothing where it cannot. The address itself is not for reading."""
    if not document.get("payment"):
        return []
    host = urlsplit(document["payment"]["url"]).netloc
    due = words.amount(document["totals"]["due"], document["currency"])
    return [f"Pay {due} online", f"Scan the code, or open the link, at {host}. It shows what is still to be paid."]


def _foot(seller: Mapping[str, Any]) -> str:
    parts = [seller["name"]]
    if seller["vatId"]:
        parts.append(f"VAT {seller['vatId']}")
    if seller["taxNumber"]:
        parts.append(f"Tax no. {seller['taxNumber']}")
    return " · ".join([*parts, *filter(None, [seller["registration"]])])


# --- lines and sums --------------------------------------------------------------------------------------


def _line(line: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    currency = document["currency"]
    return {
        "name": line["name"],
        "says": [*filter(None, [line["says"], _of_period(line, document)]), *line.get("details", [])],
        "tiers": [_tier(tier, line["unit"], currency) for tier in line["tiers"]],
        "quantity": words.number(line["quantity"]) if line["quantity"] is not None else "",
        "price": words.price(line["unitPrice"], currency) if line["unitPrice"] is not None else "",
        "tax": words.percent(line["taxRate"]),
        "amount": words.amount(line["net"], currency),
    }


def _of_period(line: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Say what period a line is of where it is not the document's: use that came late, a fee in advance."""
    period, start = document["period"], line.get("periodStart")
    if period is None or start is None:
        return ""
    first, last, own = (datetime.fromisoformat(at) for at in (period["start"], period["end"], start))
    if first <= own < last:
        return ""
    return f"For the period from {words.moment(start, document['timezone']).removesuffix(f', {_MIDNIGHT}')}"


def _tier(tier: Mapping[str, str], unit: str, currency: str) -> list[str]:
    quantity, flat = Decimal(tier["quantity"]), Decimal(tier["flatFee"])
    said = f"{words.number(quantity)} {words.units(quantity, unit)} × {words.price(tier['unitPrice'], currency)}"
    return [said + (f" + {words.price(flat, currency)}" if flat else ""), words.price(tier["amount"], currency)]


def _totals(document: Mapping[str, Any]) -> list[list[str]]:
    currency, totals = document["currency"], document["totals"]
    rows = [["Subtotal", words.amount(totals["net"], currency)]]
    rows += [[_tax_label(each), words.amount(each["tax"], currency)] for each in document["taxes"]]
    if Decimal(totals["rounding"]):
        rows.append(["Rounding", words.amount(totals["rounding"], currency)])
    given = document.get("gives", {})
    ways = [(label, given.get(way, "0")) for way, label in _WAYS.items()]
    rows += [[label, words.amount(amount, currency)] for label, amount in ways if Decimal(amount)]
    if Decimal(totals["paid"]):
        rows.append(["Total", words.amount(totals["total"], currency)])
        rows += [[label, words.amount(_negated(amount), currency)] for label, amount in _paid(document)]
    return rows


def _paid(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say how it was paid, and how much in each way."""
    how = document.get("paidBy")
    if how is None:
        return [("Paid from prepaid balance", document["totals"]["paid"])]
    ways = [
        (f"Paid by card on {words.short_day(how['cardDate'])}", how["card"]),
        ("Paid from prepaid balance", how["balance"]),
    ]
    return [(label, amount) for label, amount in ways if Decimal(amount)]


def _negated(text: str) -> str:
    return text[1:] if text.startswith("-") else f"-{text}"


_WAYS = {"receivable": "Off what is owed", "balance": "To the prepaid balance", "card": "Back to the card"}
_SHORT_REASONS = {"AE": " (reverse charge)", "E": " (exempt)", "G": " (export)"}


def _tax_label(each: Mapping[str, str]) -> str:
    return f"Tax {words.percent(each['rate'])}{_SHORT_REASONS.get(each['category'], '')}"


def _taxes(document: Mapping[str, Any]) -> list[list[str]]:
    """Sum up the taxes by rate, where there is more than one or something to explain."""
    currency, found = document["currency"], document["taxes"]
    if not _is_worth_a_table(found):
        return []
    return [
        [_tax_label(each), words.amount(each["net"], currency), words.amount(each["tax"], currency)] for each in found
    ]


def _is_worth_a_table(taxes: Iterable[Mapping[str, str]]) -> bool:
    rows = list(taxes)
    return len(rows) > 1 or any(each["category"] in ("S", "AE") for each in rows)

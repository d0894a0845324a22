"""Reads what Stripe's API lists: customers, products, prices, subscriptions, credit grants, in one JSON object. Pure.

A plan here is the set of prices that a subscription there has, with their quantities.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing import money
from billing.imports.shapes import Credit, Customer, Export, Plan, Price, Skipped, Subscription, Unsupported, rows

SOURCE = "stripe"
LIVE = ("active", "trialing", "past_due")
CADENCES = {"day": "D", "week": "W", "month": "M", "year": "Y"}
ADDRESS = {"line1": "line1", "line2": "line2", "city": "city", "state": "state", "country": "country"}


def read(data: Mapping[str, Any]) -> Export:
    """Read an export.

    Raises:
        UnreadableExport: a section is no list of objects.
    """
    export = Export(SOURCE)
    products = {row["id"]: row for row in rows(data, "products")}
    prices = {row["id"]: row for row in rows(data, "prices")}
    subscriptions: dict[str, list[Subscription]] = defaultdict(list)
    plans: dict[str, Plan] = {}
    for row in rows(data, "subscriptions"):
        try:
            plan = _plan(row, prices, products)
            subscriptions[_id(row["customer"])].append(_subscription(row, plan))
            plans[plan.external_id] = plan
        except Unsupported as verdict:
            export.skipped.append(Skipped("subscription", row["id"], str(verdict)))
    credits = _grants(rows(data, "credit_grants"), export)
    for row in rows(data, "customers"):
        try:
            export.customers.append(_customer(row, subscriptions[row["id"]], credits[row["id"]]))
        except Unsupported as verdict:
            export.skipped.append(Skipped("customer", row["id"], str(verdict)))
    export.plans = list(plans.values())
    return export


def _id(value: Any) -> str:
    """Return the id of an object that may stand for itself by it."""
    return str(value["id"] if isinstance(value, dict) else value)


def _instant(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _major(minor: Any, currency: str) -> Decimal:
    """Return an amount of smallest units, a number or a decimal string, in major units."""
    return Decimal(str(minor)) * money.minor_unit(currency) / money.NANOS


# --- plans -----------------------------------------------------------------------------------------------


def _plan(row: dict[str, Any], prices: Mapping[str, Any], products: Mapping[str, Any]) -> Plan:
    if row["status"] not in LIVE:
        raise Unsupported(f"It is {row['status']}.")
    if row.get("cancel_at_period_end") or row.get("cancel_at"):
        raise Unsupported("It ends by itself: let it end there.")
    if row.get("discounts") or row.get("discount"):
        raise Unsupported("It has a discount: make it a coupon here.")
    items = rows(row, "items")
    named = [_named(item, prices) for item in items]
    cadences = {_cadence(price) for price, _ in named}
    if len(cadences) != 1:
        raise Unsupported("Its prices have different intervals.")
    currencies = {str(price["currency"]).upper() for price, _ in named}
    lines = tuple(_price(price, quantity, products) for price, quantity in named)
    return Plan(
        external_id="+".join(sorted(line.external_id for line in lines)),
        name=" + ".join(dict.fromkeys(line.name for line in lines))[:200],
        currency=currencies.pop(),
        cadence=cadences.pop(),
        prices=lines,
    )


def _named(item: dict[str, Any], prices: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    price = item["price"] if isinstance(item.get("price"), dict) else prices.get(str(item.get("price")))
    if price is None:
        raise Unsupported(f"Its price {item.get('price')} is not in the file.")
    full = prices.get(price["id"], price)  # an item's own copy leaves tiers out
    return full, int(item.get("quantity") or 1)


def _cadence(price: Mapping[str, Any]) -> str:
    recurring = price.get("recurring")
    if not recurring:
        raise Unsupported(f"Price {price['id']} is charged once.")
    return f"P{recurring.get('interval_count', 1)}{CADENCES[recurring['interval']]}"


def _price(price: dict[str, Any], quantity: int, products: Mapping[str, Any]) -> Price:
    product = products.get(_id(price["product"]), {})
    name = str(price.get("nickname") or product.get("name") or price["id"])[:200]
    if price["recurring"].get("usage_type") == "metered":
        return Price(
            external_id=price["id"],
            name=name,
            model=_model(price),
            properties=_properties(price),
            term="in_arrears",
            unit=str(product.get("unit_label") or "unit"),
            aggregation="SUM",
        )
    if price.get("billing_scheme") == "tiered" or price.get("transform_quantity"):
        raise Unsupported(f"Price {price['id']} has tiers over a quantity that is not metered.")
    amount = _major(price.get("unit_amount_decimal") or price["unit_amount"], price["currency"].upper()) * quantity
    return Price(
        external_id=price["id"] if quantity == 1 else f"{price['id']}x{quantity}",
        name=name if quantity == 1 else f"{name} ({quantity})",
        model="standard",
        properties={"unitPrice": f"{amount:f}"},
        term="in_advance",
        cadence=_cadence(price),
    )


def _model(price: Mapping[str, Any]) -> str:
    if price.get("billing_scheme") == "tiered":
        return {"graduated": "graduated", "volume": "volume"}[price["tiers_mode"]]
    return "package" if price.get("transform_quantity") else "standard"


def _properties(price: Mapping[str, Any]) -> dict[str, Any]:
    currency = str(price["currency"]).upper()
    if price.get("billing_scheme") == "tiered":
        return {"tiers": [_tier(tier, currency) for tier in price.get("tiers") or _no_tiers(price)]}
    unit = f"{_major(price.get('unit_amount_decimal') or price['unit_amount'], currency):f}"
    packed = price.get("transform_quantity")
    if not packed:
        return {"unitPrice": unit}
    if packed["round"] != "up":
        raise Unsupported(f"Price {price['id']} rounds its packages down.")
    return {"packageSize": str(packed["divide_by"]), "packagePrice": unit}


def _no_tiers(price: Mapping[str, Any]) -> list[Any]:
    raise Unsupported(f"Price {price['id']} has its tiers left out: export prices with expand[]=data.tiers.")


def _tier(tier: Mapping[str, Any], currency: str) -> dict[str, Any]:
    up_to = tier.get("up_to")
    read = {"upTo": None if up_to in (None, "inf") else str(up_to)}
    unit = tier.get("unit_amount_decimal") or tier.get("unit_amount") or 0
    flat = tier.get("flat_amount_decimal") or tier.get("flat_amount") or 0
    read["unitPrice"] = f"{_major(unit, currency):f}"
    return read | ({"flatFee": f"{_major(flat, currency):f}"} if Decimal(str(flat)) else {})


# --- customers -------------------------------------------------------------------------------------------


def _subscription(row: dict[str, Any], plan: Plan) -> Subscription:
    ends = [item.get("current_period_end") for item in rows(row, "items")]
    return Subscription(
        external_id=row["id"],
        plan=plan.external_id,
        name=str(row.get("description") or plan.name)[:200],
        # What is paid for there until then is not paid for here again.
        starts_at=_instant(row.get("current_period_end") or next(filter(None, ends), None)),
    )


def _grants(grants: list[dict[str, Any]], export: Export) -> dict[str, list[Credit]]:
    found: dict[str, list[Credit]] = defaultdict(list)
    for row in grants:
        amount = row.get("amount", {}).get("monetary")
        if row.get("voided_at") or not amount:
            export.skipped.append(Skipped("credit", row["id"], "It is void, or not of money."))
            continue
        currency = amount["currency"].upper()
        found[_id(row["customer"])].append(
            Credit(
                external_id=row["id"],
                name=str(row.get("name") or "Credit")[:200],
                amount=money.from_minor(int(amount["value"]), currency),
                currency=currency,
                expires_at=_instant(row.get("expires_at")),
            )
        )
    return found


def _customer(row: dict[str, Any], subscriptions: list[Subscription], credits: list[Credit]) -> Customer:
    if row.get("deleted") or not row.get("email"):
        raise Unsupported("It was deleted, or has no e-mail address.")
    balance, currency = int(row.get("balance") or 0), str(row.get("currency") or "usd").upper()
    if balance > 0:
        raise Unsupported(f"They owe {money.from_nanos(money.from_minor(balance, currency))} {currency} there.")
    if balance < 0:
        owed = money.from_minor(-balance, currency)
        own = Credit(external_id=f"{row['id']}:balance", name="Balance", amount=owed, currency=currency)
        credits = [*credits, own]
    address = row.get("address") or {}
    known = {name: str(address[key])[:200] for key, name in ADDRESS.items() if address.get(key)}
    if address.get("postal_code"):
        known["zipCode"] = str(address["postal_code"])
    return Customer(
        external_id=row["id"],
        name=str(row.get("name") or row["email"])[:200],
        email=row["email"],
        phone=str(row.get("phone") or "")[:40],
        address=known,
        tax_id=next((str(each["value"]) for each in rows(row, "tax_ids")), ""),
        subscriptions=tuple(subscriptions),
        credits=tuple(credits),
    )

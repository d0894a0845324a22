"""Reads what Lago's API lists: customers, billable metrics, plans, subscriptions, wallets, in one JSON object. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing import money
from billing.imports.shapes import Credit, Customer, Export, Plan, Price, Skipped, Subscription, Unsupported, rows

SOURCE = "lago"
CADENCES = {"weekly": "P1W", "monthly": "P1M", "quarterly": "P3M", "yearly": "P1Y"}
AGGREGATIONS = {
    "sum_agg": "SUM",
    "count_agg": "COUNT",
    "max_agg": "MAX",
    "latest_agg": "LATEST",
    "unique_count_agg": "UNIQUE_COUNT",
}
ADDRESS = {
    "address_line1": "line1",
    "address_line2": "line2",
    "city": "city",
    "state": "state",
    "country": "country",
    "zipcode": "zipCode",
}


def read(data: Mapping[str, Any]) -> Export:
    """Read an export.

    Raises:
        UnreadableExport: a section is no list of objects.
    """
    export = Export(SOURCE)
    metrics = {row["code"]: row for row in rows(data, "billable_metrics")}
    for row in rows(data, "plans"):
        try:
            export.plans.append(_plan(row, metrics))
        except Unsupported as verdict:
            export.skipped.append(Skipped("plan", row["code"], str(verdict)))
    known = {plan.external_id: plan for plan in export.plans}
    subscriptions: dict[str, list[Subscription]] = defaultdict(list)
    for row in rows(data, "subscriptions"):
        try:
            subscriptions[row["external_customer_id"]].append(_subscription(row, known))
        except Unsupported as verdict:
            export.skipped.append(Skipped("subscription", row["external_id"], str(verdict)))
    credits: dict[str, list[Credit]] = defaultdict(list)
    for row in rows(data, "wallets"):
        try:
            credits[row["external_customer_id"]].append(_credit(row))
        except Unsupported as verdict:
            export.skipped.append(Skipped("credit", row["lago_id"], str(verdict)))
    for row in rows(data, "customers"):
        key = row["external_id"]
        if row.get("email"):
            export.customers.append(_customer(row, subscriptions[key], credits[key]))
        else:
            export.skipped.append(Skipped("customer", key, "It has no e-mail address."))
    return export


def _plan(row: dict[str, Any], metrics: Mapping[str, Any]) -> Plan:
    if row["interval"] not in CADENCES:
        raise Unsupported(f"Its interval is {row['interval']}.")
    currency = row["amount_currency"]
    prices = [_charge(charge, metrics) for charge in rows(row, "charges")]
    if row.get("amount_cents"):
        prices.append(_fee(row, currency))
    if row.get("minimum_commitment"):
        raise Unsupported("It has a minimum commitment: add it here as a fee.")
    return Plan(
        external_id=row["code"],
        name=str(row["name"])[:200],
        currency=currency,
        cadence=CADENCES[row["interval"]],
        prices=tuple(prices),
    )


def _fee(row: dict[str, Any], currency: str) -> Price:
    amount = Decimal(row["amount_cents"]) * money.minor_unit(currency) / money.NANOS
    return Price(
        external_id=f"{row['code']}:fee",
        name=str(row.get("invoice_display_name") or row["name"])[:200],
        model="standard",
        properties={"unitPrice": f"{amount:f}"},
        term="in_advance" if row.get("pay_in_advance") else "in_arrears",
        cadence=CADENCES[row["interval"]],
    )


def _charge(charge: dict[str, Any], metrics: Mapping[str, Any]) -> Price:
    metric = metrics.get(charge["billable_metric_code"])
    if metric is None:
        raise Unsupported(f"Its metric {charge['billable_metric_code']} is not in the file.")
    aggregation = AGGREGATIONS.get(metric["aggregation_type"])
    if aggregation is None:
        raise Unsupported(f"Its metric {metric['code']} is a {metric['aggregation_type']}.")
    if charge.get("filters"):
        raise Unsupported(f"What it charges for {metric['code']} depends on filters: make it a matrix here.")
    field = metric.get("field_name")
    return Price(
        external_id=charge["lago_id"],
        name=str(charge.get("invoice_display_name") or metric["name"])[:200],
        model=_model(charge),
        properties=_properties(charge),
        term="in_arrears" if not charge.get("pay_in_advance") else "instant",
        aggregation=aggregation,
        event_type=metric["code"],
        value_property=f"$.{field}" if field and aggregation != "COUNT" else "",
    )


def _model(charge: Mapping[str, Any]) -> str:
    model = str(charge["charge_model"])
    if model not in ("standard", "package", "graduated", "volume"):
        raise Unsupported(f"What it charges for {charge['billable_metric_code']} is {model}.")
    return model


def _properties(charge: Mapping[str, Any]) -> dict[str, Any]:
    properties, model = charge["properties"], charge["charge_model"]
    if model == "standard":
        return {"unitPrice": str(properties["amount"])}
    if model == "package":
        if int(properties.get("free_units") or 0):
            raise Unsupported(f"What it charges for {charge['billable_metric_code']} has free units in packages.")
        return {"packageSize": str(properties["package_size"]), "packagePrice": str(properties["amount"])}
    ranges = properties["graduated_ranges" if model == "graduated" else "volume_ranges"]
    return {"tiers": [_tier(each) for each in ranges]}


def _tier(each: Mapping[str, Any]) -> dict[str, Any]:
    to, flat = each.get("to_value"), str(each.get("flat_amount") or 0)
    tier = {"upTo": None if to is None else str(to), "unitPrice": str(each["per_unit_amount"])}
    return tier | ({"flatFee": flat} if Decimal(flat) else {})


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _subscription(row: dict[str, Any], plans: Mapping[str, Plan]) -> Subscription:
    if row["status"] not in ("active", "pending"):
        raise Unsupported(f"It is {row['status']}.")
    if row["plan_code"] not in plans:
        raise Unsupported(f"Its plan {row['plan_code']} is not taken over.")
    if row.get("ending_at"):
        raise Unsupported("It ends by itself: let it end there.")
    ends_at = row.get("current_billing_period_ending_at") if row["status"] == "active" else row.get("subscription_at")
    return Subscription(
        external_id=row["external_id"],
        plan=row["plan_code"],
        name=str(row.get("name") or plans[row["plan_code"]].name)[:200],
        starts_at=_instant(ends_at),  # what is billed there until then is not billed here again
    )


def _credit(row: dict[str, Any]) -> Credit:
    if row["status"] != "active":
        raise Unsupported(f"It is {row['status']}.")
    currency = row["currency"]
    amount = money.from_minor(int(row["balance_cents"]), currency)
    if amount <= 0:
        raise Unsupported("Nothing is left in it.")
    return Credit(
        external_id=row["lago_id"],
        name=str(row.get("name") or "Balance")[:200],
        amount=amount,
        currency=currency,
        expires_at=_instant(row.get("expiration_at")),
    )


def _customer(row: dict[str, Any], subscriptions: list[Subscription], credits: list[Credit]) -> Customer:
    person = " ".join(filter(None, (row.get("firstname"), row.get("lastname"))))
    return Customer(
        external_id=row["external_id"],
        name=str(row.get("name") or person or row["email"])[:200],
        email=row["email"],
        phone=str(row.get("phone") or "")[:40],
        address={name: str(row[key])[:200] for key, name in ADDRESS.items() if row.get(key)},
        tax_id=str(row.get("tax_identification_number") or ""),
        subscriptions=tuple(subscriptions),
        credits=tuple(credits),
    )

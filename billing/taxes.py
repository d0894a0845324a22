"""Which tax rate applies: the most particular one that is known. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from merchants import ids

EVERYTHING = "default"


def rate(
    *,
    customer_rates: Mapping[str, str] | None,
    plan_id: UUID,
    plan_rate: Decimal,
    is_exempt: bool,
    metric_id: UUID | None = None,
) -> Decimal:
    """Return a tax rate in percent: the customer's for the metric, for the plan, for everything, or else the plan's.

    Args:
        customer_rates: percent as decimal strings, by public id or ``default``.
        metric_id: None for fees, and for what the whole plan will likely be taxed at.
    """
    if is_exempt:
        return Decimal(0)
    names = [ids.text("bm", metric_id)] if metric_id else []
    for name in (*names, ids.text("plan", plan_id), EVERYTHING):
        if customer_rates and name in customer_rates:
            return Decimal(customer_rates[name])
    return plan_rate

"""Which tax rate applies, the most particular one that is known, and why. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from customers import tax_ids
from merchants import ids

EVERYTHING = "default"

Rates = Mapping[str, str]  # percent as decimal strings, by public id of a metric or plan, or ``default``


def rate(
    *,
    customer_rates: Rates | None,
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


def known(assessed: Rates | None, stated: Rates | None) -> Rates:
    """Return a customer's rates: those that the merchant stated, and where there are none, those assessed."""
    return {**(assessed or {}), **(stated or {})}


# --- on documents ----------------------------------------------------------------------------------------


class Category(StrEnum):
    """Why a rate applies: the codes of EN 16931 (UNTDID 5305)."""

    STANDARD = "S"
    ZERO = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    EXPORT = "G"
    OUTSIDE = "O"  # the seller is not registered for VAT


REASONS = {
    Category.EXEMPT: "Exempt from tax",
    Category.REVERSE_CHARGE: "Reverse charge: the recipient is liable for VAT",
    Category.EXPORT: "Supplied to a customer outside the European Union: no VAT is charged",
    Category.OUTSIDE: "Not subject to VAT",
}


def is_reverse_charged(*, seller_country: str, buyer_country: str, buyer_tax_id: str) -> bool:
    """Tell whether the buyer owes the tax: a business in another country of the European Union than the seller's.

    By article 196 of directive 2006/112/EC, for services; a business is whoever has a well-formed VAT id of theirs.
    """
    if seller_country not in tax_ids.EU_COUNTRIES or buyer_country not in tax_ids.EU_COUNTRIES - {seller_country}:
        return False
    vat_id = tax_ids.eu_vat_id(buyer_tax_id)
    return vat_id is not None and tax_ids.country_of(vat_id) != seller_country


def categorise(
    tax_rate: Decimal, *, is_exempt: bool, is_reverse: bool, is_registered: bool, is_export: bool
) -> Category:
    """Tell why a line is taxed at its rate, in percent."""
    if tax_rate:
        return Category.STANDARD
    if not is_registered:
        return Category.OUTSIDE
    if is_reverse:
        return Category.REVERSE_CHARGE
    if is_exempt:
        return Category.EXEMPT
    return Category.EXPORT if is_export else Category.ZERO

"""Tax engines: who says at which rates a customer is taxed for whom the merchant states none.

An engine is asked when a customer is entered or changed, and when the merchant moves; never while use is charged. Its
answer is kept with the customer, and what the merchant states of a customer wins over it. ``settings.TAX_ENGINE``
names the engine; one that asks another system does so ahead of time, since it is asked within a transaction.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from billing import taxes
from customers import tax_ids

NOTHING: Mapping[str, str] = {taxes.EVERYTHING: "0"}


class Party(NamedTuple):
    """Who sells or buys, as far as taxes go: where (ISO 3166, with the part of the country), and under which tax id."""

    country: str
    region: str
    zip_code: str
    tax_id: str


class TaxEngine(Protocol):
    """Anything that knows rates."""

    def rates(self, seller: Party, buyer: Party) -> Mapping[str, str] | None:
        """Return rates in percent as decimal strings, by public id of a plan or metric or ``default``.

        None: the plan's own rate applies. It must answer at once, from what it has.
        """


class BuiltIn:
    """What the European Union's rules on services say without a table of rates; no word of other places.

    A business in another of its countries owes the tax itself (reverse charge); outside the Union none is charged.
    """

    def rates(self, seller: Party, buyer: Party) -> Mapping[str, str] | None:
        """Return no tax where it is not the seller's to charge."""
        if seller.country not in tax_ids.EU_COUNTRIES or not buyer.country:
            return None
        is_reverse = taxes.is_reverse_charged(
            seller_country=seller.country, buyer_country=buyer.country, buyer_tax_id=buyer.tax_id
        )
        return NOTHING if is_reverse or buyer.country not in tax_ids.EU_COUNTRIES else None


def engine() -> TaxEngine:
    """Return the engine of this installation."""
    made: TaxEngine = import_string(settings.TAX_ENGINE)()
    return made

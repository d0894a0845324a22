"""Tax numbers of buyers and sellers: which are VAT ids of the European Union, well formed. Pure.

Only the form and the check digits are looked at (python-stdnum); whether a number is in use, the authority knows.
"""

from typing import Any

from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from customers import countries

# Of territories for VAT; Greece writes EL on its numbers and GR in addresses, Northern Ireland XI and GB.
EU_COUNTRIES = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
_PREFIX_COUNTRIES = {"EL": "GR"}
_LENGTH_MIN = 4


def eu_vat_id(text: str) -> str | None:
    """Return a well-formed VAT id of the Union with its prefix and no spaces, ``DE136695976``; None for all else."""
    try:
        compact = vat.compact(text.strip()) if len(text.strip()) >= _LENGTH_MIN else ""
        return str(vat.validate(compact)) if compact[:2].isalpha() else None
    except ValidationError:
        return None


def verdict(text: str, country: str) -> dict[str, Any]:
    """Return whether the tax id of a party in a country will do: ``{"valid", "message"?}``.

    Only what begins like a VAT id is judged, and only in the Union: a local number is no VAT id, and elsewhere numbers
    begin with the same letters.
    """
    prefix = text.strip()[:2].upper()
    is_vat_id = country in EU_COUNTRIES and _PREFIX_COUNTRIES.get(prefix, prefix) in EU_COUNTRIES
    if is_vat_id and eu_vat_id(text) is None:
        where = countries.NAMES[country_of(prefix)]
        return {"valid": False, "message": f"This is no VAT id of {where}: check its digits."}
    return {"valid": True}


def country_of(vat_id: str) -> str:
    """Return the country (ISO 3166) that gave a VAT id."""
    prefix = vat_id[:2]
    return _PREFIX_COUNTRIES.get(prefix, prefix)

"""Postal addresses: which parts they have, and whether tax can be computed from them."""

import re
from typing import Any

from merchants import fields
from merchants.errors import ValidationFailed

LENGTH_MAX = {"line1": 200, "line2": 200, "city": 100, "state": 100, "country": 2, "zipCode": 20}
_COUNTRIES_TAXED_BY_STATE = {"CA", "US"}
_is_country = re.compile(r"[A-Z]{2}").fullmatch


def parse(value: object, field: str) -> dict[str, str]:
    """Return the given parts of an address, the country code in capitals; every part may be missing or null.

    Raises:
        ValidationFailed: it is no object, has an unknown part, or a part is not a short line of text.
    """
    if not isinstance(value, dict):
        raise ValidationFailed(f"{field} must be an object.", field=field, code="INVALID_ADDRESS")
    address: dict[str, str] = {}
    for part, text in value.items():
        name = f"{field}.{part}"
        if part not in LENGTH_MAX:
            raise ValidationFailed(f"{name} is not a part of an address.", field=name, code="UNKNOWN_FIELD")
        if text is not None and text != "":
            address[part] = fields.text(text, name, length_max=LENGTH_MAX[part])
    if "country" in address:
        address["country"] = address["country"].upper()
        if not _is_country(address["country"]):
            message = f"{field}.country must be a country code of two letters (ISO 3166-1)."
            raise ValidationFailed(message, field=f"{field}.country", code="INVALID_COUNTRY")
    return address


def tax_verdict(address: dict[str, str]) -> dict[str, Any]:
    """Return whether tax can be computed from the address, and if not, what is missing: ``{"valid", "message"?}``."""
    if "country" not in address:
        return {"valid": False, "message": "A country is required to compute tax."}
    if "zipCode" not in address:
        return {"valid": False, "message": "A postal code is required to compute tax."}
    if address["country"] in _COUNTRIES_TAXED_BY_STATE and "state" not in address:
        return {"valid": False, "message": "A state or province is required to compute tax in this country."}
    return {"valid": True}

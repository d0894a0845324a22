"""Postal addresses: which parts they have, and whether tax can be computed from them."""

from collections.abc import Mapping
from typing import Any

from customers import countries
from merchants import fields
from merchants.errors import ValidationFailed

LENGTH_MAX = {"line1": 200, "line2": 200, "city": 100, "state": 100, "country": 2, "zipCode": 20}
_TOWN_STATE_CODE = {"AU", "CA", "US"}
_TOWN_THEN_CODE = {"GB", "IE", "IN", "NZ", "SG", "ZA"}
_COUNTRIES_TAXED_BY_STATE = {"CA", "US"}


def parse(value: object, field: str) -> dict[str, str]:
    """Return the given parts of an address, the country code in capitals; every part may be missing or null.

    Raises:
        ValidationFailed: it is no object, has an unknown part, a part is not a short line of text, or there is no such
            country.
    """
    if not isinstance(value, dict):
        raise ValidationFailed(f"{field} must be an object.", field=field, code="INVALID_ADDRESS")
    address: dict[str, str] = {}
    for part, text in value.items():
        name = f"{field}.{part}"
        if part not in LENGTH_MAX:
            message = f"{name} is not a part of an address; they are {', '.join(LENGTH_MAX)}."
            raise ValidationFailed(message, field=name, code="UNKNOWN_FIELD")
        if text is not None and text != "":
            address[part] = fields.text(text, name, length_max=LENGTH_MAX[part])
    if "country" in address:
        address["country"] = address["country"].upper()
        if address["country"] not in countries.NAMES:  # nobody knows whether tax is due there
            message = f"{field}.country must be a country code of two letters (ISO 3166-1)."
            raise ValidationFailed(message, field=f"{field}.country", code="INVALID_COUNTRY")
    return address


def lines(address: Mapping[str, str]) -> list[str]:
    """Return the lines of an address as its country writes them, the country's code last; parts not given are left out.

    Orders by the Universal Postal Union's addressing standard (S42): the postal code before the town, but for the few.
    """
    town, state, code = (address.get(part, "") for part in ("city", "state", "zipCode"))
    country = address.get("country", "")
    if country in _TOWN_STATE_CODE:
        comma = "," if country == "US" and town and state else ""
        area = [" ".join(filter(None, [town + comma, state, code]))]
    elif country in _TOWN_THEN_CODE:
        area = [town, state, code]
    else:
        area = [" ".join(filter(None, [code, town])), state]
    return [line for line in (address.get("line1", ""), address.get("line2", ""), *area, country) if line]


def spelled(address: Mapping[str, str]) -> list[str]:
    """Return the lines of an address for people to read: as ``lines`` does, the country by its name."""
    written, country = lines(address), address.get("country", "")
    return [*written[:-1], countries.NAMES.get(country, country)] if country else written


def tax_verdict(address: dict[str, str]) -> dict[str, Any]:
    """Return whether tax can be computed from the address, and if not, what is missing: ``{"valid", "message"?}``."""
    if "country" not in address:
        return {"valid": False, "message": "A country is required to compute tax."}
    if "zipCode" not in address:
        return {"valid": False, "message": "A postal code is required to compute tax."}
    if address["country"] in _COUNTRIES_TAXED_BY_STATE and "state" not in address:
        return {"valid": False, "message": "A state or province is required to compute tax in this country."}
    return {"valid": True}

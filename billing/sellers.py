"""Who sells, as documents say it: name, address, tax ids, look, numbers and terms; changed by people, and audited."""

import hashlib
import re
import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import transaction

from billing.documents import logos
from billing.models import Logo, Seller
from customers import addresses, bank_accounts, tax_ids
from merchants import audit, fields, registration
from merchants.audit import Actor
from merchants.errors import ValidationFailed

DIGITS_MAX = 12
TAX_RATE_MAX = 100
_TEXTS = {
    "legal_name": 200, "tax_number": 40, "registration": 80, "footer": 500, "payment_terms": 500,
    "email": 254, "account_holder": 100, "bank_name": 100, "bank_code": 20,
}  # fmt: skip
WEBSITE_LENGTH_MAX = 200
_RANGES = {
    "number_digits": (1, DIGITS_MAX),
    "default_tax_rate": (0, TAX_RATE_MAX),
}
# What the API calls them, where it is not the column in camel case.
MEMBERS = {"number_prefix": "invoicePrefix", "credit_note_prefix": "creditNotePrefix"}
_PREFIXES = ("number_prefix", "credit_note_prefix")
_check_url = URLValidator(schemes=["https", "http"])
_is_colour = re.compile(r"#[0-9a-fA-F]{6}").fullmatch
# It must not end in a digit: the counter is what follows the last one that is none.
_is_prefix = re.compile(r"(?:[A-Za-z0-9/._-]{0,19}[A-Za-z/._-])?").fullmatch


def of(merchant_id: uuid.UUID) -> Seller:
    """Return what a merchant's documents say of it; the usual, where nothing was said yet."""
    return Seller.objects.filter(merchant_id=merchant_id).first() or Seller(merchant_id=merchant_id)


def save(
    *,
    merchant_id: uuid.UUID,
    changes: dict[str, Any],
    picture: bytes | None = None,
    without_logo: bool = False,
    actor: Actor,
    now: datetime,
) -> Seller:
    """Change some of what documents to come say of a merchant.

    Args:
        changes: any of the columns of ``Seller`` that people set; ``address`` in the parts of an address.
        picture: a logo, which is drawn anew, so that nothing but its pixels is kept; None leaves the one there is.
        without_logo: no logo from now on.

    Raises:
        ValidationFailed: something of it is not usable; ``errors`` name the members as the API does.
    """
    checked = {name: _checked(name, value) for name, value in changes.items()}
    png = logos.redrawn(picture) if picture is not None else None
    with transaction.atomic():
        seller = _locked(merchant_id, now)
        if png is not None:
            checked["logo_digest"] = _kept(merchant_id, png, now)
        elif without_logo:
            checked["logo_digest"] = None
        before = {name: _said(getattr(seller, name)) for name in checked}
        for name, value in checked.items():
            setattr(seller, name, value)
        after = {name: _said(value) for name, value in checked.items()}
        changed = {
            name: {"before": before[name], "after": after[name]} for name in after if before[name] != after[name]
        }
        if {"address", "vat_id", "tax_number"} & changed.keys():
            seller.is_assessing, seller.assessed_to = True, None
        if changed:
            seller.updated_at = now
            seller.save()
            audit.append(merchant_id=merchant_id, actor=actor, action="documents.changed", changes=changed, now=now)
    return seller


def _locked(merchant_id: uuid.UUID, now: datetime) -> Seller:
    Seller.objects.bulk_create([Seller(merchant_id=merchant_id, updated_at=now)], ignore_conflicts=True)
    return Seller.objects.select_for_update(no_key=True).get(merchant_id=merchant_id)


def _kept(merchant_id: uuid.UUID, png: bytes, now: datetime) -> bytes:
    digest = hashlib.sha256(png).digest()
    Logo.objects.bulk_create(
        [Logo(merchant_id=merchant_id, digest=digest, png=png, created_at=now)], ignore_conflicts=True
    )
    return digest


def _said(value: Any) -> Any:
    """Write a value as the audit log keeps it."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def logo(seller: Seller) -> bytes | None:
    """Return a merchant's logo as PNG, if it has one."""
    found = Logo.objects.filter(merchant_id=seller.merchant_id, digest=seller.logo_digest or b"").first()
    return bytes(found.png) if found else None


# --- what can be said ------------------------------------------------------------------------------------


def member(column: str) -> str:
    """Return what the API calls a column."""
    return MEMBERS.get(column) or re.sub("_(.)", lambda found: found[1].upper(), column)


def _checked(column: str, value: Any) -> Any:
    name = member(column)
    if column == "email":
        return registration.email_address(value, name) if value else ""
    if column == "website":
        return _website(value)
    if column in _TEXTS:
        return fields.text(value, name, length_min=0, length_max=_TEXTS[column])
    if column == "address":
        return addresses.parse(value, name)
    if column == "vat_id":
        return _vat_id(value)
    if column == "bank_account":
        return bank_accounts.parse(value, name)
    if column in _PREFIXES:
        return _matched(name, value, _is_prefix, "letters, digits and - . _ /, the last of them no digit")
    if column == "accent":
        return _matched(name, value, _is_colour, "a colour like #4b4acf").lower()
    least, most = _RANGES[column]
    if not isinstance(value, int | Decimal) or not least <= value <= most:
        raise ValidationFailed(f"{name} must be from {least} to {most}.", field=name, code="OUT_OF_RANGE")
    return value


def _matched(name: str, value: object, fits: Any, what: str) -> str:
    if not isinstance(value, str) or not fits(value):
        raise ValidationFailed(f"{name} must be {what}.", field=name, code="INVALID_FORMAT")
    return value


def _website(value: object) -> str:
    text = fields.text(value, "website", length_min=0, length_max=WEBSITE_LENGTH_MAX)
    if not text:
        return ""
    if not _is_address(text):
        message = "website must begin with https:// or http:// and name a host: https://example.com."
        raise ValidationFailed(message, field="website", code="INVALID_URL")
    return text


def _is_address(text: str) -> bool:
    """Tell whether a text is the whole address of a page on the web, without a password in it."""
    try:
        _check_url(text)
        return "@" not in urlsplit(text).netloc
    except (ValidationError, ValueError):
        return False


def _vat_id(value: object) -> str:
    text = fields.text(value, "vatId", length_min=0, length_max=40)
    if not text:
        return ""
    known = tax_ids.eu_vat_id(text)
    if known is None:
        message = "This is no VAT id of the European Union. Other tax ids go into the tax number."
        raise ValidationFailed(message, field="vatId", code="INVALID_VAT_ID")
    return known

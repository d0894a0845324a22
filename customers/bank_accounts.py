"""Bank accounts, as people write them: which are IBANs, and which bank codes are BICs. Pure.

Only the form and the check digits are looked at (python-stdnum).
"""

import re

from stdnum import bic as bics
from stdnum import iban as ibans
from stdnum.exceptions import ValidationError

from merchants import fields
from merchants.errors import ValidationFailed

LENGTH_MAX = 40
_looks_like_an_iban = re.compile(r"[A-Za-z]{2}[0-9]{2}").match


def parse(value: object, field: str) -> str:
    """Return the number of an account: an IBAN without spaces, any other as it is written; empty for none.

    Raises:
        ValidationFailed: it is no short line of text, or begins like an IBAN and is none.
    """
    text = fields.text(value, field, length_min=0, length_max=LENGTH_MAX).strip()
    if not _looks_like_an_iban(text):
        return text
    known = iban(text)
    if known is None:
        message = "This is no IBAN: its digits do not fit together."
        raise ValidationFailed(message, field=field, code="INVALID_IBAN")
    return known


def iban(text: str) -> str | None:
    """Return an IBAN without spaces; None for all else."""
    try:
        return str(ibans.validate(text))
    except ValidationError:
        return None


def spaced(account: str) -> str:
    """Write an IBAN in groups of four, as on paper (ISO 13616); any other account as it is."""
    return str(ibans.format(account)) if iban(account) else account


def bic(text: str) -> str | None:
    """Return a bank's BIC (ISO 9362); None for all else."""
    try:
        return str(bics.validate(text))
    except ValidationError:
        return None

"""The secrets in the addresses of hosted pages: an id or two under the installation's signature.

They are made again whenever an address is shown, so none is stored; who knows one may use it. Each kind of page has a
salt of its own, so that the token of one opens no other.
"""

import base64
import binascii
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core import signing

SESSION: Final = "pay"
LINK: Final = "link"
AUTHORIZATION: Final = "authorize"
INVOICE: Final = "invoice"  # where an invoice is paid, whichever session is open for it by then

_ID_BYTES = 16


class TokenRefused(Exception):
    """The token is not one of ours."""


def url(kind: str, *keys: UUID) -> str:
    """Make the address of a hosted page."""
    return f"{settings.PUBLIC_URL}/portal/{kind}/{make(kind, *keys)}"


def make(kind: str, *keys: UUID) -> str:
    """Make the token of a kind of page for these ids."""
    payload = base64.urlsafe_b64encode(b"".join([key.bytes for key in keys])).rstrip(b"=").decode()
    return _signer(kind).sign(payload)


def read(kind: str, token: str, count: int = 1) -> list[UUID]:
    """Return the ids in a token; raises TokenRefused unless it was made here, for this kind, with so many."""
    try:
        payload = _signer(kind).unsign(token)
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except (signing.BadSignature, binascii.Error, ValueError) as error:
        raise TokenRefused("not a link of this installation") from error
    if len(raw) != count * _ID_BYTES:
        raise TokenRefused("not a link of this installation")
    return [UUID(bytes=raw[start : start + _ID_BYTES]) for start in range(0, len(raw), _ID_BYTES)]


def _signer(kind: str) -> signing.Signer:
    return signing.Signer(sep=".", salt=f"farthing.{kind}")

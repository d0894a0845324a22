"""Links that open a customer's portal without a login: signed, expiring, stateless.

Nothing is stored: the token carries which subscription of which customer it opens and until when, under the
installation's signing key. Knowing a link is the permission, so it is short-lived, and the portal trades it for
a cookie on first use.
"""

import base64
import binascii
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.core import signing

from merchants import ids

LIFETIME_DEFAULT = timedelta(minutes=10)
LIFETIME_MAX = timedelta(days=7)
PATH = "/portal/c/"

_SALT = "farthing.portal"
_PAYLOAD_BYTES = 16 + 16 + 8


class LinkRefused(Exception):
    """The token is not one of ours, or its time is over."""


class PortalLink(NamedTuple):
    """What a valid token opens, and until when."""

    subscription_id: UUID
    customer_id: UUID
    expires_at: datetime

    @property
    def bucket(self) -> int:
        """The customer's slice, which the id itself names."""
        return ids.bucket_of(self.customer_id)


def make(*, subscription_id: UUID, customer_id: UUID, expires_at: datetime) -> str:
    """Make the token that opens one subscription's portal until ``expires_at`` (an aware time, kept to the second)."""
    until = int(expires_at.timestamp()).to_bytes(8, "big")
    payload = base64.urlsafe_b64encode(subscription_id.bytes + customer_id.bytes + until).rstrip(b"=")
    return signing.Signer(sep=".", salt=_SALT).sign(payload.decode())


def url(*, public_url: str, subscription_id: UUID, customer_id: UUID, expires_at: datetime) -> str:
    """Make the whole link to hand to the customer."""
    return f"{public_url}{PATH}{make(subscription_id=subscription_id, customer_id=customer_id, expires_at=expires_at)}"


def read(token: str, *, now: datetime) -> PortalLink:
    """Read a token; raises LinkRefused when it was not signed here or is no longer valid at ``now``."""
    try:
        payload = signing.Signer(sep=".", salt=_SALT).unsign(token)
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except (signing.BadSignature, binascii.Error, ValueError) as error:
        raise LinkRefused("not a portal link of this installation") from error
    if len(raw) != _PAYLOAD_BYTES:
        raise LinkRefused("not a portal link of this installation")
    until = datetime.fromtimestamp(int.from_bytes(raw[32:], "big"), tz=now.tzinfo)
    if now >= until:
        raise LinkRefused("the link has expired")
    return PortalLink(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), until)

"""Signatures as Standard Webhooks 1.0 has them, under its header names and under Svix's.

``HMAC-SHA256(secret, id.timestamp.body)``, in base64 behind ``v1,``; several, while a secret is being replaced.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES = 32  # the standard asks for 24 to 64


def new_secret() -> str:
    """Make a secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(*, event_id: str, timestamp: int, body: bytes, keys: Iterable[str]) -> dict[str, str]:
    """Write the headers that prove where a body comes from.

    Args:
        timestamp: of this attempt, seconds of Unix time.
        keys: secrets, the newest first; each signs.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = " ".join([_signature(key, signed) for key in keys])
    said = {"id": event_id, "timestamp": str(timestamp), "signature": signatures}
    return {f"{family}-{name}": value for family in ("webhook", "svix") for name, value in said.items()}


def _signature(key: str, signed: bytes) -> str:
    raw = base64.b64decode(key.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(raw, signed, "sha256")).decode()

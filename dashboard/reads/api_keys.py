"""API keys as a list shows them: everything but the secret, which nobody has."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from merchants import ids, roles
from merchants.models import ApiKey

KEYS_SHOWN_MAX = 200
SCOPES_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key and the state it is in."""

    id: str
    name: str
    hint: str
    scopes: str
    state: str  # "active", "expiring", "expired" or "revoked"
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    expires_at: datetime | None
    is_rolled: bool

    @property
    def works(self) -> bool:
        return self.state in {"active", "expiring"}


def listing(*, merchant_id: UUID, now: datetime) -> list[KeyRow]:
    """Return a merchant's keys, those that work first, then the newest."""
    keys = ApiKey.objects.filter(merchant_id=merchant_id).select_related("created_by").order_by("-created_at", "-id")
    rows = [_row(key, now) for key in keys[:KEYS_SHOWN_MAX]]
    return sorted(rows, key=lambda row: not row.works)


def find(*, merchant_id: UUID, key_id: UUID, now: datetime) -> KeyRow | None:
    """Return one key of a merchant."""
    key = ApiKey.objects.filter(merchant_id=merchant_id, id=key_id).select_related("created_by").first()
    return _row(key, now) if key else None


def _row(key: ApiKey, now: datetime) -> KeyRow:
    return KeyRow(
        id=ids.text("key", key.id),
        name=key.name,
        hint=key.hint,
        scopes=_scopes(key.scopes),
        state=_state(key, now),
        created_at=key.created_at,
        created_by=key.created_by.email if key.created_by else "",
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
        is_rolled=key.successor_id is not None,
    )


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "active"
    return "expired" if key.expires_at <= now else "expiring"


def _scopes(scopes: list[str]) -> str:
    if roles.EVERYTHING in scopes:
        return "Everything"
    named = ", ".join(scopes[:SCOPES_NAMED_MAX])
    return named if len(scopes) <= SCOPES_NAMED_MAX else f"{named} and {len(scopes) - SCOPES_NAMED_MAX} more"

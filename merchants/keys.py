"""API keys: secrets that open one merchant in one mode, kept only as keyed hashes.

A secret reads ``fth_sk_test_`` + 24 random characters + 6 of checksum: scanners recognise it, a typing error
shows without a query, and 142 random bits need no slow hash. ``rk`` marks a key restricted to some scopes.
"""

import hmac
import secrets
import string
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from merchants import audit, ids, roles
from merchants.audit import Actor
from merchants.errors import Conflict, Forbidden, NotFound, Unauthorized, ValidationFailed
from merchants.models import ApiKey, Merchant, Role, User

RANDOM_LENGTH = 24  # 62^24 > 2^142
CHECKSUM_LENGTH = 6  # 62^6 > 2^32
HINT_TAIL_LENGTH = 4
ROLL_OVERLAP = timedelta(hours=24)
ROLL_OVERLAP_MAX = timedelta(days=7)
USE_NOTED_EVERY = timedelta(minutes=1)
CACHE_SECONDS = 2.0  # how long a revoked key may still work in a process that has just seen it
CACHE_KEYS_MAX = 10_000
CACHE_UNKNOWN_MAX = 1_000

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_HEADS = {f"fth_{kind}_{mode}": mode for kind in ("sk", "rk") for mode in ("test", "live")}


# --- the secret ------------------------------------------------------------------------------------------


def new_secret(mode: str, scopes: Iterable[str]) -> str:
    """Make a secret for a mode; its kind tells whether it is restricted."""
    kind = "sk" if roles.EVERYTHING in scopes else "rk"
    body = f"fth_{kind}_{mode}_" + "".join(secrets.choice(_BASE62) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(secret: str) -> bool:
    """Tell whether a text can be a key at all; what fails here was never issued."""
    head, _, tail = secret.rpartition("_")
    return (
        head in _HEADS
        and len(tail) == RANDOM_LENGTH + CHECKSUM_LENGTH
        and secret.isascii()
        and secret[-CHECKSUM_LENGTH:] == _checksum(secret[:-CHECKSUM_LENGTH])
    )


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def digests(secret: str) -> list[bytes]:
    """Hash a secret under every pepper; the first is the one that new keys are stored under."""
    return [hmac.digest(pepper.encode(), secret.encode(), "sha256") for pepper in settings.API_KEY_PEPPERS]


def _hint(secret: str) -> str:
    return f"{secret.rpartition('_')[0]}_…{secret[-HINT_TAIL_LENGTH:]}"


# --- what a key opens ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Everything a request needs to know about the key it came with."""

    key_id: UUID
    merchant_id: UUID
    mode: str
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def check(self, now: datetime) -> None:
        """Refuse a key that is revoked or past its end.

        Raises:
            Unauthorized: with the code API_KEY_REVOKED or API_KEY_EXPIRED.
        """
        if self.revoked_at is not None and self.revoked_at <= now:
            raise Unauthorized("This API key was revoked.", code="API_KEY_REVOKED")
        if self.expires_at is not None and self.expires_at <= now:
            raise Unauthorized("This API key has expired.", code="API_KEY_EXPIRED")

    def allows(self, permission: str) -> bool:
        """Tell whether the key's scopes include ``<resource>:read`` or ``<resource>:write``."""
        return roles.allows(self.scopes, permission)


# The columns of KeyFacts, in its order, for the lane, which asks over a connection of its own.
FACTS_SQL: Final = """
SELECT key.id, key.merchant_id, merchant.mode, key.scopes, key.expires_at, key.revoked_at, key.last_used_at
FROM merchants_apikey key JOIN merchants_merchant merchant ON merchant.id = key.merchant_id
WHERE key.digest = ANY(%s)
"""


def facts(row: tuple[UUID, UUID, str, list[str], datetime | None, datetime | None, datetime | None]) -> KeyFacts:
    """Read one row of FACTS_SQL."""
    key_id, merchant_id, mode, scopes, expires_at, revoked_at, last_used_at = row
    return KeyFacts(key_id, merchant_id, mode, frozenset(scopes), expires_at, revoked_at, last_used_at)


def unknown_key() -> Unauthorized:
    """Build the answer to a secret that opens nothing."""
    return Unauthorized("This API key is not valid.", code="INVALID_API_KEY")


def find(secret: str) -> KeyFacts | None:
    """Look a secret up; None when it was never issued."""
    rows = ApiKey.objects.filter(digest__in=digests(secret)).values_list(
        "id", "merchant_id", "merchant__mode", "scopes", "expires_at", "revoked_at", "last_used_at"
    )
    row = rows.first()
    return facts(row) if row else None


def note_use(*, key_id: UUID, now: datetime) -> None:
    """Remember that a key was used, at most once a minute."""
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
    ApiKey.objects.filter(stale, id=key_id).update(last_used_at=now)


class KeyCache:
    """What was found for a key's digest, known and unknown alike, for at most CACHE_SECONDS.

    Unknown keys have room of their own, so a flood of them pushes out no known one. Safe between threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, KeyFacts | None]] = {}
        self._unknown: dict[bytes, tuple[float, KeyFacts | None]] = {}

    def get(self, digest: bytes) -> tuple[bool, KeyFacts | None]:
        """Return whether the digest was looked up lately, and what it was found to open."""
        entry = self._known.get(digest) or self._unknown.get(digest)
        return (True, entry[1]) if entry is not None and self._clock() < entry[0] else (False, None)

    def put(self, digest: bytes, found: KeyFacts | None) -> None:
        """Remember what a look-up gave."""
        entries, most = (self._unknown, CACHE_UNKNOWN_MAX) if found is None else (self._known, CACHE_KEYS_MAX)
        with self._lock:
            self._known.pop(digest, None)
            self._unknown.pop(digest, None)
            if len(entries) >= most:
                del entries[next(iter(entries))]  # the oldest: entries are in the order of their deadlines
            entries[digest] = (self._clock() + CACHE_SECONDS, found)

    def forget(self) -> None:
        """Drop everything, so that the next request of each key asks the database."""
        with self._lock:
            self._known.clear()
            self._unknown.clear()


# One per process: the fast lane and the control plane see the same revocations.
CACHE: Final = KeyCache()


# --- keys come and go ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and its secret, which is not to be had again."""

    key: ApiKey
    secret: str


def create(
    *,
    merchant: Merchant,
    name: str,
    scopes: Iterable[str],
    actor: Actor,
    now: datetime,
    created_by: User | None = None,
    expires_at: datetime | None = None,
    role: str = Role.OWNER,
) -> Issued:
    """Issue a key of a merchant.

    Args:
        role: of who asks for it; the key may do no more than that.

    Raises:
        ValidationFailed: a scope is unknown, or there is none.
        Forbidden: the role does not include a scope.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in roles.KEY_SCOPES and scope != roles.EVERYTHING]
    if unknown or not wanted:
        message = f"Unknown scopes: {', '.join(unknown)}." if unknown else "A key needs at least one scope."
        raise ValidationFailed(message, field="scopes", code="INVALID_SCOPE")
    if not roles.may_make(roles.ROLES[role], wanted):
        raise Forbidden("A key may do no more than who makes it.", code="SCOPE_NOT_HELD")
    secret = new_secret(merchant.mode, wanted)
    with transaction.atomic():
        key = ApiKey.objects.create(
            merchant=merchant,
            name=name,
            hint=_hint(secret),
            digest=digests(secret)[0],
            scopes=wanted,
            created_by=created_by,
            created_at=now,
            expires_at=expires_at,
        )
        _record(key, "api_key.created", actor, now, scopes=wanted, hint=key.hint)
    return Issued(key, secret)


def roll(
    *,
    merchant_id: UUID,
    key_id: UUID,
    actor: Actor,
    now: datetime,
    overlap: timedelta = ROLL_OVERLAP,
    role: str = Role.OWNER,
) -> Issued:
    """Replace a key by one of the same scopes; the old one works on for ``overlap``.

    Args:
        role: of who asks for it; the key may do no more than that.

    Raises:
        Forbidden: the role does not include a scope.
        NotFound: the merchant has no such key.
        Conflict: the key no longer works, or was replaced before.
        ValidationFailed: overlap is negative or longer than a week.
    """
    if not timedelta() <= overlap <= ROLL_OVERLAP_MAX:
        message = f"The old key may go on for at most {ROLL_OVERLAP_MAX.days} days."
        raise ValidationFailed(message, field="overlap", code="INVALID_OVERLAP")
    with transaction.atomic():
        old = _lock(merchant_id, key_id)
        ended = old.revoked_at or (old.expires_at is not None and old.expires_at <= now)
        if ended or old.successor_id:
            raise Conflict("This key no longer works or was already replaced.", code="API_KEY_NOT_ROLLABLE")
        issued = create(
            merchant=old.merchant,
            name=old.name,
            scopes=old.scopes,
            actor=actor,
            now=now,
            created_by=old.created_by,
            role=role,
        )
        old.successor = issued.key
        old.expires_at = min(old.expires_at or now + overlap, now + overlap)
        old.save(update_fields=["successor", "expires_at"])
        _record(old, "api_key.rolled", actor, now, successor=ids.text("key", issued.key.id))
    return issued


def revoke(*, merchant_id: UUID, key_id: UUID, actor: Actor, now: datetime) -> ApiKey:
    """End a key at once; other processes notice within CACHE_SECONDS. Ending it twice changes nothing.

    Raises:
        NotFound: the merchant has no such key.
    """
    with transaction.atomic():
        key = _lock(merchant_id, key_id)
        if key.revoked_at is None:
            key.revoked_at = now
            key.save(update_fields=["revoked_at"])
            _record(key, "api_key.revoked", actor, now)
        transaction.on_commit(CACHE.forget)
    return key


def _lock(merchant_id: UUID, key_id: UUID) -> ApiKey:
    keys = ApiKey.objects.select_for_update(of=("self",)).select_related("merchant")
    key = keys.filter(merchant_id=merchant_id, id=key_id).first()
    if key is None:
        raise NotFound()
    return key


def _record(key: ApiKey, action: str, actor: Actor, now: datetime, **changes: object) -> None:
    target = ids.text("key", key.id)
    audit.append(merchant_id=key.merchant_id, actor=actor, action=action, target=target, changes=changes, now=now)

"""One key, one effect, one answer: what a write was answered is kept in the transaction of its effect.

There is no "in progress" to be left behind by a crash: a second request with the same key waits on the unique
key until the first has committed, and then repeats its answer. A refused attempt leaves nothing, not even its key.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from merchants.errors import IdempotencyConflict
from merchants.models import IdempotentAnswer

FINGERPRINT_BYTES = 16

_CLAIM = """
INSERT INTO merchants_idempotentanswer (merchant_id, kind, key, fingerprint, body, created_at)
VALUES (%s, %s, %s, %s, '', %s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body, and whether they are repeated from an earlier request."""

    status: int
    body: str
    is_replay: bool = False


def fingerprint(*parts: Any) -> bytes:
    """Hash what a request asks for, so that a key used again for something else is noticed."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=FINGERPRINT_BYTES).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A key, what is asked for under it, and when: for a write that takes more than one transaction.

    It is taken in the one that counts; what is answered again is read from what has become of it since.
    """

    merchant_id: UUID
    kind: str
    key: str
    fingerprint: bytes
    now: datetime


def take(claim: Claim) -> bool:
    """Take a key in the caller's transaction; False where it was taken before. Waits for whoever is about to take it.

    Raises:
        IdempotencyConflict: it was taken for something else.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [claim.merchant_id, claim.kind, claim.key, claim.fingerprint, claim.now])
        is_first = cursor.rowcount == 1
    return is_first or noted(claim) is None


def note(claim: Claim, text: str) -> None:
    """Keep with a key that was just taken what finds its effect again."""
    _place(claim).update(body=text)


def noted(claim: Claim) -> str | None:
    """Return what is kept with a key; None where nobody has taken it.

    Raises:
        IdempotencyConflict: it was taken for something else.
    """
    kept = _place(claim).first()
    if kept is None:
        return None
    if bytes(kept.fingerprint) != claim.fingerprint:
        raise IdempotencyConflict()
    return kept.body


def _place(claim: Claim) -> QuerySet[IdempotentAnswer]:
    return IdempotentAnswer.objects.filter(merchant_id=claim.merchant_id, kind=claim.kind, key=claim.key)


def once(claim: Claim, act: Callable[[], Answer]) -> Answer:
    """Do something under a key, or repeat what it was answered the first time; ``act`` runs in this transaction.

    Raises:
        IdempotencyConflict: the key was used for a different request of this kind.
    """
    with transaction.atomic():
        if take(claim):
            answer = act()
            _place(claim).update(status=answer.status, body=answer.body)
            return answer
        kept = _place(claim).get()
        return Answer(kept.status or 200, kept.body, is_replay=True)

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


def once(
    *, merchant_id: UUID, kind: str, key: str, fingerprint: bytes, act: Callable[[], Answer], now: datetime
) -> Answer:
    """Do something under a key, or repeat what it was answered the first time; ``act`` runs in this transaction.

    Raises:
        IdempotencyConflict: the key was used for a different request of this kind.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, [merchant_id, kind, key, fingerprint, now])
            is_first = cursor.rowcount == 1
        place = IdempotentAnswer.objects.filter(merchant_id=merchant_id, kind=kind, key=key)
        if is_first:
            answer = act()
            place.update(status=answer.status, body=answer.body)
            return answer
        kept = place.get()
        if bytes(kept.fingerprint) != fingerprint:
            raise IdempotencyConflict()
        return Answer(kept.status or 200, kept.body, is_replay=True)

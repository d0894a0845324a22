"""The audit log: who changed what, each entry chained to the one before it.

An entry's digest covers the previous digest, so an entry that is altered, removed or slipped in breaks the
chain from there on. The database refuses UPDATE and DELETE; the chain shows what got past it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from merchants.models import AuditEntry, Merchant

_START = bytes(32)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, and through which request."""

    name: str  # "user:<id>", "key:<id>" or "system"
    request_id: str = ""
    address: str | None = None


SYSTEM = Actor("system")


def address_of(meta: Mapping[str, str]) -> str | None:
    """Return the address that a request came from: the last one named by the proxy before us, where there is one."""
    if not settings.BEHIND_PROXY:
        return meta.get("REMOTE_ADDR") or None
    named = meta.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(named))
    except ValueError:
        return None


def append(
    *,
    merchant_id: UUID,
    actor: Actor,
    action: str,
    target: str = "",
    changes: dict[str, Any] | None = None,
    now: datetime,
) -> AuditEntry:
    """Add an entry to a merchant's log; ``changes`` is JSON and must hold no secret."""
    with transaction.atomic():
        # The merchant's row is the chain's lock: the log itself cannot be locked, as nobody may update it.
        Merchant.objects.select_for_update(no_key=True).only("id").get(id=merchant_id)
        last = AuditEntry.objects.filter(merchant_id=merchant_id).order_by("-number").first()
        entry = AuditEntry(
            merchant_id=merchant_id,
            number=last.number + 1 if last else 1,
            at=now,
            actor=actor.name,
            action=action,
            target=target,
            changes=changes or {},
            request_id=actor.request_id,
            address=actor.address,
        )
        entry.digest = _digest(bytes(last.digest) if last else _START, entry)
        entry.save(force_insert=True)
    return entry


def first_break(*, merchant_id: UUID) -> int | None:
    """Return the number of the first entry that does not follow from those before it; None if the chain is whole."""
    digest = _START
    entries = AuditEntry.objects.filter(merchant_id=merchant_id).order_by("number")
    for number, entry in enumerate(entries.iterator(), start=1):
        digest = _digest(digest, entry)
        if entry.number != number or bytes(entry.digest) != digest:
            return number
    return None


def _digest(previous: bytes, entry: AuditEntry) -> bytes:
    said = [
        entry.merchant_id.hex,
        entry.number,
        entry.at.astimezone(UTC).isoformat(),
        entry.actor,
        entry.action,
        entry.target,
        entry.changes,
        entry.request_id,
        entry.address,
    ]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()

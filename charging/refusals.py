"""The log of refused calls: which of a customer's calls were refused, and why, for people to look at.

Nobody's money depends on it, so it never keeps a call waiting: what was refused is kept in memory, and written about
once a second, equal refusals of one customer as one row. What a process had not written when it died is lost, and what
comes faster than NOTED_MAX a second is counted, and not kept.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from prometheus_client import Counter

from charging.commands import Command, RecordUsage, Reserve
from merchants import ids
from merchants.errors import ServiceError

NOTED_MAX = 500  # different refusals in WRITE_SECONDS
WRITE_SECONDS = 1.0
CONNECT_SECONDS_MAX = 3
STATEMENT_SECONDS_MAX = 5
MESSAGE_LENGTH_MAX = 500
# Refused for what the customer has or may; malformed, unauthorized and unavailable calls say nothing about a customer,
# and a 404 may be about another merchant's.
LOGGED_STATUSES = frozenset({402, 403, 409, 422})

LOST = Counter("farthing_lane_refusals_not_logged", "Refused calls that the log of refusals does not name.")

logger = logging.getLogger(__name__)

_WRITE = """
INSERT INTO entitlements_refusal (bucket, customer_id, id, merchant_id, kind, code, message, details, lines, metadata,
    key, times, created_at)
SELECT bucket, customer_id, id, merchant_id, kind, code, message, details, lines, metadata,
    key, times, clock_timestamp()
FROM json_to_recordset(%s::json) AS noted (bucket smallint, customer_id uuid, id uuid, merchant_id uuid, kind text,
    code text, message text, details jsonb, lines jsonb, metadata jsonb, key text, times int)"""


class _Like(NamedTuple):
    """What makes two refusals one row."""

    customer_id: bytes
    merchant_id: bytes
    kind: str
    code: str
    culprit: str  # the budget or entitlement that refused


class Refusals:
    """What was refused since it was last written. Lives on one event loop and is used from it alone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._noted: dict[_Like, tuple[int, Command, ServiceError]] = {}
        self._writing = asyncio.create_task(self._write_now_and_then(), name="refusals")

    def note(self, command: Command, error: ServiceError) -> None:
        """Keep a refusal to be written; the last of equal ones is the one that is shown."""
        if error.status not in LOGGED_STATUSES or not isinstance(command, RecordUsage | Reserve):
            return
        like = _Like(command.customer_id, command.merchant_id, _kind(command), error.code, _culprit(error))
        times, *_ = self._noted.get(like, (0,))
        if not times and len(self._noted) >= NOTED_MAX:
            LOST.inc()
            return
        self._noted[like] = (times + 1, command, error)

    async def stop(self) -> None:
        """Write what is left, and end."""
        self._writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writing
        await self._write()

    async def _write_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        if not self._noted:
            return
        noted, self._noted = self._noted, {}
        rows = [_row(like, *what) for like, what in noted.items()]
        try:
            await asyncio.to_thread(write, self._url, rows)
        except psycopg.Error as error:
            LOST.inc(sum(times for times, *_ in noted.values()))
            logger.warning("%d refusals are not logged: %s", len(rows), error)


def write(url: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the log; raises psycopg.Error. Blocking."""
    options = f"-c statement_timeout={STATEMENT_SECONDS_MAX}s"
    with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS_MAX, options=options) as connection:
        connection.execute(_WRITE, [json.dumps(rows)])


def _kind(command: RecordUsage | Reserve) -> str:
    if isinstance(command, Reserve):
        return "reservation"
    return "event" if command.metering is not None else "usage"


def _culprit(error: ServiceError) -> str:
    details = error.details or {}
    return str(details.get("budgetId") or details.get("entitlementId") or "")


def _row(like: _Like, times: int, command: Command, error: ServiceError) -> dict[str, Any]:
    bucket = like.customer_id[15]
    asked: Any = command
    return {
        "bucket": bucket,
        "customer_id": str(UUID(bytes=like.customer_id)),
        "id": str(ids.new(bucket)),
        "merchant_id": str(UUID(bytes=like.merchant_id)),
        "kind": like.kind,
        "code": like.code,
        "message": error.message[:MESSAGE_LENGTH_MAX],
        "details": msgspec.to_builtins(error.details or {}, enc_hook=str),
        "lines": _lines(asked),
        "metadata": asked.metadata or {},
        "key": asked.key,
        "times": times,
    }


def _lines(command: RecordUsage | Reserve) -> list[list[str | None]]:
    """What was asked for: of each metric, in hex, how many units or how much money."""
    if isinstance(command, RecordUsage):
        return [[each.metric_id.hex(), str(each.quantity), None] for each in command.properties]
    return [
        [
            each.metric_id.hex(),
            None if each.quantity is None else str(each.quantity),
            None if each.amount is None else str(each.amount),
        ]
        for each in command.lines
    ]

"""What the lane looks up outside its transactions: whose a key is, whose a reservation, and what events are about.

Blocking, for a thread; what was looked up lately is recalled without.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg
from psycopg import Connection

from charging.meter_events import DefinitionsByType
from merchants import authentication, keys
from merchants.errors import Forbidden, Unavailable
from merchants.keys import CACHE, KeyFacts
from metering.matching import Definition, Filter

HEADERS_MAX = 10_000
CONNECT_SECONDS_MAX = 3
RECALLED_SECONDS = 2.0  # so old may be what is recalled, as with keys
DEFINITIONS_MAX = 5_000  # merchants
SUBJECTS_MAX = 100_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_NOTE_USE = """
UPDATE merchants_apikey SET last_used_at = %(now)s
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at <= %(now)s - %(every)s)"""
_OWNER = "SELECT customer_id FROM entitlements_reservation WHERE bucket = %s AND id = %s AND merchant_id = %s"
_DEFINITIONS = """
SELECT coalesce(json_agg(json_build_array(id, aggregation, event_type, value_property, group_by, filters, event_from,
    filter, value_expression)
    ORDER BY id), '[]')
FROM metering_billablemetric WHERE merchant_id = %s AND event_type <> ''"""
_SUBJECTS = """
SELECT coalesce(json_object_agg(value, customer_id), '{}')
FROM customers_customerclaim WHERE merchant_id = %s AND kind = 'external_id' AND value = ANY(%s)"""


class Recent(Generic[K, V]):
    """What was looked up in the last RECALLED_SECONDS, the oldest first."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}

    def __contains__(self, key: K) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __getitem__(self, key: K) -> V:
        deadline, value = self._entries[key]
        if self._clock() >= deadline:
            raise KeyError(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember what a look-up gave."""
        self._entries.pop(key, None)
        while len(self._entries) >= self._most:
            self._entries.pop(next(iter(self._entries)), None)
        self._entries[key] = (self._clock() + RECALLED_SECONDS, value)


class Directory:
    """Answers from memory where it may, from the database where it must. Safe between threads."""

    def __init__(self, *, url: str) -> None:
        self._url = url
        self._connections: dict[int, Connection[Any]] = {}  # by thread
        self._digests: dict[str, bytes] = {}  # by Authorization header: saves hashing the same secret again
        self._lock = threading.Lock()
        self.definitions: Recent[bytes, DefinitionsByType] = Recent(DEFINITIONS_MAX)  # by merchant
        self.subjects: Recent[tuple[bytes, str], bytes | None] = Recent(SUBJECTS_MAX)  # by merchant and external id

    def recall(self, header: str | None) -> tuple[bool, KeyFacts | None]:
        """Return whether the key in a header was looked up lately, and what it opens."""
        digest = self._digests.get(header or "")
        return (False, None) if digest is None else CACHE.get(digest)

    def look_up(self, header: str | None, now: datetime) -> KeyFacts | None:
        """Ask the database what the key in a header opens; raises Unauthorized, Unavailable."""
        secret = authentication.secret_in(header)
        if not keys.is_well_formed(secret):
            raise keys.unknown_key()
        digests = keys.digests(secret)
        row = self._fetch(keys.FACTS_SQL, [digests])
        found = None if row is None else keys.facts(row)
        CACHE.put(digests[0], found)
        if len(self._digests) >= HEADERS_MAX:
            self._digests.clear()
        self._digests[header or ""] = digests[0]
        if found is not None and (found.last_used_at is None or now - found.last_used_at >= keys.USE_NOTED_EVERY):
            self._fetch(_NOTE_USE, {"id": found.key_id, "now": now, "every": keys.USE_NOTED_EVERY})
        return found

    def admit(self, found: KeyFacts | None, permission: str, now: datetime) -> bytes:
        """Return the merchant that a key opens, if it may do this now; raises Unauthorized, Forbidden."""
        if found is None:
            raise keys.unknown_key()
        found.check(now)
        if not found.allows(permission):
            message = f"This key lacks the scope {permission}."
            raise Forbidden(
                message, code="INSUFFICIENT_SCOPE", reason="insufficient_scope", required_permissions=[permission]
            )
        return found.merchant_id.bytes

    def owner_of_reservation(self, reservation_id: bytes, merchant_id: bytes) -> bytes | None:
        """Return the customer that a merchant's reservation belongs to."""
        row = self._fetch(_OWNER, [reservation_id[15], UUID(bytes=reservation_id), UUID(bytes=merchant_id)])
        return None if row is None else row[0].bytes

    def learn(self, merchant_id: bytes, subjects: Sequence[str]) -> None:
        """Look up how a merchant's metrics read events, and whose external ids these subjects are."""
        if merchant_id not in self.definitions:
            row = self._fetch(_DEFINITIONS, [UUID(bytes=merchant_id)])
            definitions = _by_type(row[0] if row else [])
            with self._lock:
                self.definitions.put(merchant_id, definitions)
        if unknown := [subject for subject in subjects if (merchant_id, subject) not in self.subjects]:
            row = self._fetch(_SUBJECTS, [UUID(bytes=merchant_id), unknown])
            owners = row[0] if row else {}
            with self._lock:
                for subject in unknown:
                    owner = owners.get(subject)
                    self.subjects.put((merchant_id, subject), None if owner is None else UUID(owner).bytes)

    def close(self) -> None:
        """Hang up; nothing may be asked any more."""
        for connection in self._connections.values():
            connection.close()

    def _fetch(self, statement: str, parameters: Any) -> tuple[Any, ...] | None:
        try:
            return self._ask(statement, parameters)
        except psycopg.OperationalError:  # the connection was lost while nobody looked
            try:
                return self._ask(statement, parameters)
            except psycopg.OperationalError as error:
                raise Unavailable() from error

    def _ask(self, statement: str, parameters: Any) -> tuple[Any, ...] | None:
        connection = self._connection()
        try:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchone() if cursor.description else None
        except psycopg.OperationalError:
            connection.close()
            raise

    def _connection(self) -> Connection[Any]:
        thread = threading.get_ident()
        connection = self._connections.get(thread)
        if connection is None or connection.closed:
            connection = psycopg.connect(
                self._url, autocommit=True, application_name="farthing-directory", connect_timeout=CONNECT_SECONDS_MAX
            )
            self._connections[thread] = connection
        return connection


def _by_type(rows: Sequence[Sequence[Any]]) -> DefinitionsByType:
    found: dict[str, list[Definition]] = {}
    for metric_id, aggregation, event_type, value_property, group_by, filters, event_from, *expressions in rows:
        definition = Definition(
            UUID(metric_id).bytes,
            aggregation,
            value_property,
            group_by,
            tuple([Filter(each["property"], each["operator"], tuple(each["values"])) for each in filters]),
            None if event_from is None else datetime.fromisoformat(event_from),
            *expressions,
        )
        found.setdefault(event_type, []).append(definition)
    return found

"""What the lane looks up outside its transactions: whose a key is, and whose a reservation. Blocking, for a thread."""

import threading
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection

from merchants import authentication, keys
from merchants.errors import Forbidden, Unavailable
from merchants.keys import CACHE, KeyFacts

HEADERS_MAX = 10_000
CONNECT_SECONDS_MAX = 3

_NOTE_USE = """
UPDATE merchants_apikey SET last_used_at = %(now)s
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at <= %(now)s - %(every)s)"""
_OWNER = "SELECT customer_id FROM entitlements_reservation WHERE bucket = %s AND id = %s AND merchant_id = %s"


class Directory:
    """Answers from memory where it may, from the database where it must. Safe between threads."""

    def __init__(self, *, url: str) -> None:
        self._url = url
        self._connections: dict[int, Connection[Any]] = {}  # by thread
        self._digests: dict[str, bytes] = {}  # by Authorization header: saves hashing the same secret again

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

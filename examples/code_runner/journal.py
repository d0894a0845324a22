"""What the seller must not forget: every submission, what is reserved for it, and what is still to be reported.

One row per submission, one durable write per step, each made *before* the step that depends on it:

    reserving ── reserved ── measured ── reported        the work was done, the customer paid
        │            │
        └────────────┴────── abandoned ── released       it was not; whatever is held goes back

A row that is `measured` or `abandoned` is owed to the billing system and is settled until it is done, also after a
restart. A row that was `reserving` or `reserved` when the process died becomes `abandoned`: its program is gone.
"""

import json
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["reserving", "reserved", "measured", "reported", "abandoned", "released"]

SETTLE_PAUSE_SECONDS_MAX = 600.0
# About two days of trying, then someone has to look; /healthz counts such rows and a restart tries them again.
SETTLE_ATTEMPTS_MAX = 300

SCHEMA = """
CREATE TABLE IF NOT EXISTS submission (
    id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,
    client_key TEXT,              -- the customer's own Idempotency-Key; given back when nothing was charged
    fingerprint TEXT NOT NULL,    -- of the request, to notice a key that comes back with another one
    tier TEXT NOT NULL,
    state TEXT NOT NULL,
    reservation_body TEXT NOT NULL,  -- bodies are kept as sent: a repeated key must bring the same body
    reservation_id TEXT,
    usage_body TEXT,
    usage_event_id TEXT,
    charged_nanos TEXT,           -- 10^-9 of the currency's unit
    result TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL DEFAULT 0,  -- seconds since 1970
    problem TEXT,
    UNIQUE (customer_id, client_key)
);
CREATE INDEX IF NOT EXISTS submission_owed ON submission (due_at) WHERE state IN ('measured', 'abandoned');
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """One row of the journal."""

    id: str
    customer_id: str
    client_key: str | None
    fingerprint: str
    tier: str
    state: State
    reservation_body: dict[str, Any]
    reservation_id: str | None
    usage_body: dict[str, Any] | None
    usage_event_id: str | None
    charged_nanos: int | None
    result: dict[str, Any] | None
    attempts: int
    due_at: float
    problem: str | None


class Journal:
    """The seller's own store, a SQLite file; each method is one transaction, on disk when it returns."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """This will close the file."""
        self._db.close()

    def recover(self) -> int:
        """This will abandon what was under way when the last process ended, and return how many rows are owed."""
        self._db.execute(
            "UPDATE submission SET state = 'abandoned', client_key = NULL, problem = 'the seller was restarted'"
            " WHERE state IN ('reserving', 'reserved')"
        )
        self._db.execute("UPDATE submission SET attempts = 0, due_at = 0 WHERE state IN ('measured', 'abandoned')")
        return self.owed()

    def open(
        self, *, customer_id: str, client_key: str | None, fingerprint: str, tier: str, reservation_body: dict[str, Any]
    ) -> tuple[Submission, bool]:
        """This will begin a submission, or find the one that has this client key; the flag says whether it is new."""
        added = self._db.execute(
            "INSERT INTO submission (id, customer_id, client_key, fingerprint, tier, state, reservation_body)"
            " VALUES (?, ?, ?, ?, ?, 'reserving', ?) ON CONFLICT (customer_id, client_key) DO NOTHING RETURNING *",
            (uuid.uuid4().hex, customer_id, client_key, fingerprint, tier, json.dumps(reservation_body)),
        ).fetchone()
        if added:
            return _submission(added), True
        found = self._db.execute(
            "SELECT * FROM submission WHERE customer_id = ? AND client_key = ?", (customer_id, client_key)
        ).fetchone()
        return _submission(found), False

    def get(self, id: str) -> Submission | None:
        """This will find a submission."""
        row = self._db.execute("SELECT * FROM submission WHERE id = ?", (id,)).fetchone()
        return _submission(row) if row else None

    def due(self, *, now: float, limit: int) -> list[str]:
        """This will list submissions that are owed to the billing system and may be tried at ``now``."""
        rows = self._db.execute(
            "SELECT id FROM submission WHERE state IN ('measured', 'abandoned') AND due_at <= ? AND attempts < ?"
            " ORDER BY due_at LIMIT ?",
            (now, SETTLE_ATTEMPTS_MAX, limit),
        )
        return [row["id"] for row in rows]

    def owed(self) -> int:
        """This will count the submissions that the billing system has still to hear of."""
        return self._count("state IN ('measured', 'abandoned')")

    def stuck(self) -> int:
        """This will count the submissions whose settling was given up."""
        return self._count(f"state IN ('measured', 'abandoned') AND attempts >= {SETTLE_ATTEMPTS_MAX}")

    def refused(self, id: str) -> None:
        """This will forget a submission that was not funded: nothing happened and nothing is held."""
        self._db.execute("DELETE FROM submission WHERE id = ? AND state = 'reserving'", (id,))

    def reserved(self, id: str, *, reservation_id: str) -> None:
        """This will note that funds are held."""
        self._move(id, "reserved", "reserving", reservation_id=reservation_id)

    def measured(self, id: str, *, result: dict[str, Any], usage_body: dict[str, Any]) -> None:
        """This will keep what a finished run took; from here on it will be reported, whatever happens."""
        self._move(id, "measured", "reserved", result=json.dumps(result), usage_body=json.dumps(usage_body))

    def abandoned(self, id: str, *, problem: str) -> None:
        """This will note that a submission will not be done, so that its reservation is released."""
        self._move(id, "abandoned", "reserving", "reserved", client_key=None, problem=problem)

    def reported(self, id: str, *, usage_event_id: str, charged_nanos: int | None) -> None:
        """This will note that the usage is charged."""
        charged = None if charged_nanos is None else str(charged_nanos)
        self._move(id, "reported", "measured", usage_event_id=usage_event_id, charged_nanos=charged, problem=None)

    def released(self, id: str) -> None:
        """This will note that nothing is held any more."""
        self._move(id, "released", "abandoned")

    def postpone(self, id: str, *, now: float, problem: str) -> None:
        """This will put off settling, longer each time."""
        self._db.execute(
            "UPDATE submission SET attempts = attempts + 1, problem = ?, due_at = ? + min(? , 1 << min(attempts, 20))"
            " WHERE id = ?",
            (problem, now, SETTLE_PAUSE_SECONDS_MAX, id),
        )

    def _count(self, condition: str) -> int:
        count = f"SELECT count(*) FROM submission WHERE {condition}"
        return int(self._db.execute(count).fetchone()[0])

    def _move(self, id: str, to: State, *origins: State, **changes: str | None) -> None:
        assignments = "".join(f", {column} = ?" for column in changes)
        marks = ", ".join("?" for _ in origins)
        moved = self._db.execute(
            f"UPDATE submission SET state = ?{assignments} WHERE id = ? AND state IN ({marks})",
            (to, *changes.values(), id, *origins),
        ).rowcount
        if moved != 1:
            raise RuntimeError(f"submission {id} cannot become {to}")


def _submission(row: sqlite3.Row) -> Submission:
    values = dict(row)
    for column in ("reservation_body", "usage_body", "result"):
        values[column] = None if values[column] is None else json.loads(values[column])
    values["charged_nanos"] = None if values["charged_nanos"] is None else int(values["charged_nanos"])
    return Submission(**values)

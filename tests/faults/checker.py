"""Compare what clients were told with what the tables hold, after everything has healed and settled."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from merchants import ids
from tests.faults.farthing import Farthing
from tests.faults.journal import REFUSED, Operation, Try
from tests.faults.shop import Shop

EXAMPLES_MAX = 5
PENDING = "pending"  # a top-up whose payment has not come to an end

_EVENTS = """
SELECT e.idempotency_key, e.id, count(c.source_id), coalesce(sum(c.gross), 0)
FROM metering_usageevent e
LEFT JOIN billing_charge c ON c.bucket = e.bucket AND c.source_id = e.id
WHERE e.customer_id = ANY(%s) GROUP BY e.bucket, e.id"""
_RESERVATIONS = "SELECT idempotency_key, id, granted FROM entitlements_reservation WHERE customer_id = ANY(%s)"
_CLOSED = """
SELECT id, state, captured, released FROM entitlements_reservation WHERE customer_id = ANY(%s) AND state <> 'open'"""
_TOP_UPS = "SELECT idempotency_key, id, status, amount FROM billing_topup WHERE customer_id = ANY(%s)"
_MONEY = """
SELECT w.customer_id, w.balance - w.spent, w.held,
    (SELECT coalesce(sum(amount), 0) FROM billing_topup t WHERE t.wallet_id = w.id AND t.status = 'success'),
    (SELECT coalesce(sum(gross), 0) FROM billing_charge c WHERE c.wallet_id = w.id),
    (SELECT coalesce(sum(held), 0) FROM entitlements_reservation r WHERE r.wallet_id = w.id)
FROM billing_wallet w WHERE w.customer_id = ANY(%s) AND w.kind = 'prepaid'"""


@dataclass
class Verdict:
    """Everything that should not be, by kind; and how much was looked at."""

    acknowledged: int = 0
    retried: int = 0  # tries whose outcome the client did not know
    refused: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def blame(self, kind: str, what: object) -> None:
        self.faults[kind].append(str(what))

    def count(self, kind: str) -> int:
        return len(self.faults.get(kind, ()))

    @property
    def is_green(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        lines = [f"{self.acknowledged} acknowledged, {self.refused} refused, {self.retried} tries without an outcome"]
        for kind, found in self.faults.items():
            lines.append(f"{len(found)} {kind}: " + "; ".join(found[:EXAMPLES_MAX]))
        return "\n".join(lines)


@dataclass
class _Row:
    id: UUID
    facts: tuple[Any, ...]


class Checker:
    """Looks at the operations of some journals, all on customers that nobody else used."""

    def __init__(self, farthing: Farthing, shop: Shop, operations: Iterable[Operation]) -> None:
        self.farthing = farthing
        self.customers = [str(ids.parse("cus", customer.id)) for customer in shop.customers]
        self.operations = list(operations)
        self.verdict = Verdict()
        #: Every 2xx body that clients got for one key.
        self.said: dict[tuple[str, str], set[str]] = defaultdict(set)
        #: Keys that may have had an effect, for all that clients know; and keys that had none.
        self.possible: set[tuple[str, str]] = set()
        self.rows: dict[tuple[str, str], list[_Row]] = defaultdict(list)
        self.closed: dict[str, _Row] = {}  # reservations, however they ended; a release of such a one changes nothing

    def check(self, *, verify: bool = True) -> Verdict:
        """Compare, and run ``manage.py verify``."""
        for operation in self.operations:
            self._hear(operation)
        self._read("usage", _EVENTS)
        self._read("reserve", _RESERVATIONS)
        self._read("topup", _TOP_UPS)
        self._read_closed()
        for (kind, key), answers in self.said.items():
            self._compare(kind, key, answers)
        for kind, key in self.rows.keys() - self.possible:
            self.verdict.blame("effects that nobody asked for, or that were refused", f"{kind} {key}")
        self._check_money()
        for broken in self.farthing.verify() if verify else ():
            self.verdict.blame("rules broken", broken)
        return self.verdict

    def cut_off(self) -> list[str]:
        """Name what had its effect though the client got no answer; only after ``check``."""
        silent = [each for each in self.operations if each.tries and each.tries[-1].status is None]
        return [key for each in silent for key in each.keys if any(found == key for _, found in self.rows)]

    # --- what clients were told --------------------------------------------------------------------------

    def _hear(self, operation: Operation) -> None:
        verdict = self.verdict
        if not operation.is_resolved and not operation.is_abandoned:
            verdict.blame(
                "operations without an outcome", f"{operation.kind} {operation.keys[0]}: {operation.tries[-2:]}"
            )
        for attempt in operation.tries:
            verdict.retried += not attempt.is_definite
            self._check_manners(operation, attempt)
        if operation.kind == "batch":
            self._hear_batch(operation)
            return
        [key] = operation.keys
        verdict.acknowledged += bool(operation.good)
        verdict.refused += operation.was_refused
        self.said[operation.kind, key].update(each.said for each in operation.good)
        if operation.is_abandoned or not all(each.status in REFUSED for each in operation.tries):
            self.possible.add((operation.kind, key))

    def _hear_batch(self, operation: Operation) -> None:
        self.possible.update(("usage", key) for key in operation.keys)
        acknowledged = set()
        for attempt in operation.tries:
            for event in attempt.json()["successful"] if attempt.status in (201, 207) else ():
                self.said["usage", event["idempotencyKey"]].add(json.dumps(event))
                acknowledged.add(event["idempotencyKey"])
        self.verdict.acknowledged += len(acknowledged)

    def _check_manners(self, operation: Operation, attempt: Try) -> None:
        """Whatever happens, an answer is JSON in the one shape, and never a 500."""
        if attempt.status is None or attempt.is_good or attempt.status == 207:
            return
        about = f"{operation.kind} {operation.keys[0]}: {attempt.status} {attempt.said[:300]}"
        if attempt.status >= 500 and attempt.status != 503:
            self.verdict.blame("answers of 500", about)
        if not {"error", "message", "code", "requestId"} <= _members(attempt):
            self.verdict.blame("answers out of shape", about)
        if attempt.status in (429, 503) and not attempt.headers.get("retry-after", "").isdigit():
            self.verdict.blame("answers without Retry-After", about)

    # --- what there is -----------------------------------------------------------------------------------

    def _read(self, kind: str, statement: str) -> None:
        for key, id, *facts in self.farthing.ask(statement, self.customers):
            if key is not None:
                self.rows[kind, key].append(_Row(id, tuple(facts)))

    def _read_closed(self) -> None:
        for id, *facts in self.farthing.ask(_CLOSED, self.customers):
            key, row = ids.text("com", id), _Row(id, tuple(facts))
            self.closed[key] = row
            if facts[0] == "released":
                self.rows["release", key].append(row)

    def _compare(self, kind: str, key: str, answers: set[str]) -> None:
        if not answers:
            return
        if kind == "release":
            rows = [self.closed[key]] if key in self.closed else []
        else:
            rows = self.rows.get((kind, key), [])
        if not rows:
            self.verdict.blame("acknowledged and lost", f"{kind} {key}")
            return
        if len(rows) > 1:
            self.verdict.blame("keys with several effects", f"{kind} {key}")
        if len(_distinct(kind, answers)) > 1:
            self.verdict.blame("keys with several answers", f"{kind} {key}: {sorted(answers)[:2]}")
        found = (rows[0].id, *rows[0].facts)
        for said in map(json.loads, answers):
            if kind == "topup" and said["status"] == PENDING:
                said["status"] = found[1]  # what has become of its payment since
            if (told := _told(kind, said)) != found:
                self.verdict.blame("effects other than what was answered", f"{kind} {key}: told {told}, found {found}")

    def _check_money(self) -> None:
        for customer, left, held, came, went, reserved in self.farthing.ask(_MONEY, self.customers):
            if left != came - went or held != reserved or left - held < 0:
                self.verdict.blame("wallets that do not add up", (str(customer), left, held, came, went, reserved))


def _told(kind: str, said: dict[str, Any]) -> tuple[Any, ...]:
    """What an answer claims, as its row must show it."""
    if kind == "usage":
        return (ids.parse("usg", said["id"]), len(said["properties"]), said["billing"]["totalAmount"])
    if kind == "topup":
        return (ids.parse("top", said["id"]), said["status"], round(float(said["amount"]) * 10**9))
    if kind == "release":
        return (ids.parse("com", said["id"]), said["status"], int(said["capturedAmount"]), int(said["releasedAmount"]))
    return (ids.parse("com", said["id"]), int(said["grantedAmount"]))


def _distinct(kind: str, answers: set[str]) -> set[str]:
    """The different answers to one key; a top-up that was pending may be told again with what became of it."""
    if kind != "topup" or all(json.loads(each)["status"] != PENDING for each in answers):
        return answers
    return {json.dumps({**json.loads(each), "status": PENDING}) for each in answers}


def _members(attempt: Try) -> set[str]:
    try:
        found = attempt.json()
    except ValueError:
        return set()
    return set(found) if isinstance(found, dict) else set()

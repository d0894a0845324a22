"""What a client did, written down before it is done: the only witness that a crash cannot confuse.

A journal is a file of JSON lines, appended to by one process. First comes what is about to be sent, under a number;
then, for each try, what was answered or that nothing was.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

REFUSED = frozenset({400, 402, 404, 409, 410, 422})
UNDECIDED = frozenset({"UNAVAILABLE", "CUSTOMER_BUSY", "OVERLOADED", "INTERNAL_ERROR"})  # codes within a batch


@dataclass
class Try:
    """One request sent: its answer, or why there is none."""

    status: int | None
    said: str  # the body, or what went wrong
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_definite(self) -> bool:
        """Whether the client knows what has become of its request."""
        if self.status == 207:
            return not any(failure["code"] in UNDECIDED for failure in self.json()["failed"])
        return self.is_good or self.status in REFUSED

    @property
    def is_good(self) -> bool:
        return self.status in (200, 201)

    def json(self) -> Any:
        """Read the body; fractions stay as they were written."""
        return json.loads(self.said, parse_float=str)


@dataclass
class Operation:
    """Something a client wants to happen exactly once."""

    kind: str  # usage, batch, reserve, release or topup
    customer_id: str
    keys: list[str]  # one; for a batch one for each event; for a release the reservation's id
    path: str
    body: Any
    tries: list[Try] = field(default_factory=list)
    is_abandoned: bool = False  # its outcome is not known, and nobody asks again

    @property
    def good(self) -> list[Try]:
        return [each for each in self.tries if each.is_good]

    @property
    def was_refused(self) -> bool:
        """Whether the last word was a refusal."""
        return bool(self.tries) and self.tries[-1].status in REFUSED

    @property
    def is_resolved(self) -> bool:
        return bool(self.tries) and self.tries[-1].is_definite


class Journal:
    """The writing side."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a")
        self._count = 0

    def begin(self, operation: Operation) -> int:
        """Write down what is about to be sent; return its number."""
        self._count += 1
        line = [operation.kind, operation.customer_id, operation.keys, operation.path, operation.body]
        self._write({"n": self._count, "operation": line})
        return self._count

    def note(self, number: int, attempt: Try) -> None:
        """Write down what has become of a try."""
        self._write({"n": number, "try": [attempt.status, attempt.said, attempt.headers]})

    def _write(self, line: Any) -> None:
        # A flush reaches the kernel, and so survives the death of this process, which is all a client risks here.
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read(paths: Iterable[Path]) -> Iterator[Operation]:
    """Read the operations of some journals, each with all its tries."""
    for path in paths:
        operations: dict[int, Operation] = {}
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            if not line.endswith("\n"):
                break  # its writer was killed at this very line
            entry = json.loads(line)
            if "operation" in entry:
                operations[entry["n"]] = Operation(*entry["operation"])
            else:
                operations[entry["n"]].tries.append(Try(*entry["try"]))
        yield from operations.values()

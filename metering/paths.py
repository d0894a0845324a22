"""Where in an event's data a value is found: a strict part of JSONPath (RFC 9535). Pure.

``$.usage.tokens[0]['cached tokens']``: members and places in lists, nothing else. There are no wildcards, slices,
filters or scripts, so a path leads to one value or to none.
"""

import re
from functools import lru_cache
from typing import Any, Final, TypeAlias

LENGTH_MAX = 200
STEPS_MAX = 8  # as deep as a body may be
PATHS_KNOWN_MAX = 10_000

Path: TypeAlias = tuple[str | int, ...]

MISSING: Final = object()  # what ``find`` returns where a path leads nowhere; null is a value

_step = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
    |\[(?P<place>0|[1-9][0-9]{0,5})\]
    |\['(?P<single>(?:[^'\\\x00-\x1f]|\\['\\])+)'\]
    |\["(?P<double>(?:[^"\\\x00-\x1f]|\\["\\])+)"\]""",
    re.VERBOSE,
).match
_unescape = re.compile(r"\\(.)").sub


class InvalidPath(ValueError):
    """A path that cannot be read; ``position`` counts characters from 0."""

    def __init__(self, says: str, position: int) -> None:
        super().__init__(f"{says} (character {position})")
        self.position = position


@lru_cache(maxsize=PATHS_KNOWN_MAX)
def parse(text: str) -> Path:
    """Return the steps of a path, member names and places in lists.

    Raises:
        InvalidPath: it is too long, or anything but a path as described above.
    """
    if len(text) > LENGTH_MAX:
        raise InvalidPath(f"a path may have at most {LENGTH_MAX} characters", LENGTH_MAX)
    if not text.startswith("$"):
        raise InvalidPath("a path begins with $", 0)
    steps: list[str | int] = []
    position = 1
    while position < len(text):
        match = _step(text, position)
        if match is None:
            raise InvalidPath("expected .name, [0] or ['name']", position)
        if len(steps) == STEPS_MAX:
            raise InvalidPath(f"a path may have at most {STEPS_MAX} steps", position)
        steps.append(_read(match))
        position = match.end()
    if not steps:
        raise InvalidPath("expected .name, [0] or ['name']", position)
    return tuple(steps)


def _read(match: re.Match[str]) -> str | int:
    if match["name"] is not None:
        return match["name"]
    if match["place"] is not None:
        return int(match["place"])
    return _unescape(r"\1", match["single"] or match["double"])


def find(path: Path, data: Any) -> Any:
    """Return the value that a path leads to in decoded JSON, or MISSING."""
    for step in path:
        if type(step) is str:
            if type(data) is not dict or step not in data:
                return MISSING
        elif type(data) is not list or step >= len(data):  # type: ignore[operator]  # a place
            return MISSING
        data = data[step]
    return data

"""What can be done with values whose kind is known only when they are there: to look into them, and to compare them."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from metering.expressions import arithmetic, times
from metering.expressions.errors import Exhausted, Fault
from metering.expressions.kinds import Kind, kind_of, named
from metering.expressions.limits import CHARS_PER_STEP, STRING_CHARS_MAX, VALUE_DEPTH_MAX

# What a program works on: the steps that are left, the values of its variables, those of its macros' variables.
Frame = list[Any]

_SIZED = (str, list, dict)


def spend(frame: Frame, steps: int) -> None:
    """Take steps from what is left to an evaluation; raises Exhausted."""
    frame[0] -= steps
    if frame[0] < 0:
        raise Exhausted("this takes too many steps.")


def weight(value: Any) -> int:
    """Return how many steps it takes to go through a value once."""
    if type(value) is str:
        return len(value) // CHARS_PER_STEP
    return len(value) if type(value) in _SIZED else 0


def equal(frame: Frame, one: Any, other: Any, depth: int = 0) -> bool:
    """Tell whether two values are of one kind and the same; 1 and 1.0 are."""
    kind = kind_of(one)
    if kind != kind_of(other):
        return False
    if kind not in ("list", "map"):
        return bool(one == other)
    if len(one) != len(other):
        return False
    if depth > VALUE_DEPTH_MAX:
        raise Exhausted(f"a value is more than {VALUE_DEPTH_MAX} levels deep.")
    spend(frame, len(one))
    if kind == "list":
        return all(equal(frame, *pair, depth + 1) for pair in zip(one, other, strict=True))
    # In order, so that the steps it takes are the same, too.
    return all(key in other and equal(frame, one[key], other[key], depth + 1) for key in items(one))


def contains(frame: Frame, item: Any, container: Any) -> bool:
    """Tell whether an item is in a list, or is a key of a map."""
    kind = kind_of(container)
    if kind == "map":
        return is_key(item) and item in container
    if kind != "list":
        raise Fault(f"in looks into a list or a map, not into {named(kind)}.")
    spend(frame, len(container))
    return any(equal(frame, item, each) for each in container)


def key(value: Any) -> Any:
    """Return a value as the key of a map; raises Fault where it cannot be one."""
    if type(value) is str:
        return value
    number = arithmetic.number(value) if kind_of(value) == "number" else None
    if number is None or number != arithmetic.truncated(number):
        raise Fault(f"the key of a map is a string or a whole number, not {told(value)}.")
    return number


def is_key(value: Any) -> bool:
    """Tell whether a value can be a key of a map: a string or a number."""
    return type(value) is str or type(value) is int or (type(value) is Decimal and value.is_finite())


def item(container: Any, key: Any) -> Any:
    """Return what a list has at a place, counted from 0, or a map under a key."""
    kind = kind_of(container)
    if kind == "map":
        if is_key(key) and key in container:
            return container[key]
        raise Fault(f"there is no {told(key)} in the map.")
    if kind != "list":
        raise Fault(f"[] looks into a list or a map, not into {named(kind)}.")
    at = arithmetic.whole(arithmetic.number(key)) if kind_of(key) == "number" else -1
    if 0 <= at < len(container):
        return container[at]
    raise Fault(f"there is no {told(key)} in a list of {len(container)}.")


def items(value: Any) -> list[Any]:
    """Return what a macro goes through: the items of a list, or the keys of a map, numbers first, each in order.

    The order in which a map came would not do: it is lost where JSON is stored.
    """
    kind = kind_of(value)
    if kind == "list":
        found: list[Any] = value
        return found
    if kind == "map":
        return sorted(value, key=lambda key: (type(key) is str, key))
    raise Fault(f"a macro goes through a list or a map, not through {named(kind)}.")


def told(value: Any) -> str:
    """Return a value as a message may show it: short."""
    kind = kind_of(value)
    if kind == "string":
        return f'"{value[:40]}"'
    if kind == "number":
        return arithmetic.text(arithmetic.number(value))
    return named(kind)


def joined_text(left: str, right: str) -> str:
    """Return two strings in one."""
    if len(left) + len(right) > STRING_CHARS_MAX:
        raise Exhausted(f"a string of more than {STRING_CHARS_MAX:,} characters.")
    return left + right


def joined_lists(left: list[Any], right: list[Any]) -> list[Any]:
    """Return two lists in one; the steps it takes bound its length."""
    return left + right


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)


def lowered(text: str) -> str:
    """Return a string with its letters A to Z small; others stay, so that no locale matters."""
    return text.translate(_LOWER)


def uppered(text: str) -> str:
    """Return a string with its letters a to z as capitals."""
    return text.translate(_UPPER)


def size(value: str | list[Any] | dict[Any, Any]) -> Decimal:
    """Return how many characters, items or keys there are."""
    return Decimal(len(value))


def parse_boolean(text: str) -> bool:
    """Return the boolean that a text is."""
    if text in ("true", "True", "TRUE", "t", "1"):
        return True
    if text in ("false", "False", "FALSE", "f", "0"):
        return False
    raise Fault(f'"{text[:40]}" is not true or false.')


def boolean_text(value: bool) -> str:
    return "true" if value else "false"


# --- coming in from outside ------------------------------------------------------------------------------


def _checked(kind: Kind, python: type) -> Callable[[Any], Any]:
    def enter(value: Any) -> Any:
        if type(value) is python:
            return value
        raise Fault(f"it is not {named(kind)}.")

    return enter


# The kinds whose values are worked with as they come in.
PLAIN_TYPES: dict[Kind, type] = {"string": str, "bool": bool, "list": list, "map": dict, "duration": timedelta}
# For each kind: what makes sure that a value is of it, and returns it as it is worked with.
ENTER: dict[Kind, Callable[[Any], Any]] = {
    "any": lambda value: value,
    "number": arithmetic.number,
    "null": _checked("null", type(None)),
    "timestamp": times.timestamp,
    **{kind: _checked(kind, python) for kind, python in PLAIN_TYPES.items()},
}

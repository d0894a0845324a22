"""What operators and functions there are: for which kinds of arguments, with what result, and what they do.

Each name has overloads, which differ in how many arguments they take or of what kinds. A call is matched to them when
the expression is compiled; only where the kinds are not known then, it is matched again for each event.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from metering.expressions import arithmetic, times, values
from metering.expressions.kinds import ANY, BOOLEAN, DURATION, LIST, NUMBER, STRING, TIMESTAMP, Kind, Type


class Overload(NamedTuple):
    """One form of an operator or function; with ``is_variadic`` the last argument may be repeated."""

    parameters: tuple[Kind, ...]
    result: Type
    call: Callable[..., Any]
    is_variadic: bool = False
    is_linear: bool = False  # it goes through its strings and lists, which takes steps

    def takes(self, count: int) -> bool:
        """Tell whether this many arguments are enough and not too many."""
        return count >= len(self.parameters) if self.is_variadic else count == len(self.parameters)

    def kinds(self, count: int) -> tuple[Kind, ...]:
        """Return the kinds of this many arguments."""
        return self.parameters + self.parameters[-1:] * (count - len(self.parameters))


class Function(NamedTuple):
    """What a name stands for; ``checks`` look at arguments that are written out, by their number."""

    overloads: tuple[Overload, ...]
    checks: Mapping[int, Callable[[Any], Any]] = {}


def _dyadic(left: Kind, right: Kind, result: Type, call: Callable[..., Any], is_linear: bool = False) -> Overload:
    return Overload((left, right), result, call, is_linear=is_linear)


def _ordering(call: Callable[[Any, Any], bool]) -> Function:
    kinds: tuple[Kind, ...] = ("number", "string", "timestamp", "duration", "bool")
    return Function(tuple([_dyadic(kind, kind, BOOLEAN, call) for kind in kinds]))


def _of_numbers(call: Callable[..., Any], count: int = 2) -> Function:
    number: Kind = "number"
    return Function((Overload((number,) * count, NUMBER, call),))


OPERATORS: dict[str, Function] = {
    "+": Function(
        (
            _dyadic("number", "number", NUMBER, arithmetic.add),
            _dyadic("string", "string", STRING, values.joined_text, is_linear=True),
            _dyadic("list", "list", LIST, values.joined_lists, is_linear=True),
            _dyadic("timestamp", "duration", TIMESTAMP, operator.add),
            _dyadic("duration", "timestamp", TIMESTAMP, operator.add),
            _dyadic("duration", "duration", DURATION, operator.add),
        )
    ),
    "-": Function(
        (
            _dyadic("number", "number", NUMBER, arithmetic.subtract),
            _dyadic("timestamp", "timestamp", DURATION, operator.sub),
            _dyadic("timestamp", "duration", TIMESTAMP, operator.sub),
            _dyadic("duration", "duration", DURATION, operator.sub),
        )
    ),
    "*": _of_numbers(arithmetic.multiply),
    "/": _of_numbers(arithmetic.divide),
    "%": _of_numbers(arithmetic.remainder),
    "<": _ordering(operator.lt),
    "<=": _ordering(operator.le),
    ">": _ordering(operator.gt),
    ">=": _ordering(operator.ge),
}
UNARY: dict[str, Function] = {
    "-": _of_numbers(arithmetic.negated, 1),
    "!": Function((Overload(("bool",), BOOLEAN, operator.not_),)),
}


def _size(kind: Kind) -> Overload:
    return Overload((kind,), NUMBER, values.size)


def _convert(kind: Kind, result: Type, call: Callable[[Any], Any]) -> Overload:
    return Overload((kind,), result, call)


def _same(value: Any) -> Any:
    return value


def _of_strings(call: Callable[[str, str], bool]) -> Function:
    return Function((Overload(("string", "string"), BOOLEAN, call, is_linear=True),))


def _of_list_or_each(call: Callable[..., Any]) -> Function:
    return Function(
        (
            Overload(("list",), NUMBER, call, is_linear=True),
            Overload(("number", "number"), NUMBER, lambda *numbers: call(numbers), is_variadic=True),
        )
    )


def _part(of_instant: Callable[..., Any], of_span: Callable[..., Any] | None = None) -> Function:
    overloads = [
        Overload(("timestamp",), NUMBER, of_instant),
        Overload(("timestamp", "string"), NUMBER, of_instant),
    ]
    if of_span is not None:
        overloads.append(Overload(("duration",), NUMBER, of_span))
    return Function(tuple(overloads), {1: times.check_zone})


_SIZE = Function((_size("string"), _size("list"), _size("map")))

# Called as name(argument, …).
FUNCTIONS: dict[str, Function] = {
    "size": _SIZE,
    "int": Function(
        (
            _convert("number", NUMBER, arithmetic.truncated),
            _convert("string", NUMBER, arithmetic.parse_whole),
            _convert("timestamp", NUMBER, times.to_epoch),
        )
    ),
    "uint": Function(
        (
            _convert("number", NUMBER, arithmetic.unsigned),
            _convert("string", NUMBER, lambda text: arithmetic.unsigned(arithmetic.parse_whole(text))),
        )
    ),
    "double": Function(
        (_convert("number", NUMBER, _same), _convert("string", NUMBER, arithmetic.parse)),
    ),
    "string": Function(
        (
            _convert("string", STRING, _same),
            _convert("number", STRING, arithmetic.text),
            _convert("bool", STRING, values.boolean_text),
            _convert("timestamp", STRING, times.timestamp_text),
            _convert("duration", STRING, times.duration_text),
        )
    ),
    "bool": Function((_convert("bool", BOOLEAN, _same), _convert("string", BOOLEAN, values.parse_boolean))),
    "dyn": Function((_convert("any", ANY, _same),)),
    "timestamp": Function(
        (
            _convert("timestamp", TIMESTAMP, _same),
            _convert("string", TIMESTAMP, times.parse_timestamp),
            _convert("number", TIMESTAMP, times.from_epoch),
        )
    ),
    "duration": Function(
        (_convert("duration", DURATION, _same), _convert("string", DURATION, times.parse_duration)),
    ),
    # These are ours; the language has no such functions of its own.
    "abs": _of_numbers(arithmetic.absolute, 1),
    "ceil": _of_numbers(arithmetic.ceiling, 1),
    "floor": _of_numbers(arithmetic.floored, 1),
    "round": Function(
        (
            Overload(("number",), NUMBER, arithmetic.rounded),
            Overload(("number", "number"), NUMBER, arithmetic.rounded),
        ),
        {1: arithmetic.check_places},
    ),
    "clamp": _of_numbers(arithmetic.clamped, 3),
    "min": _of_list_or_each(arithmetic.smallest),
    "max": _of_list_or_each(arithmetic.largest),
    "sum": Function((Overload(("list",), NUMBER, arithmetic.total, is_linear=True),)),
    "tiered": Function(
        (Overload(("number", "list"), NUMBER, arithmetic.tiered, is_linear=True),),
        {1: arithmetic.read_tiers},
    ),
}

# Called as argument.name(argument, …).
METHODS: dict[str, Function] = {
    "size": _SIZE,
    "contains": _of_strings(operator.contains),
    "startsWith": _of_strings(str.startswith),
    "endsWith": _of_strings(str.endswith),
    "lowerAscii": Function((Overload(("string",), STRING, values.lowered, is_linear=True),)),
    "upperAscii": Function((Overload(("string",), STRING, values.uppered, is_linear=True),)),
    "getFullYear": _part(times.year),
    "getMonth": _part(times.month),
    "getDate": _part(times.date),
    "getDayOfMonth": _part(times.day_of_month),
    "getDayOfWeek": _part(times.day_of_week),
    "getDayOfYear": _part(times.day_of_year),
    "getHours": _part(times.hours, times.whole_hours),
    "getMinutes": _part(times.minutes, times.whole_minutes),
    "getSeconds": _part(times.seconds, times.whole_seconds),
    "getMilliseconds": _part(times.milliseconds, times.millisecond_part),
}

# Known to who knows the language, and why not here.
ABSENT = {
    "matches": "there are no regular expressions; use startsWith, endsWith or contains.",
    "bytes": "there are no byte strings.",
    "type": "there are no type values; convert with double() or string(), and ask with has().",
}

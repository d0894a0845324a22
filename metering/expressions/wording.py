"""How an expression that does not fit is told so."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from metering.expressions.functions import ABSENT, FUNCTIONS, Function
from metering.expressions.kinds import Kind, named
from metering.expressions.macros import MACROS

_NAME_CHARS_MAX = 40
_HAS = "has(metadata.tier)"


def unfit(name: str, met: Sequence[Kind]) -> str:
    """Say that an operator or function does not take arguments of these kinds."""
    told = " and ".join(named(kind) for kind in met)
    hint = " string() and double() convert." if set(met) == {"number", "string"} else ""
    return f"{name} does not work on {told}.{hint}"


def counted(name: str, function: Function, count: int, is_method: bool) -> str:
    """Say how many arguments a function takes."""
    counts = sorted({len(overload.parameters) - is_method for overload in function.overloads})
    is_variadic = any(overload.is_variadic for overload in function.overloads)
    wanted = f"{counts[0]} or more" if is_variadic else " or ".join(map(str, counts))
    return f"{name} takes {wanted} argument{'' if wanted == '1' else 's'}, not {count - is_method}."


def no_variable(name: str, known: Sequence[str]) -> str:
    """Say that there is no variable of a name."""
    if name in FUNCTIONS:
        return f"{name} is a function: call it, {name}(…)."
    return f"there is no variable {name[:_NAME_CHARS_MAX]}" + (
        _meant(name, known) or f"; there are: {', '.join(known)}."
    )


def no_function(name: str, known: Mapping[str, Function], others: Mapping[str, Function]) -> str:
    """Say that there is no function of a name, or none that is called this way."""
    if name in ABSENT:
        return ABSENT[name]
    if name in MACROS:
        return f"this is written {MACROS[name].written}."
    if name == "has":
        return f"this is written {_HAS}."
    if name in others:
        return f"this is written {name}(…)." if others is FUNCTIONS else f"this is called on a value: x.{name}(…)."
    return f"there is no function {name[:_NAME_CHARS_MAX]}{_meant(name, [*known, *MACROS, 'has']) or '.'}"


def _meant(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""

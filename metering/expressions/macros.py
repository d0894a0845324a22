"""What looks like a function and is none: a macro evaluates an argument for each item of a list, or key of a map."""

from collections.abc import Callable
from typing import NamedTuple

from metering.expressions import running
from metering.expressions.kinds import BOOLEAN, Type
from metering.expressions.running import Run


class Macro(NamedTuple):
    """How a macro is written, how many arguments that takes, what it gives and what runs it; a list where None."""

    written: str
    counts: tuple[int, ...]
    result: Type | None
    build: Callable[..., Run]


_EXISTS_ONE = Macro("list.exists_one(x, test)", (2,), BOOLEAN, running.exists_one)
MACROS = {
    "all": Macro("list.all(x, test)", (2,), BOOLEAN, running.all_of),
    "exists": Macro("list.exists(x, test)", (2,), BOOLEAN, running.exists),
    "exists_one": _EXISTS_ONE,
    "existsOne": _EXISTS_ONE,
    "map": Macro("list.map(x, value) or list.map(x, test, value)", (2, 3), None, running.each),
    "filter": Macro("list.filter(x, test)", (2,), None, running.each),
}

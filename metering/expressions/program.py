"""Expressions, compiled once and evaluated for each event."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar, cast, overload

import msgspec

from metering.expressions import parsing
from metering.expressions.arithmetic import NUMBERS
from metering.expressions.compiling import Compiler
from metering.expressions.errors import FAULTS, EvaluationError, Place, Source
from metering.expressions.kinds import Type, named
from metering.expressions.limits import SOURCE_CHARS_PER_STEP, STEPS_MAX
from metering.expressions.running import Run, misfit
from metering.expressions.values import ENTER
from metering.expressions.variables import EVENT

ResultT = TypeVar("ResultT", Decimal, bool)


class Input(msgspec.Struct, frozen=True):
    """A variable a program reads: where its value goes in the frame, and where the source first names it."""

    name: str
    slot: int
    type: Type
    place: Place

    def enter(self, bindings: Mapping[str, Any]) -> Any:
        """Return the variable's value, once it is sure to be of its type; raises EvaluationError."""
        try:
            value = bindings[self.name]
        except KeyError:
            raise EvaluationError(f"{self.name} is not given.", place=self.place) from None
        if value is None and self.type.nullable:
            return None
        try:
            return ENTER[self.type.kind](value)
        except FAULTS as error:
            raise misfit(error, value, self.type.kind, self.name, self.place) from None


class Program(msgspec.Struct, Generic[ResultT], frozen=True, eq=False):
    """An expression that can be evaluated, by any number of threads at once. It never changes.

    ``names`` are the variables it reads; the others need not be bound.
    """

    source: str
    names: frozenset[str]
    _inputs: tuple[tuple[int, Callable[[Mapping[str, Any]], Any]], ...]
    _blank: tuple[Any, ...]
    _run: Run

    def __call__(self, bindings: Mapping[str, Any], shared: list[int] | None = None) -> ResultT:
        """Return what the expression comes to for these values of its variables.

        A number has at most 40 digits before the point and 80 after it. It is not rounded to a currency, and may be
        below zero.

        Args:
            shared: the steps that are left to several evaluations together, as its one item, which goes down. A source
                takes some of them by its length, whatever it does.

        Raises:
            EvaluationError: it has no value for them.
        """
        frame = list(self._blank)
        if shared is not None:
            shared[0] -= len(self.source) // SOURCE_CHARS_PER_STEP
            if shared[0] < 0:
                message = "together with the other expressions of this event it takes too many steps."
                raise EvaluationError(message, place=Place(1, 1), is_final=True)
            frame[0] = min(frame[0], shared[0])
        steps = frame[0]
        for slot, enter in self._inputs:
            frame[slot] = enter(bindings)
        result = cast(ResultT, self._run(frame))
        if shared is not None:
            shared[0] -= steps - frame[0]
        return result

    def __repr__(self) -> str:
        return f"Program({self.source!r})"


@overload
def compile(
    source: str,
    *,
    result: Literal["number"],
    variables: Mapping[str, Type] = EVENT,
    field: str = "expression",
    steps_max: int = STEPS_MAX,
) -> Program[Decimal]: ...


@overload
def compile(
    source: str,
    *,
    result: Literal["bool"],
    variables: Mapping[str, Type] = EVENT,
    field: str = "expression",
    steps_max: int = STEPS_MAX,
) -> Program[bool]: ...


def compile(
    source: str,
    *,
    result: Literal["number", "bool"],
    variables: Mapping[str, Type] = EVENT,
    field: str = "expression",
    steps_max: int = STEPS_MAX,
) -> Any:
    """Return the program an expression means.

    Args:
        result: what it must give.
        variables: the type of each name it may read.
        field: the member of the request it came in, which a refusal names.
        steps_max: what one evaluation may take, where that is less than any expression may.
    Raises:
        ExpressionError: it is not sound; the error says what and where.
    """
    written = Source(source, field)
    tree = parsing.parse(written)
    compiler = Compiler(written, variables)
    code = compiler.compile(tree)
    if not code.type.may_be(result):
        raise written.error(f"this gives {code.type}, where {named(result)} is needed.", tree.start, tree.end)
    run = compiler.conform(code, result, tree)
    inputs = [Input(name, each.slot, each.type, each.place) for name, each in compiler.used.items()]
    return Program(
        source,
        frozenset(compiler.used),
        tuple((each.slot, each.enter) for each in inputs),
        (steps_max, *[None] * (compiler.slots - 1)),
        _plain(run) if result == "number" else run,
    )


def _plain(run: Run) -> Run:
    plus = NUMBERS.plus

    def rounded(frame: list[Any]) -> Decimal:
        return plus(run(frame))

    return rounded

"""What a compiled expression is made of: small functions that take a frame and return a value.

Each is put together from those of its operands. They only read what they were made from, and all that changes is in
the frame, so any number of threads may run one program. What an operation cannot do becomes an EvaluationError that
names the place.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from metering.expressions import values
from metering.expressions.errors import FAULTS, EvaluationError, Fault, Place, explain, failure
from metering.expressions.functions import Overload
from metering.expressions.kinds import Kind, kind_of, named
from metering.expressions.values import ENTER, PLAIN_TYPES, Frame, spend

Run = Callable[[Frame], Any]


def constant(value: Any) -> Run:
    """Return what always gives one value."""

    def run(frame: Frame) -> Any:
        return value

    return run


def variable(slot: int) -> Run:
    """Return what gives the value at one place of the frame."""
    return itemgetter(slot)


# --- kinds -----------------------------------------------------------------------------------------------


def conformed(operand: Run, kind: Kind, told: str, place: Place) -> Run:
    """Return what gives the operand's value, once it is sure to be of a kind; ``told`` is what messages call it."""
    enter = ENTER[kind]

    def run(frame: Frame) -> Any:
        value = operand(frame)
        try:
            return enter(value)
        except FAULTS as error:
            raise misfit(error, value, kind, told, place) from None

    return run


def misfit(error: Exception, value: Any, kind: Kind, told: str, place: Place) -> EvaluationError:
    """Return what to say of a value that is not of the kind that is needed."""
    try:
        actual = kind_of(value)
    except Fault as fault:
        return EvaluationError(f"{told}: {fault}", place=place)
    if actual == kind:
        return EvaluationError(f"{told}: {explain(error)}", place=place)
    hint = " double() reads numbers from strings." if (kind, actual) == ("number", "string") else ""
    return EvaluationError(f"{told} is {named(actual)}, where {named(kind)} is needed.{hint}", place=place)


# --- operators and functions -----------------------------------------------------------------------------


def called(overload: Overload, operands: Sequence[Run], place: Place) -> Run:
    """Return what does an operation on operands that are of the right kinds."""
    call = overload.call
    if overload.is_linear:
        return _metered(call, operands, place)
    if len(operands) == 1:
        return _called_with_one(call, operands[0], place)
    if len(operands) == 2:
        return _called_with_two(call, operands[0], operands[1], place)

    def run(frame: Frame) -> Any:
        try:
            return call(*[operand(frame) for operand in operands])
        except FAULTS as error:
            raise failure(error, place) from None

    return run


def _called_with_one(call: Callable[..., Any], operand: Run, place: Place) -> Run:
    def run(frame: Frame) -> Any:
        try:
            return call(operand(frame))
        except FAULTS as error:
            raise failure(error, place) from None

    return run


def _called_with_two(call: Callable[..., Any], left: Run, right: Run, place: Place) -> Run:
    def run(frame: Frame) -> Any:
        try:
            return call(left(frame), right(frame))
        except FAULTS as error:
            raise failure(error, place) from None

    return run


def _metered(call: Callable[..., Any], operands: Sequence[Run], place: Place) -> Run:
    def run(frame: Frame) -> Any:
        try:
            arguments = [operand(frame) for operand in operands]
            spend(frame, sum(map(values.weight, arguments)))
            return call(*arguments)
        except FAULTS as error:
            raise failure(error, place) from None

    return run


def dispatched(
    overloads: Mapping[tuple[Kind, ...], Overload],
    unfit: Callable[[Sequence[Kind]], str],
    operands: Sequence[Run],
    place: Place,
) -> Run:
    """Return what does the operation that the kinds of its operands ask for; ``unfit`` says that there is none."""

    def run(frame: Frame) -> Any:
        try:
            arguments = [operand(frame) for operand in operands]
            kinds = tuple([kind_of(argument) for argument in arguments])
            overload = overloads.get(kinds)
            if overload is None:
                raise Fault(unfit(kinds))
            if overload.is_linear:
                spend(frame, sum(map(values.weight, arguments)))
            entered = [ENTER[kind](argument) for kind, argument in zip(kinds, arguments, strict=True)]
            return overload.call(*entered)
        except FAULTS as error:
            raise failure(error, place) from None

    return run


def framed(call: Callable[[Frame, Any, Any], Any], left: Run, right: Run, place: Place) -> Run:
    """Return what does an operation that takes steps as it goes."""

    def run(frame: Frame) -> Any:
        try:
            return call(frame, left(frame), right(frame))
        except FAULTS as error:
            raise failure(error, place) from None

    return run


def opposite(operand: Run) -> Run:
    """Return ``!operand`` of what is sure to be a boolean."""

    def run(frame: Frame) -> bool:
        return not operand(frame)

    return run


# --- looking into values ---------------------------------------------------------------------------------


def selected(operand: Run, field: str, kind: Kind, told: str, place: Place) -> Run:
    """Return what gives a field of a map, sure to be of one of the plain kinds; ``told`` is the operand in messages."""
    python = PLAIN_TYPES.get(kind)

    def run(frame: Frame) -> Any:
        holder = operand(frame)
        try:
            value = holder[field]
        except KeyError:
            raise EvaluationError(f'there is no "{field}" in {told}; has() asks for it.', place=place) from None
        if python is None or type(value) is python:
            return value
        raise misfit(Fault(), value, kind, f"{told}.{field}", place)

    return run


def has(operand: Run, field: str) -> Run:
    """Return what tells whether a map has a field."""

    def run(frame: Frame) -> bool:
        return field in operand(frame)

    return run


def listed(items: Sequence[Run]) -> Run:
    """Return what makes a list."""

    def run(frame: Frame) -> list[Any]:
        return [item(frame) for item in items]

    return run


def mapped(pairs: Sequence[tuple[Run, Run]], place: Place) -> Run:
    """Return what makes a map; a key comes once."""

    def run(frame: Frame) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        try:
            for key_of, value_of in pairs:
                key = values.key(key_of(frame))
                if key in made:
                    raise Fault(f"the map has {values.told(key)} twice.")
                made[key] = value_of(frame)
        except FAULTS as error:
            raise failure(error, place) from None
        return made

    return run


# --- decisions -------------------------------------------------------------------------------------------


def conditional(cases: Sequence[tuple[Run, Run]], otherwise: Run) -> Run:
    """Return what gives the value of the first case whose test is true."""
    if len(cases) == 1:
        (test, value), *_ = cases

        def choose(frame: Frame) -> Any:
            return value(frame) if test(frame) else otherwise(frame)

        return choose

    def run(frame: Frame) -> Any:
        for test, value in cases:
            if test(frame):
                return value(frame)
        return otherwise(frame)

    return run


def decided(operands: Sequence[Run], settling: bool) -> Run:
    """Return ``||`` of booleans where ``settling`` is true, ``&&`` where it is false.

    An operand that has the settling value decides, wherever it stands: then errors of the others do not count.
    """

    def run(frame: Frame) -> Any:
        failed: EvaluationError | None = None
        for operand in operands:
            try:
                if operand(frame) is settling:
                    return settling
            except EvaluationError as error:
                failed = _kept(error, failed)
        if failed is not None:
            raise failed
        return not settling

    return run


def _kept(error: EvaluationError, earlier: EvaluationError | None) -> EvaluationError:
    """Return the first error of several; raises one that must not be overlooked."""
    if error.is_final:
        raise error
    # Without its traceback, which would hold the frame that holds it.
    return earlier or error.with_traceback(None)


# --- macros ----------------------------------------------------------------------------------------------


def ranged(operand: Run, weight: int, place: Place) -> Run:
    """Return what gives the items a macro goes through, and pays for ``weight`` steps with each of them."""

    def run(frame: Frame) -> list[Any]:
        try:
            found = values.items(operand(frame))
            spend(frame, len(found) * weight)
        except FAULTS as error:
            raise failure(error, place) from None
        return found

    return run


def exists(items: Run, slot: int, test: Run, value: Run) -> Run:
    """Return what tells whether the test is true of an item, as || does."""
    return _decided_for_each(items, slot, test, settling=True)


def all_of(items: Run, slot: int, test: Run, value: Run) -> Run:
    """Return what tells whether the test is true of every item, as && does."""
    return _decided_for_each(items, slot, test, settling=False)


def _decided_for_each(items: Run, slot: int, test: Run, settling: bool) -> Run:
    def run(frame: Frame) -> Any:
        failed: EvaluationError | None = None
        for item in items(frame):
            frame[slot] = item
            try:
                if test(frame) is settling:
                    return settling
            except EvaluationError as error:
                failed = _kept(error, failed)
        if failed is not None:
            raise failed
        return not settling

    return run


def exists_one(items: Run, slot: int, test: Run, value: Run) -> Run:
    """Return what tells whether the test is true of exactly one item."""

    def run(frame: Frame) -> bool:
        count = 0
        for item in items(frame):
            frame[slot] = item
            count += test(frame)
        return count == 1

    return run


def each(items: Run, slot: int, test: Run | None, value: Run) -> Run:
    """Return what makes a list of a value for each item, or for each of which the test is true."""

    def run(frame: Frame) -> list[Any]:
        made = []
        for item in items(frame):
            frame[slot] = item
            if test is None or test(frame):
                made.append(value(frame))
        return made

    return run

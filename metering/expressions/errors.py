"""What can be wrong with an expression: as it is written (ExpressionError), or for one event (EvaluationError)."""

from decimal import DecimalException
from typing import NamedTuple

from merchants.errors import Unprocessable, ValidationFailed

_SNIPPET_CHARS_MAX = 72


class Place(NamedTuple):
    """Where in a source something stands; both are counted from 1."""

    line: int
    column: int


class Fault(Exception):
    """Something an operation cannot do, before it is known where in the expression that was asked for."""


class Exhausted(Fault):
    """Evaluation has taken what it may take. Unlike other faults it is not overlooked by ``&&`` and ``||``."""


# What operations on values raise; decimals and times raise ArithmeticError of their own.
FAULTS = (Fault, ArithmeticError)


class ExpressionError(ValidationFailed, ValueError):
    """The expression is not one: a typo, an unknown name, a type that does not fit. It says where."""

    code = "INVALID_EXPRESSION"

    def __init__(self, message: str, *, place: Place, snippet: str, field: str) -> None:
        self.place = place
        self.snippet = snippet
        details = {"line": place.line, "column": place.column, "snippet": snippet}
        super().__init__(_told(message, place), field=field, details=details)


class EvaluationError(Unprocessable, ValueError):
    """The expression has no value for this event: division by zero, a missing key, a string where a number belongs."""

    code = "EXPRESSION_FAILED"
    message = "The expression has no value for this event."

    def __init__(self, message: str, *, place: Place, is_final: bool = False) -> None:
        self.place = place
        self.reason = message
        self.is_final = is_final
        super().__init__(_told(message, place), details={"line": place.line, "column": place.column})


class Source:
    """The text of an expression, and ``field``, the member of the request it came in."""

    def __init__(self, text: str, field: str) -> None:
        self.text = text
        self._field = field

    def place(self, at: int) -> Place:
        """Return where the character with this number stands."""
        return Place(self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at))

    def snippet(self, place: Place) -> str:
        """Return the line of a place, and under it a caret that points at it."""
        lines = self.text.split("\n")[: place.line - 1]
        at = sum(len(line) + 1 for line in lines) + place.column - 1
        return self._snippet(at, at + 1)

    def error(self, message: str, at: int, end: int | None = None) -> ExpressionError:
        """Return a refusal that points at what stands from ``at`` to before ``end``, or at one character."""
        place = self.place(at)
        return ExpressionError(message, place=place, snippet=self._snippet(at, end or at + 1), field=self._field)

    def _snippet(self, at: int, end: int) -> str:
        start = self.text.rfind("\n", 0, at) + 1
        line = self.text[start:].split("\n", 1)[0].rstrip("\r")
        left = max(0, at - start - _SNIPPET_CHARS_MAX // 2)
        shown = line[left : left + _SNIPPET_CHARS_MAX].replace("\t", " ")
        column = at - start - left
        carets = max(1, min(end - at, len(shown) - column))
        return f"{shown}\n{' ' * column}{'^' * carets}"


def failure(error: Exception, place: Place) -> EvaluationError:
    """Return what one of FAULTS means for who wrote the expression."""
    return EvaluationError(explain(error), place=place, is_final=isinstance(error, Exhausted))


def explain(error: Exception) -> str:
    """Return one of FAULTS as a sentence."""
    if isinstance(error, Fault):
        return str(error)
    if isinstance(error, DecimalException):
        return "the number is too large."
    return "the time is out of range."


def _told(message: str, place: Place) -> str:
    return f"Line {place.line}, column {place.column}: {message}"

"""What kinds of value there are, and the types an expression is checked against before it is ever evaluated.

A type says what is known of a value before there is one: of ``metadata.tier`` that it is a string, of ``data.tokens``
nothing. What is not known is checked when the value is there.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from metering.expressions.errors import Fault

Kind = Literal["any", "number", "string", "bool", "null", "list", "map", "timestamp", "duration"]

_KINDS: dict[type, Kind] = {
    Decimal: "number",
    int: "number",
    str: "string",
    bool: "bool",
    type(None): "null",
    list: "list",
    dict: "map",
    datetime: "timestamp",
    timedelta: "duration",
}


class Type(msgspec.Struct, frozen=True):
    """A kind of value; ``element`` is the type of what a list or map holds, and ``nullable`` lets it be null too."""

    kind: Kind
    element: "Type | None" = None
    nullable: bool = False

    @property
    def is_known(self) -> bool:
        """Tell whether every value of this type is of its kind."""
        return self.kind != "any" and not self.nullable

    def may_be(self, kind: Kind) -> bool:
        """Tell whether a value of this type can be of a kind; null counts for nothing but null."""
        return self.kind in ("any", kind) or (kind == "null" and self.nullable)

    def __str__(self) -> str:
        return named(self.kind)


ANY = Type("any")
NUMBER = Type("number")
STRING = Type("string")
BOOLEAN = Type("bool")
NULL = Type("null")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")
LIST = Type("list", ANY)
MAP = Type("map", ANY)


def list_of(element: Type) -> Type:
    """Return the type of lists of an element."""
    return Type("list", element)


def map_of(element: Type) -> Type:
    """Return the type of maps from strings to an element."""
    return Type("map", element)


def nullable(of: Type) -> Type:
    """Return a type that may also be null."""
    return Type(of.kind, of.element, nullable=of.kind not in ("any", "null"))


def element_of(container: Type) -> Type:
    """Return the type of what a list or map holds; ANY where that is not known."""
    return container.element or ANY


def join(one: Type, other: Type) -> Type | None:
    """Return the type of a value that is of one type or the other; None where they have nothing in common."""
    if one == other:
        return one
    if "any" in (one.kind, other.kind):
        return ANY
    if one.kind == "null":
        return nullable(other)
    if other.kind == "null":
        return nullable(one)
    if one.kind != other.kind:
        return None
    element = join(element_of(one), element_of(other)) or ANY if one.element else None
    return Type(one.kind, element, nullable=one.nullable or other.nullable)


def kind_of(value: Any) -> Kind:
    """Return the kind of a value; raises Fault for one that expressions do not know, like a float."""
    kind = _KINDS.get(type(value))
    if kind is None:
        raise Fault(f"a value of Python type {type(value).__name__} cannot be used.")
    return kind


def named(kind: Kind) -> str:
    """Return a kind as it is called in a sentence."""
    return {"any": "a value", "null": "null", "bool": "a boolean"}.get(kind, f"a {kind}")

"""The tree of an expression. Every node knows which part of the source it is."""

from decimal import Decimal

import msgspec


class Node(msgspec.Struct, frozen=True):
    """A part of an expression: from character ``start`` to before ``end``; ``at`` is where a message points to."""

    start: int
    end: int
    at: int
    depth: int


class Literal(Node, frozen=True):
    """A number, a string, true, false or null."""

    value: Decimal | str | bool | None


class Name(Node, frozen=True):
    """A variable."""

    name: str


class Select(Node, frozen=True):
    """``operand.field``"""

    operand: Node
    field: str


class Index(Node, frozen=True):
    """``operand[key]``"""

    operand: Node
    key: Node


class Call(Node, frozen=True):
    """``name(argument, …)``, or ``receiver.name(argument, …)``; a macro looks the same."""

    name: str
    receiver: Node | None
    arguments: tuple[Node, ...]


class ListOf(Node, frozen=True):
    """``[item, …]``"""

    items: tuple[Node, ...]


class MapOf(Node, frozen=True):
    """``{key: value, …}``"""

    pairs: tuple[tuple[Node, Node], ...]


class Unary(Node, frozen=True):
    """``-operand`` or ``!operand``"""

    operator: str
    operand: Node


class Binary(Node, frozen=True):
    """``left operator right``, for all operators but ``&&`` and ``||``."""

    operator: str
    left: Node
    right: Node


class Logic(Node, frozen=True):
    """``operand && operand && …``, or the same with ``||``."""

    operator: str
    operands: tuple[Node, ...]


class Conditional(Node, frozen=True):
    """``test ? value : test ? value : … : otherwise``"""

    cases: tuple[tuple[Node, Node], ...]
    otherwise: Node

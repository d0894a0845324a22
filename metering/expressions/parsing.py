"""From the words of an expression to its tree, by the language's grammar.

Operators are put together on a stack of their own, not by a function for each precedence. So how deep Python has to go
depends on brackets alone, and how deep they may be nested is bounded.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from metering.expressions import lexing
from metering.expressions.errors import ExpressionError, Source
from metering.expressions.lexing import KEYWORDS, RESERVED, Token
from metering.expressions.limits import DEPTH_MAX, NESTING_MAX, NODES_MAX
from metering.expressions.syntax import (
    Binary,
    Call,
    Conditional,
    Index,
    ListOf,
    Literal,
    Logic,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
)

_PRECEDENCE = {
    **dict.fromkeys(["*", "/", "%"], 5),
    **dict.fromkeys(["+", "-"], 4),
    **dict.fromkeys(["==", "!=", "<", "<=", ">", ">=", "in"], 3),
    "&&": 2,
    "||": 1,
}
_CONSTANTS = {"true": True, "false": False, "null": None}

_NodeT = TypeVar("_NodeT", bound=Node)


def parse(source: Source) -> Node:
    """Return the tree of an expression; raises ExpressionError where it does not follow the grammar."""
    return _Parser(source).whole()


class _Parser:
    """A walk over the words of one expression, from left to right."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tokens = lexing.tokens(source)
        self._index = 0
        self._nodes = 0
        self._nesting = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._token.kind != "end":
            raise self._unexpected()
        return node

    # --- words -------------------------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    def _is(self, operator: str) -> bool:
        token = self._tokens[self._index]
        return token.text == operator and token.kind == "operator"

    def _accept(self, operator: str) -> bool:
        if self._is(operator):
            self._index += 1
            return True
        return False

    def _expect(self, operator: str, opened: Token | None = None) -> None:
        if self._accept(operator):
            return
        if opened is not None and self._token.kind == "end":
            raise self._source.error(f'this has no closing "{operator}".', opened.start, opened.end)
        raise self._unexpected(f'"{operator}"')

    def _unexpected(self, wanted: str = "") -> ExpressionError:
        token = self._token
        met = "the end" if token.kind == "end" else f'"{token.text[:40]}"'
        told = f"{met} comes where {wanted} should." if wanted else f"{met} does not belong here."
        return self._source.error(told, token.start, token.end)

    def _make(self, kind: type[_NodeT], start: int, at: int, *members: Any, over: Iterable[Node] = ()) -> _NodeT:
        end = self._tokens[self._index - 1].end
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._source.error(f"an expression has at most {NODES_MAX:,} parts.", at)
        depth = 1 + max((node.depth for node in over), default=0)
        if depth > DEPTH_MAX:
            message = f"more than {DEPTH_MAX} operations within one another or in a row; brackets may divide them."
            raise self._source.error(message, at)
        return kind(start, end, at, depth, *members)

    # --- grammar -----------------------------------------------------------------------------------------

    def _expression(self) -> Node:
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise self._source.error(f"brackets are at most {NESTING_MAX} deep.", self._token.start)
        node = self._operations()
        if self._is("?"):
            node = self._conditional(node)
        self._nesting -= 1
        return node

    def _conditional(self, test: Node) -> Node:
        start, at = test.start, self._token.start
        cases: list[tuple[Node, Node]] = []
        while self._accept("?"):
            value = self._operations()
            self._expect(":")
            cases.append((test, value))
            test = self._operations()
        over = [node for case in cases for node in case]
        return self._make(Conditional, start, at, tuple(cases), test, over=[*over, test])

    def _operations(self) -> Node:
        operands, operators = [self._unary()], list[Token]()
        while (precedence := self._precedence()) is not None:
            while operators and _PRECEDENCE[operators[-1].text] >= precedence:
                self._combine(operands, operators.pop())
            operators.append(self._token)
            self._index += 1
            operands.append(self._unary())
        while operators:
            self._combine(operands, operators.pop())
        return operands[0]

    def _precedence(self) -> int | None:
        token = self._token
        return _PRECEDENCE.get(token.text) if token.kind == "operator" or token.text == "in" else None

    def _combine(self, operands: list[Node], operator: Token) -> None:
        right, left = operands.pop(), operands.pop()
        if operator.text not in ("&&", "||"):
            node: Node = self._make(Binary, left.start, operator.start, operator.text, left, right, over=(left, right))
        else:
            # One node for a whole row of them: it reads the same from either end.
            row = left.operands if isinstance(left, Logic) and left.operator == operator.text else (left,)
            row = (*row, right)
            node = self._make(Logic, left.start, operator.start, operator.text, row, over=row)
        operands.append(node)

    def _unary(self) -> Node:
        signs: list[Token] = []
        while self._is("-") or self._is("!"):
            if signs and signs[0].text != self._token.text:
                raise self._source.error("put brackets between ! and -.", self._token.start)
            signs.append(self._token)
            self._index += 1
        node = self._member()
        for sign in reversed(signs):
            node = self._make(Unary, sign.start, sign.start, sign.text, node, over=(node,))
        return node

    def _member(self) -> Node:
        node = self._primary()
        while True:
            token = self._token
            if self._accept("."):
                node = self._selection(node)
            elif self._accept("["):
                key = self._expression()
                self._expect("]", token)
                node = self._make(Index, node.start, token.start, node, key, over=(node, key))
            elif self._is("{"):
                raise self._source.error("there are no messages; a map stands by itself.", token.start)
            else:
                return node

    def _selection(self, operand: Node) -> Node:
        token = self._token
        if token.kind != "name" or token.text in KEYWORDS:
            raise self._unexpected("the name of a field")
        self._index += 1
        if self._is("("):
            arguments = self._arguments()
            over = (operand, *arguments)
            return self._make(Call, operand.start, token.start, token.text, operand, arguments, over=over)
        return self._make(Select, operand.start, token.start, operand, token.text, over=(operand,))

    def _primary(self) -> Node:
        token = self._token
        self._index += 1
        if token.kind in ("number", "string"):
            return self._make(Literal, token.start, token.start, token.value)
        if token.kind == "name" and token.text != "in":
            return self._named(token)
        if token.kind == "operator" and token.text in ("(", "[", "{"):
            return self._bracketed(token)
        self._index -= 1
        raise self._unexpected("a value")

    def _named(self, token: Token) -> Node:
        if token.text in _CONSTANTS:
            return self._make(Literal, token.start, token.start, _CONSTANTS[token.text])
        if token.text in RESERVED:
            raise self._source.error(f'"{token.text}" is a reserved word.', token.start, token.end)
        if self._is("("):
            arguments = self._arguments()
            return self._make(Call, token.start, token.start, token.text, None, arguments, over=arguments)
        return self._make(Name, token.start, token.start, token.text)

    def _bracketed(self, opened: Token) -> Node:
        if opened.text == "(":
            node = self._expression()
            self._expect(")", opened)
            return node
        if opened.text == "[":
            items = self._row(opened, "]")
            return self._make(ListOf, opened.start, opened.start, items, over=items)
        pairs: list[tuple[Node, Node]] = []
        while not self._is("}"):
            key = self._expression()
            self._expect(":")
            pairs.append((key, self._expression()))
            if not self._accept(","):
                break
        self._expect("}", opened)
        over = [node for pair in pairs for node in pair]
        return self._make(MapOf, opened.start, opened.start, tuple(pairs), over=over)

    def _arguments(self) -> tuple[Node, ...]:
        opened = self._token
        self._index += 1
        return self._row(opened, ")")

    def _row(self, opened: Token, closing: str) -> tuple[Node, ...]:
        row: list[Node] = []
        while not self._is(closing):
            row.append(self._expression())
            if not self._accept(","):
                break
            if closing == ")" and self._is(")"):  # lists may end in a comma, arguments may not
                raise self._unexpected("a value")
        self._expect(closing, opened)
        return tuple(row)

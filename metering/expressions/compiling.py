"""From the tree of an expression to what runs: names are looked up, types checked, and what is constant worked out.

So a wrong name, or a string where a number belongs, is found when a price is saved and not when an event arrives. Only
of what an event brings as JSON the kinds are not known before.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import eq, ne
from typing import NamedTuple

from metering.expressions import kinds, running, values, wording
from metering.expressions.errors import FAULTS, EvaluationError, ExpressionError, Place, Source, explain
from metering.expressions.functions import FUNCTIONS, METHODS, OPERATORS, UNARY, Function, Overload
from metering.expressions.kinds import ANY, BOOLEAN, Kind, Type, element_of
from metering.expressions.limits import STEPS_MAX
from metering.expressions.macros import MACROS
from metering.expressions.running import Run
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
from metering.expressions.values import Frame

_TOLD_CHARS_MAX = 60


class Code(NamedTuple):
    """A compiled part: ``weight`` is the number of its nodes, which is what one run of it costs in steps."""

    run: Run
    type: Type
    weight: int = 1
    is_constant: bool = False


class Variable(NamedTuple):
    """A name that can be used: where in the frame its value is, and where in the source it is first called."""

    slot: int
    type: Type
    place: Place


class Compiler:
    """Compiles one expression. ``slots`` counts what a frame must have room for."""

    def __init__(self, source: Source, variables: Mapping[str, Type]) -> None:
        self._source = source
        self._variables = variables
        self._constants: Frame = [STEPS_MAX]  # what working out constants may take, all of them together
        self._scope: dict[str, Variable] = {}
        self.used: dict[str, Variable] = {}
        self.slots = 1

    def compile(self, node: Node) -> Code:
        """Return what gives the node's value; raises ExpressionError."""
        match node:
            case Literal():
                return Code(running.constant(node.value), Type(kinds.kind_of(node.value)), is_constant=True)
            case Name():
                return self._name(node)
            case Select():
                return self._select(node)
            case Index():
                return self._index(node)
            case Call():
                return self._call(node)
            case ListOf() | MapOf():
                return self._collection(node)
            case Unary() | Binary():
                return self._operator(node)
            case Logic():
                return self._logic(node)
            case Conditional():
                return self._conditional(node)
        raise TypeError(f"not a node: {node!r}")

    def conform(self, code: Code, kind: Kind, node: Node) -> Run:
        """Return what gives a value of a kind for sure; what it is has been checked as far as it is known."""
        if kind == "any" or (code.type.kind == kind and code.type.is_known):
            return code.run
        return running.conformed(code.run, kind, self.told(node), self._source.place(node.at))

    def told(self, node: Node) -> str:
        """Return a part of the source as a message may quote it."""
        text = " ".join(self._source.text[node.start : node.end].split())
        return text if len(text) <= _TOLD_CHARS_MAX else f"{text[: _TOLD_CHARS_MAX - 1]}…"

    def error(self, message: str, node: Node) -> ExpressionError:
        """Return a refusal that points at a node."""
        return self._source.error(message, node.at, node.end if node.at == node.start else None)

    def _folded(self, code: Code, operands: Sequence[Code], node: Node) -> Code:
        """Return the code as a constant where its operands are; one without a value is refused."""
        if not all(operand.is_constant for operand in operands):
            return code
        try:
            value = code.run(self._constants)
        except EvaluationError as error:
            raise self._source.error(error.reason, node.at, node.end) from None
        return Code(running.constant(value), code.type, code.weight, is_constant=True)

    # --- names, fields, items ----------------------------------------------------------------------------

    def _name(self, node: Name) -> Code:
        if local := self._scope.get(node.name):
            return self._element(running.variable(local.slot), local.type, 1, node)
        if node.name not in self._variables:
            raise self.error(wording.no_variable(node.name, [*self._scope, *self._variables]), node)
        if node.name not in self.used:
            self.used[node.name] = self._new(self._variables[node.name], node)
        return Code(running.variable(self.used[node.name].slot), self._variables[node.name])

    def _new(self, of: Type, node: Node) -> Variable:
        self.slots += 1
        return Variable(self.slots - 1, of, self._source.place(node.at))

    def _select(self, node: Select) -> Code:
        operand = self.compile(node.operand)
        holder = self._map(operand, node)
        element = element_of(operand.type)
        kind: Kind = element.kind if element.is_known else "any"
        run = running.selected(holder, node.field, kind, self.told(node.operand), self._source.place(node.at))
        code = Code(run, element, operand.weight + 1)
        if kind not in values.PLAIN_TYPES:
            code = self._element(run, element, code.weight, node)
        return self._folded(code, [operand], node)

    def _map(self, operand: Code, node: Select) -> Run:
        if not operand.type.may_be("map"):
            raise self.error(f"{self.told(node.operand)} is {operand.type}, which has no fields.", node)
        return self.conform(operand, "map", node.operand)

    def _element(self, run: Run, of: Type, weight: int, node: Node) -> Code:
        code = Code(run, of, weight)
        if not of.is_known:
            return code
        # A container that came from outside may hold anything, whatever it is declared to hold.
        return code._replace(run=self.conform(code._replace(type=ANY), of.kind, node))

    def _index(self, node: Index) -> Code:
        operand, key = self.compile(node.operand), self.compile(node.key)
        wanted: dict[Kind, tuple[Kind, ...]] = {"list": ("number",), "map": ("string", "number")}
        fitting = [
            kind for kind, keys in wanted.items() if operand.type.may_be(kind) and any(map(key.type.may_be, keys))
        ]
        if not fitting:
            raise self.error(f"{operand.type} cannot be looked into with {key.type}.", node)
        run = running.framed(lambda frame, *pair: values.item(*pair), operand.run, key.run, self._source.place(node.at))
        code = self._element(run, element_of(operand.type), operand.weight + key.weight + 1, node)
        return self._folded(code, [operand, key], node)

    def _collection(self, node: ListOf | MapOf) -> Code:
        if isinstance(node, ListOf):
            items = codes = [self.compile(item) for item in node.items]
            run = running.listed([code.run for code in items])
            of = kinds.list_of(_common(items))
        else:
            pairs = [(self.compile(key), self.compile(value)) for key, value in node.pairs]
            for (key, _), (at, _) in zip(pairs, node.pairs, strict=True):
                if not (key.type.may_be("string") or key.type.may_be("number")):
                    raise self.error(f"the key of a map is a string or a whole number, not {key.type}.", at)
            codes = [code for pair in pairs for code in pair]
            run = running.mapped([(key.run, value.run) for key, value in pairs], self._source.place(node.at))
            of = kinds.map_of(_common([value for _, value in pairs]))
        return self._folded(Code(run, of, 1 + _weight(codes)), codes, node)

    # --- decisions ---------------------------------------------------------------------------------------

    def _test(self, node: Node, asking: str) -> tuple[Code, Run]:
        code = self.compile(node)
        if not code.type.may_be("bool"):
            raise self.error(f"{asking} needs a boolean, not {code.type}.", node)
        return code, self.conform(code, "bool", node)

    def _logic(self, node: Logic) -> Code:
        tests = [self._test(operand, node.operator) for operand in node.operands]
        run = running.decided([run for _, run in tests], node.operator == "||")
        codes = [code for code, _ in tests]
        return self._folded(Code(run, BOOLEAN, 1 + _weight(codes)), codes, node)

    def _conditional(self, node: Conditional) -> Code:
        tests = [self._test(test, "?") for test, _ in node.cases]
        nodes = [*(value for _, value in node.cases), node.otherwise]
        codes = [self.compile(value) for value in nodes]
        of = codes[0].type
        for code, at in zip(codes, nodes, strict=True):
            joined = kinds.join(of, code.type)
            if joined is None:
                raise self.error(f"this is {code.type}, but in another case it would be {of}.", at)
            of = joined
        values_of = [code.run for code in codes]
        cases = list(zip([run for _, run in tests], values_of[:-1], strict=True))
        weight = 1 + _weight([code for code, _ in tests]) + _weight(codes)
        return Code(running.conditional(cases, values_of[-1]), of, weight)

    # --- operators and functions -------------------------------------------------------------------------

    def _operator(self, node: Unary | Binary) -> Code:
        if isinstance(node, Unary):
            return self._operation(node, node.operator, UNARY[node.operator], (node.operand,))
        if node.operator in OPERATORS:
            return self._operation(node, node.operator, OPERATORS[node.operator], (node.left, node.right))
        left, right = self.compile(node.left), self.compile(node.right)
        run = self._containment(node, left, right) if node.operator == "in" else self._equality(node, left, right)
        return self._folded(Code(run, BOOLEAN, 1 + left.weight + right.weight), [left, right], node)

    def _equality(self, node: Binary, left: Code, right: Code) -> Run:
        for code, other, operand in ((left, right, node.left), (right, left, node.right)):
            if other.type.kind == "null" and not code.type.may_be("null"):
                raise self.error(f"{self.told(operand)} is {code.type} and never null; has() asks for a field.", node)
        if kinds.join(left.type, right.type) is None:
            raise self.error(f"{left.type} is never equal to {right.type}.", node)
        sure = [code.type.kind for code in (left, right) if code.type.is_known]
        place = self._source.place(node.at)
        # Python's own comparison, where it cannot take true for 1 and has no long way to go.
        if sure in (["number"] * 2, ["bool"] * 2) or {"string", "timestamp", "duration", "null"} & set(sure):
            compare = Overload(("any", "any"), BOOLEAN, eq if node.operator == "==" else ne)
            return running.called(compare, (left.run, right.run), place)
        run = running.framed(values.equal, left.run, right.run, place)
        return run if node.operator == "==" else running.opposite(run)

    def _containment(self, node: Binary, left: Code, right: Code) -> Run:
        if not (right.type.may_be("list") or right.type.may_be("map")):
            raise self.error(f"in looks into a list or a map, not into {right.type}.", node)
        element = element_of(right.type) if right.type.kind == "list" else ANY
        if kinds.join(left.type, element) is None:
            raise self.error(f"{left.type} is never in a list of which each is {element}.", node)
        return running.framed(values.contains, left.run, right.run, self._source.place(node.at))

    def _operation(self, node: Node, name: str, function: Function, operands: Sequence[Node]) -> Code:
        codes = [self.compile(operand) for operand in operands]
        is_method = isinstance(node, Call) and node.receiver is not None
        fitting = [overload for overload in function.overloads if overload.takes(len(codes))]
        if not fitting:
            raise self.error(wording.counted(name, function, len(codes), is_method), node)
        found = {
            overload.kinds(len(codes)): overload
            for overload in fitting
            if all(
                kind == "any" or code.type.may_be(kind)
                for kind, code in zip(overload.kinds(len(codes)), codes, strict=True)
            )
        }
        if not found:
            raise self.error(wording.unfit(name, [code.type.kind for code in codes]), node)
        self._check_literals(function, codes, operands)
        run, of = self._chosen(node, name, found, list(zip(codes, operands, strict=True)))
        return self._folded(Code(run, of, 1 + _weight(codes)), codes, node)

    def _chosen(
        self, node: Node, name: str, found: Mapping[tuple[Kind, ...], Overload], operands: Sequence[tuple[Code, Node]]
    ) -> tuple[Run, Type]:
        place = self._source.place(node.at)
        first, *others = found.values()
        if not others:
            expected = zip(operands, first.kinds(len(operands)), strict=True)
            runs = [self.conform(code, kind, operand) for (code, operand), kind in expected]
            return running.called(first, runs, place), first.result

        def unfit(met: Sequence[Kind]) -> str:
            return wording.unfit(name, met)

        of = first.result if all(other.result == first.result for other in others) else ANY
        return running.dispatched(found, unfit, [code.run for code, _ in operands], place), of

    def _check_literals(self, function: Function, codes: Sequence[Code], operands: Sequence[Node]) -> None:
        for number, check in function.checks.items():
            if number < len(codes) and codes[number].is_constant:
                try:
                    check(codes[number].run(self._constants))
                except FAULTS as error:
                    raise self.error(explain(error), operands[number]) from None

    def _call(self, node: Call) -> Code:
        if node.name in MACROS and node.receiver is not None:
            return self._macro(node, node.receiver)
        if node.name == "has" and node.receiver is None:
            return self._has(node)
        if node.receiver is None:
            known, others, operands = FUNCTIONS, METHODS, node.arguments
        else:
            known, others, operands = METHODS, FUNCTIONS, (node.receiver, *node.arguments)
        function = known.get(node.name)
        if function is None:
            raise self._source.error(wording.no_function(node.name, known, others), node.at, node.at + len(node.name))
        return self._operation(node, node.name, function, operands)

    # --- macros ------------------------------------------------------------------------------------------

    def _has(self, node: Call) -> Code:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], Select):
            raise self.error("has() asks for a field: has(metadata.tier).", node)
        select = node.arguments[0]
        operand = self.compile(select.operand)
        code = Code(running.has(self._map(operand, select), select.field), BOOLEAN, operand.weight + 2)
        return self._folded(code, [operand], node)

    def _macro(self, node: Call, receiver: Node) -> Code:
        form = MACROS[node.name]
        if len(node.arguments) not in form.counts:
            raise self.error(f"this is written {form.written}.", node)
        name, *bodies = node.arguments
        if not isinstance(name, Name):
            raise self.error(f"this names the variable of {form.written}.", name)
        container = self.compile(receiver)
        if not (container.type.may_be("list") or container.type.may_be("map")):
            raise self.error(f"{node.name} goes through a list or a map, not through {container.type}.", node)
        element = element_of(container.type) if container.type.kind == "list" else ANY
        with self._local(name, element) as variable:
            tests = [self._test(body, node.name) for body in (bodies[:-1] if node.name == "map" else bodies)]
            value = self.compile(bodies[-1]) if node.name == "map" else None
        weight = _weight([code for code, _ in tests]) + (value.weight if value else 0)
        items = running.ranged(container.run, weight, self._source.place(node.at))
        test = tests[0][1] if tests else None
        run = form.build(items, variable.slot, test, value.run if value else running.variable(variable.slot))
        of = form.result or kinds.list_of(value.type if value else element)
        return Code(run, of, 1 + container.weight + weight)

    @contextmanager
    def _local(self, name: Name, of: Type) -> Iterator[Variable]:
        outer = self._scope
        self._scope = {**outer, name.name: self._new(of, name)}
        yield self._scope[name.name]
        self._scope = outer


def _weight(codes: Sequence[Code]) -> int:
    return sum(code.weight for code in codes)


def _common(codes: Sequence[Code]) -> Type:
    """Return the type that all of these are of; ANY where they differ."""
    of = codes[0].type if codes else ANY
    for code in codes:
        of = kinds.join(of, code.type) or ANY
    return of

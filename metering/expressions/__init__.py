"""Expressions: prices, filters and quantities of usage events as merchants write them.

The language is a subset of CEL, the Common Expression Language, with exact decimals for its numbers;
docs/EXPRESSIONS.md describes it for those who write it. An expression reads nothing but its variables, changes
nothing, always ends, and gives the same result for the same values.

``compile`` reads the source, once; the program it returns is then called with the variables of each event. In between,
``lexing`` and ``parsing`` make a tree, and ``compiling`` checks it and puts together functions from ``running``;
``functions`` lists what there is to call. ``limits`` bounds all of it, and ``uses`` has what
prices and metrics do with it.
"""

from metering.expressions.errors import EvaluationError, ExpressionError, Place, Source
from metering.expressions.kinds import (
    ANY,
    BOOLEAN,
    DURATION,
    LIST,
    MAP,
    NUMBER,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    nullable,
)
from metering.expressions.program import Program, compile
from metering.expressions.variables import EVENT

__all__ = [
    "ANY",
    "BOOLEAN",
    "DURATION",
    "EVENT",
    "LIST",
    "MAP",
    "NUMBER",
    "STRING",
    "TIMESTAMP",
    "EvaluationError",
    "ExpressionError",
    "Place",
    "Program",
    "Source",
    "Type",
    "compile",
    "list_of",
    "map_of",
    "nullable",
]

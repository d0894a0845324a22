"""docs/EXPRESSIONS.md says what is so: its examples, its lists and its limits."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from metering import expressions
from metering.expressions import functions, limits, macros

GUIDE = (Path(__file__).parents[2] / "docs" / "EXPRESSIONS.md").read_text()
EXAMPLES = [block.strip() for block in re.findall(r"```cel\n(.*?)```", GUIDE, re.DOTALL)]
EVENT = {
    "quantity": Decimal(61),
    "price": None,
    "metadata": {"tier": "premium", "region": "eu-1"},
    "data": {
        "model": "large",
        "input_tokens": 1200,
        "output_tokens": 300,
        "lines": [{"amount": Decimal("19.99"), "refunded": False}, {"amount": 500, "refunded": True}],
    },
    "timestamp": datetime(2026, 3, 2, 3, 0, tzinfo=UTC),  # Sunday evening in New York
}


def test_its_examples_come_out_as_they_should():
    results = [expressions.compile(example, result="number")(EVENT) for example in EXAMPLES[:-1]]
    assert [str(result.normalize()) for result in results] == ["0.132", "0.006", "0.05", "0.061", "0.57971", "0.61"]
    assert expressions.compile(EXAMPLES[-1], result="bool")(EVENT)


@pytest.mark.parametrize("name", [*functions.FUNCTIONS, *functions.METHODS, *macros.MACROS, "has", *expressions.EVENT])
def test_it_names_all_there_is(name):
    if name != "existsOne":  # another spelling of exists_one
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", GUIDE)


@pytest.mark.parametrize(
    ("row", "most"),
    [
        ("characters of an expression", limits.SOURCE_CHARS_MAX),
        ("its names, literals", limits.NODES_MAX),
        ("brackets within brackets", limits.NESTING_MAX),
        ("operations within one another", limits.DEPTH_MAX),
        ("steps of one evaluation", limits.STEPS_MAX),
        ("characters of a string that", limits.STRING_CHARS_MAX),
        ("digits of a number", limits.DIGITS_MAX),
    ],
)
def test_it_states_the_limits(row, most):
    assert re.search(rf"^\| {row}[^|]*\| {most:,}\b", GUIDE, re.MULTILINE)

"""Rows on their way into one statement: a PostgreSQL array for each column, to be read back by ``unnest``. Pure.

Array literals are the cheapest form on both sides: one join here, one pass of the input function there.
"""

from collections.abc import Iterable, Sequence

_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})


def columns(rows: Iterable[Sequence[object]], width: int) -> list[str]:
    """Write rows as one array literal for each of their ``width`` columns; the statement says what type each has."""
    turned = list(zip(*rows, strict=True)) or [()] * width
    return [f"{{{','.join([_element(value) for value in column])}}}" for column in turned]


def _element(value: object) -> str:
    if type(value) is int:
        return str(value)
    if value is None:
        return "NULL"
    text = str(value)
    if '"' in text or "\\" in text:
        text = text.translate(_ESCAPES)
    return f'"{text}"'

"""Tables as CSV files."""

import asyncio
import csv
from collections.abc import Iterator

import pytest
from django.test import AsyncRequestFactory, RequestFactory

from merchants import csv_files

HEADER = ("a", "b")


def batches(asked: list[int]) -> Iterator[list[list[str]]]:
    """Three batches of a row each; notes which were asked for."""
    for number in range(3):
        asked.append(number)
        yield [[str(number), 'say "x",\ny']]


class TestAnswer:
    def test_quotes_what_needs_it(self) -> None:
        response = csv_files.answer(RequestFactory().get("/"), "list", HEADER, batches([]))
        text = b"".join(response.streaming_content).decode()
        assert response["Content-Disposition"] == 'attachment; filename="list.csv"'
        assert text.startswith("a,b\r\n")
        assert list(csv.reader(text.splitlines(keepends=True)))[1:] == [[str(n), 'say "x",\ny'] for n in range(3)]

    def test_asks_for_a_batch_when_the_one_before_was_sent(self) -> None:
        asked: list[int] = []
        pieces = iter(csv_files.answer(RequestFactory().get("/"), "list", HEADER, batches(asked)))
        next(pieces)
        assert asked == []
        next(pieces)
        assert asked == [0]

    def test_does_so_on_an_event_loop_too(self) -> None:
        asked: list[int] = []

        async def read() -> list[bytes]:
            response = csv_files.answer(AsyncRequestFactory().get("/"), "list", HEADER, batches(asked))
            pieces = aiter(response)
            first = [await anext(pieces), await anext(pieces)]
            assert asked == [0]
            return first + [piece async for piece in pieces]

        assert len(asyncio.run(read())) == 4
        assert asked == [0, 1, 2]


class TestText:
    @pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
    def test_of_a_formula_is_text(self, value: str) -> None:
        assert csv_files.text(value) == f"'{value}"

    @pytest.mark.parametrize("value", ["", "Northwind", "a=b", "1-2"])
    def test_of_anything_else_stays_as_it_is(self, value: str) -> None:
        assert csv_files.text(value) == value

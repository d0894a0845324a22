"""Tables as CSV files (RFC 4180), sent as they are read: however long one is, only a batch of it is in memory."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

Batch = Sequence[Sequence[Any]]

# A spreadsheet takes a cell that begins so for a formula, and runs it (OWASP, CSV injection).
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def answer(request: HttpRequest, name: str, header: Sequence[str], batches: Iterable[Batch]) -> StreamingHttpResponse:
    """Answer with a file; each batch is asked for when the one before it was sent."""
    pieces = _pieces(header, batches)
    # An ASGI server would gather all that a plain iterator gives before it sends anything.
    content = _one_by_one(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def text(value: str) -> str:
    """Make what somebody else wrote safe to open: what looks like a formula becomes text, by an apostrophe."""
    return f"'{value}" if value.startswith(FORMULAS) else value


def _pieces(header: Sequence[str], batches: Iterable[Batch]) -> Iterator[bytes]:
    yield _written([header])
    for batch in batches:
        yield _written(batch)


def _written(rows: Iterable[Sequence[Any]]) -> bytes:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(rows)
    return lines.getvalue().encode()


async def _one_by_one(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(pieces, None))
    while (piece := await following()) is not None:
        yield piece

"""JSON as charging.answers writes it, and pages of it."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse

from charging import answers


def answer_json(body: Any) -> HttpResponse:
    """Answer with a JSON object."""
    return HttpResponse(answers.encode(body), content_type="application/json")


def answer_page(rows: Any, query: dict[str, Any], write: Callable[[Any], Any]) -> HttpResponse:
    """Answer with the page of rows that a query asks for, each written by ``write``."""
    limit, offset = query["limit"], query["offset"]
    data = [write(row) for row in rows[offset : offset + limit]]
    pagination = {"limit": limit, "offset": offset, "total": rows.count()}
    return answer_json({"object": "list", "data": data, "pagination": pagination})

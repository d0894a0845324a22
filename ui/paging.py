"""Pages of a list by key: no page number that shifts while rows arrive, and no COUNT over the whole table."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

PAGE_SIZE = 25

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: just after (older) or just before (newer) one row's time and id."""

    direction: str
    at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.direction}~{self.at.isoformat()}~{self.id.hex}"


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page, newest first, and the cursors of its neighbours where there are any."""

    rows: list[Row]
    newer: str
    older: str

    @property
    def is_only_page(self) -> bool:
        """Whether everything there is fits on this page."""
        return not self.newer and not self.older


def read_cursor(text: str) -> Cursor | None:
    """Read a cursor from a query string; anything that is not one means the first page."""
    try:
        direction, at, key = text.split("~")
        cursor = Cursor(direction, datetime.fromisoformat(at), UUID(hex=key))
    except ValueError:
        return None
    return cursor if direction in {"older", "newer"} and cursor.at.tzinfo else None


def page(*lists: QuerySet[Row], cursor: str, by: str = "created_at", size: int = PAGE_SIZE) -> Page[Row]:
    """Fetch the page of a list, newest first by ``by`` and id, that a cursor from its query string asks for.

    Several lists are read as one: the newest of all of them.
    """
    start = read_cursor(cursor)
    is_backwards = start is not None and start.direction == "newer"
    order = [by, "id"] if is_backwards else [f"-{by}", "-id"]
    found: list[Row] = []
    for rows in lists:
        beyond = rows.filter(_beyond(start, by)) if start else rows
        found += beyond.order_by(*order)[: size + 1]
    found.sort(key=lambda row: _place(row, by), reverse=not is_backwards)
    has_more = len(found) > size
    found = found[:size]
    if is_backwards:
        found.reverse()
    has_newer, has_older = (has_more, True) if is_backwards else (start is not None, has_more)
    return Page(
        rows=found,
        newer=str(_cursor("newer", found[0], by)) if found and has_newer else "",
        older=str(_cursor("older", found[-1], by)) if found and has_older else "",
    )


def _place(row: Any, by: str) -> tuple[datetime, UUID]:
    return getattr(row, by), row.id


def _cursor(direction: str, row: Any, by: str) -> Cursor:
    return Cursor(direction, *_place(row, by))


def _beyond(start: Cursor, by: str) -> Q:
    """Row-wise comparison, written so that the index on ``by`` bounds the scan."""
    side, strict = ("gte", "gt") if start.direction == "newer" else ("lte", "lt")
    bound = Q(**{f"{by}__{side}": start.at})
    return bound & (Q(**{f"{by}__{strict}": start.at}) | Q(**{f"id__{strict}": start.id}))

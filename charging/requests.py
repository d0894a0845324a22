"""One HTTP request to the fast lane, and what goes back: no framework, little work."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, ClassVar, cast

import msgspec

from merchants import request_ids, strict_json
from merchants.errors import PayloadTooLarge, RequestTimeout, TooManyRequests

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_SECONDS_MAX = 30.0
BODIES_BYTES_MAX = 64 * 2**20  # of bodies that have come in part, in one process


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Gather headers; one that was sent twice is joined by a comma and a space."""
    known: dict[bytes, bytes] = {}
    for name, value in headers:
        known[name] = known[name] + b", " + value if name in known else value
    return known


class Request:
    """One HTTP request, its headers by lower-case name, as ``by_name`` joins them.

    ``whole`` is the body when it came along with the head; otherwise ``receive`` brings it. ``is_checked``: the headers
    are known to say nothing against the body.
    """

    __slots__ = ("headers", "id", "is_checked", "path", "query", "receive", "whole")

    gathered: ClassVar[int] = 0  # bytes of bodies, of all requests, that are not whole yet

    def __init__(
        self,
        path: str,
        headers: Mapping[bytes, bytes],
        *,
        query: bytes = b"",
        whole: bytes | None = None,
        receive: Receive | None = None,
        is_checked: bool = False,
    ) -> None:
        self.path = path
        self.query = query
        self.whole = whole
        self.receive = receive
        self.is_checked = is_checked
        self.headers = headers
        self.id = request_ids.accept(self.header(b"x-request-id"))

    def header(self, name: bytes) -> str | None:
        """Read a header's value; None where it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def check_body(self, bytes_max: int, media_types: tuple[str, ...] = strict_json.JSON) -> None:
        """Refuse a body by what the headers say of it; raises ServiceError."""
        if self.is_checked:
            return
        strict_json.check_headers(
            content_type=self.header(b"content-type") or "",
            content_encoding=self.header(b"content-encoding") or "",
            content_length=self.header(b"content-length"),
            bytes_max=bytes_max,
            media_types=media_types,
        )

    async def body(self, bytes_max: int, media_types: tuple[str, ...] = strict_json.JSON) -> bytes:
        """Read the whole body, of at most ``bytes_max`` bytes; raises ServiceError, or ConnectionResetError."""
        self.check_body(bytes_max, media_types)
        if self.whole is not None:
            return self.whole
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                return await self._gather(int(self.headers[b"content-length"]), bytes_max)
        except TimeoutError:
            raise RequestTimeout() from None

    async def _gather(self, length: int, bytes_max: int) -> bytes:
        receive = cast(Receive, self.receive)
        message = await receive()
        part = _part(message)
        if len(part) == length or not message.get("more_body"):
            return part
        parts, size = [part], len(part)
        Request.gathered += size
        try:
            while size != length and message.get("more_body"):
                if Request.gathered > BODIES_BYTES_MAX:
                    raise TooManyRequests(code="OVERLOADED")
                message = await receive()
                part = _part(message)
                parts.append(part)
                size += len(part)
                Request.gathered += len(part)
                if size > bytes_max:
                    about = {"bytesMax": bytes_max}
                    raise PayloadTooLarge(f"The body may have at most {bytes_max} bytes.", details=about)
            return b"".join(parts)
        finally:
            Request.gathered -= size


def _part(message: MutableMapping[str, Any]) -> bytes:
    if message["type"] == "http.disconnect":
        raise ConnectionResetError
    body: bytes = message.get("body", b"")
    return body


class Answer(msgspec.Struct, frozen=True):
    """A status and a JSON body, to be written out."""

    status: int
    body: Any
    replayed: bool = False


class Response(msgspec.Struct, frozen=True):
    """What goes over the wire."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

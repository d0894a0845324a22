"""A keep-alive HTTP/1.1 client that costs little, and that says honestly when it does not know."""

import asyncio
from asyncio import StreamReader, StreamWriter

from tests.faults.journal import Try

HEADERS_KEPT = ("content-type", "retry-after", "idempotent-replayed", "connection")


class Lost(Exception):
    """No answer came, or not the whole of one: what became of the request is not known."""


class Connection:
    """One connection, made when it is needed and made anew when it is lost. One request at a time."""

    def __init__(self, port: int, secret: str, *, seconds_max: float) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
        self._seconds_max = seconds_max
        self._streams: tuple[StreamReader, StreamWriter] | None = None

    async def post(self, path: str, body: bytes, key: str | None = None) -> Try:
        """Send one request; an answer that did not arrive whole is a try without a status."""
        return await self._try(self._request("POST", path, body, key))

    async def post_and_leave(self, path: str, body: bytes, key: str | None = None) -> None:
        """Send one request and hang up before it can be answered."""
        try:
            _, writer = await self._open()
            writer.write(self._request("POST", path, body, key))
            await writer.drain()
        except OSError:
            pass  # then it was not even sent
        self.close()

    async def get(self, path: str) -> Try:
        """Read one page."""
        return await self._try(self._request("GET", path, b"", None))

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _request(self, method: str, path: str, body: bytes, key: str | None) -> bytes:
        more = f"Idempotency-Key: {key}\r\n" if key else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{more}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def _open(self) -> tuple[StreamReader, StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def _try(self, request: bytes) -> Try:
        try:
            async with asyncio.timeout(self._seconds_max):
                return await self._exchange(request)
        except (Lost, OSError, EOFError, ValueError) as error:  # a timeout is an OSError
            self.close()
            return Try(None, f"{type(error).__name__} {error}")

    async def _exchange(self, request: bytes) -> Try:
        reader, writer = await self._open()
        writer.write(request)
        head_lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head_lines[1:] if line)
        said = await self._body(reader, headers)
        if headers.get("connection") == "close":
            self.close()
        kept = {name: headers[name] for name in HEADERS_KEPT if name in headers}
        return Try(int(head_lines[0].split()[1]), said.decode(), kept)

    @staticmethod
    async def _body(reader: StreamReader, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            raise Lost("an answer of unknown length")
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(parts)

"""The web server: uvicorn, with a short way to the fast lane for requests that arrive whole.

uvicorn parses (llhttp, in C) and serves everything on one thread, so that no other waits for the interpreter. A call of
the lane whose body came along with its head, as nearly all do, is answered without ASGI's messages in between; what
comes in parts, or is unusual in any way, takes the ordinary way (docs/adr/0011).

    python -m config.server --host 127.0.0.1 --port 8000 --workers 2
"""

import argparse
import asyncio
import json
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

import config.asgi  # noqa: F401 - sets Django up, which the lane needs
from charging import lane
from charging.requests import Request, Response
from config.processes import web_workers
from merchants import request_ids
from merchants.errors import ValidationFailed, envelope

APPLICATION = "config.asgi:application"
BACKLOG = 2048
HEAD_BYTES_MAX = 64 * 1024
REQUEST_SECONDS_MAX = 60.0  # from the first byte of a request to its last; the doors allow a body less
IDLE_SECONDS_MAX = 75.0  # more than a load balancer waits before it closes an idle connection itself
LATE_EVERY_SECONDS = 1  # those who are late are looked for
STOP_SECONDS_MAX = 20  # for requests that are being answered
HEARTBEAT_SECONDS_MAX = 15  # a process that is silent for so long is replaced

LANE_URLS = frozenset(path.encode() for path in ("/v0/usage", "/v0/usage/batch", "/v0/entitlements"))
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class _Answering:
    """A call of the lane that is being answered, as uvicorn's protocol knows its own cycles."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY
        self.task: asyncio.Task[None] | None = None  # the event loop itself does not hold on to it


_NOBODY = asyncio.Event()  # waits for what uvicorn's cycles wait for


_open: set["Connection"] = set()


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._held: list[bytes] | None = None  # of a call of the lane whose end has not come yet
        self._head_bytes = 0
        self._in_head = True
        self._since: float | None = self.loop.time()  # when a request, or the wait for one, began
        self._is_idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        _open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        _open.discard(self)
        super().connection_lost(exc)

    # --- what arrives ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a call of the lane that is not whole by then goes the ordinary way."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        held, self._held = self._held, None
        if self.transport.is_closing():
            return
        if held is not None:
            self._go_the_ordinary_way()
            for part in held:
                super().on_body(part)
        elif self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._is_idle, self._since = True, False, self.loop.time()
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if self._is_for_lane():
            self._held = []
        else:
            self._go_the_ordinary_way()

    def _go_the_ordinary_way(self) -> None:
        """Make up for what uvicorn prepares at the beginning of each message: the scope."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list is in the scope
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        self._since = None
        if self._held is None:
            super().on_message_complete()
            return
        body, self._held = b"".join(self._held), None
        cycle = _Answering(keep_alive=self.parser.should_keep_alive())
        self.cycle = cast(RequestResponseCycle, cycle)
        request = Request(self.url.decode("ascii"), self.headers, whole=body)
        if not lane.begin(request, partial(self._answer, cycle)):
            cycle.task = self.loop.create_task(self._respond(cycle, request))

    def _is_for_lane(self) -> bool:
        return (
            self.url in LANE_URLS
            and self._is_free()
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        )

    def _is_free(self) -> bool:
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is None or cycle.response_complete

    # --- what leaves -------------------------------------------------------------------------------------

    async def _respond(self, cycle: _Answering, request: Request) -> None:
        self._answer(cycle, await lane.respond(request))

    def _answer(self, cycle: _Answering, response: Response) -> None:
        if cycle.disconnected:
            return
        lines = [_LINES[response.status]]
        for name, value in response.headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        lines.append(response.body)
        self.transport.write(b"".join(lines))
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Begin what was sent ahead; without a timer for each answer, see ``close_if_late``."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, application = self.pipeline.pop()
            self._start_asgi_task(cycle, application)
        elif self._since is None:
            self._is_idle, self._since = True, self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        request_id = request_ids.accept(None)
        refusal = ValidationFailed("This is not a sound HTTP request.", field="request", code="INVALID_REQUEST")
        body = json.dumps(envelope(refusal, request_id)).encode()
        about = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
        self.transport.write(_LINES[400] + about.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def close_if_late(self, now: float) -> None:
        """Hang up on a client that has sent nothing, or half a request, for too long."""
        if self._since is not None and now - self._since > (IDLE_SECONDS_MAX if self._is_idle else REQUEST_SECONDS_MAX):
            self.transport.close()


async def close_late_ones() -> None:
    """Hang up on clients that keep a connection and do not use it."""
    now = asyncio.get_running_loop().time()
    for connection in list(_open):
        connection.close_if_late(now)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=web_workers(), help="processes that serve")
    given = parser.parse_args()
    config = uvicorn.Config(
        APPLICATION,
        host=given.host,
        port=given.port,
        workers=given.workers,
        http=Connection,
        ws="none",
        loop="uvloop",
        lifespan="on",
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
        timeout_worker_healthcheck=HEARTBEAT_SECONDS_MAX,
        callback_notify=close_late_ones,
        timeout_notify=LATE_EVERY_SECONDS,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
    if given.workers == 1:
        uvicorn.Server(config).run()
    else:
        Multiprocess(config, [config.bind_socket()]).run()


if __name__ == "__main__":
    main()

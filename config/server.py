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

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

import config.asgi  # sets Django up, which the lane needs
from charging import lane
from charging.requests import Request, Response
from config.processes import REQUESTS_STOP_SECONDS_MAX, web_workers
from merchants import request_ids
from merchants.errors import ValidationFailed, envelope

APPLICATION = "config.asgi:application"
BACKLOG = 2048
HEAD_BYTES_MAX = 64 * 1024
WRITE_SECONDS_MAX = 60.0  # in which a client must begin to take what it asked for
REQUEST_SECONDS_MAX = 60.0  # from the first byte of a request to its last; the doors allow a body less
IDLE_SECONDS_MAX = 75.0  # more than a load balancer waits before it closes an idle connection itself
LATE_EVERY_SECONDS = 1  # those who are late are looked for
HEARTBEAT_SECONDS_MAX = 15  # a process that is silent for so long is replaced

OFFERS = frozenset({b"upgrade", b"connection", b"http2-settings"})
LANE_URLS = frozenset(path.encode() for path in config.asgi.LANE_PATHS)
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class _Answering:
    """A call of the lane that is being answered, as uvicorn's protocol knows its own cycles."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.message_event = _UNHEARD
        self.task: asyncio.Task[None] | None = None  # the event loop itself does not hold on to it


_UNHEARD = asyncio.Event()  # uvicorn sets a cycle's event; for a call of the lane nobody waits for it
_open: set["Connection"] = set()


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._held: list[bytes] | None = None  # of a call of the lane whose end has not come yet
        self._overhead = 0  # bytes since the last of a body: heads, trailers, the lines between chunks
        self._is_in_head = True
        self._upgrades = False
        self._since: float | None = self.loop.time()  # when a request, the wait for one, or a stuck answer began
        self._patience = IDLE_SECONDS_MAX

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        _open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        _open.discard(self)
        super().connection_lost(exc)

    # --- what arrives ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a call of the lane that is not whole by then goes the ordinary way."""
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.send_400_response("")
        held, self._held = self._held, None
        if self.transport.is_closing():
            return
        if held is not None:
            self._go_the_ordinary_way()
            for part in held:
                super().on_body(part)
        elif self._overhead > HEAD_BYTES_MAX:
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let an answer that is under way leave for a client that has nothing more to say."""
        if self._is_free():
            return False
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        self._is_in_head, self._upgrades = True, False
        self._wait(REQUEST_SECONDS_MAX)
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # a trailer is no header (RFC 9110, 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self.parser.should_upgrade():
            self._upgrades = True
        elif self._is_for_lane():
            self._held = []
        else:
            self._go_the_ordinary_way()

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        if self._upgrades:
            return
        self._overhead = 0
        self._since = None
        if self._held is None:
            super().on_message_complete()
            if self._is_free():  # it was refused by its head
                self._wait(IDLE_SECONDS_MAX)
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
            and not self.flow.write_paused
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def _is_free(self) -> bool:
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is None or cycle.response_complete

    def _go_the_ordinary_way(self) -> None:
        """Make up for what uvicorn prepares at the beginning of each message: the scope."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list is in the scope
        super().on_headers_complete()

    def _decline(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 where a client offers another protocol (as Java's does): the same request without offer."""
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers if name not in OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # --- what leaves -------------------------------------------------------------------------------------

    async def _respond(self, cycle: _Answering, request: Request) -> None:
        self._answer(cycle, await lane.respond(request))

    def _answer(self, cycle: _Answering, response: Response) -> None:
        if self.transport.is_closing():
            return
        lines = [_LINES[response.status]]
        for name, value in response.headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        if lane.CLOSE in response.headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
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
            self._wait(IDLE_SECONDS_MAX)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or only hang up after the answer that is under way."""
        if not self._is_free():
            self.cycle.keep_alive = False
            self.transport.pause_reading()
            return
        request_id = request_ids.accept(None)
        refusal = ValidationFailed("This is not a sound HTTP request.", field="request", code="INVALID_REQUEST")
        body = json.dumps(envelope(refusal, request_id)).encode()
        about = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
        self.transport.write(_LINES[400] + about.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(WRITE_SECONDS_MAX)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_free():
            self._wait(IDLE_SECONDS_MAX)
        else:
            self._since = None

    # --- who is late -------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        self._since, self._patience = self.loop.time(), seconds

    def close_if_late(self, now: float) -> None:
        """Hang up on a client that sends nothing, or half a request, or takes no answer, for too long."""
        if self._since is not None and now - self._since > self._patience:
            self.transport.abort()


async def close_late_ones() -> None:
    """Hang up on clients that keep a connection and do not use it."""
    now = asyncio.get_running_loop().time()
    for connection in list(_open):
        connection.close_if_late(now)


def configuration(host: str, port: int, workers: int) -> uvicorn.Config:
    """Return how uvicorn serves."""
    return uvicorn.Config(
        APPLICATION,
        host=host,
        port=port,
        workers=workers,
        http=Connection,
        ws="none",
        loop="uvloop",
        lifespan="on",
        backlog=BACKLOG,
        timeout_graceful_shutdown=REQUESTS_STOP_SECONDS_MAX,
        timeout_worker_healthcheck=HEARTBEAT_SECONDS_MAX,
        callback_notify=close_late_ones,
        timeout_notify=LATE_EVERY_SECONDS,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=web_workers(), help="processes that serve")
    given = parser.parse_args()
    config = configuration(given.host, given.port, given.workers)
    if given.workers == 1:
        uvicorn.Server(config).run()
    else:
        Multiprocess(config, [config.bind_socket()]).run()


if __name__ == "__main__":
    main()

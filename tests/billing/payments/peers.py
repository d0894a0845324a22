"""A peer that speaks Stripe: localstripe in a process of its own, behind a proxy that keeps keys and makes faults.

localstripe knows no idempotency keys and charges twice for one; the proxy keeps them as Stripe does. It also writes
requests of today's API the way localstripe, which is of 2017's, understands them.
"""

import http.client
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

START_SECONDS_MAX = 20.0
HANG_SECONDS = 300.0
NOTHING = b'{"object": "list", "data": [], "has_more": false, "url": "/"}'
# What localstripe does not know: lists of which it has none, and who it is.
UNKNOWN = {
    "/v1/disputes": NOTHING,
    "/v1/checkout/sessions": NOTHING,
    "/v1/account": b'{"object": "account", "id": "acct_local"}',
}
RUNNER = Path(__file__).with_name("run_localstripe.py")

Answer = tuple[int, bytes]


class Proxy(ThreadingHTTPServer):
    """What stands between us and localstripe.

    Args:
        is_idempotent: False lets every request through, whatever its key.
        drops: how often of 1 an answer is dropped after the effect.
        hangs: how often of 1 a request is left hanging.
        hangs_after: whether it has had its effect by then.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.peer_port = port
        self.is_idempotent = True
        self.drops = self.hangs = 0.0
        self.hangs_after = False
        self.dropped = self.hung = 0
        self.call: object = None  # what we are asking it at the moment
        self.random = random.Random(1)
        self.answers: dict[str, tuple[bytes, Answer | None]] = {}
        self.lock = threading.Lock()
        self.ends = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: callers that hang up are what this is for."""

    def is_struck(self, rate: float) -> bool:
        with self.lock:
            return self.random.random() < rate

    def begin(self, key: str, asked: bytes) -> Answer | None:
        """Return what a key was answered, or refuses; None lets the request through."""
        with self.lock:
            known = self.answers.get(key)
            if known is None:
                self.answers[key] = (asked, None)
                return None
            if known[0] != asked:
                return 400, b'{"error": {"type": "idempotency_error", "message": "Another request had this key."}}'
            return known[1] or (409, b'{"error": {"type": "api_error", "message": "The key is in use."}}')

    def end(self, key: str, asked: bytes, answer: Answer) -> None:
        with self.lock:
            self.answers[key] = (asked, answer)

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("::1", self.peer_port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hangs = self.server.is_struck(self.server.hangs)
        answer = self._answer(body) if self.server.hangs_after or not hangs else (0, b"")
        if hangs:
            self.server.hung += 1
            self.server.ends.wait(HANG_SECONDS)
            self.close_connection = True
            return
        if self.command == "POST" and self.server.is_struck(self.server.drops):
            self.server.dropped += 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, content = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: bytes) -> Answer:
        key = self.headers.get("Idempotency-Key") if self.server.is_idempotent else None
        unknown = UNKNOWN.get(urlsplit(self.path).path)
        if self.command == "GET" and unknown is not None:
            return 200, unknown
        path, sent = _of_2017(self.path, body)
        headers = {
            "Authorization": self.headers["Authorization"],
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(sent)),
        }
        if key is None or self.command != "POST":
            return self.server.forward(self.command, path, sent, headers)
        asked = self.path.encode() + b"\n" + body
        known = self.server.begin(key, asked)
        if known is not None:
            return known
        answer = self.server.forward(self.command, path, sent, headers)
        self.server.end(key, asked, answer)
        return answer


def _of_2017(path: str, body: bytes) -> tuple[str, bytes]:
    """Write a request as the old API has it: other names for kinds of cards, lists without a time, no balance."""
    parts = urlsplit(path)
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query)
        if not name.startswith("created") and not value.endswith("balance_transaction")
    ]
    form = [
        (name.replace("allowed_payment_method_types", "payment_method_types"), value)
        for name, value in parse_qsl(body.decode(), keep_blank_values=True)
        if not value.endswith("balance_transaction")
    ]
    return parts.path + (f"?{urlencode(query)}" if query else ""), urlencode(form).encode()


@contextmanager
def localstripe(directory: Path) -> Iterator[Proxy]:
    """Run localstripe and its proxy; both are gone afterwards."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    log = (directory / "localstripe.log").open("wb")
    process = subprocess.Popen([sys.executable, str(RUNNER), str(port)], stdout=log, stderr=log, cwd=directory)
    proxy = Proxy(port)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        _wait(process, port)
        yield proxy
    finally:
        proxy.ends.set()
        proxy.shutdown()
        proxy.server_close()
        process.terminate()
        process.wait(10)
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            httpx.get(f"http://[::1]:{port}/v1/customers", headers={"Authorization": "Bearer sk_test_x"}, timeout=2)
            return
        except httpx.HTTPError:
            assert process.poll() is None, "localstripe ended"
            assert time.monotonic() < deadline, "localstripe does not answer"
            time.sleep(0.1)


@contextmanager
def dripping() -> Iterator[str]:
    """Run a server that answers a byte at a time, for as long as somebody listens; yields its address."""
    over = threading.Event()

    class Drip(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not over.wait(0.05):
                self.wfile.write(b" ")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: callers that hang up are what this is for."""

    server = Server(("127.0.0.1", 0), Drip)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()

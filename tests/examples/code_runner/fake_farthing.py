"""A stand-in for Farthing with the few endpoints the code runner uses: real HTTP, real keys, and trouble to order."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PRICES = {"bm_basic": 1_000_000, "bm_premium": 4_000_000, "bm_ms": 350}  # nanos for each unit

Answer = tuple[int, dict[str, Any]]


@dataclass
class Hold:
    """Funds that are held for one reservation."""

    customer: str
    nanos: int


@dataclass
class FakeFarthing:
    """All the state, and the switches that tests turn."""

    url: str = ""
    funds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    holds: dict[str, Hold] = field(default_factory=dict)  # the open ones
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    answered: dict[tuple[str, str], tuple[Any, Answer]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)
    # What befalls the next calls of a path: a status to answer with, "down" (no answer, no effect) or "lost" (no
    # answer, but done all the same). The last one stays when it is in `lasting`.
    trouble: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    lasting: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def calls_of(self, path: str) -> list[dict[str, Any]]:
        """The bodies that were sent to a path."""
        return [body for called, body, _ in self.calls if called == path]

    def next_trouble(self, path: str) -> int | str | None:
        """What the call under way is to suffer."""
        waiting = self.trouble[path]
        if not waiting:
            return None
        return waiting[0] if path in self.lasting and len(waiting) == 1 else waiting.pop(0)

    def answer(self, path: str, body: dict[str, Any], key: str | None) -> Answer:
        """What the real thing would say."""
        key = body.get("idempotencyKey", key)
        if key and (path, key) in self.answered:
            first, answer = self.answered[path, key]
            conflict = {"error": "conflict", "code": "IDEMPOTENCY_CONFLICT", "message": "another body"}
            return answer if first == body else (409, conflict)
        answer = self._do(path, body)
        if key and answer[0] < 300:
            self.answered[path, key] = (body, answer)
        return answer

    def _do(self, path: str, body: dict[str, Any]) -> Answer:
        match path.split("/")[2:]:
            case ["entitlements"]:
                return self._reserve(body["customerId"], _cost(body["entitlementData"]))
            case ["entitlements", id, "release"]:
                return self._release(id)
            case ["usage"]:
                return self._charge(body)
            case ["subscriptions", id, "portal"]:
                return 200, {"url": f"https://pay.example/{id}", "expiresAt": "2999-01-01T00:00:00Z"}
        return 404, {"error": "not_found", "code": "NOT_FOUND", "message": "no such path"}

    def _reserve(self, customer: str, nanos: int) -> Answer:
        if self.funds[customer] < nanos:
            details = {"available": str(self.funds[customer]), "required": str(nanos)}
            lack = {
                "error": "payment_required",
                "code": "INSUFFICIENT_FUNDS",
                "message": "no funds",
                "details": details,
            }
            return 402, lack
        self.funds[customer] -= nanos
        id = f"com_{len(self.answered)}"
        self.holds[id] = Hold(customer, nanos)
        return 201, {"id": id, "object": "entitlement", "remainingBalance": str(nanos)}

    def _release(self, id: str) -> Answer:
        hold = self.holds.pop(id, None)
        if hold is None:
            return 409, {"error": "conflict", "code": "RESERVATION_CLOSED", "message": "not open"}
        self.funds[hold.customer] += hold.nanos
        return 200, {"id": id}

    def _charge(self, body: dict[str, Any]) -> Answer:
        cost, hold = _cost(body["properties"]), self.holds.pop(body["entitlementId"])
        self.funds[hold.customer] += hold.nanos - cost
        event = {"id": f"usg_{len(self.events)}", "billing": {"totalAmount": cost}}
        self.events[body["idempotencyKey"]] = body
        return 201, event


def _cost(properties: list[dict[str, Any]]) -> int:
    return sum(PRICES[each["billableMetricId"]] * each["quantity"] for each in properties)


def _handler(fake: FakeFarthing) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            with fake.lock:
                fake.calls.append((self.path, body, key))
                trouble = fake.next_trouble(self.path)
                if isinstance(trouble, int):
                    answer: Answer = trouble, {"error": "trouble", "code": "TROUBLE", "message": "to order"}
                elif trouble == "down":
                    self.close_connection = True
                    return
                else:
                    answer = fake.answer(self.path, body, key)
            if trouble == "lost":
                self.close_connection = True
                return
            payload = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            if answer[0] == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[FakeFarthing]:
    """A fake that listens, until the block ends."""
    fake = FakeFarthing()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()

"""The HTTP side of the code runner: a plain ASGI application, so that nothing hides the sale.

Answers are JSON, and errors have {"error", "code", "message"}:

    POST /submissions        {"code": "...", "stdin": "", "tier": "basic" | "premium"} → 202, or 402 with a link to pay
    GET  /submissions/{id}   ?wait=10 waits up to that many seconds for the result
    GET  /healthz            what is under way and what is owed to the billing system
    GET  /                   a page about the service
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from . import sandbox
from .farthing import Farthing, connect
from .journal import Journal, Submission
from .seller import BillingUnavailable, Busy, KeyReused, Order, PaymentRequired, Seller
from .settings import Buyer, CannotStart, Settings, digest

BODY_BYTES_MAX = 512 * 1024
CLIENT_KEY_LENGTH_MAX = 255
WAIT_SECONDS_MAX = 30.0
BUSY_RETRY_SECONDS = 5
CHALLENGE = {"WWW-Authenticate": "Bearer"}
PAGE = Path(__file__).with_name("landing.html").read_bytes()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, dict[str, Any] | bytes, dict[str, str]]

log = logging.getLogger(__name__)


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(message)
        self.answer: Answer = (status, {"error": code.lower(), "code": code, "message": message, **more}, headers or {})


class CodeRunner:
    """The application; what it needs lives from lifespan startup to shutdown."""

    def __init__(self) -> None:
        self._resources = AsyncExitStack()
        self._settings: Settings
        self._seller: Seller

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """This will serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start(Settings.read(os.environ))
        except CannotStart as error:
            await send({"type": "lifespan.startup.failed", "message": f"the code runner cannot start: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self, settings: Settings) -> None:
        """This will open the journal and the way to Farthing; raises CannotStart when that cannot work."""
        try:
            await self._open(settings)
        except BaseException:
            await self._resources.aclose()
            raise
        await self._seller.start()

    async def stop(self) -> None:
        """This will finish what is running and close everything."""
        await self._seller.stop()
        await self._resources.aclose()

    async def _open(self, settings: Settings) -> None:
        runs = settings.data_directory / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        # Two sellers on one journal would abandon each other's runs.
        lock = self._resources.enter_context((settings.data_directory / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"another code runner uses {settings.data_directory}") from None
        shutil.rmtree(runs)
        runs.mkdir(mode=0o711)
        await check_sandbox(settings)
        journal = Journal(settings.data_directory / "journal.sqlite3")
        self._resources.callback(journal.close)
        http = await self._resources.enter_async_context(
            connect(url=settings.farthing_url, api_key=settings.farthing_api_key)
        )
        self._settings, self._seller = settings, Seller(settings=settings, farthing=Farthing(http), journal=journal)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            status, body, headers = await self._answer(scope, receive)
        except Refusal as refusal:
            status, body, headers = refusal.answer
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            status, body, headers = 500, {"error": "internal", "code": "INTERNAL", "message": "our fault"}, {}
        if isinstance(body, dict):
            body, headers = msgspec.json.encode(body), {"Content-Type": "application/json", **headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        match scope["method"], scope["path"].split("/")[1:]:
            case "GET", [""]:
                policy = "default-src 'none'; style-src 'unsafe-inline'"
                return 200, PAGE, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
            case "GET", ["healthz"]:
                return 200, {"status": "ok", **self._seller.health()}, {}
            case "POST", ["submissions"]:
                return await self._submit(scope, receive)
            case "GET", ["submissions", id]:
                return await self._look(scope, id)
            case _:
                raise Refusal(404, "NOT_FOUND", "there is nothing here")

    async def _submit(self, scope: Message, receive: Receive) -> Answer:
        buyer, key = self._buyer(scope), _header(scope, "idempotency-key")
        if key is not None and not 1 <= len(key) <= CLIENT_KEY_LENGTH_MAX:
            raise Refusal(400, "INVALID_KEY", f"Idempotency-Key must have 1 to {CLIENT_KEY_LENGTH_MAX} characters")
        try:
            order = msgspec.json.decode(await _body(receive), type=Order)
            order.code.encode(), order.stdin.encode()  # a lone surrogate is valid JSON but not text
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise Refusal(400, "INVALID_REQUEST", str(error)) from None
        try:
            submission = await self._seller.submit(buyer=buyer, order=order, client_key=key)
        except PaymentRequired as lack:
            url = lack.link and lack.link.url
            message = "not enough funds: top up at topUpUrl, then send the request again"
            raise Refusal(402, "INSUFFICIENT_FUNDS", message, topUpUrl=url, details=lack.details) from None
        except KeyReused:
            raise Refusal(409, "IDEMPOTENCY_CONFLICT", "this Idempotency-Key was used for another request") from None
        except (Busy, BillingUnavailable) as trouble:
            code = "BUSY" if isinstance(trouble, Busy) else "BILLING_UNAVAILABLE"
            retry = {"Retry-After": str(BUSY_RETRY_SECONDS)}
            raise Refusal(503, code, "nothing was run or charged; please try again", retry) from None
        return 202, view(submission), {"Location": f"/submissions/{submission.id}"}

    async def _look(self, scope: Message, id: str) -> Answer:
        wait = parse_qs(scope["query_string"].decode("ascii", "replace")).get("wait", ["0"])[-1]
        if not (wait.isascii() and wait.isdigit() and float(wait) <= WAIT_SECONDS_MAX):
            raise Refusal(400, "INVALID_REQUEST", f"wait must be a number of seconds up to {WAIT_SECONDS_MAX:.0f}")
        submission = await self._seller.look(buyer=self._buyer(scope), id=id, wait_seconds=float(wait))
        if submission is None:
            raise Refusal(404, "NOT_FOUND", "there is no such submission")
        return 200, view(submission), {}

    def _buyer(self, scope: Message) -> Buyer:
        scheme, _, token = (_header(scope, "authorization") or "").partition(" ")
        buyer = self._settings.buyers.get(digest(token)) if scheme.lower() == "bearer" else None
        if buyer is None:
            raise Refusal(401, "UNAUTHORIZED", "send Authorization: Bearer <your token>", CHALLENGE)
        return buyer


def view(submission: Submission) -> dict[str, Any]:
    """This will show a submission to the customer who made it."""
    result = submission.result or {}
    unfinished = "not_run" if submission.state in ("abandoned", "released") else "running"
    nanos = submission.charged_nanos
    return {
        "id": submission.id,
        "tier": submission.tier,
        "status": result.get("status", unfinished),
        "exitCode": result.get("exit_code"),
        "stdout": result.get("stdout"),
        "stderr": result.get("stderr"),
        "milliseconds": result.get("milliseconds"),
        "billing": {
            "state": submission.state,
            "usageEventId": submission.usage_event_id,
            "charged": None if nanos is None else f"{nanos // 10**9}.{nanos % 10**9:09}",
        },
    }


async def check_sandbox(settings: Settings) -> None:
    """This will run one harmless program; raises CannotStart where the host does not let us."""
    limits, runs = settings.limits("basic"), settings.data_directory / "runs"
    try:
        outcome = await sandbox.run(code="print(6 * 7)", stdin="", limits=limits, directory=runs)
    except sandbox.SandboxError as error:
        raise CannotStart(f"programs cannot be run safely here: {error}") from None
    if not outcome.isolated:
        log.warning("RUNNER_WEAK_SANDBOX=1: programs see this host's files and network; run only your own")


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "INVALID_REQUEST", "the request ended early")
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES_MAX:
            raise Refusal(413, "TOO_LARGE", f"a request may have {BODY_BYTES_MAX} bytes")
        if not message.get("more_body"):
            return body


def _header(scope: Message, name: str) -> str | None:
    values = [value for key, value in scope["headers"] if key == name.encode()]
    return values[0].decode("latin-1") if values else None


application = CodeRunner()

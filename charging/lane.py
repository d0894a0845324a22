"""The door of the fast lane: an ASGI application without a framework on the path.

``POST /v0/usage``, ``/v0/usage/batch``, ``/v0/entitlements`` and ``/v0/entitlements/{id}/release`` and ``/extend``.
A request is read, becomes commands, waits for their commit, and is answered.
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

import msgspec
from django.conf import settings
from prometheus_client import Counter

from charging import answers, commands
from charging.book import Event, Reservation
from charging.coalescing import Coalescer
from charging.directory import Directory
from charging.outcomes import Done, Outcome, Refused
from merchants import fields, ids, regions, request_ids, strict_json
from merchants.errors import (
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    ServiceError,
    TooManyRequests,
    Unavailable,
    ValidationFailed,
    envelope,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)

BODY_SECONDS_MAX = 30.0
BODIES_BYTES_MAX = 64 * 2**20  # of bodies that have come in part, in one process
DIRECTORY_THREADS = 2
DIRECTORY_SECONDS_MAX = 8.0
COUNT_EVERY_SECONDS = 1.0
GC_ALLOCATIONS = 20_000  # containers made between two collections of the youngest

REQUESTS = Counter("farthing_lane_requests", "Requests answered by the fast lane.", ["route", "status"])

_JSON = (b"content-type", b"application/json")
_REPLAYED = (b"idempotent-replayed", b"true")
_CLOSE = (b"connection", b"close")  # the rest of the body is still on its way


class Request:
    """One HTTP request, its headers by lower-case name; a header sent twice is joined by a comma.

    ``whole`` is the body when it came along with the head; otherwise ``receive`` brings it.
    """

    __slots__ = ("headers", "id", "path", "query", "receive", "whole")

    gathered: ClassVar[int] = 0  # bytes of bodies, of all requests, that are not whole yet

    def __init__(
        self,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        query: bytes = b"",
        whole: bytes | None = None,
        receive: Receive | None = None,
    ) -> None:
        self.path = path
        self.query = query
        self.whole = whole
        self.receive = receive
        known: dict[bytes, bytes] = {}
        for name, value in headers:
            known[name] = known[name] + b"," + value if name in known else value
        self.headers = known
        self.id = request_ids.accept(self.header(b"x-request-id"))

    def header(self, name: bytes) -> str | None:
        """Read a header's value; None where it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def check_body(self, bytes_max: int) -> None:
        """Refuse a body by what the headers say of it; raises ServiceError."""
        strict_json.check_headers(
            content_type=self.header(b"content-type") or "",
            content_encoding=self.header(b"content-encoding") or "",
            content_length=self.header(b"content-length"),
            bytes_max=bytes_max,
        )

    async def body(self, bytes_max: int) -> bytes:
        """Read the whole body, of at most ``bytes_max`` bytes; raises ServiceError, or ConnectionResetError."""
        self.check_body(bytes_max)
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


class Lane:
    """The state of one web process: the coalescer, and what it knows of keys."""

    def __init__(self) -> None:
        self._coalescer = Coalescer(
            url=settings.DATABASE_URL,
            workers=settings.LANE_WORKERS,
            waiting_max=settings.LANE_QUEUE_MAX,
            bucket_groups=settings.LANE_BUCKET_GROUPS,
        )
        self._directory = Directory(url=settings.DATABASE_URL)
        self._executor = ThreadPoolExecutor(DIRECTORY_THREADS, thread_name_prefix="directory")
        self._loop = asyncio.get_running_loop()
        self._counting = self._loop.create_task(_count_now_and_then())

    async def close(self) -> None:
        """Finish what was accepted."""
        await self._coalescer.stop()
        self._counting.cancel()
        self._executor.shutdown()
        self._directory.close()

    # --- who asks ----------------------------------------------------------------------------------------

    async def merchant(self, request: Request, permission: str) -> bytes:
        """Return the merchant whose key came with a request; raises Unauthorized, Forbidden."""
        header = request.header(b"authorization")
        known, facts = self._directory.recall(header)
        if not known:
            facts = await self._ask(self._directory.look_up, header, datetime.now(UTC))
        return self._directory.admit(facts, permission, datetime.now(UTC))

    async def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        asked = self._loop.run_in_executor(self._executor, question, *arguments)
        try:
            return await asyncio.wait_for(asked, DIRECTORY_SECONDS_MAX)
        except TimeoutError:
            raise Unavailable() from None

    # --- what is asked -----------------------------------------------------------------------------------

    async def run_one(self, command: commands.Command) -> Done:
        """Carry out one command; raises the ServiceError that refused it."""
        outcome = (await self._coalescer.run([command]))[0]
        if isinstance(outcome, Refused):
            raise outcome.error
        return outcome

    async def usage(self, request: Request) -> Answer:
        merchant_id = await self.merchant(request, "usage:write")
        _is_regional(request)
        command = commands.parse_usage(await request.body(commands.BODY_BYTES_MAX), merchant_id)
        done = await self.run_one(command)
        return Answer(201, answers.usage_event(cast(Event, done.answer)), replayed=done.replayed)

    async def batch(self, request: Request) -> Answer:
        merchant_id = await self.merchant(request, "usage:write")
        _is_regional(request)
        body = await request.body(commands.BATCH_BODY_BYTES_MAX)
        parsed = commands.parse_batch(body, merchant_id)
        wanted: list[commands.Command] = [item for item in parsed if isinstance(item, commands.RecordUsage)]
        ran = iter(await self._coalescer.run(wanted) if wanted else ())
        outcomes: list[Outcome] = [
            Refused(item.refusal) if isinstance(item, commands.RefusedEvent) else next(ran) for item in parsed
        ]
        return Answer(*answers.batch(parsed, outcomes))

    async def reserve(self, request: Request) -> Answer:
        merchant_id = await self.merchant(request, "entitlements:write")
        key = request.header(b"idempotency-key")
        command = commands.parse_reserve(
            await request.body(commands.BODY_BYTES_MAX),
            merchant_id,
            key=None if key is None else fields.idempotency_key(key, "Idempotency-Key"),
            is_regional=_is_regional(request),
            ttl_default=settings.RESERVATION_TTL_SECONDS,
            ttl_max=settings.RESERVATION_TTL_SECONDS_MAX,
        )
        done = await self.run_one(command)
        granted = answers.granted(cast(Reservation, done.answer), command.customer_id)
        return Answer(201, granted, replayed=done.replayed)

    async def release(self, request: Request) -> Answer:
        merchant_id, reservation_id, customer_id = await self._reservation(request)
        commands.parse_nothing(await self._optional_body(request))
        done = await self.run_one(commands.Release(customer_id, merchant_id, reservation_id))
        released = answers.reservation(cast(Reservation, done.answer), customer_id)
        return Answer(200, released, replayed=done.replayed)

    async def extend(self, request: Request) -> Answer:
        merchant_id, reservation_id, customer_id = await self._reservation(request)
        body = await request.body(commands.BODY_BYTES_MAX)
        ttl = commands.parse_extend(body, ttl_max=settings.RESERVATION_TTL_SECONDS_MAX)
        done = await self.run_one(commands.Extend(customer_id, merchant_id, reservation_id, ttl))
        return Answer(200, answers.reservation(cast(Reservation, done.answer), customer_id))

    async def _reservation(self, request: Request) -> tuple[bytes, bytes, bytes]:
        """Find the reservation that the path names, and whose it is."""
        merchant_id = await self.merchant(request, "entitlements:write")
        _is_regional(request)
        try:
            reservation_id = ids.parse_raw("com", request.path.split("/")[3])
        except ids.InvalidId:
            raise NotFound() from None
        customer_id = await self._ask(self._directory.owner_of_reservation, reservation_id, merchant_id)
        if customer_id is None:
            raise NotFound()
        return merchant_id, reservation_id, customer_id

    async def _optional_body(self, request: Request) -> bytes:
        if request.headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in request.headers:
            return b""
        return await request.body(commands.BODY_BYTES_MAX)


def _is_regional(request: Request) -> bool:
    region, edge = request.header(b"x-paygentic-region"), request.header(b"x-paygentic-edge")
    if region is None and edge is None:
        return False
    return regions.is_regional(region=region, edge=edge, known=settings.REGIONS)


# --- how often -------------------------------------------------------------------------------------------

_answered: dict[tuple[str, int], int] = {}  # route, status: since they were last counted


async def _count_now_and_then() -> None:
    """Hand the counts to Prometheus; its counters, shared between processes, cost more than an answer."""
    try:
        while True:
            await asyncio.sleep(COUNT_EVERY_SECONDS)
            _count()
    finally:
        _count()


def _count() -> None:
    while _answered:
        (route, status), times = _answered.popitem()
        REQUESTS.labels(route, str(status)).inc(times)


# --- the application -------------------------------------------------------------------------------------

_lane: Lane | None = None


async def startup() -> None:
    """Start the lane of this process."""
    global _lane  # noqa: PLW0603 - one lane a process, started and stopped by the server
    # What start-up made lives as long as the process: without this, each collection walks all of it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
    _lane = Lane()


async def shutdown() -> None:
    """Finish what was accepted and stop."""
    global _lane  # noqa: PLW0603 - one lane a process, started and stopped by the server
    if _lane is not None:
        await _lane.close()
        _lane = None


_ROUTES: dict[str, tuple[str, Callable[[Lane, Request], Awaitable[Answer]]]] = {
    "/v0/usage": ("usage", Lane.usage),
    "/v0/usage/batch": ("batch", Lane.batch),
    "/v0/entitlements": ("reserve", Lane.reserve),
    "release": ("release", Lane.release),
    "extend": ("extend", Lane.extend),
}


async def respond(request: Request) -> Response:
    """Answer one request of the lane's; raises ConnectionResetError where nobody waits for it any more."""
    route, handler = _ROUTES.get(request.path) or _ROUTES[request.path.rpartition("/")[2]]
    headers = [_JSON, (b"x-request-id", request.id.encode())]
    try:
        if _lane is None:
            raise Unavailable()
        if request.query:
            raise ValidationFailed("This request takes no query parameters.", field="query")
        answer = await handler(_lane, request)
        if answer.replayed:
            headers.append(_REPLAYED)
    except ServiceError as error:
        answer = Answer(error.status, envelope(error, request.id))
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        if isinstance(error, RequestTimeout | PayloadTooLarge):
            headers.append(_CLOSE)
    except ConnectionResetError:
        raise
    except Exception:
        logger.exception("lane request failed", extra={"request_id": request.id})
        answer = Answer(500, envelope(ServiceError(), request.id))
    answered = (route, answer.status)
    _answered[answered] = _answered.get(answered, 0) + 1
    body = answers.encode(answer.body)
    headers.append((b"content-length", b"%d" % len(body)))
    return Response(answer.status, headers, body)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request of the lane's over ASGI; config.asgi sends only those here."""
    request = Request(scope["path"], scope["headers"], query=scope["query_string"], receive=receive)
    try:
        response = await respond(request)
    except ConnectionResetError:
        return
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})

"""The door of the fast lane: an ASGI application without a framework on the path.

``POST /v0/usage``, ``/v0/usage/batch``, ``/v0/events``, ``/v0/entitlements`` and ``/v0/entitlements/{id}/release`` and
``/extend``.
A request is read, becomes commands, waits for their commit, and is answered.
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec
from django.conf import settings
from prometheus_client import Counter

from charging import answers, commands, meter_events
from charging.book import Event, Reservation
from charging.coalescing import Coalescer
from charging.directory import Directory
from charging.meter_events import NotKnown, Parsed
from charging.outcomes import Done, Outcome, Refused
from charging.refusals import Refusals
from charging.requests import Answer, Receive, Request, Response, by_name
from merchants import fields, ids, regions, strict_json
from merchants.errors import (
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    ServiceError,
    Unavailable,
    ValidationFailed,
    envelope,
)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)

DIRECTORY_THREADS = 2
DIRECTORY_SECONDS_MAX = 8.0
LOOK_UPS_MAX = 3  # of one request, each of which is good for two seconds
COUNT_EVERY_SECONDS = 1.0
GC_ALLOCATIONS = 20_000  # containers made between two collections of the youngest

REQUESTS = Counter("farthing_lane_requests", "Requests answered by the fast lane.", ["route", "status"])

_JSON = (b"content-type", b"application/json")
_REPLAYED = (b"idempotent-replayed", b"true")
CLOSE = (b"connection", b"close")  # the rest of the body is still on its way


class Lane:
    """The state of one web process: the coalescer, and what it knows of keys."""

    def __init__(self) -> None:
        self._refusals = Refusals(settings.DATABASE_URL)
        self._coalescer = Coalescer(
            url=settings.DATABASE_URL,
            workers=settings.LANE_WORKERS,
            waiting_max=settings.LANE_QUEUE_MAX,
            bucket_groups=settings.LANE_BUCKET_GROUPS,
            refused=self._refusals.note,
        )
        self._directory = Directory(url=settings.DATABASE_URL)
        self._executor = ThreadPoolExecutor(DIRECTORY_THREADS, thread_name_prefix="directory")
        self._loop = asyncio.get_running_loop()
        self._counting = self._loop.create_task(_count_now_and_then())

    async def close(self, seconds_max: float) -> None:
        """Finish what was accepted, within the time there is."""
        await self._coalescer.stop(seconds_max)
        await self._refusals.stop()
        self._counting.cancel()
        self._executor.shutdown()
        self._directory.close()

    # --- who asks ----------------------------------------------------------------------------------------

    async def merchant(self, request: Request, permission: str) -> bytes:
        """Return the merchant whose key came with a request; raises Unauthorized, Forbidden."""
        merchant_id = self.known_merchant(request, permission)
        if merchant_id is not None:
            return merchant_id
        facts = await self._ask(self._directory.look_up, request.header(b"authorization"), datetime.now(UTC))
        return self._directory.admit(facts, permission, datetime.now(UTC))

    async def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        asked = self._loop.run_in_executor(self._executor, question, *arguments)
        try:
            return await asyncio.wait_for(asked, DIRECTORY_SECONDS_MAX)
        except TimeoutError:
            raise Unavailable() from None

    # --- what is asked -----------------------------------------------------------------------------------

    def known_merchant(self, request: Request, permission: str) -> bytes | None:
        """Return the merchant like ``merchant``, but None where it would have to wait for the database."""
        known, facts = self._directory.recall(request.header(b"authorization"))
        return self._directory.admit(facts, permission, datetime.now(UTC)) if known else None

    def submit(self, wanted: list[commands.Command], done: Callable[[list[Outcome]], None]) -> None:
        """Have commands carried out, and ``done`` called with what became of them; raises ServiceError."""
        self._coalescer.submit(wanted, done)

    def record(self, reports: meter_events.Reports, merchant_id: bytes) -> list[Parsed]:
        """Make the commands that record meter events; raises NotKnown."""
        known = self._directory
        return meter_events.record(reports, merchant_id, known.definitions, known.subjects, datetime.now(UTC))

    async def learn(self, merchant_id: bytes, missing: NotKnown) -> None:
        """Ask the database what commands cannot be made without."""
        await self._ask(self._directory.learn, merchant_id, missing.subjects)

    async def run(self, wanted: list[commands.Command]) -> list[Outcome]:
        """Carry out commands; raises ServiceError."""
        return await self._coalescer.run(wanted)

    async def release(self, request: Request) -> Answer:
        """Answer ``POST /v0/entitlements/{id}/release``."""
        merchant_id, reservation_id, customer_id = await self._reservation(request)
        commands.parse_nothing(await self._optional_body(request))
        done = _only(await self.run([commands.Release(customer_id, merchant_id, reservation_id)]))
        released = answers.reservation(cast(Reservation, done.answer), customer_id)
        return Answer(200, released, replayed=done.replayed)

    async def extend(self, request: Request) -> Answer:
        """Answer ``POST /v0/entitlements/{id}/extend``."""
        merchant_id, reservation_id, customer_id = await self._reservation(request)
        body = await request.body(commands.BODY_BYTES_MAX)
        ttl = commands.parse_extend(body, ttl_max=settings.RESERVATION_TTL_SECONDS_MAX)
        done = _only(await self.run([commands.Extend(customer_id, merchant_id, reservation_id, ttl)]))
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


# --- commands from bodies, answers from outcomes ---------------------------------------------------------

Conclude = Callable[[list[Outcome]], Answer]
Asked = tuple[list[commands.Command], Conclude]


def _only(outcomes: list[Outcome]) -> Done:
    """Return what became of a single command; raises the ServiceError that refused it."""
    [outcome] = outcomes
    if isinstance(outcome, Refused):
        raise outcome.error
    return outcome


def _usage(request: Request, merchant_id: bytes, body: bytes) -> Asked:
    _is_regional(request)
    return [commands.parse_usage(body, merchant_id)], _recorded


def _recorded(outcomes: list[Outcome]) -> Answer:
    done = _only(outcomes)
    return Answer(201, answers.usage_event(cast(Event, done.answer)), replayed=done.replayed)


def _batch(request: Request, merchant_id: bytes, body: bytes) -> Asked:
    _is_regional(request)
    parsed = commands.parse_batch(body, merchant_id)
    return [item for item in parsed if isinstance(item, commands.RecordUsage)], partial(_recorded_batch, parsed)


def _recorded_batch(parsed: list[commands.RecordUsage | commands.RefusedEvent], outcomes: list[Outcome]) -> Answer:
    ran = iter(outcomes)
    each: list[Outcome] = [
        Refused(item.refusal) if isinstance(item, commands.RefusedEvent) else next(ran) for item in parsed
    ]
    return Answer(*answers.batch(parsed, each))


def _events(request: Request, merchant_id: bytes, body: bytes) -> Asked:
    _is_regional(request)
    if _lane is None:
        raise Unavailable()
    reports = meter_events.parse(body, request.headers, merchant_id)
    parsed = _lane.record(reports, merchant_id)
    wanted: list[commands.Command] = [item for item in parsed if isinstance(item, commands.RecordUsage)]
    return wanted, partial(_metered_batch if reports.is_batch else _metered, parsed)


def _metered(parsed: list[Parsed], outcomes: list[Outcome]) -> Answer:
    done = _only(meter_events.of_each(parsed, outcomes))
    return Answer(202, answers.meter_event(cast(Event, done.answer), parsed[0]), replayed=done.replayed)


def _metered_batch(parsed: list[Parsed], outcomes: list[Outcome]) -> Answer:
    return Answer(*answers.meter_event_batch(parsed, meter_events.of_each(parsed, outcomes)))


def _reserve(request: Request, merchant_id: bytes, body: bytes) -> Asked:
    key = request.header(b"idempotency-key")
    command = commands.parse_reserve(
        body,
        merchant_id,
        key=None if key is None else fields.idempotency_key(key, "Idempotency-Key"),
        is_regional=_is_regional(request),
        ttl_default=settings.RESERVATION_TTL_SECONDS,
        ttl_max=settings.RESERVATION_TTL_SECONDS_MAX,
    )
    return [command], partial(_granted, command.customer_id)


def _granted(customer_id: bytes, outcomes: list[Outcome]) -> Answer:
    done = _only(outcomes)
    return Answer(201, answers.granted(cast(Reservation, done.answer), customer_id), replayed=done.replayed)


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


async def shutdown(seconds_max: float) -> None:
    """Finish what was accepted, within the time there is, and stop."""
    global _lane  # noqa: PLW0603 - one lane a process, started and stopped by the server
    if _lane is not None:
        await _lane.close(seconds_max)
        _lane = None


class Route(msgspec.Struct, frozen=True):
    """A call whose commands are all in its body."""

    name: str
    permission: str
    bytes_max: int
    ask: Callable[[Request, bytes, bytes], Asked]  # raises ServiceError, and NotKnown where it must wait
    media_types: tuple[str, ...] = strict_json.JSON


ROUTES = {
    "/v0/usage": Route("usage", "usage:write", commands.BODY_BYTES_MAX, _usage),
    "/v0/usage/batch": Route("batch", "usage:write", commands.BATCH_BODY_BYTES_MAX, _batch),
    "/v0/events": Route("events", "usage:write", commands.BATCH_BODY_BYTES_MAX, _events, meter_events.MEDIA_TYPES),
    "/v0/entitlements": Route("reserve", "entitlements:write", commands.BODY_BYTES_MAX, _reserve),
}
_VERBS: dict[str, Callable[[Lane, Request], Awaitable[Answer]]] = {"release": Lane.release, "extend": Lane.extend}


def begin(request: Request, done: Callable[[Response], None]) -> bool:
    """Take up a whole request and call ``done`` with its response, now or after the commit, without a task.

    Returns False, and does nothing, where something else must be waited for: ``respond`` does that.
    """
    route = ROUTES.get(request.path)
    if _lane is None or route is None or request.whole is None:
        return False
    try:
        merchant_id = _lane.known_merchant(request, route.permission)
        if merchant_id is None:
            return False
        request.check_body(route.bytes_max, route.media_types)
        wanted, conclude = route.ask(request, merchant_id, request.whole)
        _lane.submit(wanted, lambda outcomes: done(_concluded(request, route.name, conclude, outcomes)))
    except NotKnown:
        return False
    except Exception as error:  # every request is answered
        refused = _response(request, route.name, error)
    else:
        return True
    done(refused)
    return True


def _concluded(request: Request, route: str, conclude: Conclude, outcomes: list[Outcome]) -> Response:
    try:
        return _response(request, route, conclude(outcomes))
    except Exception as error:  # every request is answered
        return _response(request, route, error)


async def respond(request: Request) -> Response:
    """Answer one request of the lane's; raises ConnectionResetError where nobody waits for it any more."""
    route = ROUTES.get(request.path)
    name = route.name if route else request.path.rpartition("/")[2]
    try:
        return _response(request, name, await _answer(request, route, name))
    except ConnectionResetError:
        raise
    except Exception as error:  # every request is answered
        return _response(request, name, error)


async def _answer(request: Request, route: Route | None, name: str) -> Answer:
    if _lane is None:
        raise Unavailable()
    if request.query:
        raise ValidationFailed("This request takes no query parameters.", field="query")
    if route is None:
        return await _VERBS[name](_lane, request)
    merchant_id = await _lane.merchant(request, route.permission)
    body = await request.body(route.bytes_max, route.media_types)
    wanted, conclude = await _asked(_lane, route, request, merchant_id, body)
    return conclude(await _lane.run(wanted))


async def _asked(lane: Lane, route: Route, request: Request, merchant_id: bytes, body: bytes) -> Asked:
    for _ in range(LOOK_UPS_MAX):
        try:
            return route.ask(request, merchant_id, body)
        except NotKnown as missing:
            await lane.learn(merchant_id, missing)
    raise Unavailable()


def _response(request: Request, route: str, answer: Answer | Exception) -> Response:
    headers = [_JSON, (b"x-request-id", request.id.encode())]
    if isinstance(answer, Answer):
        if answer.replayed:
            headers.append(_REPLAYED)
    else:
        if isinstance(answer, ServiceError):
            error = answer
        else:
            logger.error("lane request failed", exc_info=answer, extra={"request_id": request.id})
            error = ServiceError()
        answer = Answer(error.status, envelope(error, request.id))
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        if isinstance(error, RequestTimeout | PayloadTooLarge):
            headers.append(CLOSE)
    answered = (route, answer.status)
    _answered[answered] = _answered.get(answered, 0) + 1
    body = answers.encode(answer.body)
    headers.append((b"content-length", b"%d" % len(body)))
    return Response(answer.status, headers, body)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request of the lane's over ASGI; config.asgi sends only those here."""
    request = Request(scope["path"], by_name(scope["headers"]), query=scope["query_string"], receive=receive)
    try:
        response = await respond(request)
    except ConnectionResetError:
        return
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})

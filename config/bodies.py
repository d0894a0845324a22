"""What stands between the network and Django: a body is read whole, within a size and a time, or not at all.

Django itself would write a body of any length to disk before a view could refuse it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from django.conf import settings

from merchants import request_ids
from merchants.errors import PayloadTooLarge, RequestTimeout, ServiceError, envelope

SECONDS_MAX = 30.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


async def bounded(application: Application, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a request whose body fits, and refuse any other before the application hears of it."""
    try:
        body = await asyncio.wait_for(_read(scope, receive), SECONDS_MAX)
    except ConnectionResetError:
        return
    except TimeoutError:
        await _refuse(RequestTimeout(), scope, send)
    except ServiceError as refusal:
        await _refuse(refusal, scope, send)
    else:
        await application(scope, _replay(body, receive), send)


async def _read(scope: Mapping[str, Any], receive: Receive) -> bytes:
    bytes_max = settings.BODY_BYTES_MAX
    too_large = PayloadTooLarge(f"The body may have at most {bytes_max} bytes.", details={"bytesMax": bytes_max})
    stated = _header(scope, b"content-length")
    if stated.isdigit() and int(stated) > bytes_max:
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > bytes_max:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read, once, and then what else the connection says."""
    waiting = [body]

    async def again() -> Message:
        return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else await receive()

    return again


def _header(scope: Mapping[str, Any], name: bytes) -> bytes:
    return next((bytes(value) for header, value in scope["headers"] if header == name), b"")


async def _refuse(refusal: ServiceError, scope: Mapping[str, Any], send: Send) -> None:
    request_id = request_ids.accept(_header(scope, b"x-request-id").decode("latin-1"))
    body = json.dumps(envelope(refusal, request_id)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (request_ids.HEADER.lower().encode(), request_id.encode()),
        (b"connection", b"close"),  # the rest of the body is still on its way
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""What stands between the network and Django."""

import asyncio
import json
from typing import Any

import pytest

from config import bodies

LIMIT = 256 * 1024


def serve(messages: list[dict[str, Any]], **headers: str) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Serve one request that arrives in these messages; return what the application read, and what was sent."""
    heard: list[bytes] = []
    sent: list[dict[str, Any]] = []
    arriving = iter(messages)

    async def receive() -> dict[str, Any]:
        try:
            return next(arriving)
        except StopIteration:
            await asyncio.Event().wait()
            raise

    async def send(message: Any) -> None:
        sent.append(message)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        message = await receive()
        heard.append(message["body"])
        assert not message["more_body"]

    scope = {
        "type": "http",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(bodies.bounded(application, scope, receive, send))
    return heard, sent


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class TestBounded:
    def test_hands_on_a_body_in_one_piece(self):
        assert serve([part(b"ab", more=True), part(b"cd")]) == ([b"abcd"], [])

    def test_hands_on_what_is_just_small_enough(self):
        heard, _ = serve([part(b"x" * LIMIT)])

        assert len(heard[0]) == LIMIT

    @pytest.mark.parametrize(
        ("messages", "headers"),
        [
            ([], {"content_length": str(LIMIT + 1)}),
            ([part(b"x" * (LIMIT + 1))], {}),
            ([part(b"x" * LIMIT, more=True), part(b"x", more=True)], {"transfer_encoding": "chunked"}),
            ([part(b"x" * (LIMIT + 1))], {"content_length": "5"}),
        ],
    )
    def test_refuses_what_is_too_large_however_it_is_sent(self, messages, headers):
        heard, sent = serve(messages, **headers)

        assert heard == []
        assert sent[0]["status"] == 413
        assert json.loads(sent[1]["body"])["code"] == "PAYLOAD_TOO_LARGE"

    def test_waits_only_so_long(self, monkeypatch):
        monkeypatch.setattr(bodies, "SECONDS_MAX", 0.01)

        heard, sent = serve([part(b"x", more=True)])

        assert (heard, sent[0]["status"]) == ([], 408)

    def test_says_nothing_to_who_has_gone(self):
        assert serve([part(b"x", more=True), {"type": "http.disconnect"}]) == ([], [])

    def test_keeps_the_id_of_the_request(self):
        _, sent = serve([], content_length=str(LIMIT + 1), x_request_id="mine-12345")

        assert json.loads(sent[1]["body"])["requestId"] == "mine-12345"
        assert (b"x-request-id", b"mine-12345") in sent[0]["headers"]

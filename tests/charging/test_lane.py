"""The lane's door: bodies that come late, in parts or not at all, and questions that nobody answers."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from charging import lane, requests
from metering.models import UsageEvent
from tests.charging.sellers import Seller, json_bytes, seller

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS_MAX = 30.0


class Sender:
    """A client that sends these parts of a body, and then what it is told to: nothing, or that it has gone."""

    def __init__(self, shop: Seller, parts: Iterable[bytes], *, length: int, goes: bool = False) -> None:
        self.headers = {
            **shop.headers,
            "Content-Type": "application/json",
            "Content-Length": str(length),
        }
        self.parts = list(parts)
        self.goes = goes
        self.asked = 0
        self.waits = asyncio.Event()
        self.messages: list[Any] = []

    async def receive(self) -> Any:
        self.asked += 1
        if self.parts:
            return {"type": "http.request", "body": self.parts.pop(0), "more_body": True}
        if self.goes:
            return {"type": "http.disconnect"}
        self.waits.set()
        return await asyncio.get_running_loop().create_future()

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    async def request(self, path: str = "/v0/usage") -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        await lane.application(scope, self.receive, self.send)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    def header(self, name: str) -> str:
        return str(dict(self.messages[0]["headers"])[name.encode()], "latin-1")

    def said(self) -> Any:
        return json.loads(self.messages[1]["body"])


def with_a_lane(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine beside a lane of this process."""

    async def bounded() -> None:
        lane._lane = lane.Lane()
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await work()
        finally:
            await lane.shutdown(SECONDS_MAX)

    asyncio.run(bounded())


class TestBodies:
    def test_are_whole_when_their_length_has_come(self) -> None:
        shop = seller()
        body = json_bytes(shop.usage())

        async def work() -> None:
            sender = Sender(shop, [body[:50], body[50:]], length=len(body))
            await sender.request()
            assert (sender.status, sender.asked) == (201, 2)

        with_a_lane(work)
        assert UsageEvent.objects.count() == 1

    @pytest.mark.parametrize("parts", [[], [b"{"]])
    def test_that_do_not_come_are_not_waited_for(self, parts: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller()
        monkeypatch.setattr(requests, "BODY_SECONDS_MAX", 0.05)

        async def work() -> None:
            sender = Sender(shop, parts, length=100)
            await sender.request()
            assert (sender.status, sender.said()["code"]) == (408, "REQUEST_TIMEOUT")
            assert sender.header("connection") == "close"

        with_a_lane(work)

    def test_of_clients_that_go_are_dropped(self) -> None:
        shop = seller()

        async def work() -> None:
            sender = Sender(shop, [b"{"], length=100, goes=True)
            await sender.request()
            assert sender.messages == []

        with_a_lane(work)

    def test_take_no_more_memory_than_there_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller()
        monkeypatch.setattr(requests, "BODIES_BYTES_MAX", 100_000)
        body = json_bytes(shop.usage())

        async def work() -> None:
            slow = [Sender(shop, [b"{" + b" " * 40_000], length=200_000) for _ in range(2)]
            reading = [asyncio.create_task(each.request()) for each in slow]
            await asyncio.gather(*(each.waits.wait() for each in slow))
            third = Sender(shop, [b"{" + b" " * 40_000], length=200_000)
            await third.request()
            assert (third.status, third.said()["code"], third.header("retry-after")) == (429, "OVERLOADED", "1")
            for each in reading:
                each.cancel()
            await asyncio.wait(reading)
            fourth = Sender(shop, [b" " * 90_000, body], length=90_000 + len(body))
            await fourth.request()
            assert fourth.status == 201

        with_a_lane(work)


class TestKeys:
    def test_that_cannot_be_looked_up_in_time_are_refused_for_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller()
        monkeypatch.setattr(lane, "DIRECTORY_SECONDS_MAX", 0.05)
        monkeypatch.setattr("charging.directory.Directory.look_up", lambda *_: time.sleep(0.5))
        body = json_bytes(shop.usage())

        async def work() -> None:
            sender = Sender(shop, [body], length=len(body))
            await sender.request()
            assert (sender.status, sender.header("retry-after")) == (503, "1")

        with_a_lane(work)

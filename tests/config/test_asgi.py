import asyncio
from collections.abc import Mapping, MutableMapping
from types import SimpleNamespace
from typing import Any

import pytest

from config import asgi
from config.processes import LANE_STOP_SECONDS_MAX


class TestIsForLane:
    @pytest.mark.parametrize(
        "path",
        [
            "/v0/usage",
            "/v0/usage/batch",
            "/v0/entitlements",
            "/v0/entitlements/com_1/release",
            "/v0/entitlements/com_1/extend",
        ],
    )
    def test_takes_the_commands(self, path: str):
        assert asgi.is_for_lane({"type": "http", "method": "POST", "path": path})

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v0/usage"),
            ("PATCH", "/v0/usage"),
            ("POST", "/v0/usage/"),
            ("POST", "/v0/usages"),
            ("POST", "/v0/entitlements/release"),
            ("POST", "/v0/entitlements/com_1/else/release"),
            ("POST", "/v0/customers"),
        ],
    )
    def test_leaves_the_rest_to_django(self, method: str, path: str):
        assert not asgi.is_for_lane({"type": "http", "method": method, "path": path})

    def test_leaves_websockets_to_django(self):
        assert not asgi.is_for_lane({"type": "websocket", "path": "/v0/usage"})


class TestLive:
    def run(self, monkeypatch: pytest.MonkeyPatch, fails: bool = False) -> tuple[list[str], list[str]]:
        """Live once through; return what the lane was told and what the server was told."""
        told: list[str] = []
        sent: list[str] = []
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def startup() -> None:
            told.append("startup")
            if fails:
                raise RuntimeError("no database")

        async def shutdown(seconds_max: float) -> None:
            told.append(f"shutdown within {seconds_max}")

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0)

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message["type"])

        monkeypatch.setattr(asgi, "lane", SimpleNamespace(startup=startup, shutdown=shutdown))
        asyncio.run(asgi.application({"type": "lifespan"}, receive, send))
        return told, sent

    def test_starts_and_stops_the_lane(self, monkeypatch: pytest.MonkeyPatch):
        told, sent = self.run(monkeypatch)
        assert told == ["startup", f"shutdown within {LANE_STOP_SECONDS_MAX}"]
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    def test_does_not_serve_without_the_lane(self, monkeypatch: pytest.MonkeyPatch):
        told, sent = self.run(monkeypatch, fails=True)
        assert told == ["startup"]
        assert sent == ["lifespan.startup.failed"]

import json

import pytest
from django.db import OperationalError
from django.test import RequestFactory

from config import probes


@pytest.fixture(autouse=True)
def _forget():
    yield
    probes._all_migrated.cache_clear()
    probes._redis_client.cache_clear()


def ready(rf: RequestFactory) -> tuple[int, dict[str, str]]:
    response = probes.readyz(rf.get("/readyz"))
    return response.status_code, json.loads(response.content)["checks"]


class TestHealthz:
    def test_needs_nothing(self, rf: RequestFactory):
        assert probes.healthz(rf.get("/healthz")).status_code == 200


@pytest.mark.django_db
class TestReadyz:
    def test_is_ready_with_everything_there(self, rf: RequestFactory):
        assert ready(rf) == (200, {"postgresql": "ok", "migrations": "ok", "redis": "ok"})

    def test_names_redis(self, rf: RequestFactory, settings):
        settings.REDIS_URL = "unix:///nowhere/redis.sock"
        assert ready(rf) == (503, {"postgresql": "ok", "migrations": "ok", "redis": "no answer"})

    def test_counts_missing_migrations_until_they_are_applied(self, rf: RequestFactory, monkeypatch):
        monkeypatch.setattr(probes, "_plan", lambda: ["one", "two"])
        assert ready(rf) == (503, {"postgresql": "ok", "migrations": "2 not applied", "redis": "ok"})
        monkeypatch.setattr(probes, "_plan", list)
        assert ready(rf)[0] == 200

    def test_looks_for_migrations_only_until_all_are_there(self, rf: RequestFactory, monkeypatch):
        assert ready(rf)[0] == 200
        monkeypatch.setattr(probes, "_plan", lambda: ["one"])
        assert ready(rf)[0] == 200

    def test_names_postgresql(self, rf: RequestFactory, monkeypatch):
        def refuse() -> None:
            raise OperationalError("secret host name")

        monkeypatch.setattr(probes.connection, "cursor", refuse)
        monkeypatch.setattr(probes, "_plan", refuse)
        status, checks = ready(rf)
        assert status == 503
        assert checks == {"postgresql": "no connection", "migrations": "unknown without PostgreSQL", "redis": "ok"}

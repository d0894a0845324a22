"""``/healthz``: this process runs. ``/readyz``: it can do its work, and if not, why."""

from collections.abc import Callable
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

REDIS_SECONDS_MAX = 1.0


class NotReady(Exception):
    """What is missing, in words that may be shown to anyone."""


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that the process is alive."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when PostgreSQL, its tables and Redis are there, else 503 with what is not."""
    checks = {"postgresql": _postgresql, "migrations": _migrations, "redis": _redis}
    found = {name: _word(check) for name, check in checks.items()}
    ready = set(found.values()) == {"ok"}
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": found}, status=200 if ready else 503)


def _word(check: Callable[[], None]) -> str:
    try:
        check()
    except NotReady as problem:
        return str(problem)
    return "ok"


def _postgresql() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        raise NotReady("no connection") from error


def _migrations() -> None:
    try:
        _all_migrated()
    except DatabaseError as error:
        raise NotReady("unknown without PostgreSQL") from error


@cache
def _all_migrated() -> None:
    """Look until nothing is missing, and then never again in this process: an exception is not remembered."""
    missing = _plan()
    if missing:
        raise NotReady(f"{len(missing)} not applied")


def _plan() -> list[object]:
    executor = MigrationExecutor(connection)
    return list(executor.migration_plan(executor.loader.graph.leaf_nodes()))


@cache
def _redis_client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_SECONDS_MAX, socket_connect_timeout=REDIS_SECONDS_MAX
    )


def _redis() -> None:
    try:
        _redis_client().ping()
    except redis.RedisError as error:
        raise NotReady("no answer") from error

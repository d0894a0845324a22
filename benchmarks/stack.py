"""Farthing as ``make run`` brings it up, in a directory of its own that is thrown away afterwards."""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from config import embedded
from config.processes import CannotStart, Process

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
NAMES = {"postgres", "redis", "web", "worker", "beat"}
READY_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 120.0

# What an installation's own environment says must not lead the benchmark to its data. The rest is passed on, so that
# FARTHING_WEB_WORKERS or FARTHING_LANE_WORKERS can be tried out.
NOT_PASSED_ON = {
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "FARTHING_SECRET_KEY",
    "FARTHING_API_KEY_PEPPERS",
    "FARTHING_ALLOWED_HOSTS",
    "FARTHING_HOST",
    "FARTHING_URL",
}
# What must hold for an answer to be durable.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True)
class Stack:
    """A running Farthing: where it answers, and where its processes are."""

    port: int
    data: Path
    runner: Process

    @property
    def urls(self) -> embedded.Urls:
        return embedded.urls(self.data)

    @property
    def socket_directory(self) -> Path:
        return embedded.files.socket_directory(self.data)

    def pids(self) -> dict[str, int]:
        """Name the processes at the root of each part."""
        words = (self.data / "pids").read_text().split()
        found = {name: int(pid) for name, pid in zip(words[::2], words[1::2], strict=True)}
        return found | {"runner": self.runner.pid or 0}

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Ask the database as its superuser."""
        with psycopg.connect(self.urls.database_admin, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def running() -> Iterator[Stack]:
    """Bring everything up with the command that users run, and take it down and its data away at the end."""
    BUILD.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    own = {"PORT": str(port), "FARTHING_DATA": str(data), "FARTHING_STATIC_ROOT": str(data / "static")}
    runner = Process(
        "farthing",
        [sys.executable, "-m", "config.runner"],
        log=data / "runner.log",
        environment=kept | own,
        directory=ROOT,
        stop_seconds_max=STOP_SECONDS_MAX,
    )
    stack = Stack(port, data, runner)
    try:
        runner.start()
        _wait_until_ready(stack)
        _check_durable(stack)
        yield stack
    finally:
        runner.stop()
        shutil.rmtree(data, ignore_errors=True)


def _wait_until_ready(stack: Stack) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not (stack.data / "pids").exists() or not stack.pids().keys() >= NAMES:
        if not stack.runner.is_running() or time.monotonic() > deadline:
            raise CannotStart(f"Farthing did not come up:\n{stack.runner.said()}")
        time.sleep(0.1)


def _check_durable(stack: Stack) -> None:
    found = {str(name): str(value) for name, value in stack.ask("SELECT name, setting FROM pg_settings")}
    for name, wanted in DURABLE.items():
        if found[name] != wanted:
            raise CannotStart(f"{name} is {found[name]}: figures of a server that may forget mean nothing")


def connect_django(stack: Stack) -> None:
    """Let this process use the models, on the stack's database."""
    for name in NOT_PASSED_ON:
        os.environ.pop(name, None)
    os.environ.update(DJANGO_SETTINGS_MODULE="config.settings", FARTHING_DATA=str(stack.data))
    import django

    django.setup()

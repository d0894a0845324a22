"""A whole Farthing of its own, as ``make run`` starts it, to be broken: durable, supervised, on a free port."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from config import embedded
from config.processes import Process
from tests.faults.shop import Shop, open_shop

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"web", "worker", "messenger", "payments", "beat", "redis", "postgres"}
START_SECONDS_MAX = 300.0
HEAL_SECONDS_MAX = 120.0
DRAIN_SECONDS_MAX = 90.0
POLL_SECONDS = 0.05
WEB_WORKERS = 2  # so that two processes race for every customer

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


class Farthing:
    """The supervisor and, by pid, all that it watches over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self.urls = embedded.urls(self.data)
        self.supervisor = Process(
            "supervisor",
            [sys.executable, "-m", "config.runner"],
            log=directory / "supervisor.log",
            environment={
                **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                "PORT": str(self.port),
                "FARTHING_DATA": str(self.data),
                "FARTHING_STATIC_ROOT": str(directory / "static"),
                "FARTHING_WEB_WORKERS": str(WEB_WORKERS),
            },
            directory=ROOT,
            stop_signal=signal.SIGINT,
            stop_seconds_max=60.0,
        )

    def start(self) -> None:
        """Start everything and wait until all of it runs and answers."""
        (self.data / "pids").unlink(missing_ok=True)
        self.supervisor.start()
        self.until(self.is_whole, "ready", START_SECONDS_MAX)

    def stop(self) -> None:
        self.supervisor.stop()

    def restart_after_kill(self) -> None:
        """Kill the supervisor, and start another over what it leaves behind."""
        assert self.supervisor.pid is not None
        send([self.supervisor.pid], signal.SIGKILL)
        while self.supervisor.is_running():
            time.sleep(POLL_SECONDS)
        self.start()

    # --- what runs ---------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """Return what the supervisor knows to run, by name."""
        try:
            lines = (self.data / "pids").read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {name: int(pid) for name, pid in (line.split() for line in lines)}

    def processes(self, name: str) -> list[int]:
        """Return a service's process and all its descendants, the children first."""
        return family(self.pids()[name])

    def is_whole(self) -> bool:
        pids = self.pids()
        return set(pids) == NAMES and all(map(is_alive, pids.values())) and answers(self.port, "/readyz")

    def until(self, look: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until something is so; raises AssertionError when it does not become so."""
        deadline = time.monotonic() + seconds
        while not look():
            assert self.supervisor.is_running(), f"Farthing has ended:\n{self.supervisor.said()}"
            assert time.monotonic() < deadline, (
                f"Farthing is not {what} after {seconds:.0f} s:\n{self.supervisor.said()}"
            )
            time.sleep(POLL_SECONDS)

    def heal(self) -> None:
        """Wait until the supervisor has started again whatever was killed."""
        self.until(self.is_whole, "whole", HEAL_SECONDS_MAX)

    def drain(self) -> None:
        """Wait until every charge is settled."""

        def is_drained() -> bool:
            return self.ask("SELECT 1 FROM billing_unsettledwallet LIMIT 1") == []

        self.heal()
        self.until(is_drained, "drained", DRAIN_SECONDS_MAX)

    # --- what it says ------------------------------------------------------------------------------------

    def admin(self) -> psycopg.Connection[Any]:
        """Connect as the superuser, beside the product."""
        return psycopg.connect(self.urls.database_admin, autocommit=True)

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser."""
        with self.admin() as admin:
            cursor = admin.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def verify(self) -> list[str]:
        """Return the names of the rules that ``manage.py verify`` finds broken, with those who break them."""
        answer = subprocess.run(
            [sys.executable, "manage.py", "verify", "--json"],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode in (0, 1), answer.stderr
        found = json.loads(answer.stdout)
        broken = [f"{check['name']}: {check['culprits']}" for check in found["checks"] if check["state"] == "BROKEN"]
        assert bool(broken) == bool(answer.returncode), found
        return broken

    def environment(self) -> dict[str, str]:
        """Return the environment of a further process of this Farthing's."""
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **self.urls.environment(),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "FARTHING_DATA": str(self.data),
            "FARTHING_STATIC_ROOT": str(self.directory / "static"),
        }

    # --- who uses it -------------------------------------------------------------------------------------

    def shop(self, *, customers: int, funds: str) -> Shop:
        """Make new customers of the demo's plan, each with so many dollars."""
        lines = (self.data / "demo.env").read_text().splitlines()
        demo = dict(line.split("=", 1) for line in lines)
        return open_shop(self.port, demo, customers=customers, funds=funds)


@contextmanager
def running(directory: Path) -> Iterator[Farthing]:
    """Run a Farthing for the length of the block."""
    farthing = Farthing(directory)
    try:
        farthing.start()
        yield farthing
    finally:
        farthing.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int, path: str) -> bool:
    """Tell whether a server here answers well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


# --- processes of this machine ---------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, the youngest generation first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        children.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[::-1]


def memory_bytes(pids: list[int]) -> int:
    """Return how much memory these processes have in use together."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each of these processes that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue

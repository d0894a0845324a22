"""One command brings everything up, keeps it up, and takes it down; what goes wrong is said in one line."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import watching
from config.processes import Process, command_line

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 120.0
NAMES = {"postgres", "redis", "web", "worker", "messenger", "payments", "beat"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def start(data: Path, port: int) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    return subprocess.Popen(
        [sys.executable, "-m", "config.runner", "--without-demo"],
        cwd=ROOT,
        env={**kept, "PORT": str(port), "FARTHING_DATA": str(data), "FARTHING_STATIC_ROOT": str(data / "static")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def refusal(data: Path, port: int) -> str:
    with start(data, port) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS_MAX)
        finally:
            process.kill()
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if not line.startswith("PostgreSQL does not run as root")]
    assert len(lines) == 1
    return lines[0]


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not look():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


class Run:
    """A running Farthing, seen from outside."""

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.port = port
        (data / "pids").unlink(missing_ok=True)
        self.process = start(data, port)
        try:
            until(lambda: (data / "pids").exists() and set(self.pids()) == NAMES)
        except AssertionError:
            self.process.kill()
            pytest.fail(f"it did not start:\n{self.process.communicate()[0]}")

    def pids(self) -> dict[str, int]:
        words = (self.data / "pids").read_text().split()
        return {name: int(pid) for name, pid in zip(words[::2], words[1::2], strict=True)}

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, number: signal.Signals = signal.SIGINT) -> str:
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=SECONDS_MAX)
        return said


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runner") / "data"


@contextlib.contextmanager
def running(data: Path, port: int) -> Iterator[Run]:
    run = Run(data, port)
    with run.process:
        try:
            yield run
        finally:
            run.process.kill()


@pytest.mark.slow
class TestRun:
    def test_keeps_everything_running_until_it_is_stopped(self, data: Path) -> None:
        with running(data, free_port()) as run:
            assert run.is_ready()
            already = f"Farthing cannot start: Farthing already runs on {data} (process {run.process.pid})"
            assert refusal(data, free_port()) == already
            assert refusal(data, run.port) == already

            before = run.pids()
            for pid in before.values():
                os.kill(pid, signal.SIGKILL)
            until(lambda: set(run.pids()) == NAMES and not set(run.pids().values()) & set(before.values()))
            until(run.is_ready)
            after = run.pids()
            said = run.stop(signal.SIGTERM)

        assert run.process.returncode == 0
        assert f"http://localhost:{run.port}/" in said
        for name in NAMES:
            assert f"{name}: ended with -9; starting again in 0.5 s" in said
        assert said.endswith("Stopped. The data is kept.\n")
        assert not any(command_line(pid) for pid in after.values())

    def test_cleans_up_after_a_supervisor_that_was_killed(self, data: Path) -> None:
        with running(data, free_port()) as run:
            os.kill(run.pids()["web"], signal.SIGKILL)  # its worker still holds the port
        with running(data, run.port) as again:
            assert again.is_ready()
            assert again.stop().endswith("Stopped. The data is kept.\n")


class TestCannotRun:
    def test_says_that_the_port_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = refusal(tmp_path / "data", port)
        assert said == (
            f"Farthing cannot start: port {port} is taken by another program; choose one: PORT=8001 make run"
        )

    def test_says_that_the_data_is_of_another_version(self, tmp_path: Path) -> None:
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
        said = refusal(tmp_path, free_port())
        assert said.startswith("Farthing cannot start:")
        assert "made by PostgreSQL 17, this is PostgreSQL 18" in said


class TestTend:
    def test_waits_longer_each_time_a_process_ends(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        process = Process(
            "brief", ["false"], log=tmp_path / "log", environment={"PATH": os.defpath}, directory=tmp_path
        )
        service = watching.Watched(process, process.start)
        process.start()
        for seconds in ("0.5", "1", "2"):
            until(lambda: not process.is_running())
            watching.tend(service)
            assert f"brief: ended with 1; starting again in {seconds} s" in capsys.readouterr().err
            service.retry_at = 0.0
            watching.tend(service)
        process.stop()


class TestWarningIn:
    @pytest.mark.parametrize(
        ("line", "shown"),
        [
            ('{"level": "ERROR", "logger": "billing", "message": "no"}', "ERROR billing: no"),
            ('{"level": "INFO", "logger": "billing", "message": "yes"}', None),
            ("[WARNING] worker died", "[WARNING] worker died"),
            ("{not json", None),
            ("[INFO] fine", None),
        ],
    )
    def test_tells_alarm_from_routine(self, line: str, shown: str | None) -> None:
        assert watching.warning_in(line) == shown

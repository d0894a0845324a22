"""Child processes that log to a file, stop when asked, and do not outlive the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG_BYTES_MAX = 50_000_000
POLL_SECONDS = 0.02
LEFTOVER_SECONDS_MAX = 15.0  # for PostgreSQL and Redis of a supervisor that was killed

# How long stopping takes at most, each within the next: the web server answers the requests it has, the lane finishes
# what it accepted and could not answer, and whoever still runs after all is killed.
REQUESTS_STOP_SECONDS_MAX = 14
LANE_STOP_SECONDS_MAX = 6
STOP_SECONDS_MAX = 25

WEB_WORKERS_MAX = 4  # by default; each keeps connections to the database

_PR_SET_PDEATHSIG = 1


def web_workers() -> int:
    """Return how many processes serve the web where nobody says: one for each core, up to a few."""
    return min(len(os.sched_getaffinity(0)), WEB_WORKERS_MAX)


class CannotStart(Exception):
    """One line that tells a person what is wrong and what to do about it."""


@dataclass(frozen=True)
class Account:
    """The system account a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass
class Process:
    """One child process; it can be started again after it has ended.

    ``stop_signal`` asks it to finish what it is doing; ``hurry_signal`` ends it when it takes longer than
    ``stop_seconds_max`` or when whoever waits becomes impatient.
    """

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str]
    directory: Path
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals = signal.SIGKILL
    stop_seconds_max: float = STOP_SECONDS_MAX
    log_offset: int = 0
    _popen: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    def start(self) -> None:
        """Start the process; its output is appended to its log, and ``log_offset`` tells where this run begins."""
        trim_log(self.log)
        with self.log.open("ab") as log:
            self.log_offset = log.tell()
            self._popen = subprocess.Popen(
                [str(word) for word in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(self.environment),
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops all in order
                preexec_fn=_die_with_parent(self.stop_signal),  # noqa: PLW1509 (takes no lock)
                **as_account(self.account),
            )

    def exit_code(self) -> int | None:
        """Tell how the process ended; None while it runs or when it was never started."""
        return self._popen.poll() if self._popen else None

    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Ask the process to stop, wait, insist where needed, and end what is left of its process group."""
        if self._popen is None:
            return
        steps = [(self.stop_signal, self.stop_seconds_max), (self.hurry_signal, 5.0), (signal.SIGKILL, 5.0)]
        for number, seconds in steps:
            if self._popen.poll() is None:
                self._popen.send_signal(number)
                impatient = hurry if number is self.stop_signal else None
                _wait(lambda: not self.is_running(), seconds, impatient)
        self.end_group()

    def end_group(self) -> None:
        """Kill the descendants that a dead process left in its group, so that they hold no port and no lock."""
        if self._popen is None:
            return
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left (macOS answers EPERM when only a zombie is)

    def said(self, bytes_max: int = 8_000) -> str:
        """Return the end of what this run of the process has written."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(min(self.log_offset, size), size - bytes_max))
            return log.read().decode(errors="replace")


def as_account(account: Account | None) -> dict[str, Any]:
    """Return the arguments with which subprocess runs a command as this account."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def trim_log(log: Path) -> None:
    """Keep a log within its limit: beyond it the content moves to ``.1``. Safe while others append to it."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.with_suffix(log.suffix + ".1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def stop_leftover(pid_file: Path, marker: str, number: signal.Signals) -> None:
    """Stop what an earlier supervisor left running, and forget a pid file whose process is another's by now."""
    pid = _first_number(pid_file)
    if pid is None:
        return
    for step, seconds in ((number, LEFTOVER_SECONDS_MAX), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        if marker not in command_line(pid):
            break
        os.kill(pid, step)
        _wait(lambda: marker not in command_line(pid), seconds)
    pid_file.unlink(missing_ok=True)


def stop_marked(variable: str, value: str) -> None:
    """Stop every process that carries this environment variable: what a killed supervisor left behind (Linux)."""
    mark = f"{variable}={value}".encode()
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS_MAX), (signal.SIGKILL, 5.0)):
        for pid in _carrying(mark):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if _wait(lambda: not _carrying(mark), seconds):
            return


def command_line(pid: int) -> str:
    """Return the command line of a process, empty when there is none."""
    if Path("/proc/self").exists():
        return _read(Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode(errors="replace")
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout


def _carrying(mark: bytes) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")] if sys.platform == "linux" else []
    return [pid for pid in pids if pid != os.getpid() and mark in _read(Path(f"/proc/{pid}/environ")).split(b"\0")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the process is gone, or belongs to someone else


def _first_number(pid_file: Path) -> int | None:
    words = _read(pid_file).split()
    return int(words[0]) if words and words[0].isdigit() else None


def _wait(done: Callable[[], bool], seconds: float, hurry: threading.Event | None = None) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline or (hurry is not None and hurry.is_set()):
            return False
        time.sleep(POLL_SECONDS)
    return True


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Have the kernel signal the child when its parent dies, however the parent dies. Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel was told to watch it

    return arm

"""Watching over processes: what ends is started again, and what a log warns of is shown."""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from config.processes import CannotStart, Process, trim_log

WATCH_SECONDS = 0.2
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 60.0  # a process that lasted this long starts over at the shortest delay
TAIL_BYTES_MAX = 65_536


@dataclass
class Watched:
    """A process that is started again when it ends."""

    process: Process
    start: Callable[[], None]
    began: float = 0.0
    attempts: int = 0
    retry_at: float | None = None


def watch(services: list[Watched], tails: list["Tail"], pid_file: Path) -> NoReturn:
    """Start again what ends, after a growing delay, and show warnings; ends only by a signal.

    ``pid_file`` always names what runs, one ``name pid`` a line.
    """
    noted = ""
    while True:
        for service in services:
            tend(service)
        running = [service.process for service in services if service.process.is_running()]
        pids = "".join(f"{process.name} {process.pid}\n" for process in running)
        if pids != noted:
            pid_file.write_text(noted := pids)
        for tail in tails:
            tail.show()
        time.sleep(WATCH_SECONDS)


def tend(service: Watched) -> None:
    """Look at one process once: note its end, or start it when its delay is over."""
    now = time.monotonic()
    if service.process.is_running():
        if service.attempts and now - service.began > STEADY_SECONDS:
            service.attempts = 0
        return
    if service.retry_at is None:
        delay = BACKOFF_SECONDS[min(service.attempts, len(BACKOFF_SECONDS) - 1)]
        service.attempts += 1
        service.retry_at = now + delay
        service.process.end_group()
        tell(f"{service.process.name}: ended with {service.process.exit_code()}; starting again in {delay:g} s")
    elif now >= service.retry_at:
        service.retry_at = None
        service.began = now
        try:
            service.start()
        except (CannotStart, OSError) as problem:
            tell(f"{service.process.name}: {problem}")


class Tail:
    """Shows the warnings and errors that a child writes to its log."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.offset = process.log_offset

    def show(self) -> None:
        trim_log(self.process.log)
        size = self.process.log.stat().st_size
        self.offset = 0 if size < self.offset else max(self.offset, size - TAIL_BYTES_MAX)
        with self.process.log.open("rb") as log:
            log.seek(self.offset)
            complete, newline, _ = log.read(TAIL_BYTES_MAX).rpartition(b"\n")
        self.offset += len(complete) + len(newline)
        for line in complete.decode(errors="replace").splitlines():
            if warning := warning_in(line):
                tell(f"{self.process.name}: {warning}")


def warning_in(line: str) -> str | None:
    """Return what a log line warns of, None when it does not."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            alarming = entry.get("level") in {"WARNING", "ERROR", "CRITICAL"}
            return f"{entry['level']} {entry.get('logger')}: {entry.get('message')}" if alarming else None
    return line if line.startswith(("[WARN", "[ERROR", "Traceback")) else None


def tell(text: str, *, alarming: bool = True) -> None:
    """Write to the terminal, which may be gone: a supervisor without audience goes on."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr if alarming else sys.stdout, flush=True)

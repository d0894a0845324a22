"""Client processes: started, told to stop, and read from afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults import journal
from tests.faults.farthing import ROOT
from tests.faults.journal import Operation
from tests.faults.load import Plan
from tests.faults.shop import Shop

START_SECONDS_MAX = 60.0
UNDER_WAY = 20
WORK_SECONDS_MAX = 1_200.0
STOP_SECONDS_MAX = 150.0


class Clients:
    """Some processes that do the same kind of work, each with a journal of its own."""

    def __init__(
        self, directory: Path, shop: Shop, work: str, *, seed: int, processes: int = 2, tasks: int = 6, **more: Any
    ) -> None:
        directory.mkdir(parents=True)
        self._journals = [directory / f"{work}{number}.jsonl" for number in range(processes)]
        self._plans = [
            Plan(shop=shop, journal=str(path), work=work, seed=seed, tasks=tasks, **more) for path in self._journals
        ]
        self._started: list[subprocess.Popen[str]] = []
        self._killed: set[Path] = set()

    def start(self) -> None:
        for plan in self._plans:
            path = plan.write(Path(plan.journal).with_suffix(".plan"))
            command = [sys.executable, "-m", "tests.faults.load", str(path)]
            environment = {**os.environ, "DJANGO_SETTINGS_MODULE": ""}
            self._started.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)
            )

    def get_going(self, operations: int = UNDER_WAY) -> None:
        """Wait until each of them has had so many acknowledged."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not all(sum(bool(each.good) for each in journal.read([path])) >= operations for path in self._journals):
            assert time.monotonic() < deadline, "the clients get no answers"
            time.sleep(0.05)

    def acknowledged(self) -> int:
        """Count what has been acknowledged so far."""
        return sum(bool(each.good) for each in journal.read(self._journals))

    def wait(self) -> None:
        """Wait until they have done all there was to do."""
        for process in self._started:
            _, said = process.communicate(timeout=WORK_SECONDS_MAX)
            assert process.returncode == 0, said

    def stop(self) -> None:
        """Have them finish what they have begun."""
        for process in self._started:
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            _, said = process.communicate(timeout=STOP_SECONDS_MAX)
            assert process.returncode == 0, said

    def kill_one(self) -> None:
        """End one of them in the middle of whatever it does; its journal must do."""
        process = self._started.pop()
        process.kill()
        process.communicate()
        self._killed.add(self._journals[len(self._started)])

    def abandon(self) -> None:
        """End those that are left, if any."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def operations(self) -> Iterator[Operation]:
        """Read everything they did."""
        for path in self._journals:
            for operation in journal.read([path]):
                is_over = path in self._killed or not self._plans[0].insist
                operation.is_abandoned = is_over and not operation.is_resolved
                yield operation


@contextmanager
def working(directory: Path, shop: Shop, work: str, **more: Any) -> Iterator[Clients]:
    """Run clients for the length of the block, and let them finish at its end."""
    clients = Clients(directory, shop, work, **more)
    try:
        clients.start()
        yield clients
        clients.stop()
    finally:
        clients.abandon()

"""``manage.py run_jobs``: do what the Celery worker does, without Celery and without Redis.

It runs the very tasks that beat wakes up, at the same pace. A busy drain is given a rest as long as its work.
"""

import logging
import signal
import threading
import time
from argparse import ArgumentParser
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections, connections

from config.celery import BEAT, OUTDOORS, app

logger = logging.getLogger(__name__)

PASSES_MAX = 10_000  # of one drain with --once


class Command(BaseCommand):
    """Run the jobs of the house in this process."""

    help = "Settle, invoice and sweep without Celery."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how long to run."""
        how_long = parser.add_mutually_exclusive_group()
        how_long.add_argument("--once", action="store_true", help="do everything that is due now, and end")
        how_long.add_argument("--for", dest="seconds", type=float, help="run for so many seconds, and end")

    def handle(self, *args: Any, once: bool, seconds: float | None, **options: Any) -> None:
        """Run until nothing is due, until the time is up, or until told to stop."""
        app.loader.import_default_modules()
        if once:
            done = {name: _run_dry(name) for name in BEAT}
            self.stdout.write(", ".join([f"{name}: {count}" for name, count in done.items()]))
            return
        self.stdout.write("Settling, invoicing and sweeping; Ctrl-C ends it.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        until = None if seconds is None else time.monotonic() + seconds
        outdoors = {queue: _names(queue) for queue in OUTDOORS}
        threads = [threading.Thread(target=_run_outdoors, args=(stop, until, names)) for names in outdoors.values()]
        for thread in threads:
            thread.start()
        _run(stop, until, [name for name in BEAT if name not in chain(*outdoors.values())])
        for thread in threads:
            thread.join()


def _names(queue: str) -> list[str]:
    return [name for name, entry in BEAT.items() if entry["options"]["queue"] == queue]


def _run_dry(name: str) -> int:
    done = 0
    for _ in range(PASSES_MAX):
        worked = _run_task(name)
        done += worked
        if not worked:
            break
    return done


def _run_outdoors(stop: threading.Event, until: float | None, names: list[str]) -> None:
    """Call on other people's servers, each kind in its own thread: whoever hangs there keeps no other kind waiting."""
    try:
        _run(stop, until, names)
    finally:
        connections.close_all()


def _run(stop: threading.Event, until: float | None, names: list[str]) -> None:
    due = dict.fromkeys(names, time.monotonic())
    while due and not stop.is_set() and (until is None or time.monotonic() < until):
        name = min(due, key=lambda each: due[each])
        if stop.wait(max(0.0, min(due[name], until or due[name]) - time.monotonic())):
            return
        started = time.monotonic()
        try:
            _run_task(name)
        except Exception:
            # Whatever it is, it is found again in the database; the other drains go on.
            logger.exception("%s failed", name)
        ended = time.monotonic()
        due[name] = ended + max(BEAT[name]["schedule"] - (ended - started), ended - started)


def _run_task(name: str) -> int:
    close_old_connections()
    return int(app.tasks[BEAT[name]["task"]]())

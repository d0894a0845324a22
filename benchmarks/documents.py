"""How fast invoices are finalised and their PDFs made, on this machine: ``python -m benchmarks.documents``.

First in this process, one after another: subscriptions of one merchant whose period is over are billed (settled,
numbered, frozen), then the files of what was issued are made. The baseline is what cannot be avoided of a document: an
INSERT of its row by itself, and typst setting a page of one word under the same standards. Then as many again by the
worker that ``make run`` starts, with all that goes on meanwhile: from the moment it may begin until the last PDF is
there, and the CPU time that each part took.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module

from benchmarks import machine
from benchmarks.machine import Reading
from benchmarks.stack import connect_django, running

INVOICES = 300
GOAL_PER_MINUTE = 1_000
WORKER_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.2
LINES = ("Requests", "Tokens", "Compute", "Storage", "Seats")
WORD = b'#set document(title: "x", date: datetime(year: 2026, month: 1, day: 1))\n= x\n#sys.inputs.word'


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds for each invoice, in one process."""

    finalised: float
    made: float
    inserted: float
    set_alone: float

    @property
    def per_minute(self) -> float:
        """Invoices with PDFs a minute by one process."""
        return 60 / (self.finalised + self.made)

    @property
    def ratio(self) -> float:
        """How many times the baseline one takes."""
        return (self.finalised + self.made) / (self.inserted + self.set_alone)


def measure(invoices: int) -> Measured:
    """Measure on the database that Django is connected to."""
    from django.utils import timezone

    from billing import invoicing
    from billing.documents import files

    now = timezone.now()
    _seed(invoices, now)
    started = time.perf_counter()
    invoicing.bill_due(now=now)
    finalised = time.perf_counter() - started
    started = time.perf_counter()
    made = files.make_due(now=now)
    took = time.perf_counter() - started
    if made < invoices:
        raise RuntimeError(f"only {made} of {invoices} documents were made")
    return Measured(finalised / made, took / made, _inserted(made), _set_alone(made))


def measure_worker(invoices: int, pids: Mapping[str, int], let_work: Callable[[], None]) -> Reading:
    """Tell what it took until the worker, which stands still until it is let, made all invoices with PDFs."""
    from django.utils import timezone

    from billing.models import DocumentFile

    before = DocumentFile.objects.count()
    _seed(invoices, timezone.now())
    started = machine.read(pids)
    let_work()
    while (made := DocumentFile.objects.count() - before) < invoices:
        if time.monotonic() - started.at > WORKER_SECONDS_MAX:
            raise RuntimeError(f"the worker made {made} of {invoices} documents in {WORKER_SECONDS_MAX:.0f} s")
        time.sleep(LOOK_SECONDS)
    return machine.read(pids).since(started)


def _seed(invoices: int, now: datetime) -> None:
    # By name: the type checker does not look into tests.
    factories, buyers = (import_module(name) for name in ("tests.factories", "tests.billing.buyers"))

    merchant = factories.merchant()
    product = factories.product(merchant=merchant)
    prices = [
        factories.price(metric=factories.metric(product=product, name=name), unit_price="0.0123", term="in_arrears")
        for name in LINES
    ]
    plan = factories.plan(product=product, prices=prices)
    at = now - timedelta(days=40)
    for _ in range(invoices):
        buyer = buyers.subscribe(merchant, plan, at=at, balance="0")
        for price in prices:
            buyer.use(price, 321, at=at)
        buyer.set_clock(now)


def _inserted(rows: int) -> float:
    """Seconds for a row of a document by itself, each in a transaction of its own."""
    from django.db import connection

    from billing.models import Document

    content = Document.objects.values_list("content", flat=True)[0]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE bare (id bigint PRIMARY KEY, content text, digest bytea)")
        started = time.perf_counter()
        for number in range(rows):
            cursor.execute("INSERT INTO bare VALUES (%s, %s, %s)", [number, content, b"x" * 32])
    return (time.perf_counter() - started) / rows


def _set_alone(pages: int) -> float:
    """Seconds for typst to set one word on a page."""
    from billing.documents import rendering

    compiler = rendering._compiler()
    started = time.perf_counter()
    for number in range(pages):
        compiler.compile(input=WORD, sys_inputs={"word": str(number)}, pdf_standards=["a-3a", "ua-1"])
    return (time.perf_counter() - started) / pages


def main() -> int:
    """Measure, print, and exit with 1 below the goal."""
    invoices = int(os.environ.get("INVOICES", INVOICES))
    with running() as stack:
        others = [pid for name, pid in stack.pids().items() if name not in ("postgres", "redis", "runner")]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)  # this process is the worker
        try:
            connect_django(stack)
            found = measure(invoices)
            took = measure_worker(invoices, stack.pids(), lambda: _let_go(others))
        finally:
            _let_go(others)
    per_minute = 60 * invoices / took.at
    cpu = {name: part.total / invoices * 1000 for name, part in took.parts.items()}
    print(
        f"{invoices} invoices of {len(LINES)} lines by one process:\n"
        f"  finalised  {found.finalised * 1000:7.2f} ms each\n"
        f"  files made {found.made * 1000:7.2f} ms each\n"
        f"  baseline   {(found.inserted + found.set_alone) * 1000:7.2f} ms each (a row and a page by themselves)\n"
        f"  {found.per_minute:,.0f} a minute, {found.ratio:.1f} times the baseline\n"
        f"by the worker, with all its other work: {per_minute:,.0f} a minute (the goal is {GOAL_PER_MINUTE:,})\n"
        f"  {sum(cpu.values()):.1f} ms of CPU each: {', '.join(f'{name} {ms:.1f}' for name, ms in cpu.items())}\n"
        f"  others took {took.others:.2f} cores"
    )
    return 0 if per_minute >= GOAL_PER_MINUTE else 1


def _let_go(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())

"""Racing reservations over HTTP on one wallet, against Farthing as it is and against one that looks before it locks."""

import dataclasses
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from config.processes import Process
from tests.faults.checker import Checker, Verdict
from tests.faults.clients import Clients
from tests.faults.farthing import ROOT, START_SECONDS_MAX, Farthing, answers, free_port

PROCESSES = 4
TASKS = 12
NAIVE = "tests.faults.naive:application"
MILL = 1_000_000  # nanos; what a unit costs


@dataclass
class Outcome:
    """What the clients got, and what the wallet says: balance and held, in units."""

    granted: int
    refused: int
    wallet: tuple[int, int]
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.granted} granted, {self.refused} refused, wallet {self.wallet}\n{self.verdict}"


def race(farthing: Farthing, *, reservations: int, funded: int, seed: int, port: int | None = None) -> Outcome:
    """Reserve a unit so many times from several processes, on a wallet that can pay for some of them."""
    shop = farthing.shop(customers=1, funds=f"{funded / 1000:.2f}")
    target = shop if port is None else dataclasses.replace(shop, port=port)
    clients = Clients(
        farthing.directory / f"race-{secrets.token_hex(4)}",
        target,
        "race",
        seed=seed,
        processes=PROCESSES,
        tasks=TASKS,
        count=reservations // PROCESSES,
    )
    clients.start()
    try:
        clients.wait()
    finally:
        clients.abandon()
    operations = list(clients.operations())
    granted = sum(bool(each.good) for each in operations)
    refused = sum(each.tries[-1].status == 402 for each in operations)
    checker = Checker(farthing, shop, operations)
    verdict = checker.check()
    [(balance, held)] = farthing.ask(
        "SELECT balance, held FROM billing_wallet WHERE customer_id = %s AND kind = 'prepaid'", checker.customers[0]
    )
    return Outcome(granted, refused, (int(balance) // MILL, int(held) // MILL), verdict)


@contextmanager
def served_naively(farthing: Farthing) -> Iterator[int]:
    """Serve the same books by processes that check funds before they take them; yields the port."""
    port = free_port()
    web = Process(
        "naive",
        [sys.executable, "-m", "uvicorn", f"--port={port}", "--workers=2", "--lifespan=on", NAIVE],
        log=farthing.directory / "naive.log",
        environment=farthing.environment(),
        directory=ROOT,
    )
    web.start()
    try:
        farthing.until(lambda: answers(port, "/readyz"), "naive", START_SECONDS_MAX)
        yield port
    finally:
        web.stop()

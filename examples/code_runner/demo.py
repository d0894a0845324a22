"""``make demo``: the code runner sells a few hundred real runs through a Farthing of its own, and the sums must agree.

Everything happens in a temporary directory and is gone afterwards. Five customers submit programs at the same time; one
runs out of money, follows the link it is given, tops up and goes on; half-way the seller is killed with SIGKILL and
started again. A sixth customer then buys at tiers, by a formula, against a grant and beyond an agent's limit. Then the
wallets, the ledger, an invoice and the result of ``manage.py verify`` are printed. The exit
code is 1 when anything is off.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx

from . import demo_prices, demo_report
from .demo_orders import Program, orders
from .setup import Account, Catalogue, seller_environment, write_customers

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = __package__ or "code_runner"
START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 120.0
ORDERS_PER_CUSTOMER = 50
AT_ONCE_PER_CUSTOMER = 4
TRIES_MAX = 60
TOPUP = Decimal("25.00")
POOR = Decimal("0.05")  # enough for a few submissions
NAMES = ("Ada", "Blaise", "Charles", "Dorothy", "Edsger")


@dataclass
class Child:
    """A server in a process group of its own."""

    module: str
    environment: dict[str, str]
    log: Path
    ready_url: str
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """This will start it and wait until it answers; raises RuntimeError with its last words when it does not."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.module} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """This will end it at once, without a chance to tidy up."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """This will ask it to end, and end it when it does not."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS_MAX)
        self.kill()

    def _answers(self) -> bool:
        try:
            return httpx.get(self.ready_url).status_code == 200
        except httpx.TransportError:
            return False


@dataclass
class Tally:
    """What the customers saw."""

    ends: Counter[str] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    done: int = 0
    refused: int = 0
    interrupted: int = 0
    link: str = ""


class Customer:
    """One customer of the code runner, who sends programs and looks at the results."""

    def __init__(self, account: Account, *, seller_url: str, catalogue: Catalogue, tally: Tally) -> None:
        self._account, self._catalogue, self._tally = account, catalogue, tally
        self._http = httpx.AsyncClient(
            base_url=seller_url, headers={"Authorization": f"Bearer {account.token}"}, timeout=60.0
        )
        self._paying = asyncio.Lock()
        self.funded = Decimal(0)

    async def top_up(self, dollars: Decimal) -> None:
        """This will pay in."""
        await asyncio.to_thread(self._catalogue.top_up, self._account, dollars)
        self.funded += dollars

    async def submit_all(self, programs: Iterator[Program], name: str) -> None:
        """This will submit programs, a few at a time, until there are no more."""
        numbered = enumerate(programs)

        async def work() -> None:
            for number, program in numbered:
                await self._submit(program, key=f"{name}-{number}")

        async with self._http:
            await asyncio.gather(*(work() for _ in range(AT_ONCE_PER_CUSTOMER)))

    async def _submit(self, program: Program, key: str) -> None:
        """This will see one program through, whatever happens: the key makes it safe to send again."""
        body = {"code": program.code, "stdin": program.stdin, "tier": program.tier}
        for _ in range(TRIES_MAX):
            try:
                answer = await self._http.post("/submissions", json=body, headers={"Idempotency-Key": key})
                if answer.status_code == 402:
                    await self._pay(answer.json())
                elif answer.status_code == 503:
                    await asyncio.sleep(0.5)
                elif answer.status_code == 202:
                    result = (await self._http.get(answer.headers["Location"], params={"wait": "30"})).json()
                    if result["status"] not in ("not_run", "running"):
                        self._note(program, result)
                        return
                else:
                    self._tally.surprises.append(f"{key} was answered {answer.status_code}: {answer.text}")
                    return
            except httpx.TransportError:
                self._tally.interrupted += 1
                await asyncio.sleep(0.2)
        self._tally.surprises.append(f"{key} ({program.name}) never came to an end")

    async def _pay(self, refusal: dict[str, str]) -> None:
        self._tally.refused += 1
        link, funded = refusal["topUpUrl"], self.funded
        async with self._paying:
            if funded != self.funded:
                return  # another request of ours has just paid
            page = await asyncio.to_thread(httpx.get, link, follow_redirects=True, timeout=30.0)
            if page.status_code != 200:
                self._tally.surprises.append(f"the link for topping up answered {page.status_code}")
            self._tally.link = link
            await self.top_up(TOPUP)

    def _note(self, program: Program, result: dict[str, str]) -> None:
        self._tally.done += 1
        self._tally.ends[result["status"]] += 1
        self._tally.tiers[program.tier] += 1
        if result["status"] != program.status or program.stdout not in (None, result["stdout"]):
            self._tally.surprises.append(
                f"{program.name}: {result['status']} {result['stdout']!r} {result['stderr']!r}"
            )


def main() -> int:
    """This will run the demo and return the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="farthing-demo-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        environment, farthing_url = _environment(directory)
        say("Starting Farthing in a temporary directory ...")
        farthing = Child("config.runner", environment, directory / "farthing.log", f"{farthing_url}/readyz")
        stack.callback(farthing.stop)
        farthing.start()
        demo = _demo_file(directory / "farthing" / "demo.env")
        catalogue = stack.enter_context(contextlib.closing(Catalogue(demo)))
        plan, metrics = catalogue.create_plan()
        accounts = [catalogue.create_account(plan=plan, name=n, email=f"{n.lower()}@example.com") for n in NAMES]
        write_customers(directory / "customers.json", accounts)
        settings = {**demo, **seller_environment(metrics, directory / "customers.json")}
        seller, seller_url = _seller(directory, settings)
        stack.callback(seller.kill)
        seller.start()
        say(f"{len(NAMES)} customers submit {ORDERS_PER_CUSTOMER} programs each ...")
        tally, customers = asyncio.run(_trade(accounts, catalogue, seller, seller_url))
        seller.stop()
        say("Waiting until every charge is in the ledger ...")
        report = demo_report.Report(catalogue, environment, directory / "runner" / "journal.sqlite3", metrics)
        buyers = [demo_report.Buyer(n, a, c.funded) for n, a, c in zip(NAMES, accounts, customers, strict=True)]
        report.wait_until_settled(buyers, SETTLE_SECONDS_MAX)
        _print_tally(tally)
        showcase = demo_prices.Showcase(catalogue, demo)
        faults = tally.surprises + showcase.show() + report.show(buyers)
    verdict = (
        f"{len(faults)} things are off:" if faults else "The journal, the wallets, the ledger and the invoice agree."
    )
    say("\n".join([f"\n{verdict} ({time.monotonic() - began:.0f} s)", *(f"  {fault}" for fault in faults)]))
    return 1 if faults else 0


async def _trade(
    accounts: list[Account], catalogue: Catalogue, seller: Child, seller_url: str
) -> tuple[Tally, list[Customer]]:
    tally = Tally()
    customers = [Customer(a, seller_url=seller_url, catalogue=catalogue, tally=tally) for a in accounts]
    for customer in customers:
        await customer.top_up(POOR if customer is customers[-1] else TOPUP)
    async with asyncio.TaskGroup() as trade:
        for number, customer in enumerate(customers):
            programs = orders(seed=number, count=ORDERS_PER_CUSTOMER)
            trade.create_task(customer.submit_all(programs, NAMES[number]))
        trade.create_task(_kill_half_way(seller, tally, len(customers) * ORDERS_PER_CUSTOMER))
    deadline = time.monotonic() + SETTLE_SECONDS_MAX  # what is still owed then is found by the report
    while time.monotonic() < deadline and (await asyncio.to_thread(httpx.get, seller.ready_url)).json()["owed"]:
        await asyncio.sleep(0.1)
    return tally, customers


async def _kill_half_way(seller: Child, tally: Tally, total: int) -> None:
    while tally.done + len(tally.surprises) < total // 2:
        await asyncio.sleep(0.05)
    say("Killing the seller in the middle of it (SIGKILL), and starting it again ...")
    seller.kill()
    await asyncio.to_thread(seller.start)


def _environment(directory: Path) -> tuple[dict[str, str], str]:
    """This will name the settings of a Farthing that shares nothing with another on this machine."""
    ours = ("FARTHING_", "RUNNER_", "DATABASE_", "REDIS_", "PORT")
    port = _free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    data = directory / "farthing"
    return {
        **kept,
        "PORT": str(port),
        "FARTHING_DATA": str(data),
        "FARTHING_STATIC_ROOT": str(data / "static"),
    }, f"http://localhost:{port}"


def _seller(directory: Path, settings: dict[str, str]) -> tuple[Child, str]:
    port = _free_port()
    environment = {
        **os.environ,
        **settings,
        "RUNNER_DATA_DIR": str(directory / "runner"),
        "RUNNER_PORT": str(port),
        # The programs are the demo's own, so it also runs where the host permits no isolation.
        "RUNNER_WEAK_SANDBOX": "1",
    }
    url = f"http://127.0.0.1:{port}"
    return Child(PACKAGE, environment, directory / "seller.log", f"{url}/healthz"), url


def _demo_file(path: Path) -> dict[str, str]:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} was not written")
        time.sleep(0.05)
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _print_tally(tally: Tally) -> None:
    demo_report.table(
        "Submissions", ["how they ended", "count"], [[end, str(n)] for end, n in tally.ends.most_common()]
    )
    say(
        f"  {tally.tiers['basic']} basic, {tally.tiers['premium']} premium;"
        f" {tally.interrupted} requests were cut off when the seller was killed;\n"
        f"  {tally.refused} were answered 402 with {tally.link[:60]}…"
    )


def say(line: str) -> None:
    """This will tell the reader."""
    print(line, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: stop what was started, then end
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
    except RuntimeError as problem:  # a server did not start or refused a request; the message says which
        sys.exit(f"the demo cannot go on: {problem}")

"""A seller that is killed at the worst moments, for real: nothing is lost, nothing is charged twice."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.examples.code_runner.fake_farthing import FakeFarthing

ROOT = Path(__file__).resolve().parents[3]
WAIT_SECONDS_MAX = 60.0
HEADERS = {"Authorization": "Bearer alice"}

pytestmark = pytest.mark.usefixtures("isolation")


class Shop:
    """A seller in processes of its own, with a way to kill it."""

    def __init__(self, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, **environment, "RUNNER_PORT": str(port)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.code_runner"], cwd=ROOT, env=self._environment, start_new_session=True
        )
        wait_for(lambda: self.health() is not None)

    def health(self) -> dict[str, int] | None:
        try:
            answer: dict[str, int] = httpx.get(f"{self.url}/healthz").json()
        except httpx.TransportError:
            return None
        return answer

    def send(self, code: str, key: str | None = None, tier: str = "basic") -> str:
        headers = HEADERS | ({"Idempotency-Key": key} if key else {})
        answer = httpx.post(f"{self.url}/submissions", json={"code": code, "tier": tier}, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def state(self, id: str) -> str:
        return str(httpx.get(f"{self.url}/submissions/{id}", headers=HEADERS).json()["billing"]["state"])

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def wait_for(condition: Callable[[], bool], seconds_max: float = WAIT_SECONDS_MAX) -> None:
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def shop(environment: dict[str, str]) -> Iterator[Shop]:
    with ExitStack() as stack:
        opened = Shop(environment)
        stack.callback(opened.kill)
        opened.start()
        yield opened


def programs(marker: str) -> list[int]:
    """The processes that hold an open file of a run whose directory is in ``marker``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and any(marker in str(each.readlink()) for each in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


class TestKill:
    def test_releases_what_was_running(self, shop: Shop, fake: FakeFarthing, environment: dict[str, str]) -> None:
        id = shop.send("import time; time.sleep(19)", tier="premium")
        runs = environment["RUNNER_DATA_DIR"] + "/runs"
        wait_for(lambda: bool(programs(runs)))
        shop.kill()
        wait_for(lambda: not programs(runs), seconds_max=10)  # dies with its seller, not by its own end
        shop.start()
        wait_for(lambda: shop.state(id) == "released")
        assert (fake.events, fake.holds, fake.funds["cus_alice"]) == ({}, {}, 10**9)
        assert list(Path(runs).iterdir()) == []

    def test_reports_what_was_measured(self, shop: Shop, fake: FakeFarthing) -> None:
        fake.trouble["/v0/usage"], fake.lasting = ["down"], {"/v0/usage"}
        id = shop.send("print(1)")
        wait_for(lambda: bool(fake.calls_of("/v0/usage")))
        shop.kill()
        fake.trouble["/v0/usage"] = []
        shop.start()
        wait_for(lambda: shop.state(id) == "reported")
        assert (list(fake.events), fake.holds) == ([id], {})

    def test_charges_once_when_the_answer_was_lost(self, shop: Shop, fake: FakeFarthing) -> None:
        fake.trouble["/v0/usage"], fake.lasting = ["lost"], {"/v0/usage"}
        id = shop.send("print(1)")
        wait_for(lambda: id in fake.events)
        shop.kill()
        fake.trouble["/v0/usage"] = []
        shop.start()
        wait_for(lambda: shop.state(id) == "reported")
        bodies = fake.calls_of("/v0/usage")
        assert len(bodies) >= 2
        assert all(body == bodies[0] for body in bodies)
        assert fake.funds["cus_alice"] == 10**9 - 1_000_000 - 350 * bodies[0]["properties"][1]["quantity"]

    def test_releases_a_reservation_whose_answer_was_lost(self, shop: Shop, fake: FakeFarthing) -> None:
        fake.trouble["/v0/entitlements"], fake.lasting = ["lost"], {"/v0/entitlements"}
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{shop.url}/submissions", json={"code": "1"}, headers=HEADERS, timeout=0.3)
        wait_for(lambda: bool(fake.holds))
        shop.kill()
        fake.trouble["/v0/entitlements"] = []
        shop.start()
        wait_for(lambda: (shop.health() or {}).get("owed") == 0)
        assert (fake.events, fake.holds, fake.funds["cus_alice"]) == ({}, {}, 10**9)

    def test_loses_nothing_in_the_middle_of_many(self, shop: Shop, fake: FakeFarthing) -> None:
        ids = [shop.send("print(1)", key=f"k{number}") for number in range(10)]
        wait_for(lambda: len(fake.events) >= 3)
        shop.kill()
        shop.start()
        wait_for(lambda: (shop.health() or {}).get("owed") == 0)
        states = {id: shop.state(id) for id in ids}
        assert set(states.values()) <= {"reported", "released"}
        assert {id for id, state in states.items() if state == "reported"} == set(fake.events)
        # What was not charged gave its key back, so the customer's second try is run.
        again = [shop.send("print(1)", key=f"k{number}") for number in range(10)]
        wait_for(lambda: {shop.state(id) for id in again} == {"reported"})
        assert (len(fake.events), fake.holds) == (10, {})


class TestStop:
    def test_finishes_and_reports_what_is_running(self, shop: Shop, fake: FakeFarthing) -> None:
        shop.send("import time; time.sleep(1)")
        assert shop._process
        shop._process.send_signal(signal.SIGTERM)
        assert shop._process.wait(WAIT_SECONDS_MAX) == -signal.SIGTERM  # as it was told to, and not before
        assert (len(fake.events), fake.holds) == (1, {})


class TestStart:
    def test_says_what_is_wrong_and_ends(self, environment: dict[str, str]) -> None:
        del environment["FARTHING_API_KEY"]
        ended = subprocess.run(
            [sys.executable, "-m", "examples.code_runner"],
            cwd=ROOT,
            env={**os.environ, **environment, "RUNNER_PORT": "0"},
            capture_output=True,
            timeout=WAIT_SECONDS_MAX,
            check=False,
        )
        assert ended.returncode != 0
        assert b"FARTHING_API_KEY is not set" in ended.stdout + ended.stderr

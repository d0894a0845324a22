"""Where the time of a single event goes: sampled inside the lane, and as PostgreSQL's own log has it.

The lane runs in a process of its own here, called directly by as many tasks as there would be connections, and is
interrupted every millisecond of CPU time. What the web server adds around it is in the CPU figures of R1.

    python -m benchmarks.profiling <seconds> < caller.json
"""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.stack import ROOT, Stack
from benchmarks.workloads import WORKLOADS, Caller, Tally, keys
from config.processes import LANE_STOP_SECONDS_MAX

TASKS = 64
SAMPLE_SECONDS = 0.001
STATEMENT_SHARE = 0.05  # of statements whose duration PostgreSQL logs
ROWS = 15
START_SECONDS_MAX = 120
CALLERS_FILE = "benchmarks/workloads.py"
OURS = ("charging/", "billing/", "metering/", "customers/", "merchants/", "config/")

_DURATION = re.compile(r"duration: ([0-9.]+) ms  (parse|bind|execute) lane_\d+: (.*)")


@dataclass
class Share:
    """A place in the program or a kind of statement, and its part of the whole."""

    name: str
    share: float
    detail: str = ""


@dataclass
class Profile:
    """``own``: in the function itself; ``whole``: in it and what it calls; ``statements``: of PostgreSQL's time."""

    events: int
    microseconds_per_event: float
    own: list[Share]
    whole: list[Share]
    statements: list[Share]


# --- from outside ----------------------------------------------------------------------------------------


def profile(stack: Stack, caller: Caller, seconds: float) -> Profile:
    """Run the lane for so many seconds in a process of its own, and tell where its time and PostgreSQL's went."""
    log = stack.data / "logs" / "postgres.log"
    begin = log.stat().st_size
    stack.ask("ALTER SYSTEM SET log_min_duration_sample = 0")
    stack.ask(f"ALTER SYSTEM SET log_statement_sample_rate = {STATEMENT_SHARE}")
    stack.ask("SELECT pg_reload_conf()")
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.profiling", str(seconds)],
            input=json.dumps(asdict(caller)),
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + START_SECONDS_MAX,
        )
    finally:
        stack.ask("ALTER SYSTEM RESET ALL")
        stack.ask("SELECT pg_reload_conf()")
    sampled = json.loads(answer.stdout.splitlines()[-1])
    return Profile(
        sampled["events"],
        sampled["microseconds"],
        [Share(**each) for each in sampled["own"]],
        [Share(**each) for each in sampled["whole"]],
        _statements(log, begin),
    )


def _statements(log: Path, begin: int) -> list[Share]:
    """Add up the sampled durations by statement; binding, planning and executing one is all its own."""
    spent: Counter[str] = Counter()
    times: Counter[str] = Counter()
    with log.open() as lines:
        lines.seek(begin)
        text = lines.read()
    for match in _DURATION.finditer(text.replace("\n\t", " ")):
        name = " ".join(match[3].split())[:70]
        spent[name] += float(match[1])  # type: ignore[assignment]
        times[name] += match[2] == "execute"
    total = sum(spent.values()) or 1.0
    return [
        Share(name, milliseconds / total, f"{milliseconds / max(1, times[name]) * 1000:.0f} µs each")
        for name, milliseconds in spent.most_common(ROWS)
    ]


# --- inside the process that is sampled ------------------------------------------------------------------


class _Sampler:
    """Counts where the interpreter is at each tick of this process's CPU time."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.ticks = 0
        self.callers_ticks = 0  # spent on making requests, which is not the lane's work

    def tick(self, number: int, frame: FrameType | None) -> None:
        places = []
        while frame is not None:
            places.append(_place(frame))
            frame = frame.f_back
        if any(place.startswith(CALLERS_FILE) for place in places):
            self.callers_ticks += 1
        else:
            self.ticks += 1
            self.own.update(places[:1])
            self.whole.update({place for place in places if place.startswith(OURS)})

    def shares(self, counted: Counter[str]) -> list[dict[str, Any]]:
        return [{"name": name, "share": count / self.ticks} for name, count in counted.most_common(ROWS)]

    @property
    def lane_share(self) -> float:
        """The lane's part of the time."""
        return self.ticks / max(1, self.ticks + self.callers_ticks)


def _place(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    where = path.relative_to(ROOT) if path.is_relative_to(ROOT) and ".venv" not in path.parts else path.name
    return f"{where}:{frame.f_code.co_qualname}"


async def _call(lane: Any, caller: Caller, request: bytes) -> tuple[int, bytes]:
    """Hand one request to the application the way a web server does."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in rest)]
    answer: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        answer.append(message)

    path = first.split(b" ")[1].decode()
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await lane.application(scope, receive, send)
    return answer[0]["status"], answer[1]["body"]


async def _sample(caller: Caller, seconds: float) -> dict[str, Any]:
    from charging import lane

    await lane.startup()
    tally, sampler, run_keys = Tally(), _Sampler(), keys()
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.0

    async def connection() -> None:
        story = WORKLOADS["usage"](caller, tally, run_keys)
        request = next(story)
        while loop.time() < until:
            request = story.send(await _call(lane, caller, request))

    await asyncio.gather(*[connection() for _ in range(TASKS)])  # warm up
    done, until, began = tally.done, loop.time() + seconds, time.process_time()
    signal.signal(signal.SIGPROF, sampler.tick)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        await asyncio.gather(*[connection() for _ in range(TASKS)])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    used = time.process_time() - began
    await lane.shutdown(LANE_STOP_SECONDS_MAX)
    if tally.refused:
        raise RuntimeError(f"refused: {tally.last_refusal}")
    events = tally.done - done
    return {
        "events": events,
        "microseconds": used * sampler.lane_share * 1e6 / max(1, events),
        "own": sampler.shares(sampler.own),
        "whole": sampler.shares(sampler.whole),
    }


if __name__ == "__main__":
    import django
    import uvloop

    django.setup()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_sample(Caller(**json.load(sys.stdin)), float(sys.argv[1])))))

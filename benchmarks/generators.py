"""Who makes the load: wrk, which costs the cores least, or where it is missing a client in Python."""

import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks import client
from benchmarks.workloads import BATCH_EVENTS, Caller

SCRIPT = Path(__file__).with_name("wrk.lua")
THREADS = 1  # one keeps up with many times the rate of a two-core server, and two only change places more often
TIMEOUT_SECONDS = 30
STOP_SECONDS_MAX = 60

WRK, PYTHON = "wrk", "python"


class Outcome(NamedTuple):
    """What a load achieved: events or pairs in so many seconds."""

    done: int
    refused: int
    refusal: str
    seconds: float
    p50: float
    p99: float


def available() -> str:
    """Name the best generator that is installed."""
    return WRK if shutil.which("wrk") else PYTHON


def run(generator: str, caller: Caller, kind: str, *, connections: int, seconds: float) -> Outcome:
    """Call as fast as the answers come, on so many connections."""
    if generator == WRK:
        return _wrk(caller, kind, connections, seconds)
    load = client.Load(caller, kind)
    client.run(load.as_fast_as_it_can(connections=connections, seconds=seconds))
    return _outcome(load)


def run_at_rate(caller: Caller, rate: float, *, connections: int, seconds: float) -> Outcome:
    """Report single events at a fixed rate; always in Python, as wrk has no rate."""
    load = client.Load(caller, "usage")
    client.run(load.at_rate(rate, connections=connections, seconds=seconds))
    return _outcome(load)


def _outcome(load: client.Load) -> Outcome:
    p50, p99 = (client.percentile(load.latencies, percent) for percent in (50, 99))
    return Outcome(load.tally.done, load.tally.refused, load.tally.last_refusal, load.seconds, p50, p99)


def _wrk(caller: Caller, kind: str, connections: int, seconds: float) -> Outcome:
    with tempfile.NamedTemporaryFile("w", suffix=".facts") as facts:
        facts.write("\n".join([caller.secret, caller.merchant_id, caller.metric_id, *caller.customer_ids]))
        facts.flush()
        command = ["wrk", f"-t{THREADS}", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += [f"--timeout={TIMEOUT_SECONDS}s", "-s", str(SCRIPT), f"http://{caller.host}:{caller.port}"]
        command += ["--", kind, facts.name, secrets.token_hex(6)]
        said = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=seconds + STOP_SECONDS_MAX
        ).stdout
    lines = {line.split(" ")[0]: line.partition(" ")[2] for line in said.splitlines()}
    if "RESULT" not in lines:
        raise RuntimeError(f"wrk said nothing of its result:\n{said}")
    done, refused, broken, microseconds, p50, p99 = map(int, lines["RESULT"].split())
    refusal = lines["REFUSAL"] or (f"{broken} connections broke" if broken else "")
    units = BATCH_EVENTS if kind == "batch" else 1
    return Outcome(done * units, refused + broken, refusal, microseconds / 1e6, p50 / 1e6, p99 / 1e6)

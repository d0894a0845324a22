"""``make bench``: measure the engine against bare PostgreSQL, print a table and keep it as JSON.

make bench ARGS="--quick"
make bench ARGS="--profile --stored 0"
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import generators, machine, profiling, rating_speed, report, storing
from benchmarks.stack import BUILD, ROOT, Stack, connect_django, running
from benchmarks.suite import SETTLED_SECONDS_MAX, Options, Suite
from benchmarks.workloads import Caller
from config.processes import CannotStart

CUSTOMERS = 1_000
STORED = 5_000_000
PROFILE_LENGTHENED = 2  # a profile needs samples
VERIFY_SECONDS_MAX = 900

FULL = {"seconds": 5.0, "warm_up": 1.0, "repetitions": 3, "stored": STORED}
QUICK = {"seconds": 2.0, "warm_up": 1.0, "repetitions": 1, "stored": 0}


def main() -> int:
    """Measure, print, keep; exit with 1 when something acknowledged is missing or the books do not add up."""
    arguments = _arguments()
    if not Path("/proc/self/smaps_rollup").exists():
        print("The benchmark reads /proc: it runs on Linux.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is taken down
    try:
        with running() as stack:
            made = _measure(stack, arguments)
    except CannotStart as problem:
        print(f"The benchmark cannot start: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    report.write(made, arguments.json)
    print(f"\n{report.table(made)}\n\nKept in {arguments.json}")
    return 0 if made["verify"] == "green" and not made["lost"] and not made["refused"] else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0].split(": ")[1])
    parser.add_argument("--quick", action="store_true", help="about a minute: one short repetition, nothing stored")
    parser.add_argument("--profile", action="store_true", help="tell where the time of an event goes")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--repetitions", type=int, help="of each figure")
    parser.add_argument("--stored", type=int, help="events stored before R1 is measured again; 0 leaves that out")
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--generator", choices=[generators.WRK, generators.PYTHON], default=generators.available())
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", help="file to write")
    given = parser.parse_args()
    for name, value in (QUICK if given.quick else FULL).items():
        if getattr(given, name, None) is None:
            setattr(given, name, value)
    return given


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def _measure(stack: Stack, given: argparse.Namespace) -> dict[str, Any]:
    if given.generator == generators.PYTHON:
        _tell("wrk is not used (Debian's package wrk): the Python client takes more of the cores from the server")
    connect_django(stack)
    from benchmarks import seeding  # models need a connected Django

    seeded, rich = (seeding.seed(customers=given.customers, is_rich=is_rich) for is_rich in (False, True))
    caller, rich_caller = (
        Caller("127.0.0.1", stack.port, each.secret, each.merchant_id, each.metric_id, each.customer_ids)
        for each in (seeded, rich)
    )
    options = Options(
        seconds=given.seconds,
        warm_up=given.warm_up,
        repetitions=given.repetitions,
        customers=given.customers,
        stored=given.stored,
        generator=given.generator,
    )
    suite = Suite(stack, caller, rich_caller, options, _tell)
    suite.run()
    storing.wait_until_settled(stack, SETTLED_SECONDS_MAX)
    verified = _verify()
    _tell(f"manage.py verify: {verified}")
    if options.stored:
        suite.run_stored(str(seeded.merchant.id))
    profile = profiling.profile(stack, caller, PROFILE_LENGTHENED * given.seconds) if given.profile else None
    results = suite.results
    return {
        "machine": machine.machine(),
        "stack": _describe(stack, given.generator),
        "options": options,
        "figures": report.figures(results),
        "half_of_peak": results.latency,
        "events_recorded": results.events_before,
        "events_stored": results.stored_events,
        "memory": results.memory,
        "memory_stored": results.memory_stored,
        "rated": rating_speed.measure(),
        "profile": profile,
        "lost": results.lost,
        "refused": sum(each.refused for each in [*results.samples, *results.stored]),
        "verify": verified,
        "samples": results.samples,
        "samples_copied": results.copies,
        "samples_stored": results.stored,
    }


def _verify() -> str:
    """Check every invariant of the books, before any event is made by other means than the engine."""
    done = subprocess.run(
        [sys.executable, "manage.py", "verify"],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=VERIFY_SECONDS_MAX,
    )
    return "green" if done.returncode == 0 else f"RED\n{done.stdout.strip()}"


def _describe(stack: Stack, generator: str) -> dict[str, Any]:
    found = {str(name): value for name, value in stack.ask("SELECT name, setting FROM pg_settings")}
    web = machine.memory({"web": stack.pids()["web"]})
    return {
        "postgres": found["server_version"],
        **{name: found[name] for name in ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")},
        "disk": machine.file_system(stack.data),
        "web_workers": sum("multiprocessing.spawn" in each.command for each in web) or 1,  # or the one that was started
        "generator": generator,
    }


if __name__ == "__main__":
    sys.exit(main())

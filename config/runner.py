"""``make run``: bring up the whole of Farthing with one command, watch over it, take it down in order.

Without DATABASE_URL and REDIS_URL it starts its own servers (config/embedded.py). A second start finds
everything as the first one left it.
"""

import argparse
import contextlib
import hashlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psycopg

from config import embedded, watching
from config.processes import CannotStart, Process, stop_marked, web_workers

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
MARK = "FARTHING_SUPERVISOR"  # every child carries it, so that a killed supervisor's children are found again

READY_SECONDS_MAX = 120.0
WORKER_PROCESSES = 2


class Stopped(BaseException):
    """Someone pressed Ctrl-C or sent SIGTERM."""


@dataclass
class Options:
    """What the command line and the environment ask for."""

    host: str
    port: int
    workers: int
    data: Path
    verbose: bool
    demo: bool
    servers_only: bool

    @property
    def url(self) -> str:
        return os.environ.get("FARTHING_URL") or f"http://localhost:{self.port}"


def main() -> int:
    """Run until told to stop; return the exit code."""
    options = _options()
    hurry = threading.Event()
    _listen(hurry)
    try:
        _run(options, hurry)
    except CannotStart as problem:
        watching.tell(f"Farthing cannot start: {problem}")
        return 1
    except Stopped:
        watching.tell("Stopped. The data is kept.")
    return 0


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make run", description="Run the whole of Farthing.")
    parser.add_argument("--verbose", action="store_true", help="tell how long each step takes")
    parser.add_argument("--servers-only", action="store_true", help="only PostgreSQL and Redis")
    parser.add_argument("--without-demo", action="store_true", help="make no demo merchant")
    given = parser.parse_args()
    try:
        port = int(os.environ.get("PORT") or 8000)
        workers = int(os.environ.get("FARTHING_WEB_WORKERS") or web_workers())
    except ValueError:
        parser.error("PORT and FARTHING_WEB_WORKERS must be whole numbers")
    if not 1 <= port <= 65535:
        parser.error(f"PORT is {port}; ports go from 1 to 65535")
    return Options(
        host=os.environ.get("FARTHING_HOST") or "127.0.0.1",
        port=port,
        workers=workers,
        data=Path(os.environ.get("FARTHING_DATA") or ROOT / ".farthing").absolute(),
        verbose=given.verbose,
        demo=not given.without_demo,
        servers_only=given.servers_only,
    )


def _listen(hurry: threading.Event) -> None:
    """Have the first signal unwind the program, and every later one shorten the way."""
    stopping = threading.Event()

    def hear(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            hurry.set()
            return
        stopping.set()
        watching.tell("\nStopping; once more to stop at once ...")
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hear)


def _run(options: Options, hurry: threading.Event) -> None:
    began = time.monotonic()
    clock = Phases(options.verbose)
    if not options.servers_only:
        _claim_port(options)
    own_postgres, own_redis = not os.environ.get("DATABASE_URL"), not os.environ.get("REDIS_URL")
    with clock("servers"):
        servers_context = embedded.servers(options.data, postgres=own_postgres, redis=own_redis, hurry=hurry)
        stack = contextlib.ExitStack()
        servers = stack.enter_context(servers_context)
    with stack:
        stop_marked(MARK, str(options.data))
        stack.callback((options.data / "pids").unlink, missing_ok=True)
        environment = _environment(options, servers.urls if own_postgres else None, servers.urls if own_redis else None)
        watched = [watching.Watched(server.process, server.start, time.monotonic()) for server in servers.all]
        if options.servers_only:
            lines = [f"{name}={value}" for name, value in servers.urls.environment().items()]
            watching.tell("\n".join(lines), alarming=False)
            watching.watch(watched, [], options.data / "pids")
        if not own_postgres:
            _reach(environment.get("DATABASE_OWNER_URL") or environment["DATABASE_URL"])
        with clock("migrate, collect static files"):
            _prepare(options, environment)
        children = _children(options, environment)
        try:
            for child in children:
                child.start()
            if options.demo:
                with clock("demo"):
                    _seed(options, environment)
            with clock("web"):
                _wait_until_ready(options, children[0])
            _announce(options, time.monotonic() - began)
            watched += [watching.Watched(child, child.start, time.monotonic()) for child in children]
            watching.watch(watched, [watching.Tail(child) for child in children], options.data / "pids")
        finally:
            for child in children:
                child.stop(hurry)


class Phases:
    """Tells how long each step took, to those who asked."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        if self.verbose:
            watching.tell(f"{time.monotonic() - began:6.2f} s  {name}", alarming=False)


# --- before anything runs --------------------------------------------------------------------------------


def _claim_port(options: Options) -> None:
    """Refuse a port that is taken, unless by children of a supervisor that was killed: those are stopped."""
    if _is_free(options):
        return
    with embedded.servers(options.data, postgres=False, redis=False):  # refuses while a supervisor lives
        stop_marked(MARK, str(options.data))
    if not _is_free(options):
        raise CannotStart(f"port {options.port} is taken by another program; choose one: PORT=8001 make run")


def _is_free(options: Options) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except PermissionError:
            raise CannotStart(f"port {options.port} needs root; choose one above 1023: PORT=8001 make run") from None
        except OSError:
            return False
    return True


def _environment(options: Options, postgres: embedded.Urls | None, redis: embedded.Urls | None) -> dict[str, str]:
    metrics = options.data / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "FARTHING_DATA": str(options.data),
        "FARTHING_SECRET_KEY": os.environ.get("FARTHING_SECRET_KEY") or _secret(options.data),
        "FARTHING_URL": options.url,
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "PYTHONUNBUFFERED": "1",
        MARK: str(options.data),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # five processes share the same modules: compile them once
    if postgres:
        environment |= {"DATABASE_URL": postgres.database, "DATABASE_OWNER_URL": postgres.database_owner}
    if redis:
        environment["REDIS_URL"] = redis.redis
    return environment


def _secret(data: Path) -> str:
    """Return the secret key of this installation, made on first use."""
    if not embedded.kept_secret(data):
        draft = data / "secret_key.new"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        draft.rename(data / "secret_key")
    return embedded.kept_secret(data)


def _reach(url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise CannotStart(f"no connection to DATABASE_URL: {str(error).strip().splitlines()[0]}") from error


def _prepare(options: Options, environment: dict[str, str]) -> None:
    """Bring the tables and the static files up to date, both at once."""
    commands = {"migrate": [PYTHON, "manage.py", "migrate", "--noinput", "--verbosity=1"]}
    stamp, collected = _static_stamp(), options.data / "static.stamp"
    if not collected.exists() or collected.read_text() != stamp:
        commands["collectstatic"] = [PYTHON, "manage.py", "collectstatic", "--noinput", "--clear", "--verbosity=0"]
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(_started(command, environment)) for name, command in commands.items()}
        for name, process in running.items():
            said, _ = process.communicate()
            if process.returncode:
                raise CannotStart(f"manage.py {name} failed:\n{said.strip()}")
    collected.write_text(stamp)


def _static_stamp() -> str:
    """Tell by name, size and age whether any static file, or any package that brings some, has changed."""
    ours = sorted(path for path in ROOT.glob("*/static/**/*") if path.is_file())
    sources = [*ours, ROOT / "requirements" / "run.txt", ROOT / "config" / "settings.py"]
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    return hashlib.sha256(repr((facts, os.environ.get("FARTHING_STATIC_ROOT"))).encode()).hexdigest()


@contextlib.contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with process:
            yield process
    except BaseException:
        process.kill()
        raise


def _seed(options: Options, environment: dict[str, str]) -> None:
    """Make the demo merchant, or find it, and write its keys to demo.env."""
    with _started([PYTHON, "manage.py", "seed_demo", "--env-file", str(_demo_file(options))], environment) as process:
        said, _ = process.communicate()
        if process.returncode:
            raise CannotStart(f"manage.py seed_demo failed:\n{said.strip()}")


def _demo_file(options: Options) -> Path:
    return options.data / "demo.env"


# --- what runs -------------------------------------------------------------------------------------------


def _children(options: Options, environment: dict[str, str]) -> list[Process]:
    """Describe the children in the order in which they are stopped; the web server lets its requests finish."""
    from_web_only = {name: value for name, value in environment.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    web = ["config.server", f"--host={options.host}", f"--port={options.port}", f"--workers={options.workers}"]
    celery = ["celery", "--app=config.celery"]
    quiet = ["--without-gossip", "--without-mingle"]
    worker = ["worker", "--queues=settlement,invoicing,documents,sweeps", f"--concurrency={WORKER_PROCESSES}", *quiet]
    messenger = ["worker", "--queues=webhooks,mail", "--pool=threads", "--concurrency=3", "--hostname=messenger@%h"]
    payments = ["worker", "--queues=payments", "--concurrency=1", "--hostname=payments@%h"]
    commands = {
        "web": web,
        "worker": [*celery, *worker],
        "messenger": [*celery, *messenger, *quiet],
        "payments": [*celery, *payments, *quiet],
        "beat": [*celery, "beat", "--pidfile="],
    }
    return [
        Process(
            name,
            [PYTHON, "-m", *command],
            log=options.data / "logs" / f"{name}.log",
            environment=environment if name == "web" else from_web_only,
            directory=ROOT,
        )
        for name, command in commands.items()
    ]


def _wait_until_ready(options: Options, web: Process) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    problem = "no answer"
    while time.monotonic() < deadline:
        if not web.is_running():
            raise CannotStart(f"the web server ended at once:\n{web.said(2_000).strip()}")
        try:
            connection = http.client.HTTPConnection(options.host, options.port, timeout=5.0)
            connection.request("GET", "/readyz", headers={"Host": "localhost"})
            answer = connection.getresponse()
            if answer.status == 200:
                return
            problem = answer.read(1_000).decode(errors="replace")
        except OSError as error:
            problem = str(error)
        time.sleep(0.05)
    raise CannotStart(f"the web server is not ready after {READY_SECONDS_MAX:.0f} s: {problem}")


def _announce(options: Options, seconds: float) -> None:
    demo = ""
    if options.demo:
        known = dict(line.split("=", 1) for line in _demo_file(options).read_text().splitlines() if "=" in line)
        demo = f"""
  Sign in    {known["FARTHING_EMAIL"]}  {known["FARTHING_PASSWORD"]}
  API key    {known["FARTHING_API_KEY"]}
  All ids    {_demo_file(options)}"""
    watching.tell(
        f"""
Farthing is ready ({seconds:.1f} s).

  Dashboard  {options.url}/{demo}
  Logs       {options.data / "logs"}

Ctrl-C stops everything and keeps the data.
""",
        alarming=False,
    )


if __name__ == "__main__":
    sys.exit(main())

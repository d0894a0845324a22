"""Every test runs on a real PostgreSQL and a real Redis, started for this run and thrown away after it.

Tests connect as the app's role, so what the ledger refuses to the app it refuses to a test. The database is
made and migrated by the owner, and emptied between transactional tests by the superuser.
"""

import fcntl
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest

from config import embedded
from config.processes import Process
from tests import scheduling

if TYPE_CHECKING:  # models can be imported only once the servers that settings name are running
    import redis

    from tests.scenes import Scene

ROOT = Path(__file__).resolve().parent.parent
RUN_PREFIX = "farthing-test-"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WEB_START_SECONDS_MAX = 60.0
GARBAGE_MIN = 20_000  # objects, as against 700
MIGRATED = "migrated"  # a database to copy
SWIFT_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # in microseconds: many tests register somebody

_servers = ExitStack()


# --- the servers of one run ------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, in the process that directs the run, before anything reads the settings."""
    worker = getattr(config, "workerinput", None)
    if worker is None and not config.option.collectonly:
        servers = _start_servers()
        static = servers.directory / "static"
        static.mkdir()
        os.environ.update(servers.urls.environment(), FARTHING_STATIC_ROOT=str(static))
        os.environ["FARTHING_TEST_REDIS_URL"] = servers.urls.redis
    number = 1 + int(worker["workerid"].removeprefix("gw")) if worker else 0
    os.environ["REDIS_URL"] = f"{os.environ.get('FARTHING_TEST_REDIS_URL', 'redis://unused')}?db={number}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

    from django.conf import settings

    settings.PASSWORD_HASHERS = SWIFT_HASHERS  # reads them all, now


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart() -> None:
    """Keep workers, which start next, from reading the settings before each has its own number."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_unconfigure() -> None:
    _servers.close()


def _start_servers() -> embedded.Servers:
    parent = Path(tempfile.gettempdir())
    for leftover in parent.glob(f"{RUN_PREFIX}*"):
        if _is_abandoned(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=parent))
    _servers.callback(shutil.rmtree, directory, ignore_errors=True)
    return _servers.enter_context(embedded.servers(directory, settings=embedded.NOT_DURABLE))


def _is_abandoned(directory: Path) -> bool:
    """Tell whether the run that made this directory was killed: nobody holds its lock."""
    try:
        with (directory / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


# --- the database of one worker --------------------------------------------------------------------------


def _connect_as(role: str) -> None:
    """Make every connection of this process, also of its threads, connect as this role from now on."""
    from django.db import connections

    for connection in connections.all():
        connection.close()
        connection.settings_dict["USER"] = role


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    _connect_as("farthing_owner")


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: Any, django_db_modify_db_settings: None
) -> Iterator[None]:
    """Make the test database. pytest-django's own makes none where no test that is run says that it needs one.

    A test of a served Farthing does not say so: it looks at it from outside.
    """
    from django.test.utils import setup_databases, teardown_databases

    with django_db_blocker.unblock(), _migrated_once():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"}, serialized_aliases=set())
    with _as_the_app():
        yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@contextmanager
def _migrated_once() -> Iterator[None]:
    """Have the first worker that makes its database leave a copy, of which the others copy theirs."""
    from django.db import connection

    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with (
        (Path(_host()) / "migrating").open("w") as turn,
        psycopg.connect(_url("farthing_owner", "farthing"), autocommit=True) as owner,
    ):
        fcntl.flock(turn, fcntl.LOCK_EX)
        if owner.execute("SELECT 1 FROM pg_database WHERE datname = %s", [MIGRATED]).fetchone():
            connection.settings_dict["TEST"]["TEMPLATE"] = MIGRATED
            yield
        else:
            yield
            connection.close()
            owner.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE {connection.settings_dict['NAME']}")


@contextmanager
def _as_the_app() -> Iterator[None]:
    """Connect as the app's role, and empty what transactional tests leave as the superuser."""
    from django.conf import settings
    from django.db import connection
    from django.test import TransactionTestCase

    name = str(connection.settings_dict["NAME"])
    with psycopg.connect(_url("postgres", name), autocommit=True) as admin:
        forget = _forgetter(admin)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "DATABASE_URL", _url("farthing_app", name))
            patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: forget())
            _connect_as("farthing_app")
            yield
    _connect_as("farthing_owner")


def _url(role: str, database: str) -> str:
    return f"postgresql://{role}@/{database}?host={quote(_host())}"


def _host() -> str:
    from django.db import connection

    return str(connection.settings_dict["HOST"])


def _forgetter(admin: psycopg.Connection) -> Callable[[], None]:
    """Return a function that empties every table that was empty after the migrations.

    Only a superuser with triggers switched off can: for everyone else the ledger remembers.
    """
    admin.execute("SET session_replication_role = replica")
    admin.execute("SET lock_timeout = '10s'")
    tables = admin.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace = 'public'::regnamespace"
    ).fetchall()
    emptied = [
        name for (name,) in tables if admin.execute(f"SELECT NOT EXISTS (SELECT FROM {name})").fetchone() == (True,)
    ]
    # A function, whose statements are planned once: a test would wait longer for the plans than for what they do.
    statements = " ".join(f"DELETE FROM {name};" for name in emptied)
    admin.execute(f"CREATE FUNCTION pg_temp.forget() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {statements} END $$")

    def forget() -> None:
        admin.execute("SELECT pg_temp.forget()")

    return forget


@pytest.fixture
def admin_connection(db: None) -> Iterator[psycopg.Connection]:
    """A superuser's own connection to the test database: sees what was committed, may break what is guarded."""
    from django.db import connection

    with psycopg.connect(_url("postgres", str(connection.settings_dict["NAME"])), autocommit=True) as admin:
        yield admin


@pytest.fixture
def owner_connection(db: None) -> Iterator[psycopg.Connection]:
    """The owner's own connection to the test database."""
    from django.db import connection

    with psycopg.connect(_url("farthing_owner", str(connection.settings_dict["NAME"])), autocommit=True) as owner:
        yield owner


@pytest.fixture(scope="session")
def _redis() -> Iterator["redis.Redis"]:
    import redis

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty_redis(_redis: "redis.Redis") -> Iterator[None]:
    """Forget caches and rate limits after each test."""
    yield
    _redis.flushdb()


@pytest.fixture(scope="module")
def scene_of_module(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator["Scene | None"]:
    """A small merchant with a past, made once for a file, in a transaction around those of its tests.

    Each test works on a copy, and what it changes in the database is rolled back after it. None where tests commit:
    they make their own.
    """
    from django.db import transaction

    from tests import scenes

    marks = getattr(request.module, "pytestmark", [])
    if any(mark.kwargs.get("transaction") for mark in (marks if type(marks) is list else [marks])):
        yield None
        return
    with django_db_blocker.unblock(), transaction.atomic():
        yield scenes.small()
        transaction.set_rollback(True)


# --- a served Farthing -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def process_environment(django_db_setup: None) -> dict[str, str]:
    """The environment in which a child process works on this test run's database and Redis."""
    from django.conf import settings
    from django.db import connection

    name = str(connection.settings_dict["NAME"])
    return {
        **os.environ,
        "DATABASE_URL": _url("farthing_app", name),
        "DATABASE_OWNER_URL": _url("farthing_owner", name),
        "REDIS_URL": settings.REDIS_URL,
        "FARTHING_SECRET_KEY": settings.SECRET_KEY,
        "FARTHING_DEBUG": "",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="session")
def served_url(process_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole of Farthing as deployed, fast lane included: the web server in a process of its own."""
    directory = tmp_path_factory.mktemp("web")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {**process_environment, "FARTHING_URL": url, "FARTHING_STATIC_ROOT": str(directory / "static")}
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    web = Process(
        "web",
        [sys.executable, "-m", "config.server", "--port", str(port)],
        log=directory / "web.log",
        environment=environment,
        directory=ROOT,
        stop_signal=signal.SIGTERM,
    )
    web.start()
    try:
        _wait_until_ready(f"{url}/readyz", web)
        yield url
    finally:
        web.stop()


def _wait_until_ready(url: str, web: Process) -> None:
    deadline = time.monotonic() + WEB_START_SECONDS_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2.0):
                return
        except OSError as error:
            if not web.is_running() or time.monotonic() > deadline:
                pytest.fail(f"the web process is not ready: {error}\n{web.said()}", pytrace=False)
        time.sleep(0.05)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; of a file, with what does not see its scene."""
    places: dict[str, int] = {}
    for item in items:
        places.setdefault(item.nodeid.partition("::")[0], len(places))
    items.sort(
        key=lambda item: (
            scheduling.rank_of(item.nodeid),
            places[item.nodeid.partition("::")[0]],
            "scene_of_module" in getattr(item, "fixturenames", ()),
        )
    )


def pytest_collection_finish() -> None:
    """Look for garbage less often, and never among what was imported and collected: it is there to stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_MIN)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep on one worker what shares something that costs seconds to start."""
    return scheduling.scheduler(config, log)


# --- a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of a Chromium; without one the browser tests are skipped, or fail where they are required."""
    named = os.environ.get("CHROME_PATH")
    found = named or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found:
        return found
    reason = f"no Chromium: set CHROME_PATH or install one of {', '.join(CHROMIUM_NAMES)}"
    if os.environ.get("FARTHING_BROWSER_TESTS") == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Any]:
    """A headless Chromium, shared by the tests of one module."""
    from playwright.sync_api import sync_playwright

    # Playwright's synchronous face runs an event loop in this thread: Django would refuse its database calls, and
    # no test that runs a loop of its own may share the time.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=list(CHROMIUM_OPTIONS))
        yield chromium
        chromium.close()


@pytest.fixture
def browser_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fresh page; anything the browser complains about, content security policy included, fails the test.

    ``@pytest.mark.browser(expects=["404"])`` names complaints the test provokes.
    """
    marker = request.node.get_closest_marker("browser")
    assert marker, "a test that uses browser_page is marked browser"
    expected = marker.kwargs.get("expects", [])
    complaints: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    surprising = [complaint for complaint in complaints if not any(word in complaint for word in expected)]
    assert not surprising, surprising

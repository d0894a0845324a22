"""One Farthing for all faults, since each leaves it whole; every test brings customers of its own."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.faults.farthing import Farthing, running

logger = logging.getLogger(__name__)

FAULTS_SHOWN_MAX = 20
SEED = int(os.environ.get("FARTHING_FAULTS_SEED") or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark these tests as slow; they run on one worker (``tests.scheduling``), as they share what they break."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the broken Farthing's web server said went wrong: its log is gone with its data."""
    report = yield
    farthing = getattr(item, "funcargs", {}).get("farthing")
    if report.failed and farthing is not None:
        report.sections.append(("faults in web.log", "\n".join(faults_logged(farthing))))
    return report


def faults_logged(farthing: Farthing) -> list[str]:
    """Return the last tracebacks of the web server's log."""
    faults = []
    for line in (farthing.data / "logs" / "web.log").read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("exc_info"):
            faults.append(f"{record.get('message')} ({record.get('request_id')})\n{record['exc_info']}")
    return faults[-FAULTS_SHOWN_MAX:]


@pytest.fixture
def seed() -> int:
    """The nemesis' dice: FARTHING_FAULTS_SEED repeats a run."""
    return SEED


@pytest.fixture(scope="session")
def _farthing() -> Iterator[Farthing]:
    # Not below pytest's own directory: another run of pytest closes that to the account that PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix="farthing-faults-"))
    with running(directory) as farthing:
        yield farthing
    if os.environ.get("FARTHING_FAULTS_KEEP"):
        logger.warning("journals, logs and data are kept in %s", directory)
    else:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def farthing(_farthing: Farthing) -> Iterator[Farthing]:
    """A whole Farthing, before and after the test."""
    _farthing.heal()
    yield _farthing
    _farthing.heal()

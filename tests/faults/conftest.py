"""One Farthing for all faults, since each leaves it whole; every test brings customers of its own."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.farthing import Farthing, running

logger = logging.getLogger(__name__)

SEED = int(os.environ.get("FARTHING_FAULTS_SEED") or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark these tests as slow; they run on one worker (``tests.scheduling``), as they share what they break."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


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

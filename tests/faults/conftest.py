"""One Farthing for all faults, since each leaves it whole; every test brings customers of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.farthing import Farthing, running

SEED = int(os.environ.get("FARTHING_FAULTS_SEED") or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests on one worker: they share what they break."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("faults"))
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def seed() -> int:
    """The nemesis' dice: FARTHING_FAULTS_SEED repeats a run."""
    return SEED


@pytest.fixture(scope="session")
def _farthing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farthing]:
    with running(tmp_path_factory.mktemp("faults")) as farthing:
        yield farthing


@pytest.fixture
def farthing(_farthing: Farthing) -> Iterator[Farthing]:
    """A whole Farthing, before and after the test."""
    _farthing.heal()
    yield _farthing
    _farthing.heal()

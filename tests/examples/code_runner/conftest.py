"""A fake Farthing, a seller that talks to it, and two customers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.code_runner import farthing, sandbox, settings
from tests.examples.code_runner import fake_farthing

DOLLAR = 10**9


@pytest.fixture
def fake() -> Iterator[fake_farthing.FakeFarthing]:
    """A billing system that does what a test asks of it; Alice has a dollar there and Bob has nothing."""
    with fake_farthing.serving() as served:
        served.funds["cus_alice"] = DOLLAR
        yield served


@pytest.fixture
def environment(fake: fake_farthing.FakeFarthing, tmp_path: Path) -> dict[str, str]:
    """The environment of a seller that sells through the fake."""
    customers = tmp_path / "customers.json"
    customers.write_text(
        json.dumps({name: {"customerId": f"cus_{name}", "subscriptionId": f"sub_{name}"} for name in ("alice", "bob")})
    )
    return {
        "FARTHING_URL": fake.url,
        "FARTHING_API_KEY": "fth_sk_test_example",
        "FARTHING_MERCHANT_ID": "org_example",
        "RUNNER_METRIC_BASIC": "bm_basic",
        "RUNNER_METRIC_PREMIUM": "bm_premium",
        "RUNNER_METRIC_MILLISECONDS": "bm_ms",
        "RUNNER_CUSTOMERS": str(customers),
        "RUNNER_DATA_DIR": str(tmp_path / "data"),
        "RUNNER_WORKERS": "2",
    }


@pytest.fixture
def configuration(environment: dict[str, str], tmp_path: Path) -> settings.Settings:
    """The same, read."""
    (tmp_path / "data" / "runs").mkdir(parents=True)
    return settings.Settings.read(environment)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat refused calls without pauses."""
    monkeypatch.setattr(farthing, "PAUSE_SECONDS_MIN", 0.001)
    monkeypatch.setattr(farthing, "PAUSE_SECONDS_MAX", 0.001)


@pytest.fixture(scope="session")
def isolation(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where the host does not let anyone isolate a process; such a host cannot run the example either."""
    limits = settings.TIERS["basic"]
    try:
        asyncio.run(sandbox.run(code="", stdin="", limits=limits, directory=tmp_path_factory.mktemp("runs")))
    except sandbox.SandboxError as error:
        if "does not permit isolation" not in str(error):
            raise
        pytest.skip(f"no isolation here: {error}")

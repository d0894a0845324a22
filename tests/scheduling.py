"""Which tests run on one worker, and what is run first.

xdist's own groups do nothing under pytest 9.2, whose items have no ``_nodeid`` that it could write them into. So a file
is what runs together here, and files that share something that costs seconds to start; the longest of them begin, so
that no worker is left with one at the end.
"""

from typing import Any

from xdist.scheduler import LoadScopeScheduling

# The longest first.
TOGETHER = {
    "faults": ("tests/faults/",),
    "browser": ("tests/dashboard/test_browser.py", "tests/portal/test_browser.py", "tests/config/test_openapi.py"),
    "benchmarks": ("tests/benchmarks/",),
    "runner": ("tests/config/test_runner.py", "tests/examples/"),
    "tenants": ("tests/test_tenancy.py",),
}


def group_of(nodeid: str) -> str:
    """Name what a test runs together with: a group, or the rest of its file."""
    path = nodeid.partition("::")[0]
    return next((name for name, places in TOGETHER.items() if path.startswith(places)), path)


def rank_of(nodeid: str) -> int:
    """Tell how early a test runs."""
    group = group_of(nodeid)
    return list(TOGETHER).index(group) if group in TOGETHER else len(TOGETHER)


class Together(LoadScopeScheduling):
    """Gives a worker all tests of one group."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def scheduler(config: Any, log: Any) -> Together | None:
    """Return what hands tests to workers, where there are any."""
    return Together(config, log) if config.getoption("dist") == "loadgroup" else None

"""The benchmark runs from end to end and its report can be believed. How fast anything is, no test asks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 600
CUSTOMERS, STORED = 50, 2_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The table and the JSON of one short run of everything."""
    kept = tmp_path_factory.mktemp("bench") / "bench.json"
    arguments = ["--seconds=1", "--repetitions=1", f"--customers={CUSTOMERS}", f"--stored={STORED}", "--profile"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, f"--json={kept}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(kept.read_text())


@pytest.mark.slow
class TestRun:
    def test_measures_every_figure(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        figures = [(figure["name"], figure["connections"]) for figure in report["figures"]]
        twice = [(name, count) for name in ("R1", "R1+", "R3", "R4", "growth") for count in (64, 256)]
        assert sorted(figures) == sorted([("A0", 64), ("copy", 1), ("R2", 4), ("R2+", 4), *twice])

    def test_gives_each_figure_a_rate_and_a_cost(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        for figure in report["figures"]:
            assert figure["per_second"] > 0
            assert figure["postgres_microseconds"] > 0
            assert (figure["web_microseconds"] > 0) or figure["name"] in {"A0", "copy"}
            assert (figure["ratio"] is None) == (figure["name"] in {"A0", "copy"})

    def test_takes_ratios_to_what_was_measured_around_them(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        rates = [(each["name"], each["per_second"]) for each in report["samples"]]
        first = [name for name, _ in rates].index("R1")
        anchors = [rate for name, rate in rates if name == "A0"]
        single = report["samples"][first]
        assert single["ratio"] == pytest.approx(single["per_second"] / ((anchors[0] + anchors[1]) / 2))

    def test_finds_every_acknowledged_event_recorded_and_the_books_in_order(
        self, run: tuple[str, dict[str, Any]]
    ) -> None:
        _, report = run
        assert (report["lost"], report["refused"], report["verify"]) == ([], 0, "green")
        acknowledged = sum(each["done"] for each in report["samples"] if each["name"] != "A0")
        assert report["events_recorded"] >= acknowledged > 0

    def test_measures_on_a_database_that_forgets_nothing(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        stack = report["stack"]
        assert (stack["fsync"], stack["synchronous_commit"], stack["full_page_writes"]) == ("on", "on", "on")

    def test_stores_as_many_events_as_asked(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        assert report["events_stored"] == STORED

    def test_weighs_every_process(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        parts = {each["part"] for each in report["memory"]}
        assert parts == {"web", "worker", "beat", "postgres", "redis", "runner"}
        assert all(0 < each["pss_mb"] <= each["rss_mb"] for each in report["memory"])

    def test_tells_where_the_time_goes(self, run: tuple[str, dict[str, Any]]) -> None:
        _, report = run
        profile = report["profile"]
        assert any(each["name"].startswith("charging/") for each in profile["whole"])
        assert any("INSERT INTO metering_usageevent" in each["name"] for each in profile["statements"])

    def test_prints_what_it_keeps(self, run: tuple[str, dict[str, Any]]) -> None:
        table, report = run
        for name in {figure["name"] for figure in report["figures"]}:
            assert f"\n{name} " in table
        assert "manage.py verify: green" in table
        assert all(f"\n  {name} " in table for name in report["rated"])

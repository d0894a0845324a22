"""Ratios, the table that is printed, and the JSON that is kept."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Memory
from benchmarks.profiling import Profile, Share
from benchmarks.suite import ANCHOR, CONNECTIONS, COPY, Results, Sample


@dataclass(frozen=True)
class Target:
    """What a ratio must reach, and what it should."""

    floor: float
    goal: float | None


TARGETS = {
    "R1": Target(0.6, 1.0),
    "R2": Target(0.35, 0.6),
    "R3": Target(0.25, 0.5),
    "R4": Target(0.5, 0.9),
    "R1+": Target(0.9, None),
    "R2+": Target(0.9, None),
    "growth": Target(0.8, None),
}
TITLES = {
    ANCHOR: "one-row INSERT, pgbench",
    COPY: "INSERT … SELECT of events, one statement",
    "R1": "single events ÷ A0",
    "R2": "events in batches of 1,000 ÷ copy",
    "R3": "reserve + capture ÷ A0",
    "R4": "single events of one customer ÷ R1",
    "R1+": "R1 with graduated prices and 2 budgets ÷ R1",
    "R2+": "R2 with graduated prices and 2 budgets ÷ R2",
    "growth": "R1 with events stored ÷ R1 without",
}


@dataclass
class Figure:
    """The median of a figure's repetitions, with the spread of the rate: (highest − lowest) ÷ median."""

    name: str
    connections: int
    per_second: float
    spread: float
    samples: int
    ratio: float | None
    floor: float | None
    goal: float | None
    together: float
    cpu_ratio: float | None  # the same ratio, of the CPU time that each takes: what it would be on an idle machine
    web_microseconds: float
    postgres_microseconds: float
    worker_microseconds: float
    generator_microseconds: float
    others_cores: float

    @property
    def microseconds(self) -> float:
        """CPU time of all that takes part."""
        return (
            self.web_microseconds + self.postgres_microseconds + self.worker_microseconds + self.generator_microseconds
        )

    @property
    def reached(self) -> str:
        """Tell in a word how the ratio stands to its target."""
        if self.ratio is None or self.floor is None:
            return ""
        if self.ratio < self.floor:
            return "BELOW FLOOR"
        return "goal" if self.goal is not None and self.ratio >= self.goal else "floor"


def figures(results: Results) -> list[Figure]:
    """Condense the samples, in the order of the table."""
    anchor = _figure(ANCHOR, _of(results.samples, ANCHOR, None))
    singles = {count: _figure("R1", _of(results.samples, "R1", count)) for count in CONNECTIONS}
    copies = _figure(COPY, results.copies)
    batches = _figure("R2", _of(results.samples, "R2", None))
    batches.cpu_ratio = copies.microseconds / batches.microseconds
    pairs = {count: _figure("R3", _of(results.samples, "R3", count)) for count in CONNECTIONS}
    hot = {count: _figure("R4", _of(results.samples, "R4", count)) for count in CONNECTIONS}
    grown = {count: _figure("growth", _of(results.stored, "R1", count)) for count in CONNECTIONS if results.stored}
    for figure in [*singles.values(), *pairs.values()]:
        figure.cpu_ratio = anchor.microseconds / figure.microseconds
    for count, figure in hot.items():
        figure.ratio = _paired(results, "R4", "R1", count)
        figure.cpu_ratio = singles[count].microseconds / figure.microseconds
    rich = {count: _figure("R1+", _of(results.samples, "R1+", count)) for count in CONNECTIONS}
    for count, figure in rich.items():
        figure.ratio = _paired(results, "R1+", "R1", count)
        figure.cpu_ratio = singles[count].microseconds / figure.microseconds
    rich_batches = _figure("R2+", _of(results.samples, "R2+", None))
    rich_batches.ratio = _paired(results, "R2+", "R2", None)
    rich_batches.cpu_ratio = batches.microseconds / rich_batches.microseconds
    for count, figure in grown.items():
        figure.ratio = figure.per_second / singles[count].per_second
        figure.cpu_ratio = singles[count].microseconds / figure.microseconds
    last = [*hot.values(), *rich.values(), rich_batches, *grown.values()]
    return [anchor, *singles.values(), copies, batches, *pairs.values(), *last]


def _of(samples: Sequence[Sample], name: str, connections: int | None) -> list[Sample]:
    return [each for each in samples if each.name == name and connections in {None, each.connections}]


def _figure(name: str, samples: Sequence[Sample]) -> Figure:
    rates = [each.per_second for each in samples]
    ratios = [each.ratio for each in samples if each.ratio is not None]
    target = TARGETS.get(name)
    median = statistics.median
    return Figure(
        name=name,
        connections=samples[0].connections,
        per_second=median(rates),
        spread=(max(rates) - min(rates)) / max(1e-9, median(rates)),
        samples=len(rates),
        ratio=median(ratios) if ratios else None,
        floor=target.floor if target else None,
        goal=target.goal if target else None,
        together=median(each.together for each in samples),
        cpu_ratio=None,
        web_microseconds=median(each.use.web_user + each.use.web_system for each in samples),
        postgres_microseconds=median(each.use.postgres for each in samples),
        worker_microseconds=median(each.use.jobs for each in samples),
        generator_microseconds=median(each.use.generator for each in samples),
        others_cores=median(each.others_cores for each in samples),
    )


def _paired(results: Results, name: str, base: str, connections: int | None) -> float:
    """Compare a figure with another of the same repetition."""
    measured, compared = (_of(results.samples, each, connections) for each in (name, base))
    return statistics.median(
        one.per_second / max(1e-9, other.per_second) for one, other in zip(measured, compared, strict=True)
    )


# --- for people ------------------------------------------------------------------------------------------

_HEAD = (
    f"{'':7}{'':46}{'conn.':>5}{'a second':>10}{'spread':>8}{'ratio':>7}{'floor':>6}{'goal':>6} {'':12}{'by CPU':>6}"
)
_HEAD += f"{'batch':>7}{'web µs':>8}{'PG µs':>7}{'job µs':>7}{'gen. µs':>8}{'others':>8}"


def table(report: dict[str, Any]) -> str:
    """Write the report as lines of text."""
    lines = [*_setting(report), "", _HEAD]
    lines += [_row(figure) for figure in report["figures"]]
    lines += [
        "",
        *_latency(report["half_of_peak"]),
        *_memory("Memory after the load", report["memory"]),
        *(_memory("Memory with events stored", report["memory_stored"]) if report["memory_stored"] else []),
        *(_profile(report["profile"]) if report["profile"] else []),
        "",
        *_rated(report["rated"]),
        "",
        f"Every acknowledged event is recorded: {'no: ' + '; '.join(report['lost']) if report['lost'] else 'yes'}",
        f"Refused requests: {report['refused']}",
        f"manage.py verify: {report['verify']}",
    ]
    return "\n".join(lines)


def _setting(report: dict[str, Any]) -> list[str]:
    found, stack, options = report["machine"], report["stack"], report["options"]
    hardware = f"{found.processor}, {found.cores} cores, {found.memory_gb} GB, {found.system}, {stack['disk']}"
    server = f"PostgreSQL {stack['postgres']} with fsync {stack['fsync']}"
    server += f", synchronous_commit {stack['synchronous_commit']}; Python {found.python}"
    processes = f"{stack['web_workers']} web worker(s), Celery worker and beat running; load by {stack['generator']}"
    return [
        hardware,
        server,
        f"{processes} on the same cores; {options.customers:,} customers",
        f"Medians of {options.repetitions} × {options.seconds:g} s. batch: commands in one transaction.",
        "µs: CPU time of each event, pair or row; by CPU: the ratio of those. others: cores taken by other processes.",
    ]


def _row(figure: Figure) -> str:
    ratio, by_cpu = ("" if each is None else f"{each:.2f}" for each in (figure.ratio, figure.cpu_ratio))
    floor, goal = ("" if each is None else f"{each:g}" for each in (figure.floor, figure.goal))
    together = "" if figure.name in {ANCHOR, COPY} else f"{figure.together:.0f}"
    return (
        f"{figure.name:7}{TITLES[figure.name]:46}{figure.connections:5}{figure.per_second:10,.0f}{figure.spread:8.0%}"
        f"{ratio:>7}{floor:>6}{goal:>6} {figure.reached:12}{by_cpu:>6}{together:>7}{figure.web_microseconds:8.0f}"
        f"{figure.postgres_microseconds:7.0f}{figure.worker_microseconds:7.0f}{figure.generator_microseconds:8.0f}"
        f"{figure.others_cores:8.2f}"
    )


def _latency(half: Sample) -> list[str]:
    return [
        f"At half of the peak ({half.per_second:,.0f}/s, open loop): p50 {half.p50_ms:.1f} ms, p99 {half.p99_ms:.1f} ms"
    ]


def _memory(title: str, processes: Sequence[Memory]) -> list[str]:
    rows = [f"  {each.part:9}{each.rss_mb:8.0f}{each.pss_mb:8.0f}  {each.command}" for each in processes]
    rows = [row for row, each in zip(rows, processes, strict=True) if each.part != "postgres"]
    servers = [each for each in processes if each.part == "postgres"]
    rows.append(
        f"  {'postgres':9}{max(each.rss_mb for each in servers):8.0f}{sum(each.pss_mb for each in servers):8.0f}"
        f"  {len(servers)} processes: the largest's RSS, the PSS of all"
    )
    total = sum(each.pss_mb for each in processes)
    return ["", f"{title}, in MB (all together: {total:.0f})", f"  {'':9}{'RSS':>8}{'PSS':>8}", *rows]


def _rated(rated: dict[str, float]) -> list[str]:
    rates = [f"  {name:16}{each:12,.0f}" for name, each in rated.items()]
    return ["Uses rated a second on one core, by arithmetic alone", *rates]


def _profile(profile: Profile) -> list[str]:
    def part(title: str, shares: Sequence[Share]) -> list[str]:
        return ["", title, *(f"  {each.share:6.1%}  {each.name}  {each.detail}".rstrip() for each in shares)]

    return [
        *part(f"The lane, {profile.microseconds_per_event:.0f} µs an event: in the function itself", profile.own),
        *part("In the function and what it calls", profile.whole),
        *part("PostgreSQL's statements, by time they took", profile.statements),
    ]


# --- for programs ----------------------------------------------------------------------------------------


def write(report: dict[str, Any], path: Path) -> None:
    """Keep the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, default=asdict, ensure_ascii=False) + "\n")

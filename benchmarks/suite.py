"""What is measured, and in which order: every figure between two runs of its anchor, so that noise hits both."""

import statistics
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks import anchors, generators, machine, storing
from benchmarks.generators import Outcome
from benchmarks.machine import GENERATOR, Cpu
from benchmarks.stack import Stack
from benchmarks.workloads import Caller

ANCHOR = "A0"
COPY = "copy"
CONNECTIONS = (64, 256)
BATCH_CONNECTIONS = 4  # with a thousand events each
BATCH_LENGTHENED = 2  # so that the batches under way at the end, which do not count, matter little
COPIES = 3
QUIET_SECONDS = 0.3
SETTLED_SECONDS_MAX = 600.0

RICH = {"R1+": "R1", "R2+": "R2"}  # the same where prices are graduated and each customer has two budgets
KINDS = {"R1": "usage", "R1+": "usage", "R2": "batch", "R2+": "batch", "R3": "pairs", "R4": "usage"}


@dataclass(frozen=True)
class Options:
    """How long, how often, how much."""

    seconds: float
    warm_up: float
    repetitions: int
    customers: int
    stored: int
    generator: str


@dataclass
class Use:
    """CPU microseconds for each event, pair or row."""

    web_user: float
    web_system: float
    interpreter: float  # the part of both that the thread which runs Python used
    postgres: float
    jobs: float  # worker, beat, redis
    generator: float

    @property
    def total(self) -> float:
        return self.web_user + self.web_system + self.postgres + self.jobs + self.generator


@dataclass
class Sample:
    """One measurement. ``ratio`` is to its anchor, as measured right before and after it."""

    name: str
    connections: int
    per_second: float
    done: int
    seconds: float
    use: Use
    others_cores: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    refused: int = 0
    refusal: str = ""
    together: float = 0.0  # commands in one transaction, on average
    ratio: float | None = None


@dataclass
class Results:
    """All that was measured."""

    samples: list[Sample] = field(default_factory=list)
    copies: list[Sample] = field(default_factory=list)
    latency: Sample | None = None
    stored: list[Sample] = field(default_factory=list)
    stored_events: int = 0
    events_before: int = 0
    memory: list[machine.Memory] = field(default_factory=list)
    memory_stored: list[machine.Memory] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Suite:
    """The measurements, on a running stack."""

    def __init__(
        self, stack: Stack, caller: Caller, rich: Caller, options: Options, tell: Callable[[str], None]
    ) -> None:
        self.results = Results()
        self._stack = stack
        self._caller = caller
        self._rich = rich
        self._one_customer = Caller(**{**vars(caller), "customer_ids": caller.customer_ids[:1]})
        self._options = options
        self._tell = tell

    def run(self) -> None:
        """Measure everything on a database that holds only what the measuring itself records."""
        results = self.results
        anchors.prepare(self._stack)
        self._load(self._caller, "usage", CONNECTIONS[0], 2 * self._options.warm_up)
        anchor = self._anchor()
        for _ in range(self._options.repetitions):
            for group in (("R1", CONNECTIONS), ("R4", CONNECTIONS), ("R3", CONNECTIONS), ("R2", (BATCH_CONNECTIONS,))):
                name, connections = group
                samples = []
                for count in connections:
                    samples.append(self._figure(name, count))
                    if f"{name}+" in RICH:
                        results.samples.append(self._figure(f"{name}+", count))
                if name == "R2":
                    copies = self._copies()
                    _set_ratios(samples, [statistics.median(each.per_second for each in copies)])
                    results.copies += copies
                before, anchor = anchor, self._anchor()
                if name != "R2":
                    _set_ratios(samples, [before.per_second, anchor.per_second])
                results.samples += samples
        results.latency = self._half_of_peak()
        results.memory = machine.memory(self._stack.pids())
        results.events_before = self._charges()

    def run_stored(self, merchant_id: str) -> None:
        """Measure R1 again in a house full of events."""
        options, results = self._options, self.results
        results.stored_events = storing.store(
            self._stack, merchant_id=merchant_id, customers=options.customers, events=options.stored
        )
        self._tell(f"{results.stored_events:,} events stored; settling them")
        storing.wait_until_settled(self._stack, SETTLED_SECONDS_MAX)
        storing.tidy(self._stack)
        self._load(self._caller, "usage", CONNECTIONS[0], 2 * options.warm_up)
        anchor = self._anchor()
        for _ in range(options.repetitions):
            samples = [self._figure("R1", count) for count in CONNECTIONS]
            before, anchor = anchor, self._anchor()
            _set_ratios(samples, [before.per_second, anchor.per_second])
            results.stored += samples
        results.memory_stored = machine.memory(self._stack.pids())

    # --- one measurement ---------------------------------------------------------------------------------

    def _anchor(self) -> Sample:
        def insert() -> tuple[int, float]:
            inserts = anchors.one_row_inserts(self._stack, self._options.seconds)
            return inserts.done, inserts.done / inserts.per_second

        sample = self._bare(ANCHOR, anchors.CLIENTS, insert)
        self.results.samples.append(sample)
        return sample

    def _copies(self) -> list[Sample]:
        rows = anchors.take_latest(self._stack)
        return [self._bare(COPY, 1, lambda: (rows, anchors.copy_latest(self._stack))) for _ in range(COPIES)]

    def _bare(self, name: str, connections: int, work: Callable[[], tuple[int, float]]) -> Sample:
        """Measure PostgreSQL alone; ``work`` returns how much it did, in how many seconds."""
        time.sleep(QUIET_SECONDS)  # processes that are just ending would be counted twice, or not at all
        before = machine.read(self._stack.pids())
        done, seconds = work()
        time.sleep(QUIET_SECONDS)
        used = machine.read(self._stack.pids()).since(before)
        sample = Sample(name, connections, done / seconds, done, seconds, _use(used, done), used.others)
        self._say(sample)
        return sample

    def _figure(self, name: str, connections: int) -> Sample:
        caller = self._one_customer if name == "R4" else self._rich if name in RICH else self._caller
        self._load(caller, KINDS[name], connections, self._options.warm_up)
        sample = self._measured(
            name, connections, lambda seconds: self._load(caller, KINDS[name], connections, seconds)
        )
        self._say(sample)
        return sample

    def _half_of_peak(self) -> Sample:
        """Report at half the best rate, and time each event from when it was due."""
        peak = max(
            statistics.median(each.per_second for each in self.results.samples if _is(each, "R1", count))
            for count in CONNECTIONS
        )

        def load(seconds: float) -> Outcome:
            return generators.run_at_rate(self._caller, peak / 2, connections=CONNECTIONS[0], seconds=seconds)

        load(self._options.warm_up)
        sample = self._measured("half", CONNECTIONS[0], load)
        self._say(sample)
        return sample

    def _measured(self, name: str, connections: int, load: Callable[[float], Outcome]) -> Sample:
        self._wait_until_quiet()
        recorded, batches = self._charges(), self._batches()
        before = machine.read(self._stack.pids())
        outcome = load(self._options.seconds * (BATCH_LENGTHENED if KINDS.get(name) == "batch" else 1))
        used = machine.read(self._stack.pids()).since(before)
        if outcome.refused and not outcome.done:
            raise RuntimeError(f"{name}: nothing was accepted; {outcome.refusal}")
        self._wait_until_quiet()
        recorded = self._charges() - recorded
        commands, transactions = (now - then for now, then in zip(self._batches(), batches, strict=True))
        if recorded < outcome.done:
            self.results.lost.append(f"{name}: {outcome.done} acknowledged, {recorded} recorded")
        return Sample(
            name,
            connections,
            outcome.done / outcome.seconds,
            outcome.done,
            outcome.seconds,
            _use(used, outcome.done),
            used.others,
            outcome.p50 * 1000,
            outcome.p99 * 1000,
            outcome.refused,
            outcome.refusal,
            commands / max(1, transactions),
        )

    def _load(self, caller: Caller, kind: str, connections: int, seconds: float) -> Outcome:
        return generators.run(self._options.generator, caller, kind, connections=connections, seconds=seconds)

    def _wait_until_quiet(self) -> None:
        """Let the server finish what the generator no longer waited for."""
        recorded = -1
        while recorded != (recorded := self._charges()):
            time.sleep(QUIET_SECONDS)

    def _charges(self) -> int:
        """Count what was ever charged; each event of this benchmark is one charge."""
        [[count]] = self._stack.ask("SELECT coalesce(sum(charge_seq), 0)::bigint FROM billing_wallet")
        return int(str(count))

    def _batches(self) -> tuple[float, float]:
        """Count the commands that the lane has carried out, and the transactions it took."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._stack.port}/metrics", timeout=10) as answer:
            found = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[:1] != "#")
        commands, transactions = (
            float(found.get(f"farthing_lane_batch_commands_{name}", 0)) for name in ("sum", "count")
        )
        return commands, transactions

    def _say(self, sample: Sample) -> None:
        refused = f", {sample.refused} refused: {sample.refusal}" if sample.refused else ""
        self._tell(
            f"{sample.name:4} {sample.connections:4} connections {sample.per_second:9,.0f}/s "
            f"({sample.together:.0f} together; µs: web {sample.use.web_user + sample.use.web_system:.0f}, "
            f"PostgreSQL {sample.use.postgres:.0f}, worker {sample.use.jobs:.0f}; "
            f"others: {sample.others_cores:.2f} cores){refused}"
        )


def _is(sample: Sample, name: str, connections: int) -> bool:
    return sample.name == name and sample.connections == connections


def _set_ratios(samples: Iterable[Sample], anchor: Sequence[float]) -> None:
    for sample in samples:
        sample.ratio = sample.per_second / statistics.mean(anchor)


def _use(used: machine.Reading, done: int) -> Use:
    def each(*cpus: Cpu) -> float:
        return sum(cpu.total for cpu in cpus) * 1e6 / max(1, done)

    parts = used.parts
    return Use(
        web_user=parts["web"].user * 1e6 / max(1, done),
        web_system=parts["web"].system * 1e6 / max(1, done),
        interpreter=each(used.interpreter),
        postgres=each(parts["postgres"]),
        jobs=each(parts["worker"], parts["beat"], parts["redis"]),
        generator=each(parts[GENERATOR]),
    )

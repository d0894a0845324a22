"""What the processes used, and what else the machine was doing, from /proc. Linux only."""

import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
GENERATOR = "generator"


class Cpu(NamedTuple):
    """Seconds of CPU time."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def plus(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user + other.user, self.system + other.system)

    def minus(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system)


NOTHING = Cpu(0.0, 0.0)


class _Stat(NamedTuple):
    """One process or thread: with the children it has already buried."""

    pid: int
    parent: int
    own: Cpu
    buried: Cpu


@dataclass
class Reading:
    """CPU time so far: of each part, of the web server's interpreter thread, and of the whole machine."""

    at: float
    parts: dict[str, Cpu]
    interpreter: Cpu
    machine: float

    def since(self, earlier: "Reading") -> "Reading":
        """Return what was used since an earlier reading."""
        return Reading(
            self.at - earlier.at,
            {name: cpu.minus(earlier.parts.get(name, NOTHING)) for name, cpu in self.parts.items()},
            self.interpreter.minus(earlier.interpreter),
            self.machine - earlier.machine,
        )

    @property
    def others(self) -> float:
        """Cores taken, between two readings, by processes that are not ours, or by the host."""
        return max(0.0, self.machine - sum(cpu.total for cpu in self.parts.values())) / self.at


def read(roots: Mapping[str, int]) -> Reading:
    """Read the clocks of the process trees below these roots, and of this process with its finished children."""
    stats = {stat.pid: stat for stat in _processes()}
    parts, main_threads = {}, NOTHING
    for name, root in roots.items():
        own = _tree(root, stats) if name != "runner" else [root]
        found = [stats[pid] for pid in own if pid in stats]
        parts[name] = _sum(stat.own for stat in found).plus(_sum(stat.buried for stat in found))
        if name == "web":
            main_threads = _sum(stat.own for pid in own for stat in _threads(pid, main_only=True))
    parts[GENERATOR] = _own_usage()
    return Reading(time.monotonic(), parts, main_threads, _machine_busy())


def _own_usage() -> Cpu:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return _sum(Cpu(usage.ru_utime, usage.ru_stime) for usage in usages)


def _sum(cpus: Iterator[Cpu]) -> Cpu:
    total = NOTHING
    for cpu in cpus:
        total = total.plus(cpu)
    return total


def _machine_busy() -> float:
    """Seconds of all cores that were not idle; what the host took (steal) counts as busy."""
    user, nice, system, _idle, _waiting, irq, soft_irq, steal = map(int, _text("stat").split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / TICKS


def _processes() -> Iterator[_Stat]:
    for entry in PROC.glob("[0-9]*"):
        stat = _stat(entry / "stat")
        if stat is not None:
            yield stat


def _threads(pid: int, *, main_only: bool) -> Iterator[_Stat]:
    for entry in (PROC / str(pid) / "task").glob(str(pid) if main_only else "[0-9]*"):
        stat = _stat(entry / "stat")
        if stat is not None:
            yield stat


def _stat(path: Path) -> _Stat | None:
    try:
        pid, _, rest = path.read_text().partition(" (")
    except OSError:
        return None  # it has ended
    words = rest.rpartition(")")[2].split()
    user, system, buried_user, buried_system = (int(word) / TICKS for word in words[11:15])
    return _Stat(int(pid), int(words[1]), Cpu(user, system), Cpu(buried_user, buried_system))


def _tree(root: int, stats: Mapping[int, _Stat]) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _text(name: str) -> str:
    return (PROC / name).read_text()


# --- memory ----------------------------------------------------------------------------------------------


@dataclass
class Memory:
    """One process: RSS counts pages it shares with others in full, PSS by share."""

    part: str
    pid: int
    command: str
    rss_mb: float
    pss_mb: float


def memory(roots: Mapping[str, int]) -> list[Memory]:
    """Measure every process below these roots."""
    stats = {stat.pid: stat for stat in _processes()}
    found = []
    for part, root in roots.items():
        for pid in _tree(root, stats) if part != "runner" else [root]:
            sizes = _sizes(pid)
            if sizes:
                found.append(Memory(part, pid, _command(pid), sizes["Rss"] / 1024, sizes["Pss"] / 1024))
    return found


def _sizes(pid: int) -> dict[str, int]:
    try:
        lines = _text(f"{pid}/smaps_rollup").splitlines()[1:]
    except OSError:
        return {}  # it has ended
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def _command(pid: int) -> str:
    try:
        words = _text(f"{pid}/cmdline").replace("\0", " ").split()
    except OSError:
        return ""
    names = [Path(word).name if word.startswith("/") else word for word in words if not word.startswith("-")]
    return " ".join(names[:3])


# --- the machine -----------------------------------------------------------------------------------------


@dataclass
class Machine:
    """What the figures were reached on."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str = field(default_factory=platform.python_version)


def machine() -> Machine:
    """Describe this machine."""
    models = [line.split(":", 1)[1].strip() for line in _text("cpuinfo").splitlines() if line.startswith("model name")]
    return Machine(
        processor=models[0] if models else platform.processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
    )


def file_system(path: Path) -> str:
    """Name the type of file system below a path: fsync costs nothing on one that is memory."""
    mounts = [line.split()[1:3] for line in _text("self/mounts").splitlines()]
    inside = [(point, kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(inside, key=lambda mount: len(mount[0]))[1]

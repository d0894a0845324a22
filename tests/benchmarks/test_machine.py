"""CPU time and memory, as this machine's kernel has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.machine import Cpu, Reading

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads /proc")

SPIN = "import time\nwhile time.process_time() < 0.3: pass"
SPIN_AND_WAIT = SPIN + "\nprint(1, flush=True)\ninput()"


class TestRead:
    def test_counts_a_root_and_its_finished_children(self) -> None:
        before = machine.read({"test": os.getpid()})
        subprocess.run([sys.executable, "-c", SPIN], check=True)
        used = machine.read({"test": os.getpid()}).since(before)
        assert used.parts["test"].total >= 0.25
        assert used.parts[machine.GENERATOR].total >= 0.25

    def test_counts_the_running_children_of_a_root(self) -> None:
        code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN_AND_WAIT!r}])"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "1\n"
            assert machine.read({"parent": parent.pid}).parts["parent"].total >= 0.25
            parent.communicate("\n")


class TestOthers:
    def test_are_the_cores_that_nobody_of_ours_used(self) -> None:
        used = Reading(
            at=2.0, parts={"web": Cpu(1.0, 0.5), "postgres": Cpu(0.5, 0.0)}, interpreter=Cpu(0, 0), machine=3.0
        )
        assert used.others == 0.5


class TestMemory:
    def test_weighs_a_process(self) -> None:
        [own] = [each for each in machine.memory({"test": os.getpid()}) if each.pid == os.getpid()]
        assert 0 < own.pss_mb <= own.rss_mb
        assert own.part == "test"


class TestFileSystem:
    def test_tells_memory_from_disk(self) -> None:
        assert machine.file_system(Path("/proc/self")) == "proc"

"""What processes have used is counted for the process itself and for its children apart."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.processes import Server

_BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
_PARENT = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {_BUSY!r}], stdin=subprocess.PIPE,"
    " stdout=subprocess.PIPE)\n"
    "child.stdout.readline(); print(flush=True); input(); child.communicate(b'\\n')"
)


def test_the_work_of_a_child_is_not_the_parents() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        server = Server("", process.pid)
        assert server.children_cpu_seconds() >= 0.29
        assert server.pids()[0] == process.pid
        assert len(server.pids()) == 2
        assert 0 <= server.cpu_seconds() < server.children_cpu_seconds()
        process.communicate("\n")


def test_memory_and_descriptors_of_a_process() -> None:
    here = Server("", os.getpid())
    assert 2**20 < here.resident() <= here.peak()
    before = here.descriptors()
    read, write = os.pipe()
    assert here.descriptors() == before + 2
    os.close(read)
    os.close(write)

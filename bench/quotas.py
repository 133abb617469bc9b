"""A slower core for each process, by the CPU quotas of Linux (cgroups, version 1).

A gateway with several processes needs more cores than many machines have.  With a quota each of
its processes gets the same small part of a core, and load and upstream, which have none, are
never what limits: as on a machine whose cores are that much slower, with one for each process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 10_000
"""Short, so that a process that has used its part does not wait for long."""
PART = 0.2
"""Of a core, for each process: eight of them leave room on two cores."""


@contextlib.contextmanager
def limited(pids: Iterable[int], part: float = PART, root: Path = ROOT) -> Iterator[bool]:
    """Let each of some processes have a part of a core; yield whether that could be done.

    In the end they are as they were, and the groups are gone.
    """
    with contextlib.ExitStack() as stack:
        try:
            for pid in pids:
                stack.enter_context(_alone(pid, part, root))
        except OSError:
            stack.close()
            yield False
        else:
            yield True


@contextlib.contextmanager
def _alone(pid: int, part: float, root: Path) -> Iterator[None]:
    """Keep a process, threads included, in a group of its own."""
    group = root / f"gateway-sessions-bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(part * PERIOD_US)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):  # It may have ended.
            (root / "cgroup.procs").write_text(str(pid))
        group.rmdir()

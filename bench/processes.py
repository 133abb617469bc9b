"""What processes have used, as the kernel counts it (Linux).

CPU time is what a request costs wherever it runs; a rate depends on who else wants the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves, alone or with children."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process itself."""
        return _stat(self.pid)[1]

    def children_cpu_seconds(self) -> float:
        """Return the CPU time of all its living descendants together."""
        table = _table()
        return sum(table[pid][1] for pid in _descendants(self.pid, table))

    def pids(self) -> list[int]:
        """Return the process itself and all its living descendants."""
        return [self.pid, *sorted(_descendants(self.pid, _table()))]

    def resident(self) -> int:
        """Return the memory of the process itself, in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * _PAGE

    def descriptors(self) -> int:
        """Return how many files and sockets the process itself has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - names are not wanted

    def peak(self) -> int:
        """Return the most memory that the process itself has held, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0


def _stat(pid: int) -> tuple[int, float]:
    """Return a process's parent and its CPU seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK


def _table() -> Mapping[int, tuple[int, float]]:
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                table[int(entry.name)] = _stat(int(entry.name))
            except OSError:
                continue  # It has ended meanwhile.
    return table


def _descendants(pid: int, table: Mapping[int, tuple[int, float]]) -> set[int]:
    found: set[int] = set()
    wanted = {pid}
    while wanted:
        wanted = {child for child, (parent, _) in table.items() if parent in wanted} - found
        found |= wanted
    return found

"""Runs ``gateway-sessions`` and writes the most memory that it held, in bytes, to standard error.

A process must say so itself: what the kernel tells its parent includes the parent (Linux).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from gateway_sessions.cli.root import run


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise RuntimeError("the kernel does not tell the peak of a process's memory")
    return int(found[1]) * 1024


if __name__ == "__main__":
    code = run(sys.argv[1:])
    print(peak_bytes(), file=sys.stderr)
    sys.exit(code)

"""Memory of live sessions: what a process grows by, divided by the number of sessions.

Each size runs in a process of its own, so that nothing is counted twice or reused.  What is
counted is everything that detection keeps: sessions, index and the memory of digests.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from bench import report
from bench.bodies import plain_reply
from bench.core import Core

SESSIONS = 100_000
TURNS = (5, 20)


def run(*, quick: bool) -> str:
    """Measure each number of turns and return the sizes as Markdown."""
    sessions = 10_000 if quick else SESSIONS
    rows = []
    for turns in TURNS:
        command = [sys.executable, "-m", "bench.memory", str(sessions), str(turns)]
        grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(
            [f"{turns}", f"{sessions:,}", f"{grown / 2**20:.0f}", f"{grown / sessions:.0f}"]
        )
    heads = ["turns", "live sessions", "MiB in all", "bytes a session"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


def grow(sessions: int, turns: int) -> int:
    """Hold that many conversations, a turn of each after the other; return the growth in bytes."""
    gc.collect()
    before = _resident()
    core = Core(sessions)
    for turn in range(turns):
        answer = core.dialect.read_reply(plain_reply(f"answer {turn}"))
        for number in range(sessions):
            core.exchange(_body(number, turn), answer)
    gc.collect()
    if core.live != sessions:
        raise RuntimeError(f"{core.live} sessions are live, not {sessions}")
    return _resident() - before


def _body(number: int, turn: int) -> bytes:
    """Return the request of a conversation's turn; texts are short, since none is kept."""
    asks = '{"role":"user","content":"question %d of %d"}'
    answers = '{"role":"assistant","content":"answer %d"}'
    messages = [text for i in range(turn) for text in (asks % (i, number), answers % i)]
    messages.append(asks % (turn, number))
    return b'{"model":"m","messages":[%b]}' % ",".join(messages).encode()


def _resident() -> int:
    """Return the memory of this process in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(grow(int(sys.argv[1]), int(sys.argv[2])))

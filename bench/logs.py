"""``detect`` on long logs: exchanges a second, and the most memory it takes.

The log is made here: users of some tenants who talk at the same time, with retries, failures and
streams.  Memory must not grow with the log, so a short one is measured beside the long one.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bench import report

SIZES = (100_000, 1_000_000)
LIVE = 2_000
"""Conversations that go on at the same time."""
TENANTS = 20
TURNS = 5
"""Exchanges of a conversation, on average."""
RATE = 20
"""Exchanges a second, in the log's own time."""
FAILING = 0.02
STREAMED = 0.3
_START = datetime(2026, 1, 1, tzinfo=UTC)
_TEXT = (
    "please show me how the quarterly report can be read and which of its tables matter most for "
    "a small team that plans the next release while the old one still needs care every other day"
)
_WORDS = _TEXT.split()


class Run(NamedTuple):
    """One run of a command."""

    seconds: float
    peak_bytes: int


def run(*, quick: bool) -> str:
    """Measure ``detect`` and ``detect --compare`` on logs of each size; return Markdown."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        shorter = Path(folder) / "shorter.yaml"
        shorter.write_text("session:\n  session_ttl_seconds: 600\n", encoding="utf-8")
        usual = Path(folder) / "usual.yaml"
        usual.write_text("session:\n  session_ttl_seconds: 3600\n", encoding="utf-8")
        commands = {
            "detect": ["detect"],
            "detect --compare": ["detect", "--compare", str(usual), str(shorter)],
        }
        log = Path(folder) / "log.jsonl"
        for size in (2_000,) if quick else SIZES:
            with log.open("w", encoding="utf-8") as file:
                file.writelines(lines(size))
            for name, arguments in commands.items():
                done = measured([*arguments, str(log)])
                rows.append(_row(name, size, log.stat().st_size, done))
    heads = ["command", "exchanges", "MB of log", "exchanges/s", "peak MB"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


def _row(name: str, exchanges: int, size: int, done: Run) -> list[str]:
    rate = exchanges / done.seconds
    figures = (
        f"{exchanges:,}",
        f"{size / 1e6:,.0f}",
        f"{rate:,.0f}",
        f"{done.peak_bytes / 1e6:,.0f}",
    )
    return [f"`{name}`", *figures]


def measured(arguments: Sequence[str]) -> Run:
    """Run ``gateway-sessions`` and return how long it took and the most memory it held."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "bench.peak", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in (0, 1):  # 1: the configurations differ, as they should.
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr}")
    return Run(time.perf_counter() - started, int(done.stderr.split()[-1]))


class _Talk:
    """One conversation as it goes on."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self._number = number
        self._chance = chance
        self._messages: list[dict[str, str]] = []
        self._turn = 0
        self.repeats = False
        self.busy_until = 0.0

    def exchange(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return its next request and response."""
        if not self.repeats:
            self._turn += 1
            self._messages.append({"role": "user", "content": self._text("question")})
        headers = {"authorization": f"Bearer sk-{self._number % TENANTS}", "user-agent": "bench"}
        request = {
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": headers,
            "body": {"model": "m", "messages": list(self._messages)},
        }
        self.repeats = self._chance.random() < FAILING
        if self.repeats:
            return request, {"status": 529, "body": None, "duration_ms": 40}
        answer = {"role": "assistant", "content": self._text("answer")}
        self._messages.append(answer)
        duration = self._chance.randrange(200, 20_000)
        return request, {"status": 200, "body": self._answered(answer), "duration_ms": duration}

    def _text(self, kind: str) -> str:
        words = self._chance.choices(_WORDS, k=self._chance.randrange(10, 60))
        return f"{kind} {self._turn} of {self._number}: {' '.join(words)}."

    def _answered(self, answer: dict[str, str]) -> Any:
        name = f"c{self._number}-{self._turn}"
        if self._chance.random() >= STREAMED:
            choice = {"index": 0, "message": answer, "finish_reason": "stop"}
            return {"id": name, "choices": [choice]}
        words = answer["content"].split(" ")
        deltas = [{"content": word if n == 0 else f" {word}"} for n, word in enumerate(words)]
        chunks = [{"id": name, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"id": name, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        return "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n"


def lines(exchanges: int, seed: int = 1) -> Iterator[str]:
    """Yield a log of that many exchanges, line by line; the same each time."""
    chance = random.Random(seed)
    talks = [_Talk(number, chance) for number in range(LIVE)]
    begun, now = LIVE, 0.0
    for number in range(exchanges):
        now += 1 / RATE
        place = chance.randrange(LIVE)
        while talks[place].busy_until > now:
            place = chance.randrange(LIVE)
        if not talks[place].repeats and chance.random() < 1 / TURNS:
            talks[place] = _Talk(begun, chance)
            begun += 1
        request, response = talks[place].exchange()
        talks[place].busy_until = now + response["duration_ms"] / 1000
        line = {
            "request_id": f"r{number}",
            "timestamp": (_START + timedelta(seconds=now)).isoformat(timespec="milliseconds"),
            "client": {"ip": "127.0.0.1"},
            "request": request,
            "response": response,
        }
        yield json.dumps(line) + "\n"


if __name__ == "__main__":
    sys.stdout.writelines(lines(int(sys.argv[1])))

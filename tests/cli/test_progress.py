"""Progress bars: only where somebody looks, and only after a second."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.progress import Progress

from gateway_sessions.cli.progress import bar, metered, wanted

LINES = [b"0123456789\n"] * 1000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def measured(step: float, *, total: int | None = 11_000) -> tuple[list[bytes], list[Progress]]:
    made: list[Progress] = []

    def make() -> Progress:
        made.append(Progress(console=Console(file=io.StringIO())))
        return made[-1]

    ticks = clock(step)
    lines = list(metered(LINES, total, "log.jsonl", clock=lambda: next(ticks), make=make))
    return lines, made


def test_lines_pass_unchanged() -> None:
    assert measured(0.0)[0] == LINES
    assert measured(10.0)[0] == LINES


def test_a_short_wait_gets_no_bar() -> None:
    assert measured(0.1)[1] == []


def test_a_long_wait_gets_one_bar_that_counts_bytes() -> None:
    (progress,) = measured(10.0)[1]
    (task,) = progress.tasks
    assert (task.description, task.total, task.completed) == ("log.jsonl", 11_000, 11_000)
    assert progress.finished


def test_a_pipe_has_no_known_end() -> None:
    (progress,) = measured(10.0, total=None)[1]
    assert progress.tasks[0].total is None


def test_the_bar_goes_away_when_the_reader_stops_early() -> None:
    made: list[Progress] = []

    def make() -> Progress:
        made.append(Progress(console=Console(file=io.StringIO())))
        return made[-1]

    ticks = clock(10.0)
    lines = metered(iter(LINES), None, "x", clock=lambda: next(ticks), make=make)
    for _ in range(600):
        next(lines)
    assert made[0].live.is_started
    lines.close()  # type: ignore[attr-defined]
    assert not made[0].live.is_started


@pytest.mark.parametrize(
    ("stdout", "stderr", "answer"),
    [
        (io.StringIO(), Terminal(), True),
        (io.StringIO(), io.StringIO(), False),
        (Terminal(), Terminal(), False),
    ],
)
def test_bars_are_for_people_who_see_nothing_else(
    stdout: io.StringIO, stderr: io.StringIO, answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert wanted() is answer


@pytest.mark.parametrize("counted", [True, False])
def test_bars_are_written_to_standard_error(counted: bool) -> None:
    assert bar(counted=counted).console.stderr

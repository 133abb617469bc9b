"""Progress bars: only where somebody looks, and only after a second."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from gateway_sessions.cli.progress import Meter, _of_log, bar, wanted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Watched:
    """A meter with a clock that is set by hand, and the bars that it made."""

    def __init__(self, total: int | None = 10_000) -> None:
        self.now = 50.0
        self.made: list[Progress] = []
        self.meter = Meter(total, "log.jsonl", clock=lambda: self.now, make=self._make)

    def _make(self, total: int | None) -> Progress:
        assert total == 10_000 or total is None
        self.made.append(Progress(console=Console(file=io.StringIO())))
        return self.made[-1]


def test_a_short_wait_gets_no_bar() -> None:
    watched = Watched()
    watched.now += 0.9
    watched.meter.read(500)
    watched.meter.placed()
    watched.meter.stop()
    assert watched.made == []


def test_a_long_wait_gets_one_bar_that_counts_bytes_and_exchanges() -> None:
    watched = Watched()
    for _ in range(40):
        watched.now += 0.1
        watched.meter.read(100)
        watched.meter.placed()
    (progress,) = watched.made
    (task,) = progress.tasks
    assert (task.description, task.total, task.completed) == ("log.jsonl", 10_000, 4000)
    assert task.fields["exchanges"] == 39  # The bar is a moment behind.
    assert task.fields["rate"] == pytest.approx(10, rel=0.1)
    watched.meter.stop()
    assert not progress.live.is_started


def test_a_bar_is_not_drawn_for_every_line() -> None:
    watched = Watched()
    watched.now += 2
    watched.meter.read(100)
    watched.meter.read(100)
    (task,) = watched.made[0].tasks
    assert task.completed == 100
    watched.now += 0.2
    watched.meter.placed()
    assert task.completed == 200
    watched.meter.stop()


def test_a_pipe_has_no_known_end() -> None:
    watched = Watched(total=None)
    watched.now += 2
    watched.meter.read(100)
    assert watched.made[0].tasks[0].total is None
    watched.meter.stop()


@pytest.mark.parametrize(
    ("total", "shown", "hidden"),
    [
        (2000, ["25%", "0.5/2.0 kB", "1,234 exchanges, 617/s"], []),
        (None, ["500/? bytes", "1,234 exchanges, 617/s"], ["%"]),
    ],
)
def test_the_bar_says_how_far_how_many_and_how_fast(
    total: int | None, shown: list[str], hidden: list[str]
) -> None:
    progress = _of_log(total)
    progress.add_task("a [log]", total=total, completed=500, exchanges=1234, rate=617.2)
    screen = Console(file=io.StringIO(), width=160)
    screen.print(progress.get_renderable())
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert [part for part in ["a [log]", *shown] if part not in text] == []
    assert [part for part in hidden if part in text] == []


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


def test_a_command_that_is_silent_while_it_works_may_show_a_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert wanted(speaks=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not wanted(speaks=False)


def test_bars_are_written_to_standard_error() -> None:
    assert bar().console.stderr
    assert _of_log(None).console.stderr

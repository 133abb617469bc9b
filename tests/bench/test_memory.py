"""The benchmark of memory counts live sessions of the right length."""

from __future__ import annotations

import json
import sys

import pytest

from bench import memory
from bench.core import Core


def test_a_turn_repeats_the_history_with_the_answers() -> None:
    messages = json.loads(memory._body(number=7, turn=2))["messages"]
    assert [m["content"] for m in messages] == [
        "question 0 of 7",
        "answer 0",
        "question 1 of 7",
        "answer 1",
        "question 2 of 7",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sessions_are_counted_once_however_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # The process under test may give memory back meanwhile: only `run` measures a fresh one.
    sizes = iter((1_000_000, 1_250_000))
    monkeypatch.setattr(memory, "_resident", lambda: next(sizes))
    assert memory.grow(sessions=200, turns=3) == 250_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_is_that_of_the_process() -> None:
    assert memory._resident() > 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Core", lambda sessions: Core(sessions - 1))
    with pytest.raises(RuntimeError, match="9 sessions are live, not 10"):
        memory.grow(sessions=10, turns=1)

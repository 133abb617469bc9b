"""The benchmark of recording sends everything through everything."""

from __future__ import annotations

import pytest

from bench import recording
from gateway_sessions.milestones import Arrived


def test_a_quick_run_measures_calls_and_every_set_of_writers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "WRITERS", {"both": recording.WRITERS["both"]})
    lines = recording.run(quick=True).splitlines()
    (row,) = [line.strip("| ").split(" | ") for line in lines if line.startswith("| both")]
    # Of 1,000 exchanges three events each, of 200 sessions their start and end.
    assert int(row[1].replace(",", "")) >= 3_400
    assert row[3] == "0"
    heads = next(number for number, line in enumerate(lines) if "`record_event`" in line)
    median = float(lines[heads + 2].strip("| ").split(" | ")[0])
    assert 0 < median < 20


def test_requests_repeat_their_history_as_clients_do() -> None:
    arrived = [m for m in recording._milestones(7) if isinstance(m, Arrived)]
    assert [m.message_count for m in arrived] == [1, 3, 5, 7, 9, 1, 3]
    assert len(arrived[4].request.body) > len(arrived[0].request.body) * 4
    assert len({m.session_id for m in arrived}) == 2

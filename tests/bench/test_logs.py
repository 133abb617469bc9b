"""The benchmark's logs are like real ones, and ``detect`` takes no more memory for a longer one."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from bench import logs


def test_the_log_is_the_same_each_time_and_in_order() -> None:
    made = list(logs.lines(500))
    assert made == list(logs.lines(500))
    times = [datetime.fromisoformat(json.loads(line)["timestamp"]) for line in made]
    assert all(one <= other for one, other in pairwise(times))
    assert len({json.loads(line)["request_id"] for line in made}) == 500


def test_it_holds_conversations_failures_and_streams() -> None:
    made = [json.loads(line) for line in logs.lines(12_000)]
    lengths = {len(line["request"]["body"]["messages"]) for line in made}
    assert {1, 3, 5, 7, 9} <= lengths
    assert 100 < sum(line["response"]["status"] == 529 for line in made) < 400
    assert any(isinstance(line["response"]["body"], str) for line in made)
    keys = {line["request"]["headers"]["authorization"] for line in made}
    assert len(keys) == logs.TENANTS


def test_a_longer_log_takes_hardly_more_memory(tmp_path: Path) -> None:
    peaks = []
    log = tmp_path / "log.jsonl"
    for size in (15_000, 30_000):  # The memories of texts, 16 MiB and more, are full by then.
        log.write_text("".join(logs.lines(size)))
        arguments = ["detect", "--set", "session.max_sessions=500", str(log)]
        peaks.append(logs.measured(arguments).peak_bytes)
    assert log.stat().st_size > 60_000_000
    assert peaks[1] < peaks[0] + 10_000_000


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 2"):
        logs.measured(["detect", str(tmp_path / "none.jsonl")])


def test_a_quick_run_gives_a_row_for_each_command() -> None:
    table = logs.run(quick=True).splitlines()
    assert [row.split("|")[1].strip() for row in table[-2:]] == ["`detect`", "`detect --compare`"]

"""What a run of many exchanges left is counted where it is, not where it is said to be."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from bench import exchanges, servers
from bench.bodies import talk
from bench.load import Talker
from bench.throughput import VARIANTS


@pytest.mark.needs("wrk", "apt-get install wrk")
def test_what_was_offered_is_found_in_files_and_database(tmp_path: Path) -> None:
    where = (
        f"session_recording.jsonl.directory={tmp_path / 'sessions'}",
        f"session_recording.sqlite.path={tmp_path / 'sessions.db'}",
    )
    settings = VARIANTS["everything, traces without bodies"]
    with (
        servers.upstream(stream=False) as upstream,
        servers.gateway(upstream, settings, *where) as server,
    ):
        Talker(server.url, talk(2, stream=False)).run(1, 4)
        exchanges.settled(server.url)
        counted = exchanges.counters(server.url)
        queue, files, database = exchanges.left(tmp_path, counted, 1)
    assert queue.dropped == 0
    assert files.writer == "jsonl"
    assert database.writer == "sqlite"
    assert files.offered == counted["jsonl"]["written"] > 0
    assert files.dropped == database.dropped == 0
    assert files.found.startswith(f"{files.offered:,} events of ")
    stated = int(database.found.partition(" ")[0].replace(",", ""))
    assert files.offered // 5 <= stated <= files.offered // 3


def test_what_the_recorder_never_got_is_told_beside_what_writers_lost(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "sess_a.jsonl").write_text("{}\n{}\n")
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.db")) as database:
        database.execute("CREATE TABLE sessions (session_id)")
        database.execute("CREATE TABLE session_stats (request_id)")
    counted = {
        "recorder": {"written": 0, "dropped": 5, "waiting": 0},
        "jsonl": {"written": 2, "dropped": 1, "waiting": 0},
        "sqlite": {"written": 3, "dropped": 0, "waiting": 0},
    }
    queue, files, rows = exchanges.left(tmp_path, counted, 10)
    assert (queue.offered, queue.dropped, queue.found) == (20, 5, "0 of 10 exchanges")
    assert (files.offered, files.dropped, files.found) == (3, 1, "2 events of 1 sessions")
    assert (rows.offered, rows.dropped) == (3, 0)

"""What a run of many exchanges left is counted where it is, not where it is said to be."""

from __future__ import annotations

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
        files, database = exchanges.left(tmp_path, counted)
    assert files.writer == "jsonl"
    assert database.writer == "sqlite"
    assert files.offered == counted["jsonl"]["written"] > 0
    assert files.dropped == database.dropped == 0
    assert files.found.startswith(f"{files.offered:,} events of ")
    stated = int(database.found.partition(" ")[0].replace(",", ""))
    assert files.offered // 5 <= stated <= files.offered // 3

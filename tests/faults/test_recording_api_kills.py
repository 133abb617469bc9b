"""A gateway that is killed has everything that it acknowledged, in each way of reporting."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.recording_api_kills import SESSION, run

KILLS = int(os.environ.get("RECORDING_API_KILLS", "2"))
"""Per mode; a longer run asks for a hundred."""
SEED = int(os.environ.get("RECORDING_API_KILLS_SEED", "1"))


@pytest.mark.parametrize("mode", ["live", "batch", "hybrid"])
async def test_every_acknowledged_message_is_recovered(tmp_path: Path, mode: str) -> None:
    result = await run(tmp_path, mode, KILLS, SEED)
    assert result["faults"] == []
    assert result["exit_code"] == 0
    assert result["messages"] > KILLS
    # The shutdown has handed everything to the recorder.
    with closing(sqlite3.connect(tmp_path / "home/.gateway-sessions/sessions.db")) as database:
        sql = "SELECT COUNT(*), SUM(content_characters) FROM messages WHERE session_id = ?"
        assert database.execute(sql, (SESSION,)).fetchone() == (
            result["messages"],
            result["acknowledged"],
        )

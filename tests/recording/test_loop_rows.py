"""Loops and turns as rows: everything is there, whatever comes twice or too late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions.analysis.agent_tree import LoopRecord, Turn
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.recording.talk import BEGIN, content, looped, rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions.db")
    store.open()
    yield store
    store.close()


def one(store: SqliteStore, table: str) -> dict[str, Any]:
    (found,) = rows(store.path, f"SELECT * FROM {table}")
    return found


def test_a_loop_and_its_turns_have_columns_to_ask_for(store: SqliteStore) -> None:
    group = {"kind": "fanout", "all_loop_ids": ["a", "b"]}
    spawn = {
        "parent_session_id": "sess_b",
        "parent_loop_id": "l",
        "tool_call_id": "c1",
        "tool_name": "task",
        "confidence": 0.95,
    }
    store.write(
        [
            looped(
                continuation_kind={"kind": "rerun", "tag": "1"},
                parallel_group=group,
                spawn_ref=spawn,
                tool_calls={"read": 2},
                children_loop_ids=["x"],
                ended_at=BEGIN.timestamp() + 1.25,
                status="rejected",
                rejection="refusal",
            )
        ]
    )
    loop, turn = one(store, "loops"), one(store, "turns")
    assert loop["session_id"] == turn["session_id"] == "sess_a"
    assert (loop["continuation_kind"], loop["continuation_tag"]) == ("rerun", "1")
    assert (loop["started_at"], loop["ended_at"]) == (
        "2026-01-31 12:00:00.000000",
        "2026-01-31 12:00:01.250000",
    )
    assert (loop["status"], loop["rejection"], loop["turn_count"]) == ("rejected", "refusal", 1)
    assert json.loads(loop["parallel_group"]) == group
    assert json.loads(loop["spawn_ref"]) == spawn
    assert json.loads(loop["tool_calls"]) == {"read": 2}
    assert json.loads(loop["children_loop_ids"]) == ["x"]
    assert (loop["input"], loop["output"], loop["cost_usd"]) == (100, 50, 0.001)
    assert (turn["turn_index"], turn["request_id"], turn["has_tool_calls"]) == (0, "req_1", 0)
    assert (turn["total_tokens"], turn["cost_usd"]) == (150, 0.001)


def test_what_is_read_back_is_what_was_recorded(store: SqliteStore) -> None:
    event = looped(compaction_block="They said hi.", metadata={"a": [1]})
    store.write([event])
    loop = msgspec.json.decode(one(store, "loops")["record"], type=LoopRecord)
    turn = msgspec.json.decode(one(store, "turns")["record"], type=Turn)
    whole = msgspec.structs.replace(loop, turns=(turn,), compaction_block="They said hi.")
    assert whole == msgspec.json.decode(event.loop, type=LoopRecord)


def test_the_newest_state_of_a_loop_counts_and_its_turns_add_up(store: SqliteStore) -> None:
    store.write([looped(1), looped(2, at=3.0, status="completed")])
    assert (one(store, "loops")["status"], one(store, "loops")["turn_count"]) == ("completed", 2)
    assert [row["turn_index"] for row in rows(store.path, "SELECT * FROM turns")] == [0, 1]


def test_a_summary_that_is_told_once_stays(store: SqliteStore) -> None:
    store.write([looped(1, compaction_block="They said hi."), looped(2, at=3.0)])
    assert one(store, "loops")["compaction_block"] == "They said hi."


def test_what_comes_again_undoes_nothing(store: SqliteStore) -> None:
    events = [looped(1), looped(2, at=3.0), looped(2, at=4.0, status="completed")]
    store.write(events)
    once = content(store.path)
    store.write(events)
    store.write(events[:1])
    store.write(events[1:2])
    assert content(store.path) == once


@pytest.mark.parametrize(
    "bad", [{"status": "asleep"}, {"started_at": "noon"}, {"loop_id": None}, {"started_at": 1e300}]
)
def test_what_is_no_loop_fails_alone(store: SqliteStore, bad: dict[str, Any]) -> None:
    with pytest.raises(PartlyWritten) as caught:
        store.write([looped(1), looped(2, session="sess_b", **bad), looped(3, at=5.0)])
    assert caught.value.written == 2
    assert one(store, "loops")["turn_count"] == 3


def test_a_session_does_not_become_active_by_what_is_learned_of_it(store: SqliteStore) -> None:
    store.write([looped(1)])
    assert rows(store.path, "SELECT * FROM sessions") == []


def test_of_a_batch_the_newest_of_a_loop_and_of_each_turn_holds(store: SqliteStore) -> None:
    newest = looped(2, at=3.0, status="completed")
    store.write(
        [
            looped(1, at=1.0, cost=0.5, compaction_block="They said hi."),
            looped(1, at=1.5, cost=0.25),
            newest,
            looped(1, at=1.2, status="aborted"),
        ]
    )
    loop = one(store, "loops")
    assert (loop["status"], loop["turn_count"]) == ("completed", 2)
    assert loop["compaction_block"] == "They said hi."
    turns = rows(store.path, "SELECT turn_index, cost_usd FROM turns ORDER BY turn_index")
    assert turns == [{"turn_index": 0, "cost_usd": 0.25}, {"turn_index": 1, "cost_usd": 0.001}]
    whole = content(store.path)
    store.write([newest])
    assert content(store.path) == whole

"""What recorders get wrong: sums, order, repeats, times."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway_sessions import events as e
from gateway_sessions.recording import rows as rows_module
from gateway_sessions.recording.rows import MAX_TEXT, MAX_TITLE, sql_time, text_size
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.recording.talk import (
    answered,
    asked,
    begun,
    called,
    content,
    ended,
    exchange,
    over,
    returned,
    rows,
    stamp,
    tokens,
    traffic,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions.db")
    store.open()
    yield store
    store.close()


def session(store: SqliteStore, session_id: str = "sess_a") -> dict[str, Any]:
    (found,) = rows(store.path, "SELECT * FROM sessions WHERE session_id = ?", session_id)
    return found


class TestSums:
    def test_requests_of_a_session_add_up(self, store: SqliteStore) -> None:
        used = tokens(10, 5, thinking_tokens=2, reasoning_tokens=1, cache_read_tokens=4)
        store.write([begun(), *exchange(1, used=used), *exchange(2, used=used)])
        store.write(exchange(3, used=used, latency=1.5))
        found = session(store)
        assert found["request_count"] == 3
        assert found["input_tokens"] == 30
        assert found["output_tokens"] == 15
        assert found["total_tokens"] == 45
        assert found["thinking_tokens"] == 6
        assert found["reasoning_tokens"] == 3
        assert found["cache_read_tokens"] == 12
        assert found["provider_latency_ms"] == 2001.5
        assert found["proxy_overhead_ms"] == 2.25
        assert found["total_duration_ms"] == 3002.25
        assert found["cost_usd"] == 0.003

    def test_the_cost_is_unknown_until_something_has_a_price(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1, cost=None)])
        assert session(store)["cost_usd"] is None
        store.write(exchange(2, cost=0.5))
        store.write(exchange(3, cost=None))
        assert session(store)["cost_usd"] == 0.5

    def test_an_event_that_comes_again_adds_nothing(self, store: SqliteStore) -> None:
        events = [begun(), *exchange(1), called(), *exchange(2), returned(), ended()]
        store.write(events)
        once = content(store.path)
        store.write(events)
        for event in events:
            store.write([event])
        store.write(events[1:4])
        assert content(store.path) == once

    def test_every_way_to_cut_batches_gives_the_same(self, tmp_path: Path) -> None:
        events = list(traffic(150))
        found = []
        for number, sizes in enumerate(((1, 1), (2, 9), (100, 100), (1000, 1000))):
            rng = random.Random(number)
            store = SqliteStore(tmp_path / f"{number}.db")
            store.open()
            start = 0
            while start < len(events):
                end = start + rng.randint(*sizes)
                store.write(events[start:end])
                start = end
            store.close()
            found.append(content(store.path))
        assert found[1:] == found[:-1]

    def test_every_order_of_sessions_gives_the_same_days(self, tmp_path: Path) -> None:
        events = list(traffic(150))
        orders = [events, sorted(events, key=lambda event: event.session_id)]
        found = []
        for number, order in enumerate(orders):
            store = SqliteStore(tmp_path / f"{number}.db")
            store.open()
            for start in range(0, len(order), 40):
                store.write(order[start : start + 40])
            store.close()
            found.append(content(store.path))
        assert len(found[0]["daily_stats"]) > 6
        assert found[0] == found[1]

    def test_sums_equal_those_of_the_exchanges(self, store: SqliteStore) -> None:
        store.write(list(traffic(200)))
        for column in ("input_tokens", "thinking_tokens", "provider_latency_ms", "chunk_count"):
            per_session = rows(
                store.path,
                f"SELECT s.{column} a, (SELECT COALESCE(SUM({column}), 0) FROM session_stats e"
                " WHERE e.session_id = s.session_id) b FROM sessions s",
            )
            assert len(per_session) == 10
            assert [row["a"] for row in per_session] == pytest.approx([r["b"] for r in per_session])
        days = rows(store.path, "SELECT SUM(requests) n, SUM(cost_usd) c FROM daily_stats")
        assert days[0]["n"] == 200
        total = rows(store.path, "SELECT SUM(cost_usd) c FROM session_stats")
        assert days[0]["c"] == pytest.approx(total[0]["c"])

    def test_a_corrected_answer_replaces_what_it_brought_before(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1, used=tokens(10, 10))])
        store.write([answered(1, used=tokens(7, 1), model="other")])
        assert session(store)["input_tokens"] == 7
        days = rows(store.path, "SELECT model_name, requests, input_tokens FROM daily_stats")
        assert {(d["model_name"], d["requests"], d["input_tokens"]) for d in days} == {
            ("gpt-1", 0, 0),
            ("other", 1, 7),
        }


class TestSessions:
    def test_the_row_tells_who_when_and_what(self, store: SqliteStore) -> None:
        store.write([begun(parent_session_id="sess_p", root_session_id="sess_r"), *exchange(1)])
        found = session(store)
        assert found["parent_session_id"] == "sess_p"
        assert found["root_session_id"] == "sess_r"
        assert found["started_at"] == found["created_at"] == "2026-01-31 12:00:00.000000"
        assert found["last_active_at"] == "2026-01-31 12:00:01.600000"
        assert found["completed_at"] is None
        assert (found["provider"], found["listener"]) == ("openai", "openai_chat")
        assert (found["model_requested"], found["model_used"]) == ("gpt", "gpt-1")
        assert (found["success"], found["finish_reason"]) == (1, "stop")

    def test_texts_are_the_newest_and_the_title_is_the_first(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), *exchange(2)])
        store.write([asked(3, at=3.0, request_text=None), answered(3, at=3.5, text=None)])
        found = session(store)
        assert found["title"] == "question 1"
        assert found["request_text"] == "question 2"
        assert found["response_text"] == "an answer"
        assert found["request_id"] == "req_3"

    def test_a_title_is_one_short_line(self, store: SqliteStore) -> None:
        store.write([begun(), asked(request_text="a\n b\t" + "word " * 100)])
        title = session(store)["title"]
        assert title.startswith("a b word")
        assert len(title) == MAX_TITLE
        assert title.endswith("…")

    def test_without_texts_there_is_no_title(self, store: SqliteStore) -> None:
        store.write([begun(), asked(request_text=None), answered(text=None)])
        assert session(store)["title"] is None
        assert rows(store.path, "SELECT * FROM session_texts") == []

    def test_the_end_is_noted_and_undone_when_it_goes_on(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), ended(at=50.0)])
        assert session(store)["completed_at"] == "2026-01-31 12:00:50.000000"
        store.write([begun(at=60.0), asked(2, at=60.0)])
        assert session(store)["completed_at"] is None
        assert session(store)["started_at"] == "2026-01-31 12:00:00.000000"

    def test_an_old_event_does_not_overrule_newer_ones(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), *exchange(2, model="new"), ended()])
        store.write([asked(1, at=1.0), over(1, at=1.6, success=False, error="late")])
        found = session(store)
        assert (found["request_id"], found["model_used"]) == ("req_2", "new")
        assert (found["success"], found["error_message"]) == (1, None)
        assert found["completed_at"] is not None

    def test_a_session_whose_start_is_missing_has_a_row(self, store: SqliteStore) -> None:
        store.write(exchange(1))
        found = session(store)
        assert found["root_session_id"] == "sess_a"
        assert found["provider"] is None
        store.write([begun(at=0.0)])
        assert session(store)["provider"] == "openai"

    def test_a_failed_exchange_says_why(self, store: SqliteStore) -> None:
        error = e.Error(
            session_id="sess_a",
            request_id="req_1",
            timestamp=stamp(1.0),
            error_type="timeout",
            error_message="no answer",
        )
        store.write([begun(), asked(), error])
        assert session(store)["error_message"] == "no answer"
        store.write([over(1, success=False, error="timeout", finish_reason=None)])
        (stats,) = rows(store.path, "SELECT * FROM session_stats")
        assert (stats["success"], stats["error_message"]) == (0, "timeout")
        (day,) = rows(store.path, "SELECT * FROM daily_stats")
        assert (day["requests"], day["errors"], day["model_name"]) == (1, 1, "gpt")


class TestExchanges:
    def test_each_has_a_row_with_everything_known(self, store: SqliteStore) -> None:
        store.write(
            [begun(), *exchange(1, used=tokens(thinking_percentage=20.0, tokens_per_second=50.0))]
        )
        (found,) = rows(store.path, "SELECT * FROM session_stats")
        missing = {name for name, value in found.items() if value is None}
        assert missing == {
            "time_to_first_token_ms",
            "streaming_duration_ms",
            "chunk_count",
            "thinking_tokens",
            "reasoning_tokens",
            "cache_read_tokens",
            "cache_creation_tokens",
            "audio_input_tokens",
            "audio_output_tokens",
            "error_message",
        }
        assert found["model_name"] == "gpt-1"
        assert found["created_at"] == "2026-01-31 12:00:01.000000"
        assert (found["relation"], found["source"], found["confidence"]) == ("first", "new", 1.0)
        assert (found["tokens_per_second"], found["thinking_percentage"]) == (50.0, 20.0)

    def test_one_under_way_counts_for_its_session_and_not_for_its_day(
        self, store: SqliteStore
    ) -> None:
        store.write([begun(), asked()])
        assert session(store)["request_count"] == 1
        assert rows(store.path, "SELECT * FROM daily_stats") == []
        store.write([answered()])
        store.write([over()])
        (day,) = rows(store.path, "SELECT * FROM daily_stats")
        assert (day["requests"], day["sessions"], day["total_duration_ms"]) == (1, 1, 1000.75)

    def test_sessions_of_a_day_count_once(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1)])
        store.write(exchange(2))
        store.write([begun("sess_b"), *exchange(3, "sess_b"), *exchange(4, "sess_b")])
        (day,) = rows(store.path, "SELECT * FROM daily_stats")
        assert (day["requests"], day["sessions"]) == (4, 2)

    def test_a_session_over_midnight_is_in_both_days(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1)])
        night = 12 * 3600.0
        store.write([asked(2, at=night), answered(2, at=night + 1), over(2, at=night + 2)])
        days = rows(store.path, "SELECT day, sessions, requests FROM daily_stats ORDER BY day")
        assert [tuple(day.values()) for day in days] == [
            ("2026-01-31", 1, 1),
            ("2026-02-01", 1, 1),
        ]


class TestTools:
    def test_call_and_result_are_one_row_of_the_calls_exchange(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), called(), *exchange(2), returned()])
        (found,) = rows(store.path, "SELECT * FROM tool_call_executions")
        assert found["request_id"] == "req_1"
        assert found["model_name"] == "gpt-1"
        assert found["tool_arguments"] == '{"q":"ducks"}'
        assert (found["output_size_bytes"], found["success"]) == (40, 1)
        assert found["execution_time_ms"] == 900.0
        assert found["created_at"] == "2026-01-31 12:00:01.000000"

    def test_a_result_that_comes_before_its_call_waits_for_it(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), *exchange(2)])
        store.write([returned()])
        store.write([called()])
        (found,) = rows(store.path, "SELECT * FROM tool_call_executions")
        assert (found["request_id"], found["output_size_bytes"]) == ("req_1", 40)

    def test_the_view_counts_per_exchange_and_tool(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), called("a"), called("b")])
        store.write([returned("a", success=False), returned("b", execution_time_ms=100.0)])
        (found,) = rows(store.path, "SELECT * FROM tool_calls")
        assert found == {
            "session_id": "sess_a",
            "request_id": "req_1",
            "model_name": "gpt-1",
            "tool_name": "search",
            "call_count": 2,
            "avg_execution_time_ms": 500.0,
            "error_count": 1,
            "created_at": "2026-01-31 12:00:01.000000",
        }


class TestStreams:
    def test_a_streamed_exchange_has_a_row_with_its_latencies(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1, streamed=True)])
        (found,) = rows(store.path, "SELECT * FROM stream_events")
        assert (found["chunk_count"], found["time_to_first_token_ms"]) == (7, 100.0)
        assert (found["avg_chunk_latency_ms"], found["min_chunk_latency_ms"]) == (0.0, 5.0)
        assert found["model_name"] == "gpt-1"
        assert session(store)["is_streaming"] == 1

    def test_the_start_is_there_before_the_end(self, store: SqliteStore) -> None:
        first = e.StreamStarted(
            session_id="sess_a",
            request_id="req_1",
            timestamp=stamp(0.2),
            time_to_first_token_ms=42.0,
        )
        store.write([begun(), asked(is_streaming=True), first])
        assert session(store)["time_to_first_token_ms"] == 42.0
        (found,) = rows(store.path, "SELECT * FROM stream_events")
        assert (found["chunk_count"], found["time_to_first_token_ms"]) == (None, 42.0)

    def test_a_sessions_time_to_the_first_token_is_the_mean(self, store: SqliteStore) -> None:
        for number in (1, 2, 3, 4):
            store.write(exchange(number, streamed=number != 4))
        found = session(store)
        assert found["time_to_first_token_ms"] == 200.0
        assert (found["chunk_count"], found["streaming_duration_ms"]) == (21, 1200.0)

    def test_chunks_are_kept_where_they_come(self, store: SqliteStore) -> None:
        chunks = [
            e.StreamEvent(
                session_id="sess_a",
                request_id="req_1",
                timestamp=stamp(n),
                sequence=n,
                elapsed_ms=1.0,
                size_bytes=2,
                data="hi",
            )
            for n in range(3)
        ]
        store.write([begun(), asked(), *chunks, *chunks])
        assert [r["sequence"] for r in rows(store.path, "SELECT * FROM stream_chunks")] == [0, 1, 2]


class TestTexts:
    def test_every_exchange_keeps_its_own(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1, text="one"), *exchange(2, text="two")])
        found = rows(store.path, "SELECT request_text, response_text FROM session_texts")
        assert [tuple(row.values()) for row in found] == [
            ("question 1", "one"),
            ("question 2", "two"),
        ]

    def test_huge_ones_are_cut(self, store: SqliteStore) -> None:
        store.write([begun(), asked(request_text="a" * (MAX_TEXT + 5))])
        (found,) = rows(store.path, "SELECT length(request_text) n FROM session_texts")
        assert found["n"] == MAX_TEXT

    def test_sizes_are_those_of_what_is_stored(self) -> None:
        chunk = e.StreamEvent(
            session_id="s",
            request_id="r",
            timestamp=stamp(),
            sequence=0,
            elapsed_ms=0.0,
            size_bytes=3,
            data="abc",
        )
        events = (asked(request_text="four"), answered(text="12"), chunk, called(), begun())
        assert [text_size(event) for event in events] == [4, 2, 3, 13, 0]


class TestTimes:
    def test_they_compare_with_those_of_sqlite(self, store: SqliteStore) -> None:
        store.write([begun(at=-43200.0 + 60), *exchange(1)])  # one minute past midnight
        sql = "SELECT started_at > datetime('2026-01-31 23:59:00', '-1 day') later FROM sessions"
        assert rows(store.path, sql) == [{"later": 1}]

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ("2026-01-31T12:00:00.000001Z", "2026-01-31 12:00:00.000001"),
            ("2026-01-31T12:00:00Z", "2026-01-31 12:00:00.000000"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31 10:00:00.000000"),
        ],
    )
    def test_all_forms_become_one(self, given: str, stored: str) -> None:
        assert sql_time(given) == stored

    @pytest.mark.parametrize("given", ["", "yesterday", "2026-01-31T12:00:00", "2026-13-31T12:00Z"])
    def test_what_is_no_time_is_refused(self, given: str) -> None:
        with pytest.raises(ValueError, match=r"time zone|isoformat|month"):
            sql_time(given)


def test_what_has_no_row_changes_nothing(store: SqliteStore) -> None:
    store.write([begun(), *exchange(1)])
    before = content(store.path)
    snapshot = e.StatsSnapshot(
        session_id="sess_a",
        request_id="req_1",
        timestamp=stamp(500.0),
        request_count=1,
        total_input_tokens=1,
        total_output_tokens=1,
        total_thinking_tokens=0,
        total_tool_calls=0,
        unique_tools=(),
        cumulative_latency_ms=1.0,
        cumulative_proxy_overhead_ms=1.0,
    )
    gap = e.Gap(session_id="x", request_id="", timestamp=stamp(), dropped={"error": 1})
    store.write([snapshot, gap])
    assert content(store.path) == before


def test_every_event_is_known() -> None:
    assert set(get_args(e.AnyEvent)) == set(rows_module._TAKE)

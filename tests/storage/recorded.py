"""Databases of recorded sessions, made by hand from the real tables."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway_sessions.storage.migrations import migrate
from gateway_sessions.storage.schema import SQLITE
from gateway_sessions.storage.sqlite import connect, transaction

START = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

Json = dict[str, Any]


def text_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def empty(path: Path) -> sqlite3.Connection:
    """Make a database as the gateway makes it; return the connection that writes."""
    connection = connect(path)
    migrate(connection, SQLITE, lambda: transaction(connection))
    return connection


def record(path: Path, talks: Iterable[Talk], *, index: bool = True) -> Path:
    """Make a database with some sessions; ``index`` their texts, or leave them waiting."""
    with closing(empty(path)) as connection, transaction(connection):
        for talk in talks:
            talk.record(connection)
        if index:
            connection.execute("DELETE FROM session_search_pending")
    return path


def insert(connection: sqlite3.Connection, table: str, row: Json) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


@dataclass
class Talk:
    """One session to record; what is not said has plain values."""

    session_id: str
    started: datetime = START
    parent: str | None = None
    root: str | None = None
    provider: str = "openai"
    client_ip: str = "192.0.2.1"
    user_agent: str = "tests/1"
    completed: bool = True
    exchanges: list[Json] = field(default_factory=list)
    tools: list[Json] = field(default_factory=list)

    def ask(self, question: str = "hi", answer: str | None = "Hello!", **columns: Any) -> Talk:
        """Add an exchange."""
        number = len(self.exchanges) + 1
        row: Json = {
            "request_id": f"req_{self.session_id}_{number}",
            "model_name": "gpt-5-mini",
            "model_requested": "gpt-5-mini",
            "created_at": self.started + timedelta(seconds=30 * (number - 1)),
            "relation": "first" if number == 1 else "continue",
            "source": "new" if number == 1 else "prefix",
            "confidence": 1.0,
            "provider_latency_ms": 1000.0,
            "total_duration_ms": 1010.0,
            "proxy_overhead_ms": 2.0,
            "input_tokens": 100,
            "output_tokens": 50,
            "thinking_tokens": 0,
            "cache_read_tokens": 0,
            "cost_usd": 0.001,
            "status": 200,
            "success": 1,
            "finish_reason": "stop",
            "is_streaming": 0,
            "message_count": 2 * number - 1,
            "request_text": question,
            "response_text": answer,
        } | columns
        if row.get("input_tokens") is not None:
            row.setdefault("total_tokens", row["input_tokens"] + row["output_tokens"])
        self.exchanges.append(row)
        return self

    def call(self, name: str, call_id: str, **columns: Any) -> Talk:
        """Add a tool call in the reply of the newest exchange."""
        last = self.exchanges[-1]
        row = {
            "request_id": last["request_id"],
            "tool_call_id": call_id,
            "tool_name": name,
            "tool_arguments": '{"path":"tests"}',
            "execution_time_ms": 250.0,
            "input_size_bytes": 16,
            "output_size_bytes": 120,
            "success": 1,
            "created_at": last["created_at"],
            "model_name": last["model_name"],
        }
        self.tools.append(row | columns)
        return self

    def record(self, connection: sqlite3.Connection) -> None:
        """Write the session and all that is in it."""
        for row in self.exchanges:
            exchange = dict(row)
            texts = {k: exchange.pop(k) for k in ("request_text", "response_text")}
            key = {"session_id": self.session_id, "request_id": row["request_id"]}
            exchange["created_at"] = text_time(row["created_at"])
            insert(connection, "session_stats", key | {"provider": self.provider} | exchange)
            insert(connection, "session_texts", key | texts)
            if exchange["is_streaming"]:
                stream = {"time_to_first_token_ms": 120.0, "chunk_count": 9}
                stream |= {"created_at": exchange["created_at"]}
                insert(connection, "stream_events", key | stream)
        for row in self.tools:
            call = row | {"created_at": text_time(row["created_at"])}
            insert(connection, "tool_call_executions", {"session_id": self.session_id} | call)
        insert(connection, "sessions", self._row())

    def _row(self) -> Json:
        last = self.exchanges[-1]
        ended = text_time(last["created_at"])

        def total(name: str) -> Any:
            known = [row[name] for row in self.exchanges if row.get(name) is not None]
            return sum(known) if known else None

        return {
            "session_id": self.session_id,
            "parent_session_id": self.parent,
            "root_session_id": self.root or self.session_id,
            "request_id": last["request_id"],
            "started_at": text_time(self.started),
            "created_at": text_time(self.started),
            "last_active_at": ended,
            "completed_at": ended if self.completed else None,
            "provider": self.provider,
            "listener": "openai_chat",
            "model_requested": last["model_requested"],
            "model_used": last["model_name"],
            "success": last["success"],
            "error_message": last.get("error_message"),
            "finish_reason": last["finish_reason"],
            "request_count": len(self.exchanges),
            "is_streaming": last["is_streaming"],
            "cost_usd": total("cost_usd"),
            "client_ip": self.client_ip,
            "user_agent": self.user_agent,
            "title": self.exchanges[0]["request_text"][:80],
            "request_text": last["request_text"],
            "response_text": last["response_text"],
        } | {
            name: total(name) or 0
            for name in (
                "total_duration_ms",
                "provider_latency_ms",
                "proxy_overhead_ms",
                "input_tokens",
                "output_tokens",
                "thinking_tokens",
                "cache_read_tokens",
                "total_tokens",
            )
        }


_MODELS = (
    # name, provider, dollars per million tokens in and out, median milliseconds, weight
    ("claude-sonnet-4-5", "anthropic", 3.0, 15.0, 3200, 30),
    ("claude-haiku-4-5", "anthropic", 1.0, 5.0, 1100, 22),
    ("gpt-5-mini", "openai", 0.25, 2.0, 1500, 20),
    ("gpt-5", "openai", 1.25, 10.0, 4800, 12),
    ("gemini-2.5-pro", "google", 1.25, 10.0, 3900, 9),
    ("gemini-2.5-flash", "google", 0.3, 2.5, 900, 6),
    ("in-house-7b", "other", None, None, 600, 4),
)
_TOOLS = ("read_file", "run_tests", "grep", "edit_file", "web_search", "list_files", "bash")
_WORDS = tuple(
    re.findall(
        r"\w+",
        "please repair the failing test in the parser and explain what was wrong with the rounding"
        " of totals when the invoice holds several currencies and the customer pays late",
    )
)


def many(number: int, *, days: int = 30, seed: int = 7, words: int = 40) -> Iterator[Talk]:
    """Yield sessions such as a busy team has: models, tools, failures, sub-agents."""
    chance = random.Random(seed)
    for count in range(number):
        name, provider, price_in, price_out, median, _ = chance.choices(
            _MODELS, weights=[model[-1] for model in _MODELS]
        )[0]
        day = chance.randrange(days)
        weekend = (START + timedelta(days=day)).weekday() >= 5 and chance.random() < 0.7
        started = START + timedelta(
            days=max(0, day - 2) if weekend else day, seconds=chance.gauss(18_000, 9_000)
        )
        talk = Talk(
            f"sess_{count:020d}",
            started=started,
            provider=provider,
            client_ip=f"10.0.{chance.randrange(4)}.{chance.randrange(250)}",
        )
        if count and chance.random() < 0.08:
            talk.parent = talk.root = f"sess_{count - 1:020d}"
        history = 0
        for _ in range(min(40, 1 + int(chance.expovariate(1 / 4)))):
            new = int(chance.lognormvariate(6.3, 0.9))
            reply = int(chance.lognormvariate(5.5, 0.8))
            failed = chance.random() < 0.03
            slow = chance.lognormvariate(0, 0.55)
            cost = None
            if price_in is not None and price_out is not None and not failed:
                cost = (new + history * 0.1) * price_in / 1e6 + reply * price_out / 1e6
            talk.ask(
                " ".join(chance.choices(_WORDS, k=words)),
                None if failed else " ".join(chance.choices(_WORDS, k=2 * words)),
                model_name=None if failed else name,
                model_requested=name,
                provider_latency_ms=median * slow,
                total_duration_ms=median * slow + 4,
                input_tokens=None if failed else new + history,
                output_tokens=None if failed else reply,
                thinking_tokens=0 if failed else reply // 4 if "mini" not in name else 0,
                cache_read_tokens=0 if failed else int(history * 0.9),
                cost_usd=cost,
                status=529 if failed else 200,
                success=0 if failed else 1,
                error_message="Overloaded" if failed else None,
                finish_reason=None if failed else "stop",
                is_streaming=int(chance.random() < 0.5),
            )
            history += new + reply
            if chance.random() < 0.35 and not failed:
                tool = chance.choices(_TOOLS, weights=(30, 12, 22, 16, 5, 8, 14))[0]
                talk.call(
                    tool,
                    f"call_{count}_{len(talk.tools)}",
                    execution_time_ms=chance.lognormvariate(5.5, 1.2),
                    success=int(chance.random() > (0.18 if tool == "run_tests" else 0.03)),
                    output_size_bytes=int(chance.lognormvariate(7, 1.5)),
                )
        yield talk

"""The agent tree of a recorded session and of all that worked for it.

However large a family is, it is read with one query per table, over indexes, and put together
here.  Costs are those of the exchanges themselves, so that nothing is counted twice.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway_sessions.analysis.agent_tree import (
    FirstLoop,
    LoopRecord,
    Session,
    SideCall,
    Turn,
    Usage,
)
from gateway_sessions.conversation import ASSISTANT, USER, Message, Text
from gateway_sessions.errors import WrongQuery
from gateway_sessions.storage.results import Result

PROMPT = 200
"""Characters of a loop's prompt that are read, unless all of it is wanted."""


class Member(Result, frozen=True, kw_only=True):
    """A session of a family."""

    session: Session
    parent_session_id: str | None
    model: str | None
    is_live: bool
    """Whether it may go on."""
    requests: int
    in_flight: int
    """Requests that have no answer yet; they are in no turn before it comes."""
    usage: Usage
    """Of all its exchanges, side calls included."""
    usage_with_sub_agents: Usage


class Family(Result, frozen=True, kw_only=True):
    """A session and all that worked for it, the session itself first."""

    members: tuple[Member, ...]

    @property
    def head(self) -> Member:
        """The session that was asked for."""
        return self.members[0]

    def children_of(self, session_id: str) -> tuple[Member, ...]:
        """Return the sessions that worked for one directly, in the order of their start."""
        return tuple(member for member in self.members if member.parent_session_id == session_id)


def family(connection: sqlite3.Connection, session_id: str) -> Family:
    """Return a session and its descendants, with the beginnings of their prompts.

    Raises `WrongQuery` if there is no such session.
    """
    found = connection.execute(
        "SELECT root_session_id FROM sessions WHERE session_id = ?", (session_id,)
    ).fetchone()
    if found is None:
        raise WrongQuery("No such session is recorded.")
    rows = _Rows(connection, "s.root_session_id = ?", found[0], PROMPT)
    return Family(members=tuple(_below(rows.members(), session_id)))


def tree(connection: sqlite3.Connection, session_id: str) -> Session:
    """Return one session with everything that was said in it; raises `WrongQuery`."""
    members = _Rows(connection, "s.session_id = ?", session_id, None).members()
    if not members:
        raise WrongQuery("No such session is recorded.")
    return members[session_id].session


class _Rows:
    """What the tables hold of the sessions that a condition on ``sessions s`` chooses."""

    def __init__(
        self, connection: sqlite3.Connection, condition: str, value: str, prompt: int | None
    ) -> None:
        self._connection = connection
        self._condition = condition
        self._value = value
        self._prompt = prompt

    def members(self) -> dict[str, Member]:
        """Return the sessions by id, in the order of their start."""
        loops, side_calls = self._loops(), self._side_calls()
        in_flight = dict(self._find("e.session_id, COUNT(*)", _EXCHANGES, _UNDER_WAY))
        found = {}
        for row in self._find(_SESSION, "sessions s", " ORDER BY s.started_at, s.session_id"):
            session_id, parent, started, last, completed, model, requests = row[:7]
            own = loops.get(session_id, ())
            found[session_id] = Member(
                session=_session(session_id, parent, (started, last), own, side_calls[session_id]),
                parent_session_id=parent,
                model=model,
                is_live=completed is None,
                requests=requests,
                in_flight=in_flight.get(session_id, 0),
                usage=_usage(row[7:]),
                usage_with_sub_agents=Usage(),
            )
        return found

    def _loops(self) -> dict[str, list[LoopRecord]]:
        turns = self._turns()
        found: dict[str, list[LoopRecord]] = defaultdict(list)
        columns = "l.session_id, l.record, l.compaction_block"
        for session_id, record, block in self._find(columns, _LOOPS, " ORDER BY l.started_at"):
            loop = _read_loop(record)
            found[session_id].append(
                msgspec.structs.replace(
                    loop, compaction_block=block, turns=tuple(turns.get(loop.loop_id, ()))
                )
            )
        return found

    def _turns(self) -> dict[str, list[Turn]]:
        asked, answered = self._texts()
        found: dict[str, list[Turn]] = defaultdict(list)
        columns = "t.loop_id, t.session_id, t.request_id, t.record"
        ending = " ORDER BY t.loop_id, t.turn_index"
        for loop_id, session_id, request_id, record in self._find(columns, _TURNS, ending):
            exchange = (session_id, request_id)
            found[loop_id].append(
                msgspec.structs.replace(
                    _read_turn(record),
                    input_messages=_said(USER, asked.get(exchange)),
                    output_message=next(iter(_said(ASSISTANT, answered.get(exchange))), None),
                )
            )
        return found

    def _texts(self) -> tuple[Mapping[Any, str], Mapping[Any, str]]:
        """Return what was asked and answered, by session and request."""
        asked, answered = {}, {}
        if self._prompt is None:
            columns = "x.session_id, x.request_id, x.request_text, x.response_text"
            rows = self._find(columns, _TEXTS)
        else:
            start = f"substr(x.request_text, 1, {self._prompt:d})"
            rows = self._find(
                f"x.session_id, x.request_id, {start}, NULL", _PROMPTS, " AND t.turn_index = 0"
            )
        for session_id, request_id, request, response in rows:
            asked[session_id, request_id] = request
            answered[session_id, request_id] = response
        return asked, answered

    def _side_calls(self) -> dict[str, list[SideCall]]:
        columns = f"e.session_id, e.request_id, e.created_at, {_usage_of('e')}"
        ending = " AND e.relation = 'side_call' ORDER BY e.created_at"
        found: dict[str, list[SideCall]] = defaultdict(list)
        for session_id, request_id, at, *counts in self._find(columns, _EXCHANGES, ending):
            call = SideCall(request_id=request_id, at=_seconds(at), usage=_usage(counts))
            found[session_id].append(call)
        return found

    def _find(self, columns: str, tables: str, ending: str = "") -> Iterable[tuple[Any, ...]]:
        sql = f"SELECT {columns} FROM {tables} WHERE {self._condition}{ending}"
        return self._connection.execute(sql, (self._value,))


_LOOPS = "sessions s JOIN loops l ON l.session_id = s.session_id"
_TURNS = "sessions s JOIN turns t ON t.session_id = s.session_id"
_PROMPTS = (
    f"{_TURNS} JOIN session_texts x ON x.session_id = t.session_id AND x.request_id = t.request_id"
)
_TEXTS = "sessions s JOIN session_texts x ON x.session_id = s.session_id"
_EXCHANGES = "sessions s JOIN session_stats e ON e.session_id = s.session_id"
_UNDER_WAY = " AND e.success IS NULL GROUP BY e.session_id"


def _usage_of(table: str) -> str:
    names = (
        "input_tokens",
        "output_tokens",
        "thinking_tokens",
        "reasoning_tokens",
        "cache_read_tokens",
        "cache_creation_tokens",
        "cost_usd",
    )
    return ", ".join(f"{table}.{name}" for name in names)


_SESSION = (
    "s.session_id, s.parent_session_id, s.started_at, s.last_active_at, s.completed_at,"
    f" COALESCE(s.model_used, s.model_requested), s.request_count, {_usage_of('s')}"
)

_read_loop = msgspec.json.Decoder(LoopRecord).decode
_read_turn = msgspec.json.Decoder(Turn).decode


def _usage(counts: Iterable[Any]) -> Usage:
    read, said, thought, reasoned, cached, written, cost = counts
    return Usage(
        input=read or 0,
        output=said or 0,
        reasoning=(thought or 0) + (reasoned or 0),
        cache_read=cached or 0,
        cache_write=written or 0,
        cost_usd=cost,
    )


def _session(
    session_id: str,
    parent: str | None,
    times: tuple[str, str],
    loops: Iterable[LoopRecord],
    side_calls: Iterable[SideCall],
) -> Session:
    held = tuple(loops)
    first = held[0] if held else None
    return Session(
        session_id=session_id,
        agent_id=first.agent_id if first else "",
        created_at=_seconds(times[0]),
        last_active_at=_seconds(times[1]),
        formation=(first.formation if first else None) or FirstLoop(),
        parent_spawn_ref=first.spawn_ref if first else None,
        scope="ephemeral" if parent else "persistent",
        loops=held,
        side_calls=tuple(side_calls),
    )


def _said(role: str, text: str | None) -> tuple[Message, ...]:
    return (Message(role, (Text(text),)),) if text else ()


def _seconds(time: str) -> float:
    """Return a time of the tables as unix seconds."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()


def _below(members: Mapping[str, Member], session_id: str) -> list[Member]:
    """Return a session and its descendants, each with the usage of all that worked for it."""
    children: dict[str | None, list[str]] = defaultdict(list)
    for name, member in members.items():
        children[member.parent_session_id].append(name)
    order, parents = [session_id], {session_id: ""}
    for name in order:  # grows meanwhile
        found = [child for child in children[name] if child not in parents]
        order += found
        parents |= dict.fromkeys(found, name)
    totals = {name: members[name].usage for name in order}
    for name in reversed(order[1:]):  # whoever comes later works for one that came before
        totals[parents[name]] += totals[name]
    return [
        msgspec.structs.replace(members[name], usage_with_sub_agents=totals[name]) for name in order
    ]

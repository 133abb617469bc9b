"""One session as its page tells it: turns with what changed, and the tree that it belongs to."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway_sessions import (
    Family,
    Member,
    RecordedExchange,
    Search,
    SessionFilter,
    SessionRow,
    ToolCall,
    WrongQuery,
    family,
)
from interceptors.dashboard import messages
from interceptors.dashboard.messages import MESSAGES, Message
from interceptors.dashboard.texts import Piece, changes, clipped

TURNS = 20
"""Turns of a page."""
PLOTTED = 200
"""Newest turns of a session that are plotted."""
TEXT_BYTES = 2_000
"""Of each text on a session's page, written as HTML; twenty turns fit into a page."""
CALLS = 12
"""Tool calls of a turn that are named."""
ARGUMENTS = 160
TREE_ROWS = 150
"""Rows of a tree that are shown."""
DEEPEST = 10
"""Steps by which rows of a tree are moved in at most."""

_REPLACES = frozenset({"retry", "regenerate", "fork", "compaction"})
"""Relations of requests that stand in for another one or go on from elsewhere."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange of a session."""

    number: int
    """From 1."""
    exchange: RecordedExchange
    calls: tuple[ToolCall, ...]
    more_calls: int
    known_messages: int | None
    """Messages of the request that were in the session before."""
    changed: tuple[Piece, ...]
    """What is new in its text, of one that replaces an earlier one; else empty."""
    request_text: str | None
    response_text: str | None
    is_cut: bool
    """Whether there is more of the texts."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as the plots need it."""

    id: int
    """Numbers grow in the order in which exchanges were recorded."""
    request_id: str
    created_at: str
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    cost_usd: float | None
    known_messages: int | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the tree: a session, or one of its prompts."""

    depth: int
    member: Member | None = None
    loop: Any = None
    prompt: str = ""
    started_at: str = ""
    duration_ms: float | None = None
    through: str = ""
    """The tool whose call started a session."""
    unsure: str = ""
    """What is not certain about that."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A session with a page of its turns."""

    session: SessionRow
    points: tuple[Point, ...]
    """Newest turns, oldest first."""
    turns: tuple[Turn, ...]
    messages: tuple[Message, ...]
    """What its client reported itself."""
    total: int
    """Turns on all pages."""
    page: int
    pages: int
    tree: tuple[Row, ...]
    """Empty where the session stands alone and has no prompts."""
    tree_is_cut: bool


POINTS = (
    "SELECT id, request_id, created_at, COALESCE(input_tokens, 0), COALESCE(cache_read_tokens, 0),"
    " COALESCE(output_tokens, 0), COALESCE(thinking_tokens, 0), cost_usd, history_messages"
    " FROM session_stats WHERE session_id = ? ORDER BY id"
)


def story(connection: sqlite3.Connection, session_id: str, page: int | None) -> Story:
    """Return a session and a page of its turns, the last page if none is named.

    Raises `WrongQuery` if it is not there.
    """
    search = Search(connection)
    wanted = SessionFilter(session_ids=(session_id,))
    sessions = search.page(wanted).sessions
    if not sessions:
        raise WrongQuery("No such session is recorded.")
    names = Point.__struct_fields__
    points = [
        Point(**dict(zip(names, row, strict=True)))
        for row in connection.execute(POINTS, (session_id,))
    ]
    reported = messages.count(connection, session_id)
    pages = max(1, -(-len(points) // TURNS), -(-reported // MESSAGES))
    shown = pages if page is None else min(max(page, 1), pages)
    start = (shown - 1) * TURNS
    rows = list(_rows(family(connection, session_id)))
    return Story(
        session=sessions[0],
        points=tuple(points[-PLOTTED:]),
        turns=tuple(_turns(search, wanted, points, start)),
        messages=messages.page(connection, session_id, shown),
        total=len(points),
        page=shown,
        pages=pages,
        tree=tuple(rows[:TREE_ROWS]) if len(rows) > 1 else (),
        tree_is_cut=len(rows) > TREE_ROWS,
    )


def _turns(
    search: Search, wanted: SessionFilter, points: Sequence[Point], start: int
) -> Iterator[Turn]:
    shown = points[start : start + TURNS]
    if not shown:
        return
    where = search.where(wanted)
    # One more before them, which the first one may replace.
    exchanges = search.newest(where, len(shown) + (start > 0), upto=shown[-1].id, but=())
    previous = exchanges.pop(0) if start else None
    calls: dict[str, list[ToolCall]] = defaultdict(list)
    ids = {exchange.request_id for exchange in exchanges}
    for call in search.tool_calls(where):
        if call.request_id in ids:
            calls[call.request_id].append(call)
    for number, exchange in enumerate(exchanges, start=start + 1):
        found = calls[exchange.request_id]
        asked = clipped(exchange.request_text, TEXT_BYTES)
        answered = clipped(exchange.response_text, TEXT_BYTES)
        yield Turn(
            number=number,
            exchange=exchange,
            calls=tuple(map(_short, found[:CALLS])),
            more_calls=max(0, len(found) - CALLS),
            known_messages=points[number - 1].known_messages,
            changed=_changed(exchange, previous),
            request_text=asked,
            response_text=answered,
            is_cut=(asked, answered) != (exchange.request_text, exchange.response_text),
        )
        previous = exchange


def _short(call: ToolCall) -> ToolCall:
    arguments = call.tool_arguments
    if arguments is None or len(arguments) <= ARGUMENTS:
        return call
    return msgspec.structs.replace(call, tool_arguments=f"{arguments[:ARGUMENTS]}…")


def _changed(exchange: RecordedExchange, previous: RecordedExchange | None) -> tuple[Piece, ...]:
    if previous is None or exchange.relation not in _REPLACES:
        return ()
    before = clipped(previous.request_text, TEXT_BYTES) or ""
    after = clipped(exchange.request_text, TEXT_BYTES) or ""
    return changes(before, after) if before and after else ()


def _rows(found: Family) -> Iterator[Row]:
    """Yield a family line by line: each session, its prompts, the sessions it started."""
    waiting: list[tuple[Member, int]] = [(found.head, 0)]
    seen = {found.head.session.session_id}
    while waiting:
        member, depth = waiting.pop()
        yield _session_row(member, depth)
        for loop in member.session.loops:
            messages = loop.turns[0].input_messages if loop.turns else ()
            words = (getattr(part, "text", "") for said in messages for part in said.parts)
            yield Row(
                depth=min(depth + 1, DEEPEST),
                loop=loop,
                prompt=" ".join("".join(words).split()),
                started_at=_text_of(loop.started_at),
                duration_ms=_span(loop.started_at, loop.ended_at),
            )
        children = found.children_of(member.session.session_id)
        fresh = [child for child in children if child.session.session_id not in seen]
        seen.update(child.session.session_id for child in fresh)
        waiting += [(child, min(depth + 2, DEEPEST)) for child in reversed(fresh)]


def _session_row(member: Member, depth: int) -> Row:
    found = member.session
    spawn = found.parent_spawn_ref
    unsure = ""
    if spawn is not None and not spawn.confirmed and spawn.tool_call_id:
        among = f", one of {len(spawn.candidates)} calls" if spawn.candidates else ""
        unsure = f"by its task, {spawn.confidence:.2f}{among}"
    return Row(
        depth=depth,
        member=member,
        started_at=_text_of(found.created_at),
        duration_ms=_span(found.created_at, found.last_active_at),
        through=spawn.tool_name if spawn is not None else "",
        unsure=unsure,
    )


def _span(start: float, end: float | None) -> float | None:
    return None if end is None else 1000 * (end - start)


def _text_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")

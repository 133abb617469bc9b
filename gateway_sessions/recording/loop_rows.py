"""Loops and turns of the agent tree as rows: columns to ask for, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from gateway_sessions.analysis.agent_tree import Branch, LoopRecord, Rerun, Turn, Usage
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.events import LoopRecorded

Row = tuple[Any, ...]
T_ = TypeVar("T_")

_json = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(LoopRecord).decode


class _TurnId(msgspec.Struct, frozen=True):
    turn_index: int


class _Turn(msgspec.Struct, frozen=True):
    turn_id: _TurnId


class _Told(msgspec.Struct, frozen=True):
    """What an event tells of, without what it says: read at a fraction of the cost."""

    loop_id: str
    turns: tuple[_Turn, ...] = ()
    compaction_block: str | None = None

    def is_in(self, other: _Told) -> bool:
        """Tell whether a newer event says all of it anew."""
        return {turn.turn_id for turn in self.turns} <= {turn.turn_id for turn in other.turns} and (
            self.compaction_block is None or other.compaction_block is not None
        )


_read_told = msgspec.json.Decoder(_Told).decode


class Loops:
    """The newest of what a batch says of each loop and each turn."""

    def __init__(self) -> None:
        self._events: dict[str, list[tuple[LoopRecorded, _Told, str]]] = {}

    def take(self, event: LoopRecorded, at: str) -> None:
        """Take in an event, whose time is ``at`` as the tables have it.

        Raises `ValueError` where it holds no loop.
        """
        told = _decoded(_read_told, event)
        events = self._events.setdefault(told.loop_id, [])
        if events:
            # A loop is mostly told of twice, when it begins and when it ends.
            _, before, then = events[-1]
            if at >= then and before.is_in(told):
                events.pop()
        events.append((event, told, at))

    def rows(self) -> tuple[list[Row], list[Row]]:
        """Return the rows of loops and of turns, as `statements.LOOPS` and `TURNS` have them.

        Raises `ValueError` as `take` does.
        """
        loops: list[Row] = []
        turns: list[Row] = []
        for events in self._events.values():
            told = [(_decoded(_read, event), at) for event, _, at in events]
            told.sort(key=itemgetter(1))  # those of one moment stay in their order
            loop, at = told[-1]
            if len(told) > 1:
                blocks = [older.compaction_block for older, _ in told if older.compaction_block]
                block = blocks[-1] if blocks else None  # told once
                loop = msgspec.structs.replace(loop, compaction_block=block)
            loops.append(_loop_row(loop, at))
            newest = {
                turn.turn_id.turn_index: _turn_row(turn, loop, at)
                for loop, at in told
                for turn in loop.turns
            }
            turns += newest.values()
        return loops, turns


def _decoded(decode: Callable[[msgspec.Raw], T_], event: LoopRecorded) -> T_:
    try:
        return decode(event.loop)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a loop: {error}") from error


def _loop_row(loop: LoopRecord, at: str) -> Row:
    """Return a loop, but for its turns."""
    kind = loop.continuation_kind
    return (
        loop.loop_id,
        loop.session_id,
        loop.agent_id,
        loop.parent_loop_id,
        kind.__struct_config__.tag,
        kind.tag if isinstance(kind, (Rerun, Branch)) else None,
        _time(loop.started_at),
        _time(loop.ended_at),
        loop.status,
        loop.rejection,
        _text(loop.config),
        _text(loop.metadata),
        _text(loop.spawn_ref),
        _text(loop.children_loop_ids or None),
        _text(loop.child_loop_refs or None),
        _text(loop.parallel_group),
        loop.compaction_block,
        loop.turn_count,
        _text(loop.tool_calls or None),
        *_usage(loop.usage),
        _text(msgspec.structs.replace(loop, turns=(), compaction_block=None)),
        at,
    )


def _turn_row(turn: Turn, loop: LoopRecord, at: str) -> Row:
    return (
        loop.loop_id,
        turn.turn_id.turn_index,
        loop.session_id,
        _request_id(turn),
        turn.triggered_by,
        _time(turn.started_at),
        _time(turn.ended_at),
        _text(turn.attempts or None),
        int(turn.has_tool_calls),
        _text(turn.tool_results or None),
        *_usage(turn.usage),
        _text(turn),
        at,
    )


def _request_id(turn: Turn) -> str | None:
    """Return the exchange that a turn came to: its last attempt."""
    return turn.attempts[-1].request_id if turn.attempts else None


def _usage(usage: Usage) -> Row:
    return (
        usage.input,
        usage.output,
        usage.reasoning,
        usage.cache_read,
        usage.cache_write,
        usage.total_tokens,
        usage.cost_usd,
    )


def _text(value: Any) -> str | None:
    return None if value is None else _json(value).decode()


def _time(at: float | None) -> str | None:
    """Return unix seconds as ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    if at is None:
        return None
    try:
        text = rfc3339(at)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{at} is no time") from error
    return f"{text[:10]} {text[11:26]}"

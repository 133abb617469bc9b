"""Loops and turns of the agent tree as rows: columns to ask for, and all of it as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_sessions.analysis.agent_tree import Branch, LoopRecord, Rerun, Turn, Usage
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.events import LoopRecorded

Row = tuple[Any, ...]

_json = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(LoopRecord).decode


class Loops:
    """The newest of what a batch says of each loop and each turn."""

    def __init__(self) -> None:
        self._loops: dict[str, tuple[LoopRecord, str]] = {}
        self._turns: dict[tuple[str, int], tuple[Turn, str, str]] = {}

    def take(self, event: LoopRecorded, at: str) -> None:
        """Take in an event, whose time is ``at`` as the tables have it.

        Raises `ValueError` where it holds no loop.
        """
        loop = _loop(event)
        key = loop.loop_id
        for turn in loop.turns:
            place = key, turn.turn_id.turn_index
            if place not in self._turns or at >= self._turns[place][2]:
                self._turns[place] = turn, loop.session_id, at
        if key in self._loops:
            other, then = self._loops[key]
            newer, older = (loop, other) if at >= then else (other, loop)
            block = newer.compaction_block or older.compaction_block  # told once
            loop, at = msgspec.structs.replace(newer, compaction_block=block), max(at, then)
        self._loops[key] = loop, at

    def rows(self) -> list[Row]:
        """Return the rows of loops, as `statements.LOOPS` has them."""
        return [_loop_row(loop, at) for loop, at in self._loops.values()]

    def turn_rows(self) -> list[Row]:
        """Return the rows of turns, as `statements.TURNS` has them."""
        return [
            _turn_row(turn, loop_id, session_id, at)
            for (loop_id, _), (turn, session_id, at) in self._turns.items()
        ]


def _loop(event: LoopRecorded) -> LoopRecord:
    try:
        return _read(event.loop)
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


def _turn_row(turn: Turn, loop_id: str, session_id: str, at: str) -> Row:
    return (
        loop_id,
        turn.turn_id.turn_index,
        session_id,
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

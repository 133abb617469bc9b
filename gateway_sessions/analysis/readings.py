"""What a request says of the loop that it begins: who works, why, with which model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.children import Link
from gateway_sessions.analysis.facts import Asked
from gateway_sessions.analysis.sampling import sampling
from gateway_sessions.conversation import USER, Message, Text, ToolResult
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.exchange import SessionTag
from gateway_sessions.milestones import Arrived

MAIN, SUB_AGENT = "main", "subagent"
"""Names of agents that do not name themselves."""
NAME_LENGTH = 64
"""Characters of an agent's name, and of a model's that is kept for others; real ones have about
20."""

_AGENT_NAMES = ("x-claude-code-agent-type", "x-openai-subagent", "x-claude-code-agent-id")
"""Headers in which agents name themselves, the most telling first."""
_NAME_LENGTHS = frozenset(map(len, _AGENT_NAMES))


_EXPLICIT, _FIRST_LOOP = t.Explicit(), t.FirstLoop()


def agent(arrived: Arrived) -> str:
    """Return the name of the agent that sends a request."""
    given = {
        lower: value
        for name, value in arrived.request.headers
        if len(name) in _NAME_LENGTHS and (lower := name.lower()) in _AGENT_NAMES
    }
    for header in _AGENT_NAMES if given else ():
        if name := rawjson.text(given.get(header, "")).strip():
            return name[:NAME_LENGTH]
    return usual_agent(arrived.session)


def usual_agent(tag: SessionTag) -> str:
    """Return what the agent of a session is called where it says nothing itself."""
    return SUB_AGENT if tag.parent_session_id else MAIN


def formation(tag: SessionTag, idle_seconds: float) -> t.SessionFormation:
    """Return how a session came to be; after ``idle_seconds`` without a request one expires."""
    if tag.source == "explicit":
        return _EXPLICIT
    if tag.relation == "reset":
        # The verdict's sentence has the phrase in quotation marks.
        phrase = tag.reason.partition("“")[2].rpartition("”")[0]
        return t.Reset(phrase=phrase or tag.reason)
    if tag.previous_session_id and tag.relation != "fork":
        return t.InactivityTimeout(
            threshold_secs=idle_seconds, previous_session_id=tag.previous_session_id
        )
    return _FIRST_LOOP


def spawn(link: Link | None, tag: SessionTag) -> t.SpawnRef:
    """Return whom a sub-agent works for, with the call where one fitted."""
    if link is None:
        # Whose child it is is known, by a header or an expired call; not which call's.
        return t.SpawnRef(
            parent_session_id=tag.parent_session_id or "",
            parent_loop_id="",
            tool_call_id="",
            tool_name="",
            confidence=tag.confidence,
        )
    return t.SpawnRef(
        parent_session_id=link.parent_session_id,
        parent_loop_id=link.parent_loop_id,
        tool_call_id=link.call_id,
        tool_name=link.name,
        confidence=link.confidence,
        candidates=link.candidates,
    )


def config(arrived: Arrived, asked: Asked) -> t.LoopConfigSnapshot:
    """Return what the model is asked with."""
    most, temperature = sampling(asked.fields)
    model = rawjson.text(arrived.model)
    made = _shared_config if len(model) <= NAME_LENGTH else _config
    return made(model, arrived.provider, most, temperature, asked.tool_count)


def _config(
    model: str, provider: str, most: int | None, temperature: float | None, tools: int
) -> t.LoopConfigSnapshot:
    return t.LoopConfigSnapshot(
        model=model, provider=provider, max_tokens=most, temperature=temperature, tools=tools
    )


_shared_config = lru_cache(maxsize=1024)(_config)
"""The loops of a session, and of most sessions, are asked alike: they hold one value together."""


def asks_anew(asked: Asked) -> bool:
    """Tell whether a request has text of the user's own in what is new."""
    return bool(asked.text and asked.text.strip())


def without_results(delta: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages without the results in them: those stand with the turn that called."""
    kept = []
    for message in delta:
        parts = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        if parts:
            kept.append(msgspec.structs.replace(message, parts=parts))
    return tuple(kept)


def first_text(asked: Asked) -> str:
    """Return the first thing that a user says in what is new: after a compaction, the summary."""
    for message in asked.delta:
        for part in message.parts:
            if message.role == USER and isinstance(part, Text):
                return rawjson.text(part.text)
    return ""


def answer_before(asked: Asked) -> str:
    """Return the answer that a request goes on from."""
    conversation = asked.conversation
    place = len(conversation.messages) - len(asked.new) - 1 if conversation else -1
    if conversation is None or place < 0:
        return ""
    try:
        read = conversation.read(conversation.messages[place])
    except UnreadableBody:
        return ""
    texts = [part.text for message in read for part in message.parts if isinstance(part, Text)]
    return "".join(texts)

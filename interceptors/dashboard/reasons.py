"""Why a request is where it is, in words: what each relation and each source means."""

from __future__ import annotations

RELATIONS = {
    "first": "the first request of its session",
    "continue": "goes on from the session’s newest turn",
    "retry": "sends the same again after a failure or without waiting for the answer",
    "regenerate": "asks for another answer to the same history",
    "fork": "goes on from an earlier turn, or with an edited message",
    "compaction": "goes on with a summary in place of the history",
    "subagent": "opens the session of a sub-agent",
    "side_call": "a request about the session that is none of its turns, as for a title",
    "reset": "begins anew after a phrase that resets",
}
"""What a request is to its session."""

SOURCES = {
    "explicit": "the client named the session itself",
    "response_id": "it names a response of the session as the one before it",
    "prefix": "its history begins with the session’s own, message for message",
    "anchor": "replies that this gateway gave stand in its history, though that has changed",
    "fuzzy": "its history says much the same as the session’s, and nothing that contradicts it",
    "echo": "it repeats text that only the other session’s replies or tool calls held",
    "new": "no session that is known fits",
    "unknown": "it was recorded without a reason",
}
"""What decided."""


def because(relation: str | None, source: str | None) -> str:
    """Return one sentence on why a request was put into its session."""
    what = RELATIONS.get(relation or "", "placed in this session")
    how = SOURCES.get(source or "unknown", "")
    sentence = f"{what}: {how}" if how else what
    return f"{sentence[:1].upper()}{sentence[1:]}."

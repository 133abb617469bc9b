"""The detector's answer for one exchange."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_sessions.detection.session import Session

FIRST, CONTINUE, RETRY, REGENERATE, FORK = "first", "continue", "retry", "regenerate", "fork"
COMPACTION, SUBAGENT, SIDE_CALL, RESET = "compaction", "subagent", "side_call", "reset"
RELATIONS = (FIRST, CONTINUE, RETRY, REGENERATE, FORK, COMPACTION, SUBAGENT, SIDE_CALL, RESET)

EXPLICIT, RESPONSE_ID, PREFIX, ANCHOR = "explicit", "response_id", "prefix", "anchor"
FUZZY, ECHO, NEW = "fuzzy", "echo", "new"
SOURCES = (EXPLICIT, RESPONSE_ID, PREFIX, ANCHOR, FUZZY, ECHO, NEW)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Which session a request belongs to, and why."""

    session: Session
    relation: str
    source: str
    confidence: float
    """0 to 1: how often a verdict of this kind is right, roughly."""
    reason: str
    """One sentence for people."""
    new: str = ""
    """Why the session is new (``first_request``, ``expired``, …); empty if it is not."""
    ambiguous: bool = False
    """Several sessions fitted equally well."""
    previous_session_id: str | None = None
    ended_session_id: str | None = None
    """The session that is over because this one begins instead (reset)."""
    steps: tuple[dict[str, Any], ...] = ()
    """Every rule that was asked and its answer, in order, where explanations are on."""

"""What clients say of a request beside naming its session: whose it is, and what it is for.

Like the names of sessions these are data: one row for each header that says something.  Not among
them is Claude Code's ``x-claude-code-agent-type``: twins have the same, so it tells nobody apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway_sessions.detection.verdict import COMPACTION, SIDE_CALL, SUBAGENT

ANY = "*"
"""Stands for every value but those that mean no."""
_NO = frozenset({"", "0", "false", "no", "none"})


class Hint(msgspec.Struct, frozen=True):
    """One row: a header, and what its values say of the request."""

    kind: str
    """Kind of session id that it comes with; beside others it means nothing."""
    header: str
    """In lower case."""
    means: Mapping[str, str]
    """Relation by value, in lower case; `ANY` for all others."""
    member: str = ""
    """Member of the JSON object that the header holds; empty where it is plain text."""


_DELEGATED = {"subagent": SUBAGENT, "workflow": SUBAGENT}

HINTS: tuple[Hint, ...] = (
    Hint("claude_code", "x-claude-code-request-class",
         {"compaction": COMPACTION, "auxiliary": SIDE_CALL, **_DELEGATED}),
    # On the request that asks for the summary: auto, manual or reactive.
    Hint("claude_code", "x-claude-code-compaction", {ANY: COMPACTION}),
    # Which sub-agent: review, collab_spawn, …; or that there is none, and a summary is due.
    Hint("codex", "x-openai-subagent", {"compact": COMPACTION, ANY: SUBAGENT}),
    Hint("codex", "x-codex-turn-metadata", {"compaction": COMPACTION}, member="request_kind"),
    Hint("codex", "x-codex-turn-metadata", {"subagent": SUBAGENT}, member="thread_source"),
)  # fmt: skip

CONTEXT_COMPACTED = "x-claude-code-context-compacted"
"""On the first request that goes on from a summary; some clients leave it on all later ones."""
TURN_METADATA = "x-codex-turn-metadata"
_PARENT, _FORKED_FROM = "parent_thread_id", "forked_from_thread_id"
_SHARED = "session-id"
"""Where Codex puts the id that all threads of a session share: that of the first."""


class Lineage(msgspec.Struct, frozen=True):
    """Where a session that its client names comes from."""

    parent: str = ""
    """The id of the session that started it."""
    previous: str = ""
    """The id of the session whose history it took up."""
    compacted: bool = False
    """Whether it goes on from a summary of its own history."""


def said(kind: str, headers: Mapping[str, str]) -> frozenset[str]:
    """Return the relations that a client names in the headers of a request."""
    found = set()
    for hint in HINTS:
        if hint.kind == kind and hint.header in headers:
            raw = headers[hint.header]
            value = (json_member(hint.member)(raw) if hint.member else raw).strip().lower()
            relation = hint.means.get(value) or (hint.means.get(ANY) if is_yes(value) else None)
            if relation:
                found.add(relation)
    return frozenset(found)


def is_yes(value: str) -> bool:
    """Whether the value of a switch means that it is on."""
    return value.strip().lower() not in _NO


def purpose(relations: frozenset[str]) -> str:
    """Return which of some relations says what a request is for; "" if none does."""
    return next((each for each in (COMPACTION, SIDE_CALL) if each in relations), "")


def of_codex(headers: Mapping[str, str]) -> Lineage:
    """Return the lineage of a thread of Codex.

    A thread that was forked off is the user's own and has no parent: what it costs is no part
    of the thread that it comes from.
    """
    metadata = headers.get(TURN_METADATA, "")
    parent = headers.get("x-codex-parent-thread-id", "") or json_member(_PARENT)(metadata)
    if not parent and SUBAGENT in said("codex", headers):
        parent = headers.get(_SHARED, "")
    return Lineage(parent, "" if parent else json_member(_FORKED_FROM)(metadata))


def agent_of(session: str, agent: str) -> str:
    """Return an id for one agent within a session."""
    return f"{session}/{len(agent)}/{agent}"


def json_member(*names: str) -> Callable[[str], str]:
    """Return a function that takes the first of some members out of a JSON object, or ""."""

    def read(value: str) -> str:
        members = _object(value)
        found = (members.get(name) for name in names)
        return next((text for text in found if isinstance(text, str) and text), "")

    return read


def _object(value: str) -> dict[str, Any]:
    try:
        members = json.loads(value) if value else None
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}

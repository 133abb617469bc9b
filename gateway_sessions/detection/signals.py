"""Session ids that clients and gateways send themselves, as one table.

The table is data: which header or body field, sent by whom, and what it names.  Names that
several programs use for different things count only with the matching user agent.  The order
of the rows is the order of precedence: a client's own id before that of a gateway behind it.

Known as of autumn 2026; these change monthly, so a configuration can add headers of its own.

What looks like a session and is none: ``user`` and ``safety_identifier`` (a person),
``x-client-request-id`` and ``traceparent`` (a request, a turn), ``prompt_cache_key`` from anybody
but Codex (many conversations share one), ``container`` (a sandbox that several may use), and
Braintrust's ``x-bt-parent``: mostly the name of a project, which all of its conversations send,
and else the span of one turn.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway_sessions.detection.lineage import (
    CONTEXT_COMPACTED,
    Lineage,
    agent_of,
    is_yes,
    json_member,
    of_codex,
    purpose,
    said,
)
from gateway_sessions.detection.verdict import SUBAGENT

MAX_LENGTH = 256
"""Characters of an id; the longest that any known system accepts."""

_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_USER_ID_SESSION = re.compile(r"_session_([0-9A-Za-z-]{8,64})\Z")


class Signal(msgspec.Struct, frozen=True):
    """One row: where an id stands and whose it is."""

    kind: str
    """Namespace of the value; rows of one kind name the same sessions."""
    header: str = ""
    """Header that carries it, in lower case; or else"""
    field: str = ""
    """body field, nested ones with dots."""
    agents: tuple[str, ...] = ()
    """First words of user agents that mean a session by this name; empty: anyone."""
    read: Callable[[str], str] = str
    """Takes the id out of the value; returns "" where it holds none."""
    own: str = ""
    """Header that names one agent within the session: that agent is a session of its own."""
    shared: bool = False
    """Whether sub-agents send their parent's id here: then it is nothing to know them by."""
    parent: str = ""
    """Header that names the parent."""


class Explicit(msgspec.Struct, frozen=True):
    """The id that a client gave its session."""

    kind: str
    value: str
    source: str
    """Header or field it came from."""
    parent: str = ""
    """The parent's id, of the same kind."""
    compacted: bool = False
    """Whether the client says that it goes on from a summary of its history."""
    relation: str = ""
    """What the client says that the request is: ``compaction``, ``side_call``, or nothing."""
    previous: str = ""
    """The id, of the same kind, of the session whose history it was given."""


def _baggage(value: str) -> str:
    members: dict[str, str] = {}
    for item in value.split(","):
        name, _, text = item.partition(";")[0].partition("=")
        members[name.strip()] = text.strip()
    return members.get("session.id") or members.get("gen_ai.conversation.id") or ""


def _claude_user(value: str) -> str:
    match = _USER_ID_SESSION.search(value)
    return match.group(1) if match else json_member("session_id")(value)


def _no_address(value: str) -> str:
    """Leave out AIBrix's ``x-session-id``, which is base64 of address and port."""
    try:
        text = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value
    return "" if re.fullmatch(rb"[0-9a-fA-F.:\[\]]+:\d{1,5}", text) else value


_METADATA = json_member("session_id", "thread_id", "conversation_id")

_CODEX, _CODEX_PARENT = ("codex",), "x-codex-parent-thread-id"
_COPILOT = ("githubcopilot", "githubcopilotchat", "copilot")
_OPENCODE = ("opencode", "pi", "crush")

SIGNALS: tuple[Signal, ...] = (
    Signal("gateway", "x-gateway-session-id", parent="x-gateway-parent-session-id"),
    # Clients.
    Signal("claude_code", "x-claude-code-session-id", own="x-claude-code-agent-id",
           shared=True, parent="x-claude-code-parent-agent-id"),
    Signal("codex", "thread-id", agents=_CODEX, parent=_CODEX_PARENT),
    Signal("codex", "session-id", agents=_CODEX, shared=True, parent=_CODEX_PARENT),
    Signal("codex", "session_id", agents=_CODEX, parent=_CODEX_PARENT),
    Signal("codex", "conversation_id", agents=_CODEX, parent=_CODEX_PARENT),
    Signal("copilot", "x-client-session-id", agents=_COPILOT),
    Signal("copilot", "x-interaction-id", agents=_COPILOT),
    Signal("kilo", "x-kilocode-taskid"),
    Signal("amp", "x-amp-thread-id"),
    Signal("goose", "agent-session-id", agents=("goose",)),
    Signal("cagent", "x-cagent-session-id"),
    Signal("mux", "x-mux-workspace-id"),
    Signal("cline", "x-task-id", agents=("cline",)),
    Signal("openwebui", "x-openwebui-chat-id"),
    Signal("litellm", "x-litellm-session-id"),
    Signal("client", "x-session-id", read=_no_address, parent="x-parent-session-id"),
    Signal("client", "x-session-affinity", agents=_OPENCODE,
           parent="x-parent-session-id"),
    Signal("client", "session-id", agents=_OPENCODE,
           parent="x-parent-session-id"),
    # Body fields of clients.
    Signal("claude_code", field="metadata.user_id", read=_claude_user, shared=True,
           own="x-claude-code-agent-id", parent="x-claude-code-parent-agent-id"),
    Signal("gemini_cli", field="request.session_id"),
    Signal("conversation", field="conversation"),
    Signal("conversation", field="conversation.id"),
    Signal("codex", field="prompt_cache_key", agents=_CODEX, shared=True, parent=_CODEX_PARENT),
    # Gateways and observability systems.
    Signal("litellm", "x-litellm-trace-id"),
    Signal("litellm", field="litellm_session_id"),
    Signal("metadata", field="metadata.session_id"),
    Signal("helicone", "helicone-session-id"),
    Signal("portkey", "x-portkey-trace-id"),
    Signal("bifrost", "x-bf-session-id"),
    Signal("tensorzero", field="tensorzero::episode_id"),
    Signal("openrouter", field="session_id"),
    Signal("dynamo", "x-dynamo-session-id", parent="x-dynamo-parent-session-id"),
    Signal("langfuse", "langfuse_session_id"),
    Signal("langfuse", field="langfuse_session_id"),
    Signal("langfuse", field="metadata.langfuse_session_id"),
    Signal("envoy", "agent-session-id"),
    Signal("langdb", "x-thread-id"),
    Signal("langdb", "x-run-id"),
    Signal("cloudflare", "cf-aig-metadata", read=_METADATA),
    Signal("portkey_metadata", "x-portkey-metadata", read=_METADATA),
    Signal("metadata", field="metadata.thread_id"),
    Signal("metadata", field="metadata.conversation_id"),
    Signal("baggage", "baggage", read=_baggage),
)  # fmt: skip


class SignalReader:
    """Finds the explicit id of a request."""

    def __init__(self, headers: tuple[str, ...] = ()) -> None:
        """Read the built-in table, after ``headers`` of the user's own."""
        extra = tuple(Signal("header:" + name.lower(), name.lower()) for name in headers)
        table = (SIGNALS[0], *extra, *SIGNALS[1:])
        self._by_header: dict[str, list[tuple[int, Signal]]] = {}
        for place, signal in enumerate(table):
            if signal.header:
                self._by_header.setdefault(signal.header, []).append((place, signal))
        self._headers = frozenset(self._by_header)
        self._by_field = [(place, signal) for place, signal in enumerate(table) if signal.field]

    def read(
        self,
        headers: Mapping[str, str],
        fields: Mapping[str, Any],
        rejected: Callable[[str], None] = lambda name: None,
    ) -> Explicit | None:
        """Return the first usable id; headers have lower-case names.

        ``rejected`` is called with the name of a header or field whose value is no usable id.
        """
        if not fields and self._headers.isdisjoint(headers):
            return None  # The usual case, at the cost of a look.
        rows = [row for name in headers.keys() & self._by_header.keys()
                for row in self._by_header[name]]  # fmt: skip
        if fields:
            rows += self._by_field
        rows.sort(key=lambda row: row[0])
        agent = headers.get("user-agent", "").lower()
        for _, signal in rows:
            if signal.agents and not _is_any(agent, signal.agents):
                continue
            raw = headers.get(signal.header) if signal.header else _member(fields, signal.field)
            if isinstance(raw, Mapping) and signal.read is not str:
                raw = json.dumps(raw)
            value = signal.read(raw) if isinstance(raw, str) and raw else ""
            if not value:
                continue
            if not usable(value):
                rejected(signal.header or signal.field)
                continue
            return _explicit(signal, value, headers, rejected)
        return None


def _is_any(user_agent: str, names: tuple[str, ...]) -> bool:
    """Whether a user agent (lower case) begins with one of some names, as a whole word."""
    return any(
        user_agent.startswith(name) and not user_agent[len(name) :][:1].isalpha() for name in names
    )


def _explicit(
    signal: Signal, value: str, headers: Mapping[str, str], rejected: Callable[[str], None]
) -> Explicit | None:
    """Return the id with its lineage.

    None where only the id of another session is known: a sub-agent's request that does not say
    which one it is would else land in its parent's session.
    """
    own = headers.get(signal.own, "") if signal.own else ""
    if own and not usable(own):
        rejected(signal.own)
        return None
    relations = said(signal.kind, headers)
    if signal.shared and not own and SUBAGENT in relations:
        return None
    line = _lineage(signal, own, headers)
    parent = line.parent
    if parent and not usable(parent):
        rejected(signal.parent)
        parent = ""
    if own:
        parent = agent_of(value, parent) if parent and parent != own else value
        value = agent_of(value, own)
    return Explicit(
        signal.kind,
        value,
        signal.header or signal.field,
        parent if parent != value else "",
        line.compacted,
        purpose(relations),
        line.previous if line.previous != value and usable(line.previous) else "",
    )


def _lineage(signal: Signal, own: str, headers: Mapping[str, str]) -> Lineage:
    if signal.kind == "codex":
        return of_codex(headers)
    if signal.own and not own:
        # A parent named beside it is an agent's, and only agents have one.
        return Lineage(compacted=is_yes(headers.get(CONTEXT_COMPACTED, "")))
    return Lineage(parent=headers.get(signal.parent, "") if signal.parent else "")


def usable(value: str) -> bool:
    """Whether a value can be an id: 1 to 256 printable ASCII characters."""
    return 0 < len(value) <= MAX_LENGTH and _PRINTABLE.match(value) is not None


def _member(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value

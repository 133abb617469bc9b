"""A request as events: the start of its session, and the request itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Raw

from gateway_sessions import events as e
from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.facts import Asked
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.exchange import Headers
from gateway_sessions.milestones import Arrived, Finished

BYTES_PER_TOKEN = 4
"""Of a request's JSON; a rough mean over languages and providers."""

TAG_HEADERS = ("x-gateway-session-tags", "x-litellm-tags")
"""Words by which a client wants to find its session again, with commas between; ``metadata.tags``
of a body are such words too."""
TAGS_LIMIT = 32
"""Tags of a session that are kept."""
TAG_LENGTH = 128
"""Characters of a tag that are kept."""

_VERSION_HEADERS = ("anthropic-version", "openai-version", "api-version")
_DURATIONS = "x-claude-code-prev-tool-durations"


def started(milestone: Arrived | Finished, asked: Asked, options: ScribeOptions) -> e.Started:
    """Return the start of a session, from the first exchange that is known of it.

    Where that is only known by its end, nothing can be said of who sent it.
    """
    tag = milestone.session
    if isinstance(milestone, Arrived):
        streaming, metadata = milestone.stream, _metadata(milestone, asked, options)
    else:
        streaming, metadata = milestone.response.streamed, e.Metadata(request_headers={})
    return e.Started(
        session_id=milestone.session_id,
        request_id=milestone.request_id,
        timestamp=rfc3339(milestone.at),
        model_requested=rawjson.text(milestone.model),
        provider=milestone.provider,
        listener=milestone.dialect,
        is_streaming=streaming,
        root_session_id=tag.root_session_id,
        relation=tag.relation,
        source=tag.source,
        confidence=tag.confidence,
        metadata=metadata,
        parent_session_id=tag.parent_session_id,
    )


def request_recorded(
    arrived: Arrived, asked: Asked, known: dict[str, int], options: ScribeOptions
) -> e.RequestRecorded:
    """Return a request.

    Args:
        arrived: what the gateway says of it.
        asked: what it says itself.
        known: see `rawjson.delta`.
        options: how much of it is recorded.
    """
    tag, request = arrived.session, arrived.request
    body = rawjson.Delta(None)
    if options.full and asked.conversation is not None:
        count = len(asked.conversation.messages)
        body = rawjson.delta(request.body, asked.fields, count, asked.new, known)
    return e.RequestRecorded(
        session_id=arrived.session_id,
        request_id=arrived.request_id,
        timestamp=rfc3339(arrived.at),
        model_requested=rawjson.text(arrived.model),
        relation=tag.relation,
        source=tag.source,
        confidence=tag.confidence,
        estimated_tokens=-(-request.size // BYTES_PER_TOKEN),
        pre_processing_ms=arrived.detection_ms,
        request_size_bytes=request.size,
        message_count=arrived.message_count,
        history_messages=max(0, arrived.message_count - arrived.new_messages),
        has_system_prompt=asked.has_system_prompt,
        has_tools=asked.tool_count > 0,
        tool_count=asked.tool_count,
        is_streaming=arrived.stream,
        request_text=rawjson.text(asked.text) if options.full and asked.text else None,
        request_json=body.json,
        unchanged_fields=body.unchanged,
        delta_messages=_messages(asked.new, body) if options.full else None,
        parse_error=arrived.parse_error or asked.unreadable,
    )


def _messages(new: Sequence[Raw], body: rawjson.Delta) -> tuple[Raw, ...]:
    """Return messages for an event; those in a body that needs no mending need none either."""
    if body.is_clean:
        return tuple([message.copy() for message in new])
    return tuple(map(rawjson.strict, new))


def tool_durations(headers: Headers) -> list[tuple[str, float]]:
    """Return how long tools took, by name, as the client measured it; milliseconds.

    Claude Code sends ``Bash=742;Read=9`` with the results of these tools.
    """
    found = []
    for name, value in headers:
        if len(name) == len(_DURATIONS) and name.lower() == _DURATIONS:
            for entry in value.split(";"):
                tool, equals, spent = entry.strip().rpartition("=")
                if equals and spent.isascii() and spent.isdigit() and len(spent) < 10:
                    found.append((tool, float(spent)))
    return found


def _metadata(arrived: Arrived, asked: Asked, options: ScribeOptions) -> e.Metadata:
    headers = header_fields(arrived.request.headers)
    user_agent: str | None = None
    if options.capture_user_agent:
        longest = options.max_user_agent_length
        user_agent = rawjson.text(arrived.client.user_agent)[:longest]
        if "user-agent" in headers:
            headers["user-agent"] = headers["user-agent"][:longest]
    else:
        headers.pop("user-agent", None)
    named = arrived.session.external_id
    return e.Metadata(
        request_headers=headers,
        session_tags=_tags(headers, asked),
        client_ip=arrived.client.ip or None,
        user_agent=user_agent or None,
        api_version=_api_version(headers, arrived.request.path),
        external_id=None if named is None else rawjson.text(named),
        previous_session_id=arrived.session.previous_session_id,
    )


def header_fields(headers: Headers) -> dict[str, str]:
    """Return headers by lower-case name, the values of repeated ones with commas between."""
    fields = {name.lower(): value for name, value in headers}
    if len(fields) == len(headers) and "".join([*fields, *fields.values()]).isascii():
        return fields  # as nearly always: there is one of these for each request and response
    fields.clear()
    for sent_name, value in headers:
        name = sent_name.lower()
        if not (name.isascii() and value.isascii()):
            name, value = rawjson.text(name), rawjson.text(value)  # noqa: PLW2901 - mended
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _tags(headers: dict[str, str], asked: Asked) -> tuple[str, ...]:
    fields = asked.conversation.fields if asked.conversation else {}
    if not fields and headers.keys().isdisjoint(TAG_HEADERS):
        return ()
    words = [word.strip() for name in TAG_HEADERS for word in headers.get(name, "").split(",")]
    metadata: Any = fields.get("metadata")
    named: Any = metadata.get("tags") if isinstance(metadata, dict) else None
    if isinstance(named, list):
        words += [rawjson.text(word.strip()) for word in named if isinstance(word, str)]
    return _distinct(word[:TAG_LENGTH] for word in words if word)


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))[:TAGS_LIMIT]


def _api_version(headers: dict[str, str], path: str) -> str | None:
    for name in _VERSION_HEADERS:
        if name in headers:
            return headers[name]
    query = path.partition("?")[2]
    if "api-version=" in query:
        return dict(parse_qsl(query)).get("api-version")
    return None

"""How ``detect`` writes its verdicts: for programs as JSON, for people in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway_sessions.exchange import SessionTag
from gateway_sessions.logs import escaped
from gateway_sessions.replay import LoggedVerdict

NO_SESSION = "no session: not a request for a conversation, or its body can not be read"

_SILENCE: Mapping[str, str] = {
    "explicit": "the client names no session",
    "response_id": "the request names no earlier reply",
    "reset": "the newest message does not begin with a reset phrase",
    "repeat": "no equal request that failed, is in flight or was answered",
    "subagent": "no tool call waits for a task like this",
    "prefix": "it has no history, or none that is known",
    "anchor": "no reply in the history is known to be ours",
    "branch": "it has no older history, or none that is known",
    "fuzzy": "it has no two replies that one session alone gave",
    "compaction": "it does not open with a summary that we gave",
    "side_call": "it is not about the newest turn of a session",
}
"""Why a rule had no answer, where it does not say more."""
_STEP = ("rule", "answers", "because", "candidates")
"""What a step of an explanation holds; anything else it holds is shown as it is called."""


class _Plain(msgspec.Struct):
    """A verdict as it is written."""

    request_id: str
    session_id: str | None = None
    parent_session_id: str | None = None
    source: str | None = None
    relation: str | None = None
    confidence: float | None = None


class _Explained(_Plain):
    """A verdict with all that is known about it."""

    reason: str = ""
    explain: tuple[dict[str, object], ...] = ()


_encode = msgspec.json.Encoder().encode


def plain(verdict: LoggedVerdict) -> bytes:
    """Return a verdict as a line of JSON."""
    tag = verdict.tag
    if tag is None:
        return _encode(_Plain(verdict.request_id)) + b"\n"
    return _encode(_Plain(verdict.request_id, *_placed(tag))) + b"\n"


def explained(verdict: LoggedVerdict) -> bytes:
    """Return a verdict as a line of JSON, with its reason and what each rule said."""
    tag = verdict.tag
    if tag is None:
        line = _Explained(verdict.request_id, reason=NO_SESSION)
    else:
        line = _Explained(verdict.request_id, *_placed(tag), tag.reason, tag.explain)
    return _encode(line) + b"\n"


def _placed(tag: SessionTag) -> tuple[str, str | None, str, str, float]:
    return tag.session_id, tag.parent_session_id, tag.source, tag.relation, tag.confidence


def told(verdict: LoggedVerdict) -> bytes:
    """Return a verdict in words: what was decided, by which rule, and why not by one before it."""
    tag = verdict.tag
    if tag is None:
        lines = [f"{verdict.request_id}  {NO_SESSION}"]
    else:
        lines = [f"{verdict.request_id}  {_headline(tag)}", *_why(tag)]
    text = "".join(f"{escaped(line.rstrip())}\n" for line in lines)
    return text.encode("utf-8", "backslashreplace")


def _headline(tag: SessionTag) -> str:
    parent = f", child of {tag.parent_session_id}" if tag.parent_session_id else ""
    goes_on = f", goes on from {tag.previous_session_id}" if tag.previous_session_id else ""
    sure = f"(by {tag.source}, confidence {tag.confidence:g})"
    return f"{tag.session_id}  {tag.relation}{parent}{goes_on} {sure}"


def _why(tag: SessionTag) -> Iterator[str]:
    """Yield what decided, then the rules that were asked before it."""
    decisive = [step for step in tag.explain if step.get("answers")]
    rule = f"the rule {decisive[-1]['rule']}" if decisive else tag.source
    yield f"    decided by {rule}: {tag.reason}"
    for step in decisive:
        yield from _against(step)
    others = [step for step in tag.explain if not step.get("answers")]
    if others:
        yield "    asked before it:"
    for step in others:
        name = str(step.get("rule", ""))
        because = step.get("because") or _SILENCE.get(name, "does not apply")
        yield f"      {name:<12} {because}"
        yield from _against(step)


def _against(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a rule chose among, and whatever else it noted."""
    for candidate in step.get("candidates") or ():
        yield f"        candidate {_named(candidate)}"
    for key, value in step.items():
        if key not in _STEP:
            yield f"        {_spaced(key)}: {_value(value)}"


def _named(candidate: Any) -> str:
    """Return a candidate as its session, then what speaks for it."""
    if not isinstance(candidate, Mapping):
        return _value(candidate)
    rest = dict(candidate)
    session = next((rest.pop(key) for key in ("session_id", "session", "id") if key in rest), "")
    marks = ", ".join(f"{_spaced(key)} {_value(value)}" for key, value in rest.items())
    return f"{session}: {marks}" if session and marks else f"{session}{marks}"


def _spaced(key: object) -> str:
    return str(key).replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

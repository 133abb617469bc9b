"""What the agent trees of a sessionbench log should be, told by its truths and by its bodies.

Sessions and parents are the truths' own.  Prompts are read off the requests' bodies, and the
calls that sub-agents work for off the transcripts: the call whose result holds what the
sub-agent said last, or, where that is none or several, whose argument is its task.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions.analysis import facts
from gateway_sessions.analysis.facts import Call
from gateway_sessions.milestones import Arrived, Finished

_RESULTS = ("tool", "function")
_CALLS = ("function_call", "reasoning")


class Truth(msgspec.Struct, frozen=True):
    """A line of a truth file."""

    request_id: str
    session: str
    parent_session: str | None
    relation: str
    ambiguous: bool


def read_truths(path: Path) -> dict[str, Truth]:
    """Return the truths of a log by request."""
    lines = path.read_text(encoding="utf-8").splitlines()
    truths = (msgspec.json.decode(line, type=Truth) for line in lines)
    return {truth.request_id: truth for truth in truths}


def is_prompt(body: bytes) -> bool:
    """Tell whether a request ends with words of a user, and with no tool's result beside them."""
    request = json.loads(body)
    messages = request.get("messages") or request.get("input") or request.get("contents") or []
    if isinstance(messages, str):
        return True
    words = False
    for message in reversed(messages):
        if message.get("role") in ("assistant", "model") or message.get("type") in _CALLS:
            break
        if message.get("role") in _RESULTS or message.get("type") == "function_call_output":
            return False
        if message.get("role") != "user":
            continue
        content = message.get("content", message.get("parts"))
        parts = [{"text": content}] if isinstance(content, str) else content or []
        if any(_is_result(part) for part in parts):
            return False
        words = words or any(str(part.get("text") or "").strip() for part in parts)
    return words


def _is_result(part: Mapping[str, Any]) -> bool:
    kinds = ("functionResponse", "function_response", "toolResult")
    return part.get("type") == "tool_result" or any(kind in part for kind in kinds)


class _Talk:
    """One session of the truths."""

    def __init__(self) -> None:
        self.parent: str | None = None
        self.task: str | None = None
        self.last_words = ""
        self.calls: dict[str, tuple[Call, str]] = {}
        """With the request whose answer made it, by id."""
        self.results: dict[str, str] = {}


class Transcripts:
    """The sessions of a log as their own transcripts have them."""

    def __init__(self, truths: Mapping[str, Truth]) -> None:
        self._truths = truths
        self._talks: dict[str, _Talk] = defaultdict(_Talk)

    def take(self, milestone: Arrived | Finished) -> None:
        """Note what an exchange says."""
        truth = self._truths[milestone.request_id]
        if truth.relation == "side_call":
            return
        talk = self._talks[truth.session]
        talk.parent = truth.parent_session
        if isinstance(milestone, Arrived):
            body, path = milestone.request.body, milestone.request.path
            asked = facts.asked(milestone.dialect, path, body, milestone.new_messages)
            talk.task = talk.task or asked.text
            talk.results |= {each.call_id: each.text for each in asked.results if each.call_id}
        elif 200 <= milestone.response.status < 300:
            answered = facts.answered(milestone.dialect, milestone.response.body)
            talk.last_words = answered.text or talk.last_words
            for call in answered.calls:
                talk.calls[call.id] = call, milestone.request_id

    def spawns(self) -> dict[str, tuple[str, str | None]]:
        """Return the parent of each sub-agent, and the call where the transcripts tell it."""
        return {
            name: (talk.parent, self._call(talk))
            for name, talk in self._talks.items()
            if talk.parent is not None
        }

    def fans(self) -> set[frozenset[str]]:
        """Return the sub-agents that one answer started, where they are two or more."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for name, (parent, call_id) in self.spawns().items():
            if call_id is not None:
                found[parent, self._talks[parent].calls[call_id][1]].add(name)
        return {frozenset(members) for members in found.values() if len(members) > 1}

    def _call(self, talk: _Talk) -> str | None:
        parent = self._talks[talk.parent or ""]
        said = _folded(talk.last_words)
        by_result = [
            call_id
            for call_id, text in parent.results.items()
            if said and said in _folded(text) and call_id in parent.calls
        ]
        task = _folded(talk.task or "")
        by_task = [
            call_id
            for call_id, (call, _) in parent.calls.items()
            if task and task in map(_folded, _strings(json.loads(call.arguments)))
        ]
        both = [call_id for call_id in by_result if call_id in by_task]
        for clear in (by_result, by_task, both):
            if len(clear) == 1:
                return clear[0]
        return None


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _folded(text: str) -> str:
    return " ".join(text.split())


def openings(bodies: Mapping[str, bytes], truths: Mapping[str, Truth]) -> tuple[set[str], set[str]]:
    """Return the requests at which a loop should open: users' prompts, and others by the rules.

    By the rules, a new root, another answer and a branch open one too, whatever they end with.
    """
    prompts, others, seen = set(), set(), set()
    for request_id, truth in truths.items():
        if truth.relation in ("retry", "side_call"):
            continue
        if is_prompt(bodies[request_id]):
            prompts.add(request_id)
        elif truth.session not in seen or truth.relation in ("regenerate", "fork"):
            others.add(request_id)
        seen.add(truth.session)
    return prompts, others

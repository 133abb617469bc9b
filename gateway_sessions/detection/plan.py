"""What a request asks the index: its chain, its keys and what is known of its sender."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest

from gateway_sessions.conversation import USER, Conversation, Part, ToolResult
from gateway_sessions.detection.canonical import digest_parts, text_key
from gateway_sessions.detection.chains import Run, runs_backwards
from gateway_sessions.detection.scope import Scope
from gateway_sessions.detection.signals import Explicit
from gateway_sessions.detection.walk import Walk

_PAIR, _LAST, _CALL, _EXPLICIT, _REPEAT, _RESPONSE, _SEAL = (
    0x1F, 0x2F, 0x3F, 0x4F, 0x5F, 0x6F, 0x7F,
)  # fmt: skip
"""Mixed into the seed, so that keys of different kinds never meet."""

ANCHORED_REPLIES = 8
"""Replies of a history, from the newest, whose anchors are looked up."""
OLDER_STATES = 256
"""States of a history, from the newest, that are looked up when the newest is unknown."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Plan(msgspec.Struct, gc=False):
    """One request, ready to be put somewhere."""

    scope: Scope
    walk: Walk
    conversation: Conversation
    request_state: int
    """The state at which the request ends."""
    agent: int
    """Digest of system prompt and tools."""
    model: int
    """Digest of the model's name."""
    client: int
    """Digest of address and user agent."""
    explicit: Explicit | None = None
    retries: int | None = None
    """How often the client library says it has tried before; None if it does not say."""
    repeat_key: int = 0
    """Key of the ``Idempotency-Key`` header; 0 if there is none."""

    @property
    def messages(self) -> int:
        """Messages in the request."""
        return len(self.conversation.messages)

    def go_on_from(self, state: int) -> None:
        """Put a history that the provider keeps before the messages of the request."""
        self.walk = self.walk.after(state)
        self.request_state = self.walk.request_state

    def let_go(self) -> None:
        """Let go what the request says, once it is in its session and its prompt remembered.

        How its reply is noted needs the chain and the digest of its tools alone, except where the
        request ends with the beginning of that reply.
        """
        walk = self.walk
        if walk.tail is None or not walk.tail.model_side:
            walk.tools()
            read, stream = self.conversation.read, self.conversation.stream
            short = Conversation((), read, _NOTHING, stream=stream, fields=_NOTHING)
            self.conversation = walk.conversation = short

    def messages_to_reply(self) -> int:
        """Messages up to and including the newest reply."""
        return self.messages - self.walk.prompt_items


def pair_key(scope: Scope, prompt: Run, reply: Run) -> int:
    """Return the key of a prompt and the reply to it."""
    return xxh3_64_intdigest(prompt.links + reply.links, scope.seed ^ _PAIR)


def last_key(scope: Scope, reply: Run) -> int:
    """Return the key of a reply alone."""
    return xxh3_64_intdigest(reply.links, scope.seed ^ _LAST)


def call_key(scope: Scope, call_id: str) -> int:
    """Return the key of a tool-call id."""
    return text_key(call_id, scope.seed ^ _CALL)


def explicit_key(scope: Scope, explicit: Explicit, value: str = "") -> int:
    """Return the key of a client's own session id, or of another id of the same kind."""
    return text_key(f"{explicit.kind}\0{value or explicit.value}", scope.seed ^ _EXPLICIT)


def repeat_key(scope: Scope, headers: Mapping[str, str]) -> int:
    """Return the key of an ``Idempotency-Key``, or 0."""
    value = headers.get("idempotency-key")
    return text_key(value, scope.seed ^ _REPEAT) if value else 0


def named_reply(fields: Mapping[str, Any]) -> str:
    """Return the id of the reply that a request goes on from, as it says itself, or ""."""
    named = fields.get("previous_response_id")
    for holder in ("diagnostics", "thread"):
        held = fields.get(holder)
        if not named and type(held) is dict:
            named = held.get("previous_message_id")
    return named if isinstance(named, str) else ""


def response_key(scope: Scope, response_id: str) -> int:
    """Return the key of a reply's id, for requests that go on from it by that id."""
    return text_key(response_id, scope.seed ^ _RESPONSE)


def seal_key(scope: Scope, seal: str) -> int:
    """Return the key of what only one reply has, see `gateway_sessions.conversation.Message`."""
    return text_key(seal, scope.seed ^ _SEAL)


def anchor_key(scope: Scope, prompt: Run | None, reply: Run) -> int:
    """Return the key by which a reply is found again when the history before it has changed.

    A tool-call id where there is one, since nobody can guess it; else the reply together with
    what it answered.
    """
    if reply.call_ids:
        return call_key(scope, reply.call_ids[0])
    return pair_key(scope, prompt, reply) if prompt else last_key(scope, reply)


def replies(walk: Walk) -> Iterator[Run]:
    """Yield the history's replies that matter for anchors, newest first."""
    answers = (run for run in runs_backwards(walk.full()) if run.model_side and run.before)
    return islice(answers, ANCHORED_REPLIES)


def said_after_results(walk: Walk) -> Run | None:
    """Return what is said after results of tools, alone; None where there are not both.

    Where clients send the end of their history, it begins where a user speaks.
    """
    if walk.tail is None or not walk.tail.call_ids:
        return None  # The usual case.
    parts: list[Part] = []
    results = False
    for message in walk.prompt():
        for part in message.parts:
            if type(part) is ToolResult:
                parts, results = [], True
            else:
                parts.append(part)
    digested = digest_parts(USER, tuple(parts))
    if not results or not digested.links:
        return None
    return Run(None, False, digested.links, digested.weight, (), walk.seed)


def newest_call(walk: Walk) -> str:
    """Return the id of the newest tool call in the history, or "".

    The older it is, the more of an equal history may be another's; but it was given once.
    """
    runs = islice(runs_backwards(walk.full()), 2 * OLDER_STATES)
    return next((run.call_ids[0] for run in runs if run.model_side and run.call_ids), "")


def older_states(walk: Walk) -> Iterator[tuple[int, int]]:
    """Yield the state after each reply but the newest, newest first, and the weight up to it."""
    runs = list(runs_backwards(walk.full()))
    weight = sum(run.weight for run in runs)
    seen = 0
    for run in islice(runs, 2 * OLDER_STATES):
        if run.model_side and run.before is not None:
            seen += 1
            if seen > 1:
                yield run.state, weight
        weight -= run.weight

"""The detector: plans, decides and notes what became of it.

Sessions are the index's; of its own it has memories of states and of recent texts, all bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from gateway_sessions.conversation import (
    Conversation,
    Message,
    Reply,
    ToolResult,
)
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.echo import CALL
from gateway_sessions.detection.facts import facts_of
from gateway_sessions.detection.histories import turn_of
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.overhearing import overhear
from gateway_sessions.detection.phrases import ResetPhrases
from gateway_sessions.detection.plan import (
    Plan,
    anchor_key,
    call_key,
    explicit_key,
    last_key,
    newest_call,
    pair_key,
    repeat_key,
    response_key,
    said_after_results,
    seal_key,
)
from gateway_sessions.detection.rules import LADDER, answering
from gateway_sessions.detection.scope import Scope, Scopes, keyed_id
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.signals import SignalReader
from gateway_sessions.detection.straight import straight
from gateway_sessions.detection.verdict import (
    ANCHOR,
    CONTINUE,
    ECHO,
    FUZZY,
    SIDE_CALL,
    Verdict,
)
from gateway_sessions.detection.view import View
from gateway_sessions.detection.walk import Walker

SESSION_PREFIX = "sess_"

_STORED = "resp_"
"""How ids of replies begin that the provider keeps: a later request may name any of them and
leave the history out."""
_NAMED_BESIDE = "msg_"
"""How ids of replies begin of which clients may name the newest beside the history."""

_RETOLD = (ANCHOR, FUZZY)
"""Sources of verdicts on histories that are not told as they were."""

_COUNT = re.compile(r"[0-9]{1,6}")


class Sender(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request beside its body."""

    headers: Mapping[str, str]
    """Lower-case names; of repeated headers, the first."""
    path: str
    """With query."""
    ip: str = ""
    scope: str = ""
    """Name of the scope in a trace of ours, whose credentials are masked; else empty."""


@lru_cache(4096)
def _client(ip: str, user_agent: str) -> int:
    return xxh3_64_intdigest(f"{ip}\0{user_agent}".encode("utf-8", "surrogatepass"))


@lru_cache(4096)
def _shared(number: int) -> int:
    """Return the number as the object that stands for it already: many sessions hold it."""
    return number


def _has_results(messages: Sequence[Message]) -> bool:
    return ToolResult in [type(part) for message in messages for part in message.parts]


class Keys(NamedTuple):
    """What the index has to change for a session."""

    added: list[int]
    """Keys under which it is found from now on."""
    outdated: list[int]
    """Keys that no longer lead to it."""


class Detector:
    """Puts requests into sessions.

    For each request: `plan`, `decide`, commit the returned keys, and when the exchange is over
    `answered` or `failed`, and commit again.  The caller owns the clock and the index.
    """

    def __init__(
        self,
        settings: DetectionSettings,
        secret: bytes,
        mint: Callable[[], str],
        *,
        explain: bool = False,
        rejected: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Make a detector.

        Args:
            settings: the ``session`` block of the configuration.
            secret: the server's secret, at least 16 bytes; equal on all replicas.
            mint: makes a random session id.
            explain: keep every rule's answer in the verdicts.
            rejected: told of headers and fields whose value is no usable session id.
        """
        self._settings = settings
        self._secret = secret
        self._mint = mint
        self._explain = explain
        self._rejected = rejected
        self._scopes = Scopes(secret, settings.scope)
        self._walker = Walker(2 * settings.max_sessions)
        self._signals = SignalReader(settings.explicit.headers)
        self._phrases = ResetPhrases(settings.reset_phrases)
        self.memories = memories = Memories()
        """What is remembered beside the sessions."""
        self._echo = memories.echo
        self._turns = memories.turns
        self._histories = memories.histories
        self._recent = memories.recent
        self._asides = memories.asides

    def plan(self, conversation: Conversation, sender: Sender) -> Plan:
        """Read a request.

        Raises:
            UnreadableBody: a message is not what the dialect says.
        """
        headers = sender.headers
        scope = self._scopes.of(headers, sender.path, conversation.end_user, sender.scope)
        walk = self._walker.walk(conversation, scope.seed)
        tried = headers.get("x-stainless-retry-count")
        return Plan(
            scope=scope,
            walk=walk,
            conversation=conversation,
            request_state=walk.request_state,
            agent=walk.agent(),
            model=xxh3_64_intdigest(conversation.model.encode()),
            client=_client(sender.ip, headers.get("user-agent", "")),
            explicit=self._signals.read(headers, conversation.fields, self._rejected)
            if self._settings.explicit.enabled
            else None,
            retries=int(tried) if tried and _COUNT.fullmatch(tried) else None,
            repeat_key=repeat_key(scope, headers),
        )

    def decide(self, plan: Plan, view: View, now: float) -> tuple[Verdict, list[int]]:
        """Put a request into a session; return the verdict and the keys to commit."""
        verdict = self._straight(plan, view, now)
        if verdict is None:
            ask = self.ask(plan, view, now)
            verdict = self._climb(ask)
            if ask.claimed is not None:
                ask.claimed.take(plan.agent)
        return verdict, self._taken(plan, verdict, now)

    def find(self, plan: Plan, view: View, now: float) -> Verdict | None:
        """Say where a request belongs, if in a known session, and change nothing."""
        verdict = self._straight(plan, view, now) or self._climb(self.ask(plan, view, now))
        return None if verdict.new else verdict

    def ask(self, plan: Plan, view: View, now: float) -> Ask:
        """Return a request as the rules see it."""
        return Ask(
            plan,
            view,
            now,
            self._settings,
            self._phrases,
            self._mint,
            self._name,
            self._echo,
            self._turns,
            self._histories,
            self._recent,
            self._asides,
        )

    def _name(self, scope: Scope, kind: str, value: str) -> str:
        return SESSION_PREFIX + keyed_id(self._secret, scope.name, kind, value)

    def goes_on(self, plan: Plan, view: View, now: float) -> Session | None:
        """Return the session that waits for a request, where no rule asks about any other."""
        verdict = self._straight(plan, view, now)
        return None if verdict is None else verdict.session

    def _straight(self, plan: Plan, view: View, now: float) -> Verdict | None:
        if self._explain:
            return None
        oldest = now - self._settings.session_ttl_seconds
        return straight(plan, view, oldest, self._phrases, self._echo)

    def _climb(self, ask: Ask) -> Verdict:
        if self._explain:
            return self._climb_aloud(ask)
        for answer in answering(facts_of(ask)):
            verdict = answer(ask)
            if verdict is not None:
                return verdict
        raise AssertionError("the last rule always answers")

    def _climb_aloud(self, ask: Ask) -> Verdict:
        """Climb, and write down what every rule said."""
        steps = []
        for rule in LADDER:
            ask.note, ask.candidates = "", []
            verdict = rule.answer(ask)
            said = verdict.reason if verdict else ask.note
            step: dict[str, Any] = {
                "rule": rule.name,
                "answers": verdict is not None,
                "because": said,
            }
            if ask.candidates:
                step["candidates"] = ask.candidates
            steps.append(step)
            if verdict is not None:
                return msgspec.structs.replace(verdict, steps=tuple(steps))
        raise AssertionError("the last rule always answers")

    def _taken(self, plan: Plan, verdict: Verdict, now: float) -> list[int]:
        """Note in the session that the request is under way; return its new keys."""
        session = verdict.session
        keys: list[int] = []
        if plan.explicit is not None and not session.explicit_key:
            session.external = plan.explicit.value
            session.explicit_key = explicit_key(plan.scope, plan.explicit)
            keys.append(session.explicit_key)
        if verdict.relation == SIDE_CALL:
            session.used = now
            return keys
        retold = verdict.source in _RETOLD
        if verdict.new or retold:
            keys.append(plan.request_state)
        if verdict.new and plan.walk.reply is not None:
            call = newest_call(plan.walk)
            if call:
                session.take_over(call_key(plan.scope, call))
        reply = plan.walk.reply if retold or verdict.new == "expired" else None
        if reply is not None:
            # The client tells its history differently from now on; know it by that as well.
            session.adopt(reply.state)
            keys.append(reply.state)
        if session.agent != plan.agent:
            session.agent = _shared(plan.agent)
        if session.model != plan.model:
            session.model = _shared(plan.model)
        session.client = plan.client
        session.tools = bool(plan.conversation.tools)
        if verdict.new:
            self._recent.began(session)
        session.take(plan.request_state, now, plan.messages)
        if plan.repeat_key:
            session.take(plan.repeat_key, now, plan.messages)
            keys.append(plan.repeat_key)
        return keys

    def remember(self, plan: Plan, verdict: Verdict, now: float) -> None:
        """Remember what is asked, for requests that quote it; no part of the verdict's way."""
        session, prompt, relation = verdict.session, plan.walk.prompt(), verdict.relation
        if relation == SIDE_CALL:
            if verdict.source == ECHO and session.agent != plan.agent:
                self._asides.asked(plan.scope.seed, plan.agent)
            return
        if relation == CONTINUE:
            self._asides.went_on(plan.scope.seed, plan.agent)
        if not prompt:
            return
        if self._echo.holds(plan.scope.seed, CALL) and _has_results(prompt):
            self._echo.settled(session)
        texts = plan.walk.prompt_texts()
        if texts:
            # Reminders and what is attached come before what the user has typed.
            self._turns.asked(session, texts[-1], now)

    def answered(self, plan: Plan, session: Session, reply: Reply, now: float) -> Keys:
        """Note a complete reply."""
        keys: list[int] = []
        outdated = (session.last_reply, session.last_named)
        reply_before = plan.walk.reply
        before = last_key(plan.scope, reply_before) if reply_before else 0
        seal = ""
        for message in reply.messages:
            overhear(self.memories, plan, session, message, now)
            seal = seal or message.seal
            run = plan.walk.after_reply(message)
            if run is None:
                continue
            anchor = anchor_key(plan.scope, run.before, run)
            last = last_key(plan.scope, run)
            session.answer(plan.request_state, run.state, anchor, last, now)
            if len(reply.messages) > 1:
                session.know(plan.request_state, run.state, last)  # any may be the one that is kept
            if not keys and run.before is not None:
                self._histories.note(session, turn_of(plan, run, message, last), before)
            keys += (run.state, anchor, last)
            spoken = None if run.call_ids else said_after_results(plan.walk)
            if spoken is not None:
                keys.append(pair_key(plan.scope, spoken, run))
                session.know(plan.request_state, run.state, keys[-1])
        if not keys:
            session.answer(plan.request_state, plan.request_state, 0, 0, now)
        session.seal = seal_key(plan.scope, seal) if seal else 0
        self._name_reply(plan, session, reply, keys)
        if plan.repeat_key:
            session.done(plan.repeat_key)
        now_known = (session.last_reply, session.last_named)
        return Keys(keys, [key for key in outdated if key and key not in now_known])

    def _name_reply(self, plan: Plan, session: Session, reply: Reply, keys: list[int]) -> None:
        """Know a reply by its id, where clients may name it."""
        if reply.id.startswith(_STORED):
            named = response_key(plan.scope, reply.id)
            session.know(plan.request_state, session.head, named)
            keys.append(named)
        elif reply.id.startswith(_NAMED_BESIDE):
            session.last_named = response_key(plan.scope, reply.id)
            keys.append(session.last_named)

    def answered_aside(self, plan: Plan, session: Session, reply: Reply) -> Keys:
        """Note the reply to a side call: the session goes on from where it was."""
        keys = Keys([], [])
        for message in reply.messages:
            run = plan.walk.after_reply(message)
            if run is not None:
                session.know_aside(plan.request_state, run.state)
                keys.added.append(run.state)
        return keys

    def failed(self, plan: Plan, session: Session, reply: Reply | None, now: float) -> Keys:
        """Note that a request got no complete reply.

        What did arrive of a reply is known as well: clients may keep it and go on from there.
        """
        keys = Keys([], [])
        if reply is not None and reply.messages:
            keys = self.answered(plan, session, reply, now)
        elif reply is not None and reply.id.startswith(_STORED):
            # The provider still works on it, in the background; clients ask by its id later.
            named = response_key(plan.scope, reply.id)
            session.know(plan.request_state, plan.request_state, named)
            keys.added.append(named)
        session.fail(plan.request_state, now)
        if plan.repeat_key:
            session.fail(plan.repeat_key, now)
        keys.added.append(plan.request_state)
        return keys

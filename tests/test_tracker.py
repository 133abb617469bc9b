from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Any

import msgspec

from gateway_sessions.conversation import (
    ASSISTANT,
    Conversation,
    Message,
    Reply,
    Text,
    ToolCall,
)
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.plan import Plan
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.dialects.openai_chat import OpenAIChat
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.telemetry import ExplicitIdRejected, SessionEnded, Telemetry
from gateway_sessions.testing import assistant
from gateway_sessions.tracker import Tracked, Tracker, random_session_id
from tests.traffic import CHAT, asked

NOW = 1_700_000_000.0
SECRET = b"a secret for tests only"
SENDER = Sender({"authorization": "Bearer key"}, CHAT, "192.0.2.1")


def read(*messages: Any) -> Conversation:
    return OpenAIChat().read_request(asked(*messages), CHAT)


def said(text: str, *, complete: bool = True) -> Reply:
    return Reply((Message(ASSISTANT, (Text(text),)),), complete=complete)


def tracker(**settings: Any) -> Tracker:
    return Tracker(DetectionSettings(**settings), SECRET, Telemetry())


def test_random_ids() -> None:
    ids = {random_session_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("sess_[0-9a-hjkmnp-tv-z]{20}", each) for each in ids)


class TestFind:
    """Where a request would go on, asked without sending it."""

    def test_in_a_known_session(self) -> None:
        follow = tracker()
        first = follow.begin(read("hi"), SENDER, NOW)
        follow.answered(first, said("Hello!"), NOW + 1)
        before = msgspec.structs.asdict(first.session)
        plan = follow.plan(read("hi", assistant("Hello!"), "more"), SENDER)
        found = follow.find(plan, NOW + 2)
        assert found is not None
        assert (found.session_id, found.relation) == (first.session.id, "continue")
        assert msgspec.structs.asdict(first.session) == before

    def test_nowhere(self) -> None:
        follow = tracker()
        assert follow.find(follow.plan(read("hi"), SENDER), NOW) is None
        assert follow.index.active == 0
        assert follow.begin(read("hi"), SENDER, NOW).tag().relation == "first"

    def test_a_task_that_was_asked_about_is_still_to_be_done(self) -> None:
        """The oldest of equal tasks comes first: a look does not take it."""
        follow = tracker()
        task = "Find out who wrote the oldest file of this project, and when that was."
        told = {"role": "system", "content": "You search files."}, task
        call = ToolCall("call_1", "agent", {"task": task})
        first = follow.begin(read("go"), SENDER, NOW)
        follow.answered(first, Reply((Message(ASSISTANT, (call,)),)), NOW + 1)
        for _ in range(2):
            assert follow.find(follow.plan(read(*told), SENDER), NOW + 2) is None
        child = follow.begin(read(*told), SENDER, NOW + 2).tag()
        assert (child.relation, child.parent_session_id) == ("subagent", first.session.id)


class TestExchange:
    def test_begin_then_answered(self) -> None:
        follow = tracker()
        first = follow.begin(read("hi"), SENDER, NOW)
        assert first.session.pending
        follow.answered(first, said("Hello!"), NOW + 1)
        assert not first.session.pending
        later = follow.begin(read("hi", assistant("Hello!"), "more"), SENDER, NOW + 2)
        assert later.session is first.session
        assert later.session.used == NOW + 2
        assert later.tag().relation == "continue"

    def test_begin_then_failed(self) -> None:
        follow = tracker()
        first = follow.begin(read("hi"), SENDER, NOW)
        follow.failed(first, None, NOW + 1)
        assert follow.begin(read("hi"), SENDER, NOW + 2).tag().relation == "retry"

    def test_a_broken_reply_is_known_as_far_as_it_came(self) -> None:
        follow = tracker()
        first = follow.begin(read("hi"), SENDER, NOW)
        follow.failed(first, said("Hel", complete=False), NOW + 1)
        assert follow.begin(read("hi"), SENDER, NOW + 2).session is first.session
        on = follow.begin(read("hi", assistant("Hel"), "go on"), SENDER, NOW + 3)
        assert on.session is first.session

    def test_plan_then_place_is_begin(self) -> None:
        follow = tracker()
        plan = follow.plan(read("hi"), SENDER)
        assert follow.index.active == 0
        placed = follow.place(plan, NOW)
        assert placed.plan is plan
        assert follow.index.active == 1
        assert placed.tag().relation == "first"

    def test_the_reply_to_an_evicted_session_brings_it_back(self) -> None:
        follow = tracker(max_sessions=1)
        first = follow.begin(read("hi"), SENDER, NOW)
        follow.begin(read("another"), SENDER, NOW)
        follow.answered(first, said("Hello!"), NOW + 1)
        later = follow.begin(read("hi", assistant("Hello!"), "more"), SENDER, NOW + 2)
        assert later.session is first.session


class TestTag:
    def test_a_first_request(self) -> None:
        tag = tracker().begin(read("hi"), SENDER, NOW).tag()
        assert tag.root_session_id == tag.session_id
        assert (tag.parent_session_id, tag.previous_session_id, tag.external_id) == (None,) * 3
        assert (tag.relation, tag.source, tag.explain) == ("first", "new", ())
        assert 0 < tag.confidence < 1
        assert tag.reason

    def test_a_child_with_an_id(self) -> None:
        follow = tracker()
        headers = {**SENDER.headers, "x-session-id": "c", "x-parent-session-id": "p"}
        child = follow.begin(read("hi"), Sender(headers, CHAT), NOW).tag()
        headers = {**SENDER.headers, "x-session-id": "p"}
        parent = follow.begin(read("hi"), Sender(headers, CHAT), NOW).tag()
        assert child.parent_session_id == child.root_session_id == parent.session_id
        assert child.external_id == "c"

    def test_an_id_that_looks_like_a_key_is_masked(self) -> None:
        headers = {**SENDER.headers, "x-session-id": "sk-0123456789abcdef"}
        tag = tracker().begin(read("hi"), Sender(headers, CHAT), NOW).tag()
        assert tag.external_id == "***"

    def test_explain(self) -> None:
        follow = Tracker(DetectionSettings(), SECRET, Telemetry(), explain=True)
        tag = follow.begin(read("hi"), SENDER, NOW).tag()
        assert tag.explain[-1]["rule"] == "new"

    def test_ids_come_from_the_mint(self) -> None:
        follow = Tracker(DetectionSettings(), SECRET, Telemetry(), mint=lambda: "sess_mine")
        assert follow.begin(read("hi"), SENDER, NOW).tag().session_id == "sess_mine"


class TestTelemetry:
    def test_sessions_that_end(self) -> None:
        ended: list[SessionEnded] = []
        telemetry = Telemetry()
        telemetry.listen(SessionEnded, ended.append)
        settings = DetectionSettings(max_sessions=2, session_ttl_seconds=60)
        follow = Tracker(settings, SECRET, telemetry)
        names = []
        for text in ("a", "b", "c"):
            begun = follow.begin(read(text), SENDER, NOW)
            follow.answered(begun, said("Yes."), NOW)
            names.append(begun.tag().session_id)
        assert ended == [SessionEnded(names[0], "evicted", 2)]
        follow.index.expire(NOW + 61)
        assert ended[1:] == [SessionEnded(name, "expired", 2) for name in names[1:]]

    def test_ids_that_are_not_usable(self) -> None:
        rejected: list[ExplicitIdRejected] = []
        telemetry = Telemetry()
        telemetry.listen(ExplicitIdRejected, rejected.append)
        follow = Tracker(DetectionSettings(), SECRET, telemetry)
        follow.begin(read("a"), Sender({"x-session-id": "x" * 257}, CHAT), NOW)
        assert rejected == [ExplicitIdRejected("x-session-id")]


class Others:
    """What shares sessions, as a tracker sees it."""

    def __init__(self) -> None:
        self.fetched: list[tuple[Plan, float]] = []

    async def fetch(self, plan: Plan, now: float) -> None:
        self.fetched.append((plan, now))

    def settled(self, tracked: Tracked) -> Awaitable[None] | None:
        return asyncio.sleep(0) if tracked.tag().relation == "first" else None

    def remembered(self, tracked: Tracked, now: float) -> None:
        raise AssertionError("nothing is remembered here")

    async def open(self) -> None:
        self.opened = True

    async def stop(self) -> None:
        self.opened = False

    def problems(self) -> list[str]:
        return ["others are away"]


class TestShared:
    async def test_what_is_in_memory_is_waited_for_by_nobody(self) -> None:
        follow = tracker()
        plan = follow.plan(read("hi"), SENDER)
        await follow.fetch(plan, NOW)
        assert follow.shared is None
        assert follow.settled(follow.place(plan, NOW)) is None

    async def test_others_are_asked_and_waited_for(self) -> None:
        follow = tracker()
        follow.shared = others = Others()
        plan = follow.plan(read("hi"), SENDER)
        await follow.fetch(plan, NOW)
        assert others.fetched == [(plan, NOW)]
        commit = follow.settled(follow.place(plan, NOW))
        assert commit is not None
        await commit

    async def test_they_are_opened_and_closed(self) -> None:
        follow = tracker()
        await follow.open()
        await follow.close()
        assert follow.problems() == []
        follow.shared = others = Others()
        await follow.open()
        assert others.opened
        assert follow.problems() == ["others are away"]
        await follow.close()
        assert not others.opened


def test_an_index_of_ones_own() -> None:
    index = MemoryIndex(10, 60.0)
    follow = Tracker(DetectionSettings(), SECRET, Telemetry(), index=index)
    assert follow.index is index
    follow.begin(read("hi"), SENDER, NOW)
    assert index.active == 1


def test_trackers_that_share_an_index_and_a_secret_share_sessions() -> None:
    index = MemoryIndex(10, 60.0)
    one, other = (Tracker(DetectionSettings(), SECRET, Telemetry(), index=index) for _ in range(2))
    first = one.begin(read("hi"), SENDER, NOW)
    one.answered(first, said("Hello!"), NOW)
    later = other.begin(read("hi", assistant("Hello!"), "more"), SENDER, NOW)
    assert later.tag().session_id == first.tag().session_id

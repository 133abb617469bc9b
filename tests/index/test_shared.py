"""Sessions in a store, as one process and several see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.index.breaker import Breaker
from gateway_sessions.index.committer import SETTLED_SECONDS
from gateway_sessions.index.shared import SharedIndex
from gateway_sessions.index.store import Change, StoredSession
from gateway_sessions.telemetry import IndexFellBack, SessionEnded
from gateway_sessions.testing import Desk, assistant, tool_call, tool_result, user
from tests.index.company import company, shared_desk
from tests.index.stored import StoreInMemory

LONG = "A rather long answer that nobody else could give, with many words of its own. " * 2
TASK = "Find out who wrote the oldest file of this project, and when that was."
AGENT = {"role": "system", "content": "You search files."}


def restarted(desk: Desk) -> None:
    """Let every replica begin anew, over the store that there is."""
    replicas = company(desk)
    made = shared_desk(replicas=len(replicas.trackers))
    fresh = company(made)
    for tracker in fresh.trackers:
        shared: Any = tracker.shared
        shared._store = shared._committer._store = replicas.store
    fresh.store = replicas.store
    mint = replicas.trackers[0]._detector._mint
    for tracker in fresh.trackers:
        tracker._detector._mint = mint
    desk.tracker = fresh  # type: ignore[assignment]


def stored(desk: Desk) -> StoreInMemory:
    return company(desk).store


class TestTogether:
    """One replica asks, the other goes on: the rules see what one alone would."""

    def test_a_conversation_is_one_session(self) -> None:
        client = shared_desk().client()
        tags = [client.ask(f"question {n}", f"answer {n}") for n in range(6)]
        assert {tag.session_id for tag in tags} == {"sess_1"}
        assert [tag.relation for tag in tags] == ["first"] + ["continue"] * 5

    def test_equal_openings_stay_apart(self) -> None:
        desk = shared_desk()
        ann, ben = desk.client(), desk.client()
        first = [each.ask("hi", "Hello!").session_id for each in (ann, ben)]
        assert first == ["sess_1", "sess_2"]
        assert ann.ask("I like tea", LONG).session_id in first
        assert {ann.ask("more").session_id, ben.ask("on").session_id} == set(first)

    def test_a_sub_agent_and_its_twin_have_each_their_task(self) -> None:
        desk = shared_desk()
        lead = desk.client(fields={"tools": [{"type": "function", "function": {"name": "agent"}}]})
        calls = tool_call("call_1", "agent", {"task": TASK})
        sent = lead.send([user("go")])
        sent.answer(calls)
        children = [desk.client().send([AGENT, user(TASK)]).tag for _ in range(2)]
        assert [child.relation for child in children] == ["subagent", "subagent"]
        assert {child.parent_session_id for child in children} == {"sess_1"}
        done = lead.send([user("go"), calls, tool_result("call_1", "Ann")])
        assert (done.tag.session_id, done.tag.relation) == ("sess_1", "continue")
        assert desk.client().send([AGENT, user(TASK)]).tag.relation == "first"

    def test_a_retry_at_another_replica(self) -> None:
        client = shared_desk().client()
        client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        sent = client.send(asked)
        assert client.send(asked).tag.relation == "retry"
        sent.fail()
        assert client.send(asked).tag.relation == "retry"

    def test_side_calls_and_what_they_serve_for(self) -> None:
        desk = shared_desk()
        client = desk.client()
        client.ask("What is a monad?", LONG)
        title = {"role": "system", "content": "Give a title to this chat."}
        asked = [title, user(f"User: What is a monad?\nAssistant: {LONG}")]
        for _ in range(3):
            tag = desk.client().send(asked).tag
            assert (tag.session_id, tag.relation) == ("sess_1", "side_call")
        habits = [name for _, name in stored(desk).sessions if name.startswith("habit_")]
        assert len(habits) == 1
        assert client.ask("more").relation == "continue"

    def test_an_altered_history(self) -> None:
        desk = shared_desk()
        client = desk.client()
        client.ask("I run a bakery in Ulm.", "Nice to meet you, Johanna.")
        client.ask("What flour should I buy for rye bread?", "Type 1150, from a local mill.")
        client.ask("And how much water per kilo?", "About 780 grams.")
        client.ask("Write a label for the bread.", "Johanna's Rye, baked in Ulm.")
        for message in client.history:
            message["content"] = message["content"].upper()
        tag = client.ask("And how long does it bake?")
        assert (tag.session_id, tag.source) == ("sess_1", "fuzzy")

    def test_never_another_scope(self) -> None:
        desk = shared_desk()
        desk.client("a").ask("hi", "Hello!")
        other = desk.client("b").send([user("hi"), assistant("Hello!"), user("more")])
        assert other.tag.session_id == "sess_2"


class TestRestart:
    def test_a_conversation_goes_on(self) -> None:
        desk = shared_desk()
        client = desk.client()
        client.ask("hi", "Hello!")
        restarted(desk)
        tag = client.ask("more")
        assert (tag.session_id, tag.relation, tag.confidence) == ("sess_1", "continue", 1.0)

    def test_after_a_window_and_an_edit(self) -> None:
        desk = shared_desk()
        client = desk.client()
        for number in range(4):
            client.ask(f"question {number}", f"{number}: {LONG}")
        restarted(desk)
        client.history = client.history[2:]
        assert client.ask("more", LONG).session_id == "sess_1"
        restarted(desk)
        client.history = client.history[:4]
        assert client.ask("otherwise").relation in ("fork", "continue")

    def test_what_was_in_flight_when_all_died_is_over_some_day(self) -> None:
        desk = shared_desk(DetectionSettings(session_ttl_seconds=100))
        client = desk.client()
        client.ask("hi", "Hello!")
        client.send([*client.history, user("more")])
        restarted(desk)
        desk.clock.advance(3601)
        tag = client.ask("more")
        assert (tag.session_id, tag.previous_session_id) == ("sess_2", "sess_1")

    def test_the_common_turn_is_one_small_look_up(self) -> None:
        desk = shared_desk(replicas=1)
        client = desk.client()
        client.ask("hi", "Hello!")
        fetched = stored(desk).fetched
        before = len(fetched)
        client.ask("more")
        assert [len(keys) for keys in fetched[before:]] == [3]


class TestCache:
    def test_what_others_changed_is_not_found_by_what_no_longer_holds(self) -> None:
        desk = shared_desk()
        replicas, client = company(desk), desk.client()
        call = tool_call("call_1", "agent", {"task": TASK})
        replicas.chosen = 0
        client.send([user("go")]).answer(call)
        replicas.chosen = 1
        client.send([user("go"), call, tool_result("call_1", "done")]).answer("Fine.")
        replicas.chosen = 0
        assert desk.client().send([AGENT, user(TASK)]).tag.relation == "first"

    def test_a_session_in_hand_is_kept(self) -> None:
        desk = shared_desk()
        replicas, client = company(desk), desk.client()
        replicas.chosen = 0
        sent = client.send([user("hi")])
        stored(desk).remove("sess_1")
        desk.client().send([user("hi")])
        sent.answer("Hello!")
        replicas.chosen = 1
        client.history = [user("hi"), assistant("Hello!")]
        assert client.ask("more").session_id == "sess_1"

    def test_more_sessions_than_there_is_room_for(self) -> None:
        desk = shared_desk(DetectionSettings(max_sessions=2), replicas=1)
        clients = [desk.client() for _ in range(6)]
        first = [client.ask(f"I am {n}", LONG).session_id for n, client in enumerate(clients)]
        assert [client.ask("more").session_id for client in clients] == first
        (tracker,) = company(desk).trackers
        shared: Any = tracker.shared
        assert shared.active == 2
        assert len(shared._held) <= 4

    def test_bytes_of_others_are_passed_over(self) -> None:
        desk = shared_desk(replicas=1)
        client = desk.client()
        client.ask("hi", "Hello!")
        restarted(desk)
        for key, found in stored(desk).sessions.items():
            stored(desk).sessions[key] = StoredSession(found.id, 9, found.used, b"\x63 new")
        assert client.ask("more").session_id == "sess_2"

    def test_a_record_in_the_wrong_place_is_passed_over(self) -> None:
        desk = shared_desk(replicas=1)
        desk.client("a").ask("hi", "Hello!")
        store = stored(desk)
        (scope, name), found = next(iter(store.sessions.items()))
        restarted(desk)
        for (_, key), names in list(store.keys.items()):
            store.keys[scope ^ 1, key] = names
        store.sessions[scope ^ 1, name] = found
        shared: Any = company(desk).trackers[0].shared
        company(desk).run(shared._bring(scope ^ 1, _all_keys(store), desk.clock()))
        assert shared.active == 0


def _all_keys(store: StoreInMemory) -> Any:
    class Everything:
        agent = client = None

        def owners(self, *_: Any) -> set[str]:
            return set()

        def keys(self, scope: int) -> list[int]:
            return [key for _, key in store.keys]

    return Everything()


class TestOutage:
    def test_what_is_known_here_is_all_there_is(self) -> None:
        desk = shared_desk()
        replicas, client = company(desk), desk.client()
        fell_back: list[IndexFellBack] = []
        desk.telemetry.listen(IndexFellBack, fell_back.append)
        replicas.chosen = 0
        client.ask("hi", "Hello!")
        stored(desk).failing = True
        assert [client.ask("more").session_id for _ in range(3)] == ["sess_1"] * 3
        shared: Any = replicas.trackers[0].shared
        assert shared.problems() == ["sessions are not shared at present: it was told to fail"]
        assert len(fell_back) == 3
        stored(desk).failing = False
        assert client.ask("more").session_id == "sess_1"
        assert shared.problems() == []
        replicas.chosen = 1
        assert client.ask("more").relation == "continue"

    def test_both_sides_of_an_outage_are_joined(self) -> None:
        desk = shared_desk()
        replicas, client = company(desk), desk.client()
        for number in range(3):
            client.ask(f"question {number}", f"{number}: {LONG}")
        start = list(client.history)
        stored(desk).failing = True
        branches = []
        for replica in (0, 1):
            replicas.chosen = replica
            client.history = list(start)
            assert client.ask(f"{replica} goes on", f"{replica}: {LONG}").session_id == "sess_1"
            branches.append(list(client.history))
        stored(desk).failing = False
        for replica in (0, 1, 0, 1):
            replicas.chosen = replica
            client.history = list(branches[1 - replica])
            assert client.ask("more").session_id == "sess_1"

    def test_a_session_begun_twice_stays_two(self) -> None:
        desk = shared_desk()
        replicas, client = company(desk), desk.client()
        stored(desk).failing = True
        replicas.chosen = 0
        client.ask("hi", LONG)
        replicas.chosen = 1
        assert client.ask("more").session_id == "sess_2"
        stored(desk).failing = False
        assert client.ask("again").session_id == "sess_2"

    def test_nobody_waits_for_a_store_that_is_away(self) -> None:
        desk = shared_desk(replicas=1)
        client = desk.client()
        client.ask("hi", "Hello!")
        stored(desk).failing = True
        sent = client.send([*client.history, user("more")])
        (tracker,) = company(desk).trackers

        async def waits() -> Any:
            return tracker.settled(sent.tracked)

        assert company(desk).run(waits()) is None

    def test_a_fault_of_our_own_stops_no_request(self, caplog: pytest.LogCaptureFixture) -> None:
        desk = shared_desk(replicas=1)
        client = desk.client()
        client.ask("hi", "Hello!")
        stored(desk).keys = None  # type: ignore[assignment]
        assert client.ask("more").relation == "continue"
        assert "sessions could not be fetched" in caplog.text
        assert "sessions could not be stored" in caplog.text


async def test_what_waits_is_stored_when_the_breaker_says_that_the_store_is_back() -> None:
    store = StoreInMemory()
    store.failing = True
    breaker, desk = Breaker(store, name="a store"), Desk()
    shared = SharedIndex(breaker, desk.tracker._detector, 10, 60.0)
    desk.tracker.shared = desk.tracker.index = shared
    desk.client().send([user("hi")])
    await shared.flush()
    assert store.committed == []
    store.failing = False
    breaker.returned()
    await shared.flush()
    assert len(store.committed) == 1
    await shared.stop()


class Slow(StoreInMemory):
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def commit(self, scope: int, changes: Any) -> list[StoredSession]:
        await self.go.wait()
        return await super().commit(scope, changes)


async def test_the_end_of_a_response_waits_for_its_commit_but_not_for_ever() -> None:
    desk = Desk()
    shared = SharedIndex(store := Slow(), desk.tracker._detector, 10, 60.0)
    desk.tracker.shared = desk.tracker.index = shared
    sent = desk.client().send([user("hi")])
    sent.answer("Hello!")
    waiting = shared.settled(sent.tracked)
    assert waiting is not None
    began = asyncio.get_running_loop().time()
    await waiting
    assert asyncio.get_running_loop().time() - began >= SETTLED_SECONDS * 0.9
    again = shared.settled(sent.tracked)
    assert again is not None
    store.go.set()
    await again
    assert shared.settled(sent.tracked) is None
    assert [change.version for change in store.committed] == [0]
    await shared.stop()


class TestEnd:
    @pytest.fixture
    def desk(self) -> Desk:
        return shared_desk(DetectionSettings(session_ttl_seconds=100))

    def ended(self, desk: Desk, *replicas: int) -> list[str]:
        """Return the sessions whose end replicas announce."""
        found: list[str] = []
        desk.telemetry.listen(SessionEnded, lambda event: found.append(event.session_id))

        async def expire() -> None:
            for replica in replicas:
                shared: Any = company(desk).trackers[replica].shared
                shared.expire(desk.clock())
                if shared._asking is not None:
                    await shared._asking

        company(desk).run(expire())
        return found

    def test_it_is_announced_once_by_who_used_it_last(self, desk: Desk) -> None:
        client = desk.client()
        client.ask("hi", "Hello!")
        client.ask("more")
        desk.clock.advance(101)
        assert self.ended(desk, 0, 1, 0, 1) == ["sess_1"]

    def test_not_while_it_is_used_elsewhere(self, desk: Desk) -> None:
        client = desk.client()
        client.ask("hi", "Hello!")
        desk.clock.advance(90)
        client.ask("more")
        desk.clock.advance(50)
        assert self.ended(desk, 0) == []
        assert company(desk).trackers[0].index.active == 1

    def test_not_before_the_store_was_asked(self, desk: Desk) -> None:
        desk.client().ask("hi", "Hello!")
        desk.clock.advance(101)
        stored(desk).failing = True
        assert self.ended(desk, 0) == []
        stored(desk).failing = False
        desk.client().ask("hello")
        desk.client().ask("hello")
        assert self.ended(desk, 0) == ["sess_1"]

    def test_one_that_the_store_has_lost_has_ended(self, desk: Desk) -> None:
        desk.client().ask("hi", "Hello!")
        desk.clock.advance(101)
        stored(desk).remove("sess_1")
        assert self.ended(desk, 0) == ["sess_1"]


class TestOpening:
    async def test_a_store_that_is_away_at_the_start_is_tried_again(self) -> None:
        store = StoreInMemory()
        store.failing = True
        desk = Desk()
        shared = SharedIndex(store, desk.tracker._detector, 10, 60.0)
        await shared.open()
        assert len(shared.problems()) == 1
        store.failing = False
        plan = desk.client().send([user("hi")]).tracked.plan
        await shared.fetch(plan, desk.clock())
        assert shared.problems() == []
        await shared.stop()
        await shared.stop()

    async def test_what_is_new_is_stored_before_the_end(self) -> None:
        store = StoreInMemory()
        desk = Desk()
        desk.tracker.shared = desk.tracker.index = shared = SharedIndex(
            store, desk.tracker._detector, 10, 60.0
        )
        await shared.open()
        desk.client().send([user("hi")])
        await desk.tracker.close()
        assert [type(change) for change in store.committed] == [Change]
        shared.close()
        assert shared.active == 0

    async def test_one_that_nobody_has_asked_yet_is_a_problem_all_the_same(self) -> None:
        store = StoreInMemory()
        store.failing = True
        paused, tried = asyncio.Event(), asyncio.Event()

        async def pause(seconds: float) -> None:
            await paused.wait()

        breaker = Breaker(store, name="a store", pause=pause)
        shared = SharedIndex(breaker, Desk().tracker._detector, 10, 60.0)
        breaker.returned = tried.set
        await shared.open()
        assert len(shared.problems()) == 1
        store.failing = False
        paused.set()
        await tried.wait()
        assert shared.problems() == []
        await shared.stop()

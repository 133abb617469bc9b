from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from gateway_sessions.conversation import ASSISTANT, Message, Reply, Text
from gateway_sessions.detection.detector import Detector, Sender
from gateway_sessions.detection.rules import LADDER
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings, ExplicitSettings, ScopeSettings
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.testing import Desk, assistant, tool_call, tool_result, user
from gateway_sessions.tracker import Tracker
from tests.detection.talk import chat

SENDER = Sender({"authorization": "Bearer key"}, "/v1/chat/completions", "192.0.2.1")
SECRET = b"a secret that all replicas share"
NOW = 1_700_000_000.0
LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."


def tracker(secret: bytes = SECRET, **options: Any) -> Tracker:
    return Tracker(DetectionSettings(), secret, Telemetry(), **options)


def said(text: str) -> Reply:
    return Reply((Message(ASSISTANT, (Text(text),)),))


class TestExplain:
    def test_every_rule_that_was_asked_says_why(self) -> None:
        client = Desk(explain=True).client()
        first, second = client.ask("hi", "Hello!"), client.ask("more")
        names = [rule.name for rule in LADDER]
        assert [step["rule"] for step in first.explain] == names
        asked = names[: names.index("prefix") + 1]
        assert [step["rule"] for step in second.explain] == asked
        for tag in (first, second):
            assert [step["answers"] for step in tag.explain[:-1]] == [False] * (
                len(tag.explain) - 1
            )
            assert tag.explain[-1]["answers"]
            assert tag.explain[-1]["because"] == tag.reason != ""

    def test_a_note_belongs_to_its_own_rule(self) -> None:
        desk = Desk(explain=True)
        desk.client().ask("hi", "Hello!")
        history = [user("hi"), assistant("Hello!"), user("a"), assistant("b"), user("c")]
        tag = desk.client().send(history).tag
        notes = {step["rule"]: step["because"] for step in tag.explain}
        assert notes["anchor"] != notes["branch"] != ""
        assert notes["prefix"] == ""

    def test_a_note_does_not_stay_for_the_next_rule(self) -> None:
        sent = Desk(explain=True).client().send([user("hi")], previous_response_id="resp_1")
        notes = {step["rule"]: step["because"] for step in sent.tag.explain}
        assert notes["response_id"] != notes["reset"] == ""

    def test_it_tells_what_was_chosen_among(self) -> None:
        desk = Desk(explain=True)
        one, other = desk.client(), desk.client(system="Be polite.")
        mine, theirs = one.ask("hi", "Hello!"), other.ask("hi", "Hello!")
        step = one.ask("a poem").explain[-1]
        told = {c["session_id"]: c["same_instructions"] for c in step["candidates"]}
        assert told == {mine.session_id: True, theirs.session_id: False}

    def test_it_tells_how_much_of_a_changed_history_agrees(self) -> None:
        client = Desk(explain=True).client()
        first = client.ask("Tell me about foxes.", LONG)
        client.history = client.history[1:]
        step = client.ask("And dogs?").explain[-1]
        assert step["rule"] == "anchor"
        told = step["candidates"][0]
        assert (told["session_id"], told["knows_the_newest_reply"]) == (first.session_id, True)
        assert told["agreeing_characters"] >= 60

    def test_it_is_left_out_unless_asked_for(self) -> None:
        assert Desk().client().ask("hi").explain == ()

    def test_it_changes_no_verdict(self) -> None:
        def tags(explain: bool) -> list[tuple[str, str, str, float]]:
            client = Desk(explain=explain).client()
            asked = [client.ask("hi", "Hello!"), client.ask("more", LONG), client.ask("start over")]
            client.history = [user("hi"), assistant("Hello!")]
            asked += [client.ask("else"), client.send([user("hi")]).tag]
            return [(t.session_id, t.relation, t.source, t.confidence) for t in asked]

        assert tags(explain=True) == tags(explain=False)

    def test_it_can_be_written_as_json(self) -> None:
        tag = Desk(explain=True).client().ask("hi")
        assert json.loads(json.dumps(tag.explain)) == list(tag.explain)


class TestIds:
    def test_an_inferred_id_is_random(self) -> None:
        tags = [tracker().begin(chat(user("hi")), SENDER, NOW).tag() for _ in range(20)]
        assert len({tag.session_id for tag in tags}) == 20
        for tag in tags:
            assert re.fullmatch("sess_[0-9a-hjkmnp-tv-z]{20}", tag.session_id)

    def test_an_explicit_id_is_the_same_on_every_replica_and_after_a_restart(self) -> None:
        sender = Sender({**SENDER.headers, "x-session-id": "1"}, SENDER.path)
        tags = [tracker().begin(chat(user(text)), sender, NOW).tag() for text in ("a", "b")]
        assert tags[0].session_id == tags[1].session_id
        assert re.fullmatch("sess_[0-9a-hjkmnp-tv-z]{20}", tags[0].session_id)

    def test_an_explicit_id_depends_on_secret_scope_kind_and_value(self) -> None:
        def of(secret: bytes = SECRET, key: str = "key", **headers: str) -> str:
            fields = {"authorization": key, **{n.replace("_", "-"): h for n, h in headers.items()}}
            begun = tracker(secret).begin(chat(user("a")), Sender(fields, SENDER.path), NOW)
            return begun.tag().session_id

        ids = [
            of(x_session_id="1"),
            of(x_session_id="2"),
            of(x_bf_session_id="1"),
            of(key="other", x_session_id="1"),
            of(b"another secret of the server", x_session_id="1"),
        ]
        assert len(set(ids)) == 5
        assert of(x_session_id="1") == ids[0]

    def test_unusable_ids_are_reported(self) -> None:
        rejected: list[str] = []
        detector = Detector(DetectionSettings(), SECRET, lambda: "x", rejected=rejected.append)
        detector.plan(chat(user("a")), Sender({"x-session-id": "a\tb"}, SENDER.path))
        assert rejected == ["x-session-id"]


class TestSettings:
    def test_without_credentials_only_the_end_user_separates(self) -> None:
        desk = Desk(DetectionSettings(scope=ScopeSettings(credential=False)))
        client = desk.client("key 1", fields={"user": "alice"})
        first = client.ask("hi", "Hello!")
        client.key = "key 2"
        assert client.ask("more").session_id == first.session_id
        client.fields["user"] = "bob"
        assert client.ask("and more").session_id != first.session_id

    def test_without_end_users_only_the_credential_separates(self) -> None:
        desk = Desk(DetectionSettings(scope=ScopeSettings(end_user=False)))
        client = desk.client("key 1", fields={"user": "alice"})
        first = client.ask("hi", "Hello!")
        client.fields["user"] = "bob"
        assert client.ask("more").session_id == first.session_id
        client.key = "key 2"
        assert client.ask("and more").session_id != first.session_id

    def test_without_explicit_ids_none_is_read(self) -> None:
        rejected: list[str] = []
        settings = DetectionSettings(explicit=ExplicitSettings(enabled=False, headers=("x-chat",)))
        detector = Detector(settings, SECRET, lambda: "x", rejected=rejected.append)
        sender = Sender({"x-chat": "a", "x-session-id": "\x07"}, SENDER.path)
        assert detector.plan(chat(user("a")), sender).explicit is None
        assert rejected == []

    def test_no_more_sessions_than_allowed(self) -> None:
        desk = Desk(DetectionSettings(max_sessions=2))
        clients = [desk.client() for _ in range(3)]
        first = [client.ask(f"hi, I am {n}", LONG) for n, client in enumerate(clients)]
        assert clients[2].ask("more").session_id == first[2].session_id
        assert clients[1].ask("more").session_id == first[1].session_id
        assert clients[0].ask("more").session_id != first[0].session_id


class TestOutcome:
    def test_a_reply_without_words_still_answers(self) -> None:
        desk = Desk()
        client = desk.client()
        sent = client.send([user("hi")])
        desk.tracker.answered(sent.tracked, Reply((Message(ASSISTANT, ()),)), desk.clock())
        assert sent.tracked.session.pending == ()
        later = client.send([user("hi"), user("are you there?")])
        assert later.tag.session_id

    def test_a_broken_reply_and_another_request_in_flight(self) -> None:
        desk = Desk()
        client = desk.client()
        client.ask("hi", "Hello!")
        broken = client.send([*client.history, user("one")])
        running = client.send([*client.history, user("two")])
        assert running.tag.session_id == broken.tag.session_id
        desk.tracker.failed(broken.tracked, said("Once"), desk.clock())
        again = client.send([*client.history, user("two")]).tag
        assert again.relation == "retry"

    def test_two_alternatives_and_another_request_in_flight(self) -> None:
        desk = Desk()
        client = desk.client()
        client.ask("hi", "Hello!")
        both = client.send([*client.history, user("one")], n=2)
        client.send([*client.history, user("two")])
        twice = Reply(said("a").messages + said("b").messages)
        desk.tracker.answered(both.tracked, twice, desk.clock())
        assert client.send([*client.history, user("two")]).tag.relation == "retry"

    def test_a_request_that_is_repeated_in_flight_is_answered_twice(self) -> None:
        desk = Desk()
        client = desk.client()
        client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        sent = [client.send(asked), client.send(asked)]
        sent[0].fail()
        sent[1].answer("Yes.")
        later = client.send([*asked, assistant("Yes."), user("so?")]).tag
        assert (later.session_id, later.relation) == (sent[0].tag.session_id, "continue")

    def test_an_idempotency_key_ends_with_its_request(self) -> None:
        desk = Desk()
        client = desk.client(headers={"idempotency-key": "1"})
        sent = client.send([user("hi")])
        assert len(sent.tracked.session.pending) == 2
        sent.answer("Hello!")
        assert not sent.tracked.session.pending
        assert client.send([user("hi")]).tag.session_id != sent.tag.session_id

    def test_a_message_of_a_wrong_shape(self) -> None:
        index = MemoryIndex(10, 10.0)
        with pytest.raises(UnreadableBody):
            tracker(index=index).begin(chat(user("a"), {"role": "nobody"}), SENDER, NOW)
        assert index.active == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "caf\udce9/1"},
        {"x-stainless-retry-count": "9" * 5000},
        {"baggage": "a;b=c"},
        {"idempotency-key": "\udcff"},
        {"x-session-id": "\udcff"},
        {"authorization": "\udcff"},
        {"cf-aig-metadata": "[" * 100_000},
        {"x-session-id": "=" * 200},
    ],
    ids=lambda headers: str(next(iter(headers)))[:20],
)
def test_no_header_breaks_detection(headers: dict[str, str]) -> None:
    assert tracker().begin(chat(user("a")), Sender(headers, SENDER.path), NOW).tag().session_id


@pytest.mark.parametrize("path", ["//[x/chat/completions?key=1", "?key=%ff%00", "/x?key=" * 500])
def test_no_path_breaks_detection(path: str) -> None:
    assert tracker().begin(chat(user("a")), Sender({}, path), NOW).tag().session_id


class Counting:
    """A view that counts what it is asked."""

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index
        self.asked: Counter[str] = Counter()

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Look up, and count."""
        self.asked["candidates"] += 1
        return self._index.candidates(scope, key)


class TestWork:
    """What one request may cost, counted in look-ups."""

    def look_ups(self, history: list[dict[str, Any]]) -> int:
        view = Counting(MemoryIndex(10, 10.0))
        detector = Detector(DetectionSettings(), SECRET, lambda: "sess_1")
        detector.decide(detector.plan(chat(*history), SENDER), view, NOW)
        return view.asked["candidates"]

    def test_a_first_request(self) -> None:
        assert self.look_ups([user("hi")]) <= 2

    def test_a_known_history_of_any_length(self) -> None:
        index = MemoryIndex(10, 1000.0)
        detector = Detector(DetectionSettings(), SECRET, lambda: "sess_1")
        history = [user("hi")]
        for turn in range(50):
            view = Counting(index)
            plan = detector.plan(chat(*history), SENDER)
            verdict, keys = detector.decide(plan, view, NOW)
            index.commit(verdict.session, keys, NOW)
            added = detector.answered(plan, verdict.session, said(f"a{turn}"), NOW).added
            index.commit(verdict.session, added, NOW)
            assert view.asked["candidates"] <= 4
            history += [assistant(f"a{turn}"), user(f"q{turn}")]

    def test_an_unknown_history_of_any_length(self) -> None:
        def strange(turns: int) -> list[dict[str, Any]]:
            said = [(user(f"q{turn}"), assistant(f"a{turn}")) for turn in range(turns)]
            return [*(message for pair in said for message in pair), user("and?")]

        long, longer = self.look_ups(strange(1000)), self.look_ups(strange(2000))
        assert long == longer < 1200


def test_tool_loops_are_one_session() -> None:
    client = Desk().client()
    tags = [client.ask("Weather in Ulm and Bonn?", tool_call("call_1", "weather"))]
    tags.append(client.ask(tool_result("call_1", "rain"), tool_call("call_2", "weather")))
    tags.append(client.ask(tool_result("call_2", "sun"), "Rain in Ulm, sun in Bonn."))
    tags.append(client.ask("Thanks!"))
    assert {tag.session_id for tag in tags} == {tags[0].session_id}
    assert [tag.relation for tag in tags] == ["first", "continue", "continue", "continue"]


def test_a_client_may_switch_dialects() -> None:
    client = Desk().client()
    first = client.ask("hi", "Hello!")
    client.dialect = "anthropic"
    assert client.ask("more", "Yes.").session_id == first.session_id
    client.dialect = "openai_chat"
    assert client.ask("and more").session_id == first.session_id

from __future__ import annotations

import json

import pytest

from gateway_sessions.detection.lineage import ANY, HINTS, said
from gateway_sessions.detection.signals import Explicit, SignalReader
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, user

CODEX = {"user-agent": "codex_cli_rs/0.104.0", "session-id": "root", "thread-id": "root"}
CLAUDE = {"x-claude-code-session-id": "s"}
TURN = "x-codex-turn-metadata"


def read(headers: dict[str, str], rejected: list[str] | None = None) -> Explicit | None:
    return SignalReader().read(headers, {}, (rejected if rejected is not None else []).append)


def found(headers: dict[str, str]) -> Explicit:
    explicit = read(headers)
    assert explicit is not None
    return explicit


class TestHints:
    @pytest.mark.parametrize(
        ("kind", "header", "value", "relation"),
        [
            ("claude_code", "x-claude-code-request-class", "main", None),
            ("claude_code", "x-claude-code-request-class", "subagent", "subagent"),
            ("claude_code", "x-claude-code-request-class", "workflow", "subagent"),
            ("claude_code", "x-claude-code-request-class", "compaction", "compaction"),
            ("claude_code", "x-claude-code-request-class", " Auxiliary ", "side_call"),
            ("claude_code", "x-claude-code-request-class", "of next year", None),
            ("claude_code", "x-claude-code-compaction", "auto", "compaction"),
            ("claude_code", "x-claude-code-compaction", "reactive", "compaction"),
            ("claude_code", "x-claude-code-compaction", "1", "compaction"),
            ("claude_code", "x-claude-code-compaction", "false", None),
            ("claude_code", "x-claude-code-compaction", "", None),
            ("codex", "x-openai-subagent", "collab_spawn", "subagent"),
            ("codex", "x-openai-subagent", "review", "subagent"),
            ("codex", "x-openai-subagent", "compact", "compaction"),
            ("codex", "x-openai-subagent", "0", None),
            ("codex", TURN, json.dumps({"request_kind": "turn"}), None),
            ("codex", TURN, json.dumps({"request_kind": "compaction"}), "compaction"),
            ("codex", TURN, json.dumps({"thread_source": "user"}), None),
            ("codex", TURN, json.dumps({"thread_source": "subagent"}), "subagent"),
            ("codex", TURN, "{", None),
            ("codex", TURN, "7", None),
        ],
    )
    def test_each_says_one_thing(
        self, kind: str, header: str, value: str, relation: str | None
    ) -> None:
        assert said(kind, {header: value}) == ({relation} if relation else set())

    def test_only_beside_the_ids_of_the_same_client(self) -> None:
        assert said("client", {hint.header: "compaction" for hint in HINTS}) == set()

    def test_every_value_is_in_lower_case(self) -> None:
        values = [value for hint in HINTS for value in hint.means]
        assert [value for value in values if value != ANY] == [
            v.lower() for v in values if v != ANY
        ]
        assert all(hint.header == hint.header.lower() for hint in HINTS)


class TestClaudeCode:
    def test_what_a_request_is_for(self) -> None:
        sent = CLAUDE | {"x-claude-code-request-class": "auxiliary"}
        assert found(sent).relation == "side_call"
        assert found(CLAUDE | {"x-claude-code-compaction": "manual"}).relation == "compaction"
        assert found(CLAUDE | {"x-claude-code-request-class": "main"}).relation == ""

    def test_the_summary_of_a_subagent(self) -> None:
        sent = {"x-claude-code-agent-id": "a", "x-claude-code-request-class": "compaction"}
        explicit = found(CLAUDE | sent)
        assert (explicit.relation, explicit.parent) == ("compaction", "s")

    @pytest.mark.parametrize("request_class", ["subagent", "workflow"])
    def test_an_agent_without_a_name_does_not_pass_for_its_parent(self, request_class: str) -> None:
        sent = CLAUDE | {"x-claude-code-request-class": request_class, "x-session-id": "s"}
        assert read(sent) is None

    def test_nor_does_one_whose_name_can_not_be_used(self) -> None:
        rejected: list[str] = []
        assert read(CLAUDE | {"x-claude-code-agent-id": "x" * 300}, rejected) is None
        assert rejected == ["x-claude-code-agent-id"]

    def test_an_agent_is_not_its_own_parent(self) -> None:
        sent = {"x-claude-code-agent-id": "a", "x-claude-code-parent-agent-id": "a"}
        assert found(CLAUDE | sent).parent == "s"


class TestCodex:
    def test_a_subagent_that_names_no_parent_has_the_session_for_one(self) -> None:
        sent = CODEX | {"thread-id": "child", "x-openai-subagent": "review"}
        assert (found(sent).value, found(sent).parent) == ("child", "root")

    @pytest.mark.parametrize(
        "sign", [("x-openai-subagent", "collab_spawn"), (TURN, '{"thread_source": "subagent"}')]
    )
    def test_a_subagent_without_a_thread_does_not_pass_for_its_parent(
        self, sign: tuple[str, str]
    ) -> None:
        sent = {"user-agent": CODEX["user-agent"], "session-id": "root"}
        assert read(sent | dict([sign])) is None
        assert SignalReader().read(
            {"user-agent": sent["user-agent"]} | dict([sign]), {"prompt_cache_key": "root"}
        ) is None  # fmt: skip

    def test_a_fork_has_a_predecessor_and_no_parent(self) -> None:
        sent = CODEX | {"thread-id": "new", TURN: '{"forked_from_thread_id": "root"}'}
        assert (found(sent).previous, found(sent).parent) == ("root", "")

    def test_a_subagent_that_was_given_a_history_has_a_parent_and_no_predecessor(self) -> None:
        metadata = {"forked_from_thread_id": "root", "parent_thread_id": "root"}
        sent = CODEX | {"thread-id": "child", TURN: json.dumps(metadata)}
        assert (found(sent).previous, found(sent).parent) == ("", "root")

    def test_an_unusable_parent_is_counted(self) -> None:
        rejected: list[str] = []
        explicit = read(CODEX | {"x-codex-parent-thread-id": "é"}, rejected)
        assert explicit == Explicit("codex", "root", "thread-id")
        assert rejected == ["x-codex-parent-thread-id"]

    def test_nobody_is_its_own_parent_or_predecessor(self) -> None:
        metadata = json.dumps({"parent_thread_id": "root"})
        assert found(CODEX | {TURN: metadata}).parent == ""
        metadata = json.dumps({"forked_from_thread_id": "root"})
        assert found(CODEX | {TURN: metadata}).previous == ""


def claude(desk: Desk, **headers: str) -> ChatClient:
    more = {f"x-claude-code-{name.replace('_', '-')}": value for name, value in headers.items()}
    return desk.client(dialect="anthropic", headers=CLAUDE | more)


def facts(tag: SessionTag) -> tuple[str, str | None]:
    return tag.relation, tag.parent_session_id


class TestVerdicts:
    def test_a_side_call_leaves_the_session_where_it_was(self) -> None:
        desk = Desk()
        main, aside = claude(desk), claude(desk, request_class="auxiliary")
        first = main.ask("hi", "Hello!")
        title = aside.ask("A title for: hi", "Greeting")
        assert (title.session_id, title.relation) == (first.session_id, "side_call")
        more = main.ask("more")
        assert (more.session_id, more.relation) == (first.session_id, "continue")

    def test_a_side_call_before_the_first_request(self) -> None:
        desk = Desk()
        title = claude(desk, request_class="auxiliary").ask("Is this a new topic?", "Yes.")
        main = claude(desk)
        first, more = main.ask("hi", "Hello!"), main.ask("more")
        assert [title.relation, first.relation, more.relation] == ["side_call", "first", "continue"]
        assert title.session_id == first.session_id == more.session_id

    def test_a_side_call_of_a_subagent_before_its_first_request(self) -> None:
        desk = Desk()
        main = claude(desk).ask("hi", "Hello!")
        aside = claude(desk, agent_id="a", request_class="auxiliary").ask("A title?", "Task")
        child = claude(desk, agent_id="a", request_class="subagent").ask("a task", "Done.")
        assert facts(aside) == ("side_call", main.session_id)
        assert facts(child) == ("subagent", main.session_id)
        assert aside.session_id == child.session_id != main.session_id

    def test_the_request_for_a_summary_and_the_one_that_goes_on_from_it(self) -> None:
        desk = Desk()
        talk = claude(desk)
        first = talk.ask("hi", "Hello!")
        talk.headers["x-claude-code-request-class"] = "compaction"
        asked = talk.ask("Sum it up.", "They greeted each other.")
        talk.headers |= {
            "x-claude-code-request-class": "main", "x-claude-code-context-compacted": "auto"
        }  # fmt: skip
        talk.history = []
        after = talk.ask("They greeted each other. Go on.", "Well.")
        later = talk.ask("And then?")  # Some leave the header on.
        tags = [first, asked, after, later]
        assert [tag.relation for tag in tags] == ["first", "compaction", "compaction", "continue"]
        assert {tag.session_id for tag in tags} == {first.session_id}

    def test_the_retry_of_a_request_for_a_summary_is_a_retry(self) -> None:
        talk = claude(Desk(), request_class="compaction")
        talk.send([user("hi"), assistant("Hello!"), user("Sum it up.")]).fail()
        again = talk.send([user("hi"), assistant("Hello!"), user("Sum it up.")])
        assert again.tag.relation == "retry"

    def test_agents_of_a_workflow_are_children(self) -> None:
        desk = Desk()
        main = claude(desk).ask("hi", "Hello!")
        twins = [
            claude(desk, agent_id=each, request_class="workflow", agent_type="custom").ask("a task")
            for each in "ab"
        ]
        assert [facts(twin) for twin in twins] == [("subagent", main.session_id)] * 2
        assert len({main.session_id, *(twin.session_id for twin in twins)}) == 3

    def test_an_agent_without_a_name_goes_by_its_history(self) -> None:
        desk = Desk()
        main = claude(desk).ask("hi", "Hello!")
        child = claude(desk, request_class="subagent")
        first, more = child.ask("a task", "Half of it is done."), child.ask("Go on.")
        assert first.session_id == more.session_id != main.session_id

    def test_a_forked_thread_is_a_session_that_names_its_predecessor(self) -> None:
        desk = Desk()
        talk = desk.client(headers=CODEX)
        first = talk.ask("hi", "Hello!")
        fork = desk.client(
            headers=CODEX | {"thread-id": "2", TURN: '{"forked_from_thread_id":"root"}'}
        )
        fork.history = list(talk.history)
        tag = fork.ask("Something else", "Yes?")
        assert tag.session_id != first.session_id
        assert (tag.relation, tag.previous_session_id) == ("fork", first.session_id)
        assert (tag.parent_session_id, tag.root_session_id) == (None, tag.session_id)
        assert talk.ask("more").session_id == first.session_id
        assert fork.ask("more").session_id == tag.session_id

    def test_a_fork_of_what_was_never_seen_has_the_id_that_this_would_have(self) -> None:
        desk = Desk()
        headers = CODEX | {"thread-id": "2", TURN: '{"forked_from_thread_id": "root"}'}
        tag = desk.client(headers=headers).ask("hi")
        assert tag.previous_session_id == desk.client(headers=CODEX).ask("hi").session_id

    def test_a_fork_is_the_successor_of_the_session_that_an_id_joined(self) -> None:
        desk = Desk()
        talk = desk.client()
        first = talk.ask("hi", "Hello!")
        talk.headers |= CODEX
        assert talk.ask("more").session_id == first.session_id
        headers = CODEX | {"thread-id": "2", TURN: '{"forked_from_thread_id": "root"}'}
        assert desk.client(headers=headers).ask("x").previous_session_id == first.session_id

    def test_a_thread_of_codex_that_is_summed_up(self) -> None:
        talk = Desk().client(headers=CODEX)
        first = talk.ask("hi", "Hello!")
        talk.headers["x-openai-subagent"] = "compact"
        tag = talk.ask("Sum it up.")
        assert (tag.session_id, tag.relation) == (first.session_id, "compaction")

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import pytest

from gateway_sessions.detection.signals import MAX_LENGTH, SIGNALS, Explicit, SignalReader, usable

ANYONE = "curl/8.5.0"
ID = "0af1-22bc-9d33"
CODEX, GOOSE, OPENCODE = "codex_cli_rs/0.46.0 (Debian)", "goose/1.9.0", "opencode/0.14.1"
COPILOT, CLINE = "GitHubCopilotChat/0.31.2", "Cline/3.32.0"


class Row(NamedTuple):
    """What a client sends, and the kind of id that it is."""

    kind: str
    header: str = ""
    field: str = ""
    agent: str = ""
    """The user agent without which the name means something else, or nothing."""
    value: str = ID


def reply_of(row: Row, agent: str) -> Explicit | None:
    headers = {"user-agent": agent} | ({row.header: row.value} if row.header else {})
    return SignalReader().read(headers, nested(row.field, row.value) if row.field else {})


def nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


ROWS = (
    Row("gateway", "x-gateway-session-id"),
    Row("claude_code", "x-claude-code-session-id"),
    Row("claude_code", field="metadata.user_id", value=f"user_1_account_2_session_{ID}"),
    Row("codex", "session-id", agent=CODEX),
    Row("codex", "session_id", agent=CODEX),
    Row("codex", "conversation_id", agent=CODEX),
    Row("codex", "thread-id", agent=CODEX),
    Row("codex", field="prompt_cache_key", agent=CODEX),
    Row("client", "x-session-id"),
    Row("client", "x-session-affinity", agent=OPENCODE),
    Row("client", "session-id", agent=OPENCODE),
    Row("litellm", "x-litellm-session-id"),
    Row("copilot", "x-client-session-id", agent=COPILOT),
    Row("copilot", "x-interaction-id", agent=COPILOT),
    Row("kilo", "x-kilocode-taskid"),
    Row("amp", "x-amp-thread-id"),
    Row("goose", "agent-session-id", agent=GOOSE),
    Row("cagent", "x-cagent-session-id"),
    Row("mux", "x-mux-workspace-id"),
    Row("cline", "x-task-id", agent=CLINE),
    Row("openwebui", "x-openwebui-chat-id"),
    Row("gemini_cli", field="request.session_id"),
    Row("litellm", "x-litellm-trace-id"),
    Row("litellm", field="litellm_session_id"),
    Row("metadata", field="metadata.session_id"),
    Row("metadata", field="metadata.thread_id"),
    Row("metadata", field="metadata.conversation_id"),
    Row("conversation", field="conversation"),
    Row("conversation", field="conversation.id"),
    Row("helicone", "helicone-session-id"),
    Row("portkey", "x-portkey-trace-id"),
    Row("bifrost", "x-bf-session-id"),
    Row("tensorzero", field="tensorzero::episode_id"),
    Row("openrouter", field="session_id"),
    Row("dynamo", "x-dynamo-session-id"),
    Row("langfuse", "langfuse_session_id"),
    Row("langfuse", field="langfuse_session_id"),
    Row("langfuse", field="metadata.langfuse_session_id"),
    Row("envoy", "agent-session-id"),
    Row("langdb", "x-thread-id"),
    Row("langdb", "x-run-id"),
    Row("cloudflare", "cf-aig-metadata", value=json.dumps({"session_id": ID, "team": 7})),
    Row("portkey_metadata", "x-portkey-metadata", value=json.dumps({"thread_id": ID})),
    Row("baggage", "baggage", value=f"user=7,session.id={ID};ttl=1,x=y"),
)


def name(row: Row) -> str:
    return f"{row.kind}-{row.header or row.field}"


class TestTable:
    @pytest.mark.parametrize("row", ROWS, ids=name)
    def test_the_id_is_found(self, row: Row) -> None:
        found = reply_of(row, row.agent or ANYONE)
        assert found == Explicit(row.kind, ID, row.header or row.field)

    @pytest.mark.parametrize("row", [row for row in ROWS if row.agent], ids=name)
    @pytest.mark.parametrize(
        "agent", [ANYONE, "", "Mozilla/5.0 codex goose opencode copilot cline"]
    )
    def test_a_name_of_one_client_does_not_count_from_another(self, row: Row, agent: str) -> None:
        found = reply_of(row, agent)
        assert found is None or found.kind != row.kind

    def test_every_row_is_tested(self) -> None:
        tested = {(row.kind, row.header, row.field, bool(row.agent)) for row in ROWS}
        assert tested == {(s.kind, s.header, s.field, bool(s.agents)) for s in SIGNALS}

    @pytest.mark.parametrize(
        "agent", ["opencode/1.0", "pi/0.5", "crush/0.9", "OpenCode/1.0 (linux)", "pi"]
    )
    def test_clients_that_share_a_name(self, agent: str) -> None:
        found = reply_of(Row("client", "session-id"), agent)
        assert found == Explicit("client", ID, "session-id")

    @pytest.mark.parametrize("agent", ["pip/24.0", "pingdom/2"])
    @pytest.mark.parametrize("header", ["x-session-affinity", "session-id"])
    def test_pi_is_a_whole_name(self, header: str, agent: str) -> None:
        assert reply_of(Row("", header), agent) is None


class TestNotASession:
    @pytest.mark.parametrize(
        "header",
        ["x-client-request-id", "x-request-id", "traceparent", "x-claude-code-agent-type",
         "helicone-session-path", "helicone-session-name", "x-stainless-retry-count"],
    )  # fmt: skip
    def test_headers(self, header: str) -> None:
        assert reply_of(Row("", header), ANYONE) is None

    @pytest.mark.parametrize(
        "value", ["project_name:support", "project_id:0af1", "experiment_id:7", "AwEBCg=="]
    )
    def test_what_braintrust_logs_a_request_under(self, value: str) -> None:
        """Every conversation of a project sends its name, and every turn has a span of its own."""
        assert reply_of(Row("", "x-bt-parent", value=value), ANYONE) is None

    def test_lineage_alone_names_no_session(self) -> None:
        headers = {
            "x-gateway-parent-session-id": "p",
            "x-parent-session-id": "p",
            "x-dynamo-parent-session-id": "p",
            "x-claude-code-agent-id": "a",
            "x-claude-code-parent-agent-id": "p",
            "x-codex-parent-thread-id": "p",
            "user-agent": CODEX,
        }
        assert SignalReader().read(headers, {}) is None

    @pytest.mark.parametrize(
        "field", ["user", "safety_identifier", "prompt_cache_key", "container"]
    )
    def test_fields(self, field: str) -> None:
        assert reply_of(Row("", field=field), ANYONE) is None

    @pytest.mark.parametrize("address", ["10.0.0.7:8080", "[fe80::1]:443", "fe80::1:443"])
    def test_an_address_in_base64(self, address: str) -> None:
        value = base64.b64encode(address.encode()).decode()
        assert reply_of(Row("client", "x-session-id", value=value), ANYONE) is None

    @pytest.mark.parametrize("value", ["c2Vzc2lvbi0x", "deadbeef", "10.0.0.7:8080x"])
    def test_other_ids_that_look_like_base64_or_addresses(self, value: str) -> None:
        found = reply_of(Row("client", "x-session-id", value=value), ANYONE)
        assert found is not None
        assert found.value == value

    def test_a_user_id_without_a_session_part(self) -> None:
        for value in ("alice", "user_1_account_2", "_session_", "{}", '{"session_id": 7}', "[1]"):
            assert reply_of(Row("", field="metadata.user_id", value=value), ANYONE) is None


class TestFormats:
    @pytest.mark.parametrize(
        "user_id",
        [
            f"user_1_account_2_session_{ID}",
            json.dumps({"device_id": "d", "session_id": ID}),
            {"device_id": "d", "session_id": ID},
        ],
        ids=["text", "json", "object"],
    )
    def test_claude_codes_user_id(self, user_id: Any) -> None:
        found = SignalReader().read({}, {"metadata": {"user_id": user_id}})
        assert found == Explicit("claude_code", ID, "metadata.user_id")

    @pytest.mark.parametrize("member", ["session_id", "thread_id", "conversation_id"])
    @pytest.mark.parametrize("header", ["cf-aig-metadata", "x-portkey-metadata"])
    def test_members_of_json_headers(self, header: str, member: str) -> None:
        found = SignalReader().read({header: json.dumps({"a": 1, member: ID})}, {})
        assert found is not None
        assert found.value == ID

    @pytest.mark.parametrize("value", ["{", "[]", "7", "{}", '{"session_id": 7}', "[" * 100_000])
    def test_json_headers_without_an_id(self, value: str) -> None:
        assert SignalReader().read({"cf-aig-metadata": value}, {}) is None

    @pytest.mark.parametrize(
        "value",
        [
            f"session.id={ID}",
            f" a=b , session.id = {ID} ; p=1",
            f"gen_ai.conversation.id={ID}",
            f"gen_ai.conversation.id=other,session.id={ID}",
            f"lone,session.id={ID}",
            f"lone;p=1,session.id={ID}",
        ],
    )
    def test_baggage(self, value: str) -> None:
        assert SignalReader().read({"baggage": value}, {}) == Explicit("baggage", ID, "baggage")

    @pytest.mark.parametrize("value", ["", ",", "=", ";=", "a;b=c", "session.id", "session.id="])
    def test_baggage_without_an_id(self, value: str) -> None:
        assert SignalReader().read({"baggage": value}, {}) is None

    @pytest.mark.parametrize("value", [None, 7, ["a"], {"id": "a"}, True, ""])
    def test_fields_of_a_wrong_type(self, value: Any) -> None:
        fields = {"session_id": value, "metadata": {"session_id": value}}
        assert SignalReader().read({}, fields) is None
        assert SignalReader().read({}, {"metadata": value}) is None


class TestLineage:
    def test_a_parent_of_ours(self) -> None:
        headers = {"x-gateway-session-id": "child", "x-gateway-parent-session-id": "parent"}
        found = SignalReader().read(headers, {})
        assert found == Explicit("gateway", "child", "x-gateway-session-id", "parent")

    @pytest.mark.parametrize("header", ["x-session-id", "session-id", "x-session-affinity"])
    def test_a_parent_of_opencode(self, header: str) -> None:
        headers = {"user-agent": OPENCODE, header: "child", "x-parent-session-id": "parent"}
        assert SignalReader().read(headers, {}) == Explicit("client", "child", header, "parent")

    def test_a_parent_of_dynamo(self) -> None:
        headers = {"x-dynamo-session-id": "child", "x-dynamo-parent-session-id": "parent"}
        found = SignalReader().read(headers, {})
        assert found == Explicit("dynamo", "child", "x-dynamo-session-id", "parent")

    def test_threads_of_codex_share_its_session_id(self) -> None:
        main = {"user-agent": CODEX, "session-id": "root", "thread-id": "root"}
        child = {
            "user-agent": CODEX,
            "session-id": "root",
            "thread-id": "thread-2",
            "x-codex-parent-thread-id": "root",
        }
        assert SignalReader().read(main, {}) == Explicit("codex", "root", "thread-id")
        assert SignalReader().read(child, {}) == Explicit("codex", "thread-2", "thread-id", "root")

    def test_threads_of_codex_name_their_parent_in_the_metadata_too(self) -> None:
        metadata = json.dumps({"thread_source": "subagent", "parent_thread_id": "root"})
        child = {"user-agent": CODEX, "thread-id": "thread-2", "x-codex-turn-metadata": metadata}
        assert SignalReader().read(child, {}) == Explicit("codex", "thread-2", "thread-id", "root")

    @pytest.mark.parametrize("where", ["header", "body"])
    def test_agents_of_claude_code_are_sessions_below_the_shared_one(self, where: str) -> None:
        headers = {"x-claude-code-session-id": ID} if where == "header" else {}
        fields = {"metadata": {"user_id": f"u_session_{ID}"}} if where == "body" else {}
        read = SignalReader().read
        main = read(headers, fields)
        child = read(headers | {"x-claude-code-agent-id": "a1"}, fields)
        above = {"x-claude-code-parent-agent-id": "a1"}
        grandchild = read(headers | {"x-claude-code-agent-id": "a2"} | above, fields)
        assert main is not None
        assert child is not None
        assert grandchild is not None
        assert len({main.value, child.value, grandchild.value}) == 3
        assert (main.parent, child.parent, grandchild.parent) == ("", main.value, child.value)
        assert {main.kind, child.kind, grandchild.kind} == {"claude_code"}

    def test_a_parent_agent_without_an_agent_names_nobody(self) -> None:
        headers = {"x-claude-code-session-id": ID, "x-claude-code-parent-agent-id": "a1"}
        found = SignalReader().read(headers, {})
        assert found == Explicit("claude_code", ID, "x-claude-code-session-id")

    def test_session_and_agent_can_not_run_into_each_other(self) -> None:
        def of(session: str, agent: str) -> str:
            sent = {"x-claude-code-session-id": session, "x-claude-code-agent-id": agent}
            found = SignalReader().read(sent, {})
            return found.value if found else ""

        assert of("a/b", "c") != of("a", "b/c")

    def test_an_unusable_parent_is_left_out(self) -> None:
        headers = {"x-gateway-session-id": ID, "x-gateway-parent-session-id": "x" * 300}
        assert SignalReader().read(headers, {}) == Explicit("gateway", ID, "x-gateway-session-id")


class TestPrecedence:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("x-gateway-session-id", "x-claude-code-session-id"),
            ("x-claude-code-session-id", "x-session-id"),
            ("x-session-id", "x-litellm-trace-id"),
            ("x-litellm-session-id", "helicone-session-id"),
            ("x-litellm-trace-id", "helicone-session-id"),
            ("helicone-session-id", "x-portkey-trace-id"),
            ("x-portkey-trace-id", "x-bf-session-id"),
            ("x-bf-session-id", "x-dynamo-session-id"),
            ("x-dynamo-session-id", "langfuse_session_id"),
            ("langfuse_session_id", "agent-session-id"),
            ("agent-session-id", "x-thread-id"),
            ("x-thread-id", "x-run-id"),
        ],
    )
    def test_of_two_headers(self, first: str, second: str) -> None:
        found = SignalReader().read({second: "second", first: "first"}, {})
        assert found is not None
        assert (found.value, found.source) == ("first", first)

    def test_a_clients_own_body_field_before_a_gateways_header(self) -> None:
        fields = {"metadata": {"user_id": f"u_session_{ID}"}}
        found = SignalReader().read({"helicone-session-id": "x"}, fields)
        assert found == Explicit("claude_code", ID, "metadata.user_id")

    def test_headers_of_the_users_own_come_right_after_ours(self) -> None:
        reader = SignalReader(("X-Chat",))
        sent = {"x-chat": "chat", "x-claude-code-session-id": ID}
        assert reader.read(sent, {}) == Explicit("header:x-chat", "chat", "x-chat")
        ours = reader.read(sent | {"x-gateway-session-id": "ours"}, {})
        assert ours == Explicit("gateway", "ours", "x-gateway-session-id")

    def test_a_header_of_the_users_own_needs_no_user_agent(self) -> None:
        found = SignalReader(("thread-id",)).read({"thread-id": ID, "user-agent": ANYONE}, {})
        assert found is not None
        assert found.value == ID


class TestUsable:
    @pytest.mark.parametrize("value", ["a", "a b", "x" * MAX_LENGTH, "!~", "a/b|c:d"])
    def test_printable_ascii(self, value: str) -> None:
        assert usable(value)

    @pytest.mark.parametrize(
        "value", ["", " a", "a ", "a\n", "a\tb", "é", "a\x7f", "\x00", "x" * (MAX_LENGTH + 1), " "]
    )
    def test_nothing_else(self, value: str) -> None:
        assert not usable(value)

    def test_a_bad_value_is_reported_and_the_next_one_counts(self) -> None:
        rejected: list[str] = []
        headers = {"x-gateway-session-id": "x" * 257, "x-session-id": "é", "x-bf-session-id": ID}
        found = SignalReader().read(headers, {"session_id": "\x07"}, rejected.append)
        assert found == Explicit("bifrost", ID, "x-bf-session-id")
        assert rejected == ["x-gateway-session-id", "x-session-id"]
        assert SignalReader().read({}, {"session_id": "\x07"}, rejected.append) is None
        assert rejected[2:] == ["session_id"]

    def test_no_id_at_all_is_no_fault(self) -> None:
        rejected: list[str] = []
        fields = {"metadata": {"user_id": "alice"}}
        assert SignalReader().read({"x-session-id": ""}, fields, rejected.append) is None
        assert rejected == []

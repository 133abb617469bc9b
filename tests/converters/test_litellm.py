"""LiteLLM's spend logs: what they hold and what they leave out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.converters.litellm import exchange
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.values import NOTHING
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange
from tests.converters.logs import EGG, FIRST, SECOND, Json, chat_reply, relations, row, tags

KEY = hashlib.sha256(b"sk-1").hexdigest()
UUID = "0f9f3c9a-7f0e-4b7e-9d0a-3a5a5c8d4f11"


def spend(second: int, messages: list[Json], **more: Any) -> Json:
    """Return a row as the database has it, JSON columns as text."""
    return {
        "request_id": f"chatcmpl-{second}",
        "call_type": "acompletion",
        "api_key": KEY,
        "spend": 0.0001,
        "startTime": f"2026-01-20 10:30:{second:02}.000",
        "endTime": f"2026-01-20 10:30:{second + 1:02}.500",
        "model": "gpt-4o",
        "user": "default_user_id",
        "metadata": '{"status": "success"}',
        "request_tags": '["User-Agent: openai-python", "User-Agent: openai-python/2.1"]',
        "end_user": "",
        "requester_ip_address": "10.0.0.7",
        "messages": "{}",
        "response": json.dumps(chat_reply()),
        "session_id": UUID,
        "status": "success",
        "proxy_server_request": json.dumps({"model": "gpt-4o", "messages": messages}),
    } | more


def converted(*rows: Json, notes: Notes | None = None) -> list[LoggedExchange]:
    kept = notes or Notes()
    return [exchange(row(values, number), kept) for number, values in enumerate(rows, 1)]


def requested(found: LoggedExchange) -> Json:
    body: Json = msgspec.json.decode(found.request.body)
    return body


def test_a_row_is_an_exchange() -> None:
    (found,) = converted(spend(1, FIRST))
    assert found.request_id == "chatcmpl-1"
    assert found.timestamp.isoformat() == "2026-01-20T10:30:01+00:00"
    assert found.request.path == "/v1/chat/completions"
    assert requested(found) == {"model": "gpt-4o", "messages": FIRST}
    assert found.request.headers == {"user-agent": "openai-python/2.1"}
    assert found.response is not None
    assert found.response.duration_ms == 1500
    assert msgspec.json.decode(found.response.body) == chat_reply()
    assert (found.client.ip, found.client.scope) == ("10.0.0.7", KEY)


def test_a_conversation_is_one_session() -> None:
    assert relations(converted(spend(1, FIRST), spend(5, SECOND))) == ["first", "continue"]


@pytest.mark.parametrize("difference", [{"api_key": "other"}, {"end_user": "bob"}])
def test_keys_and_end_users_are_kept_apart(difference: Json) -> None:
    one, other = tags(converted(spend(1, FIRST), spend(5, SECOND, **difference)))
    assert one is not None
    assert other is not None
    assert one.session_id != other.session_id


def test_a_user_stands_for_a_missing_key() -> None:
    rows = spend(1, FIRST, api_key="", user="ann"), spend(5, SECOND, api_key="", user="bob")
    assert [found.client.scope for found in converted(*rows)] == ["ann", "bob"]


def test_the_end_user_that_the_client_names_wins() -> None:
    named = {"messages": FIRST, "user": "ann"}
    (found,) = converted(spend(1, [], proxy_server_request=named, end_user="bob"))
    assert requested(found)["user"] == "ann"


def test_columns_may_be_values_as_well_as_texts() -> None:
    request, response = {"model": "m", "messages": FIRST}, chat_reply()
    values = spend(1, [], proxy_server_request=request, response=response, metadata={})
    assert relations(converted(values, spend(5, SECOND))) == ["first", "continue"]


def test_the_request_may_be_wrapped_and_its_headers_count() -> None:
    body = {
        "messages": FIRST,
        "metadata": {"headers": {"X-Session-Id": "s1", "Authorization": "*"}},
    }
    (found,) = converted(spend(1, [], proxy_server_request={"url": "http://x/y", "body": body}))
    assert requested(found)["messages"] == FIRST
    assert found.request.headers == {"x-session-id": "s1", "user-agent": "openai-python/2.1"}


@pytest.mark.parametrize("made_up", [UUID, UUID.replace("-", ""), "", None])
def test_ids_that_litellm_makes_up_name_no_session(made_up: str | None) -> None:
    rows = spend(1, FIRST, session_id=made_up), spend(5, SECOND, session_id=str(made_up)[::-1])
    found = tags(converted(rows[0], spend(5, SECOND)))
    assert [tag.source for tag in found if tag] == ["new", "prefix"]


def test_ids_that_a_client_gave_name_a_session() -> None:
    rows = spend(1, FIRST, session_id="ticket-17"), spend(5, FIRST, session_id="ticket-17")
    one, other = tags(converted(*rows))
    assert one is not None
    assert other is not None
    assert (one.session_id, one.external_id) == (other.session_id, "ticket-17")


def test_a_callbacks_payload_is_an_exchange_too() -> None:
    payload = {
        "id": "chatcmpl-9",
        "trace_id": UUID,
        "call_type": "acompletion",
        "startTime": 1768905001.0,
        "endTime": 1768905003.0,
        "model": "gpt-4o",
        "model_parameters": {"temperature": 0, "tools": [{"type": "function"}]},
        "metadata": {"user_api_key_hash": KEY, "requester_ip_address": "10.0.0.7"},
        "messages": FIRST,
        "response": chat_reply(),
        "status": "success",
    }
    found = converted(payload, spend(59, SECOND))
    assert requested(found[0])["tools"] == [{"type": "function"}]
    assert (found[0].client.ip, found[0].client.scope) == ("10.0.0.7", KEY)
    assert relations(found) == ["first", "continue"]


class TestCalls:
    def test_anthropics_format_is_answered_in_it(self) -> None:
        rows = [
            spend(second, messages, call_type="anthropic_messages")
            for second, messages in ((1, FIRST), (5, SECOND))
        ]
        found = converted(*rows)
        assert found[0].request.path == "/v1/messages"
        assert found[0].response is not None
        assert msgspec.json.decode(found[0].response.body)["content"][0]["text"] == EGG
        assert relations(found) == ["first", "continue"]

    def test_responses_go_on_by_id(self) -> None:
        said = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": EGG}],
        }
        answer = {"id": "resp_1", "object": "response", "status": "completed", "output": [said]}
        one = {"input": "How long?", "model": "m"}
        other = {"input": "And soft?", "model": "m", "previous_response_id": "resp_1"}
        found = converted(
            spend(1, [], call_type="aresponses", proxy_server_request=one, response=answer),
            spend(5, [], call_type="aresponses", proxy_server_request=other, response={}),
        )
        assert relations(found) == ["first", "continue"]

    @pytest.mark.parametrize(
        ("call", "path"),
        [
            ("completion", "/v1/chat/completions"),
            ("atext_completion", "/v1/completions"),
            ("agenerate_content_stream", "/v1beta/models/gpt-4o:generateContent"),
            ("pass_through_endpoint", "/v1/chat/completions"),
            ("/openai/v1/chat/completions", "/openai/v1/chat/completions"),
        ],
    )
    def test_the_type_of_call_tells_the_format(self, call: str, path: str) -> None:
        assert converted(spend(1, FIRST, call_type=call))[0].request.path == path

    @pytest.mark.parametrize("call", ["aembedding", "aimage_generation", "acreate_file", "arerank"])
    def test_other_calls_have_no_session_and_lack_nothing(self, call: str) -> None:
        notes = Notes()
        values = spend(1, [], call_type=call, proxy_server_request="{}", response="{}")
        assert relations(converted(values, notes=notes)) == [None]
        assert notes == Notes()


class TestOutcome:
    @pytest.mark.parametrize(
        ("metadata", "status"),
        [('{"error_information": {"error_code": "429"}}', 429), ("{}", 500), ("broken", 500)],
    )
    def test_a_failure_may_be_repeated(self, metadata: str, status: int) -> None:
        failed = spend(1, FIRST, status="failure", response="{}", metadata=metadata)
        found = converted(failed, spend(5, FIRST))
        assert found[0].response is not None
        assert found[0].response.status == status
        assert relations(found) == ["first", "retry"]

    def test_a_success_without_a_reply_is_noted(self) -> None:
        notes = Notes()
        converted(spend(1, FIRST, response="{}"), spend(5, FIRST), notes=notes)
        assert notes == Notes(exchanges=2, without_reply=1)


class TestLeftOut:
    @pytest.mark.parametrize(
        "stored",
        [
            {"proxy_server_request": "{}", "response": "{}"},
            {"proxy_server_request": None, "response": None, "messages": None},
            {
                "proxy_server_request": {
                    "messages": [{"role": "user", "content": "redacted-by-litellm"}]
                }
            },
            {
                "proxy_server_request": "{}",
                "messages": [{"role": "user", "content": "REDACTED_BY_LITELM"}],
            },
        ],
    )
    def test_prompts_that_are_not_kept_make_no_session(self, stored: Json) -> None:
        notes = Notes()
        found = converted(spend(1, FIRST) | stored, spend(5, SECOND) | stored, notes=notes)
        assert [one.request.body for one in found] == [NOTHING, NOTHING]
        assert relations(found) == [None, None]
        assert notes == Notes(exchanges=2, without_prompt=2)

    def test_a_redacted_reply_is_none(self) -> None:
        notes = Notes()
        (found,) = converted(spend(1, FIRST, response='"redacted-by-litellm"'), notes=notes)
        assert found.response is not None
        assert found.response.body is NOTHING
        assert notes.without_reply == 1

    def test_messages_that_say_more_than_the_redaction_are_kept(self) -> None:
        notes = Notes()
        asked = [{"role": "user", "content": [{"type": "text", "text": "redacted-by-litellm"}]}]
        converted(spend(1, asked), notes=notes)
        assert notes.without_prompt == 0

    def test_texts_that_were_cut_are_noted(self) -> None:
        notes = Notes()
        cut = "How ... (litellm_truncated skipped 90 chars) ... egg?"
        converted(spend(1, [{"role": "user", "content": cut}]), spend(5, FIRST), notes=notes)
        assert notes == Notes(exchanges=2, cut=1)

    @pytest.mark.parametrize("time", [None, "", "soon"])
    def test_a_row_without_time_is_refused(self, time: str | None) -> None:
        with pytest.raises(UnreadableLog) as raised:
            converted(spend(1, FIRST, startTime=time))
        assert str(raised.value) == (
            "log, line 1: not a row of LiteLLM's spend logs; each needs a startTime."
        )

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway_sessions import transit as transit_module
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.testing import assistant
from tests.index.stored import StoreInMemory
from tests.traffic import (
    CHAT,
    EVENTS,
    JSON,
    MESSAGES,
    House,
    Seen,
    asked,
    chunks,
    completion,
    feed,
    followed,
    head,
    length,
    message_events,
    tag,
)


class TestHeads:
    """The reply is known before the client can have its last byte."""

    async def test_a_reply_whose_length_is_announced(self) -> None:
        house = House()
        transit = await house.begin("hi")
        body = completion("Hello!")
        transit.response_started(200, length(body))
        feed(transit, [body[:20], body[20:-1]])
        assert await followed(house) == "first"
        transit.feed(body[-1:])
        assert await followed(house) == "continue"

    async def test_a_stream_with_an_end_marker(self) -> None:
        house = House()
        transit = await house.begin("hi", stream=True)
        transit.response_started(200, EVENTS)
        *before, done = chunks("Hel", "lo!")
        feed(transit, before)
        assert await followed(house) == "first"
        transit.feed(done)
        assert await followed(house) == "continue"

    async def test_a_stream_of_anthropics(self) -> None:
        house = House()
        transit = await house.begin("hi", path=MESSAGES)
        transit.response_started(200, EVENTS)
        *before, stop = message_events("Hel", "lo!")
        feed(transit, before)
        assert await followed(house, path=MESSAGES) == "first"
        transit.feed(stop)
        assert await followed(house, path=MESSAGES) == "continue"

    async def test_a_stream_cut_at_every_byte(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        whole = b"".join(chunks("Hel", "lo!"))
        feed(transit, [whole[place : place + 1] for place in range(len(whole))])
        assert await followed(house) == "continue"

    async def test_a_reply_of_unknown_length_is_known_at_its_end(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        transit.feed(completion("Hello!"))
        assert await followed(house) == "first"
        transit.finish()
        assert await followed(house) == "continue"

    async def test_a_stream_without_an_end_marker_is_known_at_its_end(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, chunks("Hello!", done=False))
        transit.finish()
        assert await followed(house) == "continue"

    async def test_what_follows_the_end_changes_nothing(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, [*chunks("Hello!"), b": bye\n\n", *chunks("And more")])
        transit.finish()
        assert await followed(house) == "continue"
        assert b"And more" not in seen.response.body

    @pytest.mark.parametrize("announced", ["", "-1", "x", "²", "9" * 5000])
    async def test_lengths_that_are_no_numbers(self, announced: str) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, (*JSON, ("Content-Length", announced)))
        transit.feed(completion("Hello!"))
        transit.finish()
        assert await followed(house) == "continue"

    async def test_a_body_longer_than_announced(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, (*JSON, ("Content-Length", "5")))
        transit.feed(completion("Hello!"))
        transit.finish()
        assert await followed(house) == "continue"

    async def test_the_time_of_the_reply_renews_the_session(self) -> None:
        house = House(settings=DetectionSettings(session_ttl_seconds=60))
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        house.clock.advance(300)
        transit.feed(completion("Hello!"))
        transit.finish()
        house.clock.advance(59)
        assert await followed(house) == "continue"


class TestShown:
    """What the edge passes on is looked at after it has left, and before anything else is."""

    async def test_it_is_looked_at_in_the_next_turn_of_the_loop(self) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi")
        body = completion("Hello!")
        transit.response_started(200, length(body))
        assert (transit.show(body), transit.end()) == (None, None)
        assert seen.exchanges == []
        await asyncio.sleep(0)
        assert (seen.response.body, seen.response.error) == (body, None)

    async def test_the_next_request_knows_it(self) -> None:
        house = House()
        transit = await house.begin("hi")
        body = completion("Hello!")
        transit.response_started(200, length(body))
        transit.show(body)
        assert await followed(house) == "continue"

    async def test_a_token_count_knows_it(self) -> None:
        house = House()
        transit = await house.begin("hi", path=MESSAGES)
        transit.response_started(200, EVENTS)
        for event in message_events("Hello!"):
            transit.show(event)
        history = asked("hi", assistant("Hello!"), "more")
        count = await house.gateway.begin(head(f"{MESSAGES}/count_tokens"), history)
        assert tag(count).session_id == tag(transit).session_id

    async def test_times_are_those_of_its_passing(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi", stream=True)
        transit.response_started(200, EVENTS)
        house.monotonic.advance(1)
        first, *others = chunks("Hello!")
        transit.show(first)
        house.monotonic.advance(1)
        transit.show(b"".join(others))
        transit.end()
        house.monotonic.advance(1)
        await asyncio.sleep(0)
        times = [seen.response.time_to_first_byte_ms, seen.response.duration_ms]
        assert times == pytest.approx([1000, 2000])

    async def test_a_client_that_leaves_does_not_overtake_it(self) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi")
        body = completion("Hello!")
        transit.response_started(200, JSON)
        transit.show(body)
        transit.finish("client_closed")
        assert (seen.response.body, seen.response.error) == (body, "client_closed")

    async def test_it_is_looked_at_before_what_is_told_at_once(self) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi")
        body = completion("Hello!")
        transit.response_started(200, JSON)
        transit.show(body[:9])
        transit.feed(body[9:])
        transit.finish()
        assert seen.response.body == body

    @pytest.mark.parametrize("last", ["close", "flush"])
    async def test_nothing_is_left_undone(self, last: str) -> None:
        seen = Seen()
        house = House(seen)
        await house.gateway.open()
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        transit.show(completion("Hello!"))
        transit.end()
        ending = getattr(house.gateway, last)()
        with pytest.raises(StopIteration):  # It has come to its end without a turn of the loop.
            ending.send(None)
        assert seen.response.status == 200
        await house.gateway.close()

    async def test_where_sessions_are_shared_the_last_bytes_wait(self) -> None:
        store = StoreInMemory()
        house = House(store=store)
        await house.gateway.open()
        transit = await house.begin("hi")
        body = completion("Hello!")
        transit.response_started(200, length(body))
        assert transit.show(body[:-1]) is None
        before = len(store.committed)
        waits = transit.show(body[-1:])
        assert waits is not None
        await waits
        assert len(store.committed) == before + 1
        assert transit.end() is None
        await house.gateway.close()

    async def test_where_sessions_are_shared_the_end_may_wait(self) -> None:
        house = House(store=StoreInMemory())
        await house.gateway.open()
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        assert transit.show(completion("Hello!")) is None
        waits = transit.end()
        assert waits is not None
        await waits
        await house.gateway.close()


class TestLongStreams:
    """What a request says is not held while its answer goes on."""

    @pytest.mark.parametrize("needed", [True, False])
    async def test_the_body_goes_where_nobody_reads_it(self, needed: bool) -> None:
        seen = Seen()
        seen.needs_body = needed
        transit = await House(seen).begin("hi", stream=True)
        sent = transit.exchange.request
        transit.response_started(200, EVENTS)
        feed(transit, chunks("Hello!"))
        transit.finish()
        request = seen.exchanges[0].request
        assert request.body == (sent.body if needed else b"")
        assert request.size == len(sent.body) > 0

    async def test_what_was_put_off_until_then_still_finds_it(self) -> None:
        seen = Seen()
        seen.needs_body = False
        house = House(seen)
        transit = await house.begin("hi", stream=True)
        found: list[bytes] = []
        house.gateway.later.add(lambda: found.append(transit.exchange.request.body))
        transit.response_started(200, EVENTS)
        assert len(found[0]) == transit.exchange.request.size
        assert transit.exchange.request.body == b""

    @pytest.mark.parametrize(("tool", "relation"), [("task", "first"), ("other", "subagent")])
    async def test_which_tools_were_offered_is_still_known(self, tool: str, relation: str) -> None:
        """Who opens like a user of an application with the same tools is another of its users."""
        task = "Find every place where the configuration is read and list them by line."

        def offered(name: str) -> list[dict[str, Any]]:
            return [{"type": "function", "function": {"name": name}}]

        call = {"name": "task", "arguments": json.dumps({"prompt": task})}
        delta = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": call}]}
        ends = {"index": 0, "delta": delta, "finish_reason": "tool_calls"}
        house = House()
        parent = await house.begin(task, stream=True, tools=offered("task"))
        parent.response_started(200, EVENTS)
        parent.feed(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"choices": [ends]}).encode())
        parent.finish()
        ben = {"role": "system", "content": "Ben asks you."}
        assert tag(await house.begin(ben, task, tools=offered(tool))).relation == relation

    async def test_a_body_that_is_answered_at_once_stays(self) -> None:
        seen = Seen()
        seen.needs_body = False
        await House(seen).ask("hi")
        assert seen.exchanges[0].request.body

    async def test_a_stream_that_breaks_off_is_known_as_far_as_it_came(self) -> None:
        house = House()
        transit = await house.begin("hi", stream=True)
        transit.response_started(200, EVENTS)
        feed(transit, chunks("Hello!", done=False))
        transit.finish("upstream_aborted")
        assert await followed(house) == "continue"


class TestResponse:
    async def test_a_whole_one(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        house.monotonic.advance(0.2)
        body = completion("Hello!")
        sent = (*JSON, ("Set-Cookie", "a=1"), ("X-Request-Id", "7"), ("set-cookie", "b=2"))
        transit.response_started(200, sent)
        house.monotonic.advance(0.1)
        transit.feed(body[:10])
        house.monotonic.advance(0.5)
        transit.feed(body[10:])
        transit.finish()
        response = seen.response
        assert (response.status, response.body, response.size) == (200, body, len(body))
        assert response.headers == (
            *JSON, ("Set-Cookie", "***"), ("X-Request-Id", "7"), ("set-cookie", "***"),
        )  # fmt: skip
        assert response.duration_ms == pytest.approx(800)
        assert response.time_to_first_byte_ms == pytest.approx(300)
        assert (response.streamed, response.chunks, response.raw_stream) == (False, 2, b"")
        assert (response.model, response.finish_reason) == ("gpt-x-1", "stop")
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 5)
        assert (response.refused, response.error) == (False, None)

    async def test_a_stream_is_put_together(self) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi", path=MESSAGES)
        transit.response_started(200, EVENTS)
        events = message_events("Hel", "lo!")
        feed(transit, events)
        transit.finish()
        response = seen.response
        assert json.loads(response.body)["content"] == [{"type": "text", "text": "Hello!"}]
        assert response.streamed
        assert (response.chunks, response.size) == (len(events), len(b"".join(events)))
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 5)
        assert (response.model, response.finish_reason) == ("claude-x-1", "end_turn")
        assert response.raw_stream == b""

    async def test_the_chunks_are_kept_where_asked_for(self) -> None:
        seen = Seen(wants_raw_stream=True)
        transit = await House(seen).begin("hi")
        transit.response_started(200, EVENTS)
        events = chunks("Hel", "lo!")
        feed(transit, events)
        transit.finish()
        assert seen.response.raw_stream == b"".join(events)
        assert b"Hello!" in seen.response.body

    async def test_a_stream_too_long_to_be_kept_raw_is_still_a_reply(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transit_module, "REPLY_BYTES_KEPT", 100)
        house = House(Seen(wants_raw_stream=True))
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, chunks("Hel", "lo!"))
        transit.finish()
        assert await followed(house) == "continue"

    async def test_without_a_byte(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(204, ())
        house.monotonic.advance(0.5)
        transit.finish()
        response = seen.response
        assert response.duration_ms == response.time_to_first_byte_ms == pytest.approx(500)
        assert (response.size, response.chunks) == (0, 0)

    async def test_a_refusal_of_the_model(self) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi")
        answer = json.loads(completion(""))
        answer["choices"][0]["message"]["refusal"] = "I can not help with that."
        transit.response_started(200, JSON)
        transit.feed(json.dumps(answer).encode())
        transit.finish()
        assert seen.response.refused

    async def test_a_request_without_a_session_is_recorded_too(self) -> None:
        seen = Seen()
        transit = await House(seen).gateway.begin(head(), b"not JSON")
        transit.response_started(400, JSON)
        transit.feed(b"{}")
        transit.finish()
        assert seen.exchanges == [transit.exchange]
        assert (seen.response.status, seen.response.body) == (400, b"{}")

    @pytest.mark.parametrize(
        "kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/x-ndjson"]
    )
    async def test_what_is_a_stream(self, kind: str) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi")
        transit.response_started(200, (("content-type", kind),))
        transit.finish()
        assert seen.response.streamed


class TestHeaders:
    async def test_tags_for_the_client(self) -> None:
        transit = await House().begin("hi")
        session = tag(transit)
        assert dict(transit.client_headers()) == {
            "X-Gateway-Session-Id": session.session_id,
            "X-Gateway-Session-Source": "new",
            "X-Gateway-Session-Relation": "first",
            "X-Gateway-Session-Confidence": f"{session.confidence:g}",
            "X-Gateway-Request-Id": transit.exchange.request_id,
        }
        assert transit.upstream_headers() == ()

    async def test_the_parent(self) -> None:
        sent = head(CHAT, x_session_id="child", x_parent_session_id="parent")
        transit = await House().gateway.begin(sent, asked("hi"))
        fields = dict(transit.client_headers())
        assert fields["X-Gateway-Parent-Session-Id"] == tag(transit).parent_session_id
        assert fields["X-Gateway-Parent-Session-Id"].startswith("sess_")

    async def test_without_a_session(self) -> None:
        transit = await House().gateway.begin(head(), b"not JSON")
        assert dict(transit.client_headers()) == {
            "X-Gateway-Request-Id": transit.exchange.request_id
        }

    @pytest.mark.parametrize(
        ("path", "member"), [(CHAT, "error"), (MESSAGES, "type"), ("/nowhere", "error")]
    )
    async def test_errors_in_the_clients_own_shape(self, path: str, member: str) -> None:
        transit = await House().gateway.begin(head(path), asked("hi"))
        body: dict[str, Any] = json.loads(transit.error_body(502, "The upstream is away."))
        assert member in body
        assert body["error"]["message"] == "The upstream is away."


async def test_a_response_to_what_is_no_conversation_is_not_looked_at() -> None:
    seen = Seen()
    transit = await House(seen).gateway.begin(head("/v1/models", "GET"), None)
    transit.response_started(200, (("Content-Encoding", "gzip"), ("Content-Length", "9" * 5000)))
    transit.feed(b"not gzip")
    transit.finish("client_closed")
    assert seen.exchanges == []


KEY = "sk-0123456789abcdef"


@pytest.mark.parametrize(("status", "kept"), [(401, "no such key: ***"), (200, f"it is {KEY}")])
async def test_errors_may_quote_keys_and_answers_are_left_alone(status: int, kept: str) -> None:
    seen = Seen()
    transit = await House(seen).begin("hi")
    said = "no such key: " if status == 401 else "it is "
    transit.response_started(status, JSON)
    transit.feed(json.dumps({"error": {"message": f"{said}{KEY}"}}).encode())
    transit.finish()
    assert json.loads(seen.response.body) == {"error": {"message": kept}}

"""The tests against traps have teeth: each fails where its trap is set again.

A mutant puts back what a textbook proxy does; the test named beside it must then fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler

from gateway_sessions.web import bodies, client, headers, middleware, proxy, relay, seams, server
from gateway_sessions.web.streams import Tee
from tests.faults import test_broken_upstreams as broken
from tests.faults import test_smuggling as smuggling
from tests.faults import test_traps as traps
from tests.web import harness, test_relay, test_server

PATIENCE = 0.7
"""Seconds for a test that fails by waiting in vain; none of them needs more to pass."""
FAILURES = (AssertionError, TimeoutError, OSError, EOFError, ExceptionGroup, pytest.fail.Exception)
"""How tests fail; anything else would be a fault of the mutant's own."""
LEFT_OPEN: list[client.UpstreamResponse] = []
"""Responses that a mutant has not closed."""

Patch = pytest.MonkeyPatch
Test = Callable[[], Awaitable[None]]


def decompressing(patch: Patch) -> None:
    patch.setitem(server._OPTIONS, "auto_decompress", True)


def decompressing_client(patch: Patch) -> None:
    plain = ResponseHandler.set_response_params

    def decompress(self: Any, **options: Any) -> None:
        plain(self, **{**options, "auto_decompress": True})

    patch.setattr(ResponseHandler, "set_response_params", decompress)


def running_on(patch: Patch) -> None:
    plain = server._Server.__init__

    def without(self: Any, *args: Any, **options: Any) -> None:
        plain(self, *args, **{**options, "handler_cancellation": False})

    patch.setattr(server._Server, "__init__", without)


def never_closing(patch: Patch) -> None:
    def close(self: client.UpstreamResponse) -> None:
        LEFT_OPEN.append(self)

    patch.setattr(client.UpstreamResponse, "close", close)


def small_bodies(patch: Patch) -> None:
    patch.setattr(proxy, "INSPECTION_LIMIT", 1024**2)


def small_pool(patch: Patch) -> None:
    patch.setattr(client, "POOL_LIMIT", 100)


def total_limit(patch: Patch) -> None:
    plain = client.Origin.send

    async def send(self: Any, *args: Any, **options: Any) -> Any:
        found = await plain(self, *args, **options)
        asyncio.get_running_loop().call_later(300, found.close)
        return found

    patch.setattr(client.Origin, "send", send)


def headers_by_name(patch: Patch) -> None:
    plain = headers.request_fields
    patch.setattr(
        proxy,
        "request_fields",
        lambda raw, host, **options: plain(
            [(name.title(), value) for name, value in dict(raw).items()], host, **options
        ),
    )


def fields_by_name(patch: Patch) -> None:
    plain = relay._fields
    patch.setattr(relay, "_fields", lambda *args: list(dict(plain(*args)).items()))


def merging(patch: Patch) -> None:
    async def readany(self: StreamReader) -> tuple[bytes, bool]:
        return await self.readany(), False

    patch.setattr(StreamReader, "readchunk", readany)


def holding_back(patch: Patch) -> None:
    patch.setattr(Tee, "relay_flush", lambda self: None)


def resending(patch: Patch) -> None:
    patch.setattr(client, "RESENDABLE", frozenset(("POST", "GET")))


def never_resending(patch: Patch) -> None:
    patch.setattr(client, "RESENDABLE", frozenset())


def admitting(patch: Patch) -> None:
    patch.setattr(proxy, "objection", lambda request: None)


def untagged(patch: Patch) -> None:
    patch.setattr(middleware, "select_tags", lambda headers, mode: ())


def ending_cleanly(patch: Patch) -> None:
    plain = relay._pump

    async def forgiving(content: StreamReader, tee: Tee) -> None:
        await plain(content, tee)

    patch.setattr(relay, "_pump", forgiving)


def losing_the_last_bytes(patch: Patch) -> None:
    patch.setattr(seams, "unread_pieces", lambda content: ())


def trusting_every_close(patch: Patch) -> None:
    patch.setattr(client.UpstreamResponse, "broken", lambda self: False)


def closing_politely(patch: Patch) -> None:
    patch.setattr(relay, "_reset_on_close", lambda request: None)


def deaf_to_bad_chunks(patch: Patch) -> None:
    patch.setattr(client._Protocol, "set_exception", ResponseHandler.set_exception)


def patient_with_upstreams(patch: Patch) -> None:
    patch.setattr(client._Protocol, "start_timeout", lambda self: None)
    patch.setattr(client._Protocol, "_reschedule_timeout", lambda self: None)


def buffering(patch: Patch) -> None:
    async def at_once(self: Tee) -> None:
        pass

    patch.setattr(Tee, "drain", at_once)


def patient_with_heads(patch: Patch) -> None:
    patch.setattr(server, "HEAD_SECONDS", 3600)
    patch.setattr(bodies, "IDLE_SECONDS", 0.1)


def patient_with_bodies(patch: Patch) -> None:
    patch.setattr(server, "HEAD_SECONDS", 0.1)
    patch.setattr(bodies, "IDLE_SECONDS", 3600)


slow, stopping = test_server.TestSlowClients(), test_server.TestStopping()


def named(test: Callable[..., Awaitable[None]], *arguments: Any) -> Test:
    """Return a test with its parameters filled in."""
    return lambda: test(*arguments)


MUTANTS: list[tuple[Callable[[Patch], None], Test]] = [
    (decompressing, traps.test_a_compressed_request_reaches_the_upstream_as_it_was_sent),
    (decompressing_client, traps.test_a_compressed_response_reaches_the_client_as_it_was_sent),
    (running_on, traps.test_when_the_client_leaves_before_the_answer_the_upstream_is_closed),
    (
        never_closing,
        traps.test_when_the_client_leaves_a_stream_the_upstream_is_closed_and_the_rest_recorded,
    ),
    (small_bodies, traps.test_a_body_above_the_limit_of_aiohttp_passes),
    (
        small_pool,
        traps.test_more_requests_than_aiohttps_pool_has_connections_are_open_at_once,
    ),
    (total_limit, traps.test_nothing_limits_how_long_a_stream_may_take),
    (headers_by_name, traps.test_the_upstream_gets_the_headers_that_the_client_sent_and_no_others),
    (fields_by_name, traps.test_status_reason_and_headers_of_a_response_are_kept),
    (merging, traps.test_chunks_that_come_together_leave_apart),
    (holding_back, traps.test_the_head_of_a_stream_does_not_wait_for_its_first_event),
    (
        resending,
        named(traps.test_a_post_on_a_connection_that_dies_is_a_502_and_is_not_sent_again, "reset"),
    ),
    (never_resending, traps.test_a_get_on_a_connection_that_dies_is_sent_again),
    (untagged, traps.test_streams_carry_the_tag_headers),
    (
        ending_cleanly,
        named(broken.test_a_response_cut_at_any_offset_never_seems_complete, "one chunk", "close"),
    ),
    (losing_the_last_bytes, test_relay.test_bytes_that_come_together_with_a_break_arrive),
    (
        trusting_every_close,
        broken.test_a_body_that_ends_with_its_connection_is_broken_after_a_reset,
    ),
    (closing_politely, broken.test_a_client_of_http_1_0_can_tell_a_break_from_the_end),
    (deaf_to_bad_chunks, broken.test_a_malformed_chunk_is_a_break_too),
    (patient_with_upstreams, broken.test_a_silent_upstream_is_a_504_at_the_limit),
    (patient_with_upstreams, broken.test_a_stream_that_falls_silent_is_broken_off),
    (buffering, test_relay.test_a_slow_reader_holds_the_upstream_back),
    (patient_with_heads, slow.test_a_head_that_does_not_arrive_is_given_up),
    (patient_with_bodies, slow.test_a_body_that_stops_is_given_up),
    *(
        (
            admitting,
            named(
                traps.test_ambiguous_requests_are_refused_and_the_connection_closed, data, status
            ),
        )
        for data, status in traps.AMBIGUOUS.values()
    ),
    *(
        (admitting, named(smuggling.test_a_hidden_request_never_reaches_the_upstream, name))
        for name in ("absolute-form", "fragment", "alone-b'gzip, chunked'")
    ),
]


@pytest.mark.parametrize(
    ("mutant", "test"),
    MUTANTS,
    ids=[f"{at}-{mutant.__name__}" for at, (mutant, _) in enumerate(MUTANTS)],
)
async def test_a_trap_that_is_set_again_is_noticed(
    mutant: Callable[[Patch], None], test: Test, monkeypatch: Patch
) -> None:
    mutant(monkeypatch)
    monkeypatch.setattr(harness, "LIMIT", PATIENCE / 4)
    with pytest.raises(FAILURES):
        async with asyncio.timeout(PATIENCE):
            await test()
    for response in LEFT_OPEN:
        response.link.close()
    LEFT_OPEN.clear()

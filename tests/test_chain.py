"""Interceptors run in order, and none of them can harm traffic or each other."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.exchange import Client, Exchange, Headers, Refusal, Request
from gateway_sessions.hooks import Context, Interceptor
from gateway_sessions.recording.limits import Limits
from gateway_sessions.telemetry import InterceptorFailed, Telemetry
from tests.recording.writers import Ledger, ListWriter

SOON = 0.02


def an_exchange(number: int = 1) -> Exchange:
    request = Request("POST", "/v1/chat/completions", (), b"{}", 2)
    return Exchange(f"req_{number}", 0.0, Client("127.0.0.1", "test"), request)


def a_context(telemetry: Telemetry) -> Context:
    return Context(telemetry, lambda: {"sessions_active": 3}, {}, Path())


class Bench:
    """A chain, and the failures that it announced."""

    def __init__(self, *interceptors: object, **options: Any) -> None:
        self.telemetry = Telemetry()
        self.failures: list[InterceptorFailed] = []
        self.telemetry.listen(InterceptorFailed, self.failures.append)
        named = [(f"i{number}", item) for number, item in enumerate(interceptors)]
        defaults: dict[str, Any] = {
            "deadline_seconds": SOON,
            "limits": Limits(batch_seconds=0.0),
        }
        self.chain = InterceptorChain(named, self.telemetry, **defaults | options)

    @property
    def blamed(self) -> list[tuple[str, str]]:
        return [(failure.interceptor, failure.hook) for failure in self.failures]

    async def open(self) -> None:
        await self.chain.open(a_context(self.telemetry))


class Recorder:
    """Notes which of its hooks were called, in a list shared with others."""

    def __init__(self, name: str, calls: list[str], fail_in: str = "") -> None:
        self.name, self.calls, self.fail_in = name, calls, fail_in

    def _note(self, hook: str) -> None:
        self.calls.append(f"{self.name}.{hook}")
        if hook == self.fail_in:
            raise RuntimeError(f"{hook} does not work")

    def open(self, context: Context) -> None:
        self._note("open")

    def request_started(self, exchange: Exchange) -> None:
        self._note("request_started")

    def exchange_finished(self, exchange: Exchange) -> None:
        self._note("exchange_finished")

    def close(self) -> None:
        self._note("close")


async def test_everything_is_called_in_order_and_closed_in_reverse() -> None:
    calls: list[str] = []
    bench = Bench(Recorder("a", calls), Recorder("b", calls))
    await bench.open()
    await bench.chain.request_started(an_exchange())
    bench.chain.finished(an_exchange())
    await bench.chain.close()
    await bench.chain.close()
    assert calls == [
        "a.open",
        "b.open",
        "a.request_started",
        "b.request_started",
        "a.exchange_finished",
        "b.exchange_finished",
        "b.close",
        "a.close",
    ]


async def test_an_object_without_any_hook_is_an_interceptor() -> None:
    bench = Bench(object())
    await bench.open()
    assert not bench.chain.needs_request_hook
    assert not bench.chain.needs_exchange
    assert await bench.chain.request_started(an_exchange()) is None
    assert bench.chain.upstream_headers(an_exchange()) == ()
    assert bench.chain.client_headers(an_exchange()) == ()
    bench.chain.finished(an_exchange())
    assert bench.chain.routes() == []
    assert bench.chain.problems() == []
    await bench.chain.flush()
    await bench.chain.close()


async def test_what_is_inherited_from_the_protocol_is_no_hook() -> None:
    class Modest(Interceptor):
        def exchange_finished(self, exchange: Exchange) -> None:
            finished.append(exchange.request_id)

    finished: list[str] = []
    bench = Bench(Modest())  # type: ignore[abstract, unused-ignore]
    await bench.open()
    assert not bench.chain.needs_request_hook
    assert bench.chain.upstream_headers(an_exchange()) == ()
    bench.chain.finished(an_exchange())
    await bench.chain.close()
    assert finished == ["req_1"]
    assert bench.failures == []


async def test_async_hooks_are_awaited() -> None:
    calls: list[str] = []

    class Slow:
        async def open(self, context: Context) -> None:
            await asyncio.sleep(0)
            calls.append("open")

        async def request_started(self, exchange: Exchange) -> Refusal:
            await asyncio.sleep(0)
            return Refusal(429, "slow down")

        async def close(self) -> None:
            await asyncio.sleep(0)
            calls.append("close")

    bench = Bench(Slow())
    await bench.open()
    assert await bench.chain.request_started(an_exchange()) == Refusal(429, "slow down")
    await bench.chain.close()
    assert calls == ["open", "close"]


async def test_the_first_refusal_wins_and_ends_the_asking() -> None:
    calls: list[str] = []

    class Refuser:
        def request_started(self, exchange: Exchange) -> Refusal:
            return Refusal(403, "no")

    bench = Bench(Recorder("a", calls), Refuser(), Recorder("b", calls))
    assert await bench.chain.request_started(an_exchange()) == Refusal(403, "no")
    assert calls == ["a.request_started"]


@pytest.mark.parametrize("hook", ["request_started", "exchange_finished"])
async def test_a_failing_hook_is_counted_logged_and_passed_over(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    bench = Bench(Recorder("a", calls, fail_in=hook), Recorder("b", calls))
    for _ in range(3):
        assert await bench.chain.request_started(an_exchange()) is None
        bench.chain.finished(an_exchange())
    assert calls.count(f"b.{hook}") == 3
    assert bench.blamed == [("i0", hook)] * 3
    assert bench.failures[0].error == f"RuntimeError: {hook} does not work"
    assert caplog.text.count("failed") == 1  # the others within seconds are only counted
    assert "in _note" in caplog.text
    assert "gateway_sessions" not in caplog.records[0].exc_text  # type: ignore[operator]


async def test_an_async_hook_that_does_not_answer_is_cut_off() -> None:
    cancelled = asyncio.Event()

    class Stuck:
        async def request_started(self, exchange: Exchange) -> Refusal:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

    class Refuser:
        def request_started(self, exchange: Exchange) -> Refusal:
            return Refusal(403, "no")

    bench = Bench(Stuck(), Refuser())
    assert await bench.chain.request_started(an_exchange()) == Refusal(403, "no")
    assert cancelled.is_set()
    assert bench.failures[0].error == "Late: it took more than 20 ms"


async def test_a_timeout_of_the_hooks_own_is_a_failure_like_any() -> None:
    class Impatient:
        async def request_started(self, exchange: Exchange) -> None:
            raise TimeoutError("redis did not answer")

    bench = Bench(Impatient())
    assert await bench.chain.request_started(an_exchange()) is None
    assert bench.failures[0].error == "TimeoutError: redis did not answer"


async def test_a_hook_that_blocked_too_long_is_blamed_and_its_answer_is_not_used() -> None:
    class Blocking:
        def request_started(self, exchange: Exchange) -> Refusal:
            clock.now += 1
            return Refusal(500, "late")

        def exchange_finished(self, exchange: Exchange) -> None:
            clock.now += 1

        def client_headers(self, exchange: Exchange) -> Headers:
            clock.now += 1
            return (("x-late", "1"),)

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    bench = Bench(Blocking(), monotonic=clock)
    assert await bench.chain.request_started(an_exchange()) is None
    bench.chain.finished(an_exchange())
    assert bench.chain.client_headers(an_exchange()) == ()
    assert bench.blamed == [
        ("i0", "request_started"),
        ("i0", "exchange_finished"),
        ("i0", "client_headers"),
    ]


async def test_an_answer_that_is_no_refusal_is_a_failure() -> None:
    class Wrong:
        async def request_started(self, exchange: Exchange) -> str:
            return "no"

    class Worse:
        def request_started(self, exchange: Exchange) -> int:
            return 429

    bench = Bench(Wrong(), Worse())
    assert await bench.chain.request_started(an_exchange()) is None
    assert bench.blamed == [("i0", "request_started"), ("i1", "request_started")]


async def test_a_client_that_leaves_cancels_the_asking() -> None:
    class Stuck:
        async def request_started(self, exchange: Exchange) -> None:
            await asyncio.Event().wait()

    bench = Bench(Stuck(), deadline_seconds=60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.chain.request_started(an_exchange()), SOON)
    assert bench.failures == []


class Adding:
    def __init__(self, *headers: Any) -> None:
        self.headers = headers

    def upstream_headers(self, exchange: Exchange) -> Headers:
        return self.headers

    def client_headers(self, exchange: Exchange) -> Headers:
        return self.headers


def test_headers_are_added_up_in_order() -> None:
    bench = Bench(Adding(("x-a", "1"), ("x-a", "2")), Adding(), Adding(("x-b", "é")))
    expected = (("x-a", "1"), ("x-a", "2"), ("x-b", "é"))
    assert bench.chain.upstream_headers(an_exchange()) == expected
    assert bench.chain.client_headers(an_exchange()) == expected


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "1\r\nset-cookie: evil"),
        ("x-a\n", "1"),
        ("x a", "1"),
        ("", "1"),
        ("x-a", "1\x00"),
        ("x-a", "日本"),
        ("x-a", 1),
        "x",
        None,
    ],
)
def test_headers_that_are_none_are_a_failure_and_not_sent(header: Any) -> None:
    bench = Bench(Adding(header), Adding(("x-ok", "1")))
    assert bench.chain.client_headers(an_exchange()) == (("x-ok", "1"),)
    assert bench.chain.upstream_headers(an_exchange()) == (("x-ok", "1"),)
    assert bench.blamed == [("i0", "client_headers"), ("i0", "upstream_headers")]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (StartError("no disk"), StartError, "interceptor i1: no disk"),
        (ConfigError("bad key"), ConfigError, "interceptor i1: bad key"),
        (KeyError("x"), StartError, "interceptor i1 could not be opened: KeyError('x')"),
    ],
)
async def test_if_one_refuses_to_open_those_before_it_and_it_are_closed(
    error: Exception, kind: type[Exception], text: str
) -> None:
    calls: list[str] = []

    class Refusing(Recorder):
        def open(self, context: Context) -> None:
            super().open(context)
            raise error

    bench = Bench(Recorder("a", calls), Refusing("b", calls), Recorder("c", calls))
    with pytest.raises(kind) as raised:
        await bench.open()
    assert str(raised.value) == text
    assert calls == ["a.open", "b.open", "b.close", "a.close"]


async def test_a_failing_close_does_not_keep_the_others_open() -> None:
    calls: list[str] = []
    bench = Bench(Recorder("a", calls), Recorder("b", calls, fail_in="close"))
    await bench.open()
    await bench.chain.close()
    assert calls[-2:] == ["b.close", "a.close"]
    assert bench.blamed == [("i1", "close")]


class Writing(ListWriter):
    closed_after = -1

    def close(self) -> None:
        self.closed_after = len(self.ids)


async def test_writers_get_what_is_finished_before_they_are_closed() -> None:
    writer = Writing()
    bench = Bench(writer, limits=Limits(batch_seconds=3600))
    assert bench.chain.needs_exchange
    await bench.open()
    for number in range(10):
        bench.chain.finished(an_exchange(number))
    await bench.chain.flush()
    assert len(writer.ids) == 10
    bench.chain.finished(an_exchange(10))
    await bench.chain.close()
    assert writer.closed_after == 11


async def test_finished_hooks_run_before_the_exchange_reaches_writers() -> None:
    class Marking:
        def exchange_finished(self, exchange: Exchange) -> None:
            exchange.model = "masked"

    class Reading:
        models: list[str] = []  # noqa: RUF012 - one instance

        def write(self, batch: list[Exchange]) -> None:
            self.models += [item.model for item in batch]

    reading = Reading()
    bench = Bench(reading, Marking())  # whatever their order
    await bench.open()
    bench.chain.finished(an_exchange())
    await bench.chain.close()
    assert reading.models == ["masked"]


class Renaming:
    """Changes what writers get; fails on, or has no answer to, some of it."""

    def __init__(self, prefix: str, fails: str = "", nonsense: str = "") -> None:
        self._prefix, self._fails, self._nonsense = prefix, fails, nonsense
        self.calls: list[str] = []

    def before_write(self, exchange: Exchange) -> Exchange:
        self.calls.append(exchange.request_id)
        if exchange.request_id == self._fails:
            raise RuntimeError("it does not work")
        if exchange.request_id == self._nonsense:
            return None  # type: ignore[return-value]
        return replace(exchange, request_id=f"{self._prefix}{exchange.request_id}")


async def test_writers_get_what_was_made_for_them_once_for_all_and_others_do_not() -> None:
    seen: list[str] = []

    class Watching:
        def exchange_finished(self, exchange: Exchange) -> None:
            seen.append(exchange.request_id)

    first, second = Renaming("a"), Renaming("b")
    writers = Writing(), Writing()
    bench = Bench(writers[0], first, second, writers[1], Watching())
    await bench.open()
    bench.chain.finished(an_exchange())
    await bench.chain.close()
    assert [writer.ids for writer in writers] == [["bareq_1"]] * 2
    assert (first.calls, second.calls, seen) == (["req_1"], ["areq_1"], ["req_1"])
    assert bench.blamed == []


async def test_what_can_not_be_made_for_writers_is_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writers = Writing(), Writing()
    bench = Bench(Renaming("a", fails="req_1", nonsense="req_2"), *writers)
    ledger = Ledger(bench.telemetry)
    await bench.open()
    for number in range(1, 4):
        bench.chain.finished(an_exchange(number))
    await bench.chain.close()
    assert [writer.ids for writer in writers] == [["areq_3"]] * 2
    assert bench.blamed == [("i0", "before_write")] * 2
    assert ledger.dropped == {("i1", "error"): 2, ("i2", "error"): 2}
    assert "interceptor i0: before_write failed: RuntimeError: it does not work" in caplog.text


async def test_a_failing_writer_is_a_problem() -> None:
    bench = Bench(
        ListWriter(OSError(28, "No space left on device")),
        limits=Limits(batch_seconds=0.0, pauses=()),
    )
    await bench.open()
    bench.chain.finished(an_exchange())
    await bench.chain.flush()
    assert bench.chain.problems() == ["i0: OSError: [Errno 28] No space left on device"]
    await bench.chain.close()


async def test_the_host_statistics_are_joined_by_the_chains_own() -> None:
    seen: list[dict[str, Any]] = []

    class Curious:
        def open(self, context: Context) -> None:
            seen.append(context.stats())

    bench = Bench(Curious(), ListWriter(), disabled=("printer",))
    await bench.open()
    await bench.chain.close()
    assert seen == [
        {
            "sessions_active": 3,
            "interceptors": {
                "i0": {"enabled": True, "writer": False, "queued": 0},
                "i1": {"enabled": True, "writer": True, "queued": 0},
                "printer": {"enabled": False, "writer": False, "queued": 0},
            },
        }
    ]


def test_the_wish_for_raw_streams_is_passed_on() -> None:
    class Wanting:
        wants_raw_stream = True

    assert Bench(Wanting()).chain.wants_raw_stream
    assert not Bench(object()).chain.wants_raw_stream


def test_routes_are_collected_and_a_failing_one_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    class Serving:
        def routes(self) -> list[web.RouteDef]:
            return [web.get("/mine", handler)]

    class Broken:
        def routes(self) -> list[web.RouteDef]:
            raise RuntimeError("no")

    with caplog.at_level(logging.ERROR):
        bench = Bench(Broken(), Serving())
        assert [
            route.path for route in bench.chain.routes() if isinstance(route, web.RouteDef)
        ] == ["/mine"]
    assert bench.blamed == [("i0", "routes")]


def test_headers_are_needed_unless_every_interceptor_says_otherwise() -> None:
    class Content:
        needs_headers = False

    assert Bench(object()).chain.needs_headers
    assert Bench(Content(), object()).chain.needs_headers
    assert not Bench(Content(), Content()).chain.needs_headers


def test_bodies_are_needed_unless_every_interceptor_says_otherwise() -> None:
    class Heads:
        needs_body = False

    assert Bench(object()).chain.needs_body
    assert Bench(Heads(), object()).chain.needs_body
    assert not Bench(Heads(), Heads()).chain.needs_body

"""What is changed before it is written is changed once, and never written unchanged."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.delivery import Delivery
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.prepared import Prepared
from gateway_sessions.telemetry import Telemetry
from tests.recording.writers import Ledger, ListWriter, exchange


def test_it_is_made_once_whoever_comes_first() -> None:
    calls: list[str] = []
    together = threading.Barrier(4)

    def prepare(one: Exchange) -> Exchange:
        calls.append(one.request_id)
        return replace(one, request_id="changed")

    prepared = Prepared(exchange(1), prepare)
    got: list[Exchange | None] = []

    def get() -> None:
        together.wait()
        got.append(prepared.get())

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["req_1"]
    assert {one.request_id for one in got if one is not None} == {"changed"}
    assert len({id(one) for one in got}) == 1


def test_where_it_fails_nobody_gets_the_exchange_as_it_was() -> None:
    def prepare(one: Exchange) -> Exchange:
        raise MemoryError

    prepared = Prepared(exchange(1), prepare)
    with pytest.raises(MemoryError):
        prepared.get()
    assert prepared.get() is None


async def test_what_can_not_be_made_is_counted_as_dropped_by_each_writer() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writers = [("a", ListWriter()), ("b", ListWriter())]

    def prepare(one: Exchange) -> Exchange | None:
        number = int(one.request_id.removeprefix("req_"))
        return replace(one, request_id=f"changed_{number}") if number % 3 else None

    delivery = Delivery(writers, telemetry, Limits(batch_seconds=0.0), prepare=prepare)
    delivery.open()
    for number in range(30):
        assert delivery.offer(exchange(number))
    await delivery.shutdown()
    expected = [f"changed_{number}" for number in range(30) if number % 3]
    assert [writer.ids for _, writer in writers] == [expected, expected]
    assert ledger.written == {"a": 20, "b": 20}
    assert ledger.dropped == {("a", "error"): 10, ("b", "error"): 10}
    assert delivery.queued() == {"a": 0, "b": 0}

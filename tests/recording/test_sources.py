"""One process that sends, as the recorder sees it."""

from __future__ import annotations

import socket

import pytest

from gateway_sessions.recording import sources, wire
from gateway_sessions.recording.sources import Source
from tests.recording.recordings import arrived, ended, finished


def read_all(source: Source) -> None:
    while not source.ended:
        source.read(1.0)


def test_milestones_of_a_frame_wait_one_by_one_with_their_times() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        source = Source(ours)
        frames = wire.item_frames([arrived(1), finished(1), ended(2)])
        with theirs:
            theirs.sendall(b"".join(frames))
        read_all(source)
    first, second, event, mark = (source.take() for _ in range(4))
    assert (first.milestone, second.milestone) == (arrived(1), finished(1))
    assert (first.at, second.at) == (arrived(1).at, finished(1).at)
    assert (event.kind, mark.kind) == (wire.EVENT, wire.MARK)
    assert event.at is mark.at is None
    assert source.bytes == 0


def test_a_large_body_comes_back_to_its_milestone() -> None:
    ours, theirs = socket.socketpair()
    large = arrived(1, body=b"x" * (2 * wire.LARGE_BYTES))
    with ours:
        source = Source(ours)
        with theirs:
            theirs.sendall(b"".join(wire.item_frames([large])))
        read_all(source)
    assert source.take().milestone == large


def test_what_was_sent_is_read_though_the_sender_died_with_reports_unread() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        source = Source(ours)
        ours.sendall(b"a report")
        with theirs:
            theirs.sendall(b"".join(wire.item_frames([finished(1)])))
        read_all(source)
    assert source.take().milestone == finished(1)


def test_too_much_makes_it_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SOURCE_BYTES", 100)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        source = Source(ours)
        source.feed(b"".join(wire.item_frames([arrived(1)])), 1.0)
        assert source.full
        source.take()
        assert not source.full

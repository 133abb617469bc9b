"""What the main process and workers say to each other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway_sessions.config import load
from gateway_sessions.workers import messages
from gateway_sessions.workers.messages import (
    LENGTH,
    Answer,
    AnyMessage,
    Ask,
    Begin,
    Cover,
    Hurry,
    Ready,
    Refused,
    Stop,
)


@pytest.mark.parametrize(
    "message",
    [
        Ready(),
        Refused("no", misconfigured=True),
        Stop(),
        Hurry(),
        Cover((0, 2)),
        Ask(1, "topic", b"\x00"),
        Answer(1, None),
        Answer(2, b""),
    ],
)
def test_messages_arrive_as_they_were_sent(message: AnyMessage) -> None:
    frame = messages.frame(message)
    assert LENGTH.unpack_from(frame) == (len(frame) - LENGTH.size,)
    assert messages.read(frame[LENGTH.size :]) == message


def test_a_configuration_arrives_with_everything_that_is_in_it(tmp_path: Path) -> None:
    loaded = load(
        {
            "server": {"workers": 3, "trusted_proxies": ["10.0.0.0/8"]},
            "upstreams": [{"url": "http://u:p@x", "inject": {"x-a": "session"}}],
            "interceptors": [{"type": "trace", "config": {"directory": str(tmp_path), "n": None}}],
            "secret": "s" * 32,
        },
        environ={},
    )
    begin = Begin(loaded, "worker-1", "/tmp/x", ((3, 4), (5, 6)), 1, ("/health",))  # noqa: S108
    assert messages.read(messages.frame(begin)[LENGTH.size :]) == begin


def test_sessions_are_in_memory_where_there_is_some(tmp_path: Path) -> None:
    begin = Begin(load({}, environ={}), "worker-1", str(tmp_path), (), 0, ())
    assert begin.sessions == tmp_path / "sessions"
    found = msgspec.structs.replace(begin, memory=7)
    assert found.sessions == Path("/proc/self/fd/7")


def test_sentences_arrive() -> None:
    said = ["a: b", "ä"]
    assert messages.sentences(messages.said(said)) == said

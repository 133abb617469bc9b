"""Events, milestones and writers of events that do as they are told."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions.conversation import Usage
from gateway_sessions.events import (
    Gap,
    RequestCompleted,
    RequestRecorded,
    SessionEvent,
    StreamEvent,
)
from gateway_sessions.exchange import Client, Exchange, Request, Response, SessionTag
from gateway_sessions.milestones import Arrived, Finished
from gateway_sessions.recording import lane, recorder
from gateway_sessions.recording.jsontext import json_line
from tests.recording.writers import PATIENCE

AT = 1_700_000_000.0
TIMESTAMP = "2023-11-14T22:13:20.000000Z"


def chunk(number: int, session: str = "sess_a") -> StreamEvent:
    """Return an event of the class that is dropped first."""
    return StreamEvent(
        session_id=session,
        request_id=f"req_{number}",
        timestamp=TIMESTAMP,
        sequence=number,
        elapsed_ms=1.0,
        size_bytes=1,
    )


def asked(number: int, session: str = "sess_a", size: int = 10) -> RequestRecorded:
    """Return an event that is neither a piece nor an end."""
    return RequestRecorded(
        session_id=session,
        request_id=f"req_{number}",
        timestamp=TIMESTAMP,
        model_requested="m",
        relation="continue",
        source="prefix",
        confidence=1.0,
        estimated_tokens=1,
        pre_processing_ms=0.1,
        request_size_bytes=size,
        message_count=1,
        history_messages=0,
        has_system_prompt=False,
        has_tools=False,
        tool_count=0,
        is_streaming=False,
        request_json=msgspec.Raw(b'"%s"' % (b"x" * size)),
    )


def ended(number: int, session: str = "sess_a") -> RequestCompleted:
    """Return an event of the class that is dropped last."""
    return RequestCompleted(
        session_id=session,
        request_id=f"req_{number}",
        timestamp=TIMESTAMP,
        success=True,
        total_duration_ms=1.0,
    )


def tag(session: str) -> SessionTag:
    return SessionTag(
        session_id=session,
        relation="first",
        source="new",
        confidence=1.0,
        root_session_id=session,
    )


def arrived(number: int, session: str = "sess_a", body: bytes | None = None) -> Arrived:
    """Return the milestone of a chat request."""
    if body is None:
        message = {"role": "user", "content": f"question {number}"}
        body = json.dumps({"model": "gpt-4o", "messages": [message]}).encode()
    return Arrived(
        session_id=session,
        request_id=f"req_{number}",
        at=AT + number,
        session=tag(session),
        client=Client("192.0.2.1", "tests/1"),
        request=Request("POST", "/v1/chat/completions", (("A", "b"),), body, len(body)),
        dialect="openai_chat",
        provider="openai",
        model="gpt-4o",
        stream=False,
        message_count=1,
        new_messages=1,
        detection_ms=0.1,
    )


def finished(number: int, session: str = "sess_a", error: str | None = None) -> Finished:
    """Return the milestone of the answer to it."""
    message = {"role": "assistant", "content": f"answer {number}"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    body = json.dumps({"model": "gpt-4o", "choices": [choice], "usage": usage}).encode()
    return Finished(
        session_id=session,
        request_id=f"req_{number}",
        at=AT + number + 0.5,
        session=tag(session),
        dialect="openai_chat",
        provider="openai",
        model="gpt-4o",
        response=Response(
            200, (), body, len(body), 500.0, 400.0, False, usage=Usage(3, 5),
            model="gpt-4o", finish_reason="stop", error=error,
        ),
        overhead_ms=1.0,
        detection_ms=0.1,
    )  # fmt: skip


def exchange(name: str, body: bytes = b"", header: str = "x") -> Exchange:
    """Return an exchange with this id and request body, without an answer."""
    request = Request("POST", "/v1/chat/completions", (("A", header),), body, len(body))
    return Exchange(name, AT, Client("192.0.2.1", "tests/1"), request)


class Kept:
    """A writer that keeps events; raises the ``errors`` first, one per ``write``."""

    def __init__(self, *errors: BaseException) -> None:
        self.events: list[SessionEvent] = []
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.errors = list(errors)
        self.ticked = threading.Event()
        self.ticks: list[float] = []

    @property
    def ids(self) -> list[str]:
        """The request ids of what was written, in order; a gap's are in brackets."""
        return [
            f"[{event.request_id}]" if type(event).__name__ == "Gap" else event.request_id
            for event in self.events
        ]

    def open(self) -> None:
        self._called("open")

    def write(self, batch: Sequence[SessionEvent]) -> None:
        self._called("write")
        if self.errors:
            raise self.errors.pop(0)
        self.events.extend(batch)

    def flush(self) -> None:
        self._called("flush")

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.ticked.set()

    def close(self) -> None:
        self._called("close")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.get_ident())


class Stuck(Kept):
    """Stays in its first ``write`` until ``release`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()
        self.wrote_gap = threading.Event()

    def write(self, batch: Sequence[SessionEvent]) -> None:
        self.entered.set()
        assert self.release.wait(PATIENCE)
        super().write(batch)
        if any(isinstance(event, Gap) for event in batch):
            self.wrote_gap.set()


class LineWriter:
    """Appends events to a file: a writer for the recorder process.

    Args:
        path: the file.
        refuse: a sentence with which to refuse to open.
        fail: while a file of this name exists, writing fails as on a full disk.
        stall: while a file of this name exists, writing hangs.
        crash: where a request id ends with this, the process is killed.
        noise: printed at each write.
        stuck_after: seconds after which its process takes a writer for stuck.
    """

    def __init__(
        self,
        path: Path,
        refuse: str = "",
        fail: Path | None = None,
        stall: Path | None = None,
        crash: str = "",
        noise: str = "",
        stuck_after: float = lane.STUCK_SECONDS,
    ) -> None:
        self._path = path
        self._refuse = refuse
        self._fail = fail
        self._stall = stall
        self._crash = crash
        self._noise = noise
        self._stuck_after = stuck_after

    def open(self) -> None:
        lane.STUCK_SECONDS = self._stuck_after
        if self._refuse:
            raise OSError(28, self._refuse)

    def write(self, batch: Sequence[SessionEvent]) -> None:
        if self._noise:
            print(self._noise)  # noqa: T201 - to see where it goes
        ids = [event.request_id for event in batch if not isinstance(event, Gap)]
        if self._crash and any(request_id.endswith(self._crash) for request_id in ids):
            os.kill(os.getpid(), 9)
        while self._stall is not None and self._stall.exists():
            time.sleep(0.005)  # in a process of its own; nothing could tell it
        if self._fail is not None and self._fail.exists():
            raise OSError(28, "No space left on device")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, b"".join(map(json_line, batch)))
        finally:
            os.close(descriptor)

    def flush(self) -> None:
        return

    def close(self) -> None:
        return


class Hurried(Kept):
    """A writer whose recorder process has upkeep done every second instead of every minute."""

    def __init__(self) -> None:
        super().__init__()
        made = partial(recorder.Recorder, tick_seconds=1.0)
        recorder.Recorder = made  # type: ignore[assignment,misc]


def missing(found: list[dict[str, Any]]) -> int:
    """Return how many events the gaps among lines tell of."""
    return sum(sum(line["dropped"].values()) for line in found if line["type"] == "gap")


WRITER = f"{__name__}:LineWriter"
HURRIED = f"{__name__}:Hurried"


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what a `LineWriter` wrote."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

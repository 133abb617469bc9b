"""Whatever comes, detection answers, in bounded work, and goes on as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.conversation import Message
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.lineage import HINTS
from gateway_sessions.detection.plan import OLDER_STATES
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.signals import SIGNALS
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.testing import Desk
from tests.dialects.wire import request
from tests.property.strategies import Said, dialogues, quick
from tests.property.writing import DIALECTS, WRITERS

LOOKUPS = 3 * OLDER_STATES
"""What one request may ask of the index: a history of any length is looked at so far back."""
READINGS = 4
"""How often one message may be decoded for one request."""
MOST = 20

JUNK: list[Any] = [
    None, True, 0, -1, 1e300, 2**63, "", " ", "a", "\0", "user", "tool", "x" * 5000,
    [], {}, [[]], [None], {"text": None}, {"type": "text"}, {"role": []}, [{"role": "user"}],
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["{", '{"session_id": 7}', "session.id=", "[" * 2000, "x" * 300, "9" * 400]),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        sorted(
            {name for s in SIGNALS for name in (s.header, s.own, s.parent) if name}
            | {hint.header for hint in HINTS}
            | {"authorization", "user-agent", "idempotency-key", "x-stainless-retry-count"}
        )
    ),
    TEXTS,
    max_size=4,
)
DAMAGE = st.integers(0, 2**32)
"""Seed of what is broken in a body."""


def damaged(value: Any, random: Random, chance: float = 0.15) -> Any:
    """Return a JSON value of which some parts are others, are missing or come twice."""
    if random.random() < chance / 2:
        return random.choice(JUNK)
    if isinstance(value, dict):
        return {
            name: damaged(member, random, chance)
            for name, member in value.items()
            if random.random() > chance / 4
        }
    if isinstance(value, list):
        made = [damaged(item, random, chance) for item in value for _ in range(_times(random))]
        return made * (50 if random.random() < 0.02 else 1)
    return value


def _times(random: Random) -> int:
    return random.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 2])


class Watched(MemoryIndex):
    """An index that counts what it is asked."""

    asked = 0

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Count, and answer."""
        self.asked += 1
        return super().candidates(scope, key)


class Hall:
    """A tracker that takes requests in every dialect, as bytes."""

    def __init__(self) -> None:
        self.index = Watched(MOST, 3600.0)
        self.desk = Desk(DetectionSettings(max_sessions=MOST), index=self.index, explain=True)

    def take(self, name: str, body: bytes, headers: dict[str, str], reply: bytes) -> bool:
        """Take a request and its reply; return whether it could be read."""
        dialect, tracker, clock = DIALECTS[name], self.desk.tracker, self.desk.clock
        self.index.asked = readings = 0

        def counting(
            read: Callable[[msgspec.Raw], tuple[Message, ...]],
        ) -> Callable[[msgspec.Raw], tuple[Message, ...]]:
            def counted(raw: msgspec.Raw) -> tuple[Message, ...]:
                nonlocal readings
                readings += 1
                return read(raw)

            return counted

        try:
            found = dialect.read_request(body, "/")
            found = msgspec.structs.replace(found, read=counting(found.read))
            tracked = tracker.begin(found, Sender(headers, "/", "192.0.2.1"), clock())
        except UnreadableBody:
            return False
        assert self.index.asked <= LOOKUPS
        assert readings <= READINGS * len(found.messages)
        clock.advance(1.0)
        try:
            answer = dialect.read_reply(reply)
        except UnreadableBody:
            assembler = dialect.assembler()
            assembler.feed(reply)
            answer = assembler.reply()
        if answer.complete and answer.messages:
            tracker.answered(tracked, answer, clock())
        else:
            tracker.failed(tracked, answer, clock())
        assert self.index.active <= MOST
        return True


REPLY = {
    "id": "r1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}],
    "content": [{"type": "text", "text": "Yes."}], "status": "completed", "done": True,
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}],
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}}],
    "message": {"role": "assistant", "content": "Yes."},
}  # fmt: skip
"""A reply with something in it for every dialect."""


@quick
@given(
    said=dialogues(),
    damage=st.lists(DAMAGE, min_size=1, max_size=4),
    headers=HEADERS,
    dialect=st.sampled_from(sorted(WRITERS)),
)
def test_damaged_requests_and_replies(
    said: list[Said], damage: list[int], headers: dict[str, str], dialect: str
) -> None:
    hall = Hall()
    whole = json.loads(request(dialect, *WRITERS[dialect](said)))
    for seed in damage:
        random = Random(seed)
        body = json.dumps(damaged(whole, random)).encode()
        hall.take(dialect, body, headers, json.dumps(damaged(REPLY, random)).encode())
    assert hall.take(dialect, json.dumps(whole).encode(), {}, json.dumps(REPLY).encode())


@quick
@given(
    body=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)),
    cut=st.integers(0, 400),
    dialect=st.sampled_from(sorted(WRITERS)),
    said=dialogues(),
)
def test_bytes_that_are_no_request(body: bytes, cut: int, dialect: str, said: list[Said]) -> None:
    hall = Hall()
    whole = request(dialect, *WRITERS[dialect](said))
    for sent in (body, whole[:cut], whole[:cut] + body, body + whole[cut:]):
        hall.take(dialect, sent, {}, body)
    assert hall.take(dialect, whole, {}, body)


@quick
@given(
    turns=st.integers(1, 400),
    kind=st.sampled_from(["ask", "reply", "both", "neither"]),
    windows=st.integers(1, 4),
)
def test_long_histories_of_one_word(turns: int, kind: str, windows: int) -> None:
    """Everything looks like everything else."""
    hall = Hall()
    said = []
    for place in range(turns):
        said.append(Said("user", str(place) if kind in {"ask", "both"} else "a"))
        said.append(Said("assistant", str(place) if kind in {"reply", "both"} else "a"))
    for window in range(windows):
        history = [*said[window * turns // windows :], Said("user", "more")]
        body = request("openai_chat", *WRITERS["openai_chat"](history))
        assert hall.take("openai_chat", body, {}, json.dumps(REPLY).encode())

"""What is known of a session survives as bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.detection import records
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.echo import CALL, LONGEST, SUMMARY, kept_text
from gateway_sessions.detection.histories import Told, Turn
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.records import (
    FORMAT,
    KEYS_KEPT,
    MOST_BYTES,
    UnreadableRecord,
    decode,
    encode,
    exported,
    forgotten,
    keys_of,
    packed,
    restored,
    unpacked,
)
from gateway_sessions.detection.session import EXCHANGES_KEPT, Session
from tests.property.strategies import quick

SCOPE, NOW = 0x5EED, 1_700_000_000.0
KEY = st.integers(1, 2**64 - 1)
TEXT = st.text(max_size=60) | st.sampled_from(["\ud800 alone", "Grüße", "x" * 300])
TASK = "Find every place where the configuration is read and list them with their lines."


def session(name: str = "sess_1", **fields: Any) -> Session:
    return Session(**{"id": name, "scope": SCOPE, "started": NOW, "used": NOW, **fields})


def known(memories: Memories, of: Session) -> dict[str, Any]:
    """Return all that memories know of a session, as plain values."""
    turn = memories.turns.of(of)
    return {
        "turn": turn and (turn.prompt, turn.ending, turn.length, turn.reply, turn.at, turn.said()),
        "history": list(memories.histories.of(of)),
        "texts": [
            (text.kind, text.folded, text.marks, text.at, text.call)
            for text in memories.echo.of(of)
        ],
        "tasks": [(text.tools, text.taken, text.taker) for text in memories.echo.of(of)],
        "clients": [each.id for each in memories.recent.of(SCOPE, of.client)],
    }


def carried(of: Session, memories: Memories, keys: tuple[int, ...] = ()) -> tuple[Any, Memories]:
    """Return the record of a session after a journey, and the memories that it was put into."""
    record = decode(encode(exported(of, packed(keys), of.client, memories)))
    arrived = Memories()
    restored(record, record.session, arrived)
    return record, arrived


class TestJourney:
    @quick
    @given(
        prompt=TEXT | st.just("y " * 4000),
        reply=TEXT,
        told=st.lists(st.tuples(KEY, TEXT | st.none(), KEY), max_size=8),
        calls=st.dictionaries(st.sampled_from("abc"), TEXT, max_size=3),
        summary=TEXT | st.none(),
        keys=st.lists(KEY, max_size=9, unique=True),
    )
    def test_nothing_is_lost(
        self,
        prompt: str,
        reply: str,
        told: list[tuple[int, str | None, int]],
        calls: dict[str, str],
        summary: str | None,
        keys: list[int],
    ) -> None:
        memories, of = Memories(), session(client=7, trail=b"x" * 40, pending=(5,), parent="p")
        memories.turns.asked(of, prompt, NOW)
        memories.turns.answered(of, reply, NOW + 1)
        memories.recent.began(of)
        turns = [Turn(Told(key, text), Told(mark, None), mark) for key, text, mark in told]
        memories.histories.put(of, turns)
        for call, text in calls.items():
            memories.echo.note(kept_text(of, CALL, fold_text(text), NOW, call, 77))
        if summary is not None:
            memories.echo.note(kept_text(of, SUMMARY, fold_text(summary), NOW))
        for noted in memories.echo.of(of)[:1]:
            noted.take(88)
        record, arrived = carried(of, memories, tuple(keys))
        assert record.session == of
        assert list(unpacked(record.keys)) == keys
        assert known(arrived, record.session) == known(memories, of)

    def test_one_of_which_nothing_is_remembered(self) -> None:
        record, arrived = carried(session(), Memories())
        assert known(arrived, record.session) == known(Memories(), session())

    def test_what_was_known_before_gives_way(self) -> None:
        memories, of = Memories(), session(client=7)
        memories.turns.asked(of, "old", NOW)
        memories.histories.put(of, [Turn(Told(1, "old"), Told(2, "older"), 3)])
        memories.echo.note(kept_text(of, CALL, fold_text(TASK), NOW, "a"))
        restored(records.Record(of), of, memories)
        assert known(memories, of) == known(Memories(), of)

    def test_to_forget_is_to_know_nothing(self) -> None:
        memories, of = Memories(), session(client=7)
        memories.turns.asked(of, "old", NOW)
        memories.recent.began(of)
        memories.echo.note(kept_text(of, SUMMARY, fold_text(TASK), NOW))
        forgotten(of, 7, memories)
        assert known(memories, of) == known(Memories(), of)


class TestAgain:
    def told(self, *numbers: int) -> Memories:
        memories = Memories()
        turns = [Turn(Told(n, f"p{n}"), Told(100 + n, f"r{n}"), n) for n in numbers]
        memories.histories.put(session(), turns)
        memories.turns.put(session(), f"p{numbers[-1]}", f"r{numbers[-1]}", NOW)
        return memories

    @pytest.mark.parametrize(
        ("before", "after"),
        [((1, 2), (1, 2, 3)), ((1, 2), (2, 3)), ((1, 2, 3), (1, 2)), ((9,), (1,))],
    )
    def test_what_is_known_already_is_as_if_it_came_for_the_first_time(
        self, before: tuple[int, ...], after: tuple[int, ...]
    ) -> None:
        of, memories = session(), self.told(*before)
        record = decode(encode(exported(of, b"", 0, self.told(*after))))
        restored(record, of, memories)
        assert known(memories, of) == known(carried(of, self.told(*after))[1], of)

    def test_a_newest_turn_that_gives_way_at_once_is_not_learned(self) -> None:
        of, memories = session(), self.told(1)
        record = decode(encode(exported(of, b"", 0, self.told(1, 2))))
        restored(record, of, memories, asked=True)
        turn = memories.turns.of(of)
        assert turn is not None
        assert turn.prompt == "p1"
        assert [each.mark for each in memories.histories.of(of)] == [1, 2]


class TestKeys:
    def test_all_that_leads_to_a_session_is_a_key(self) -> None:
        memories, of = Memories(), session(client=7)
        memories.turns.asked(of, "What is a monad?", NOW)
        memories.histories.put(of, [Turn(Told(1, "a"), Told(2, "b"), 33)])
        memories.echo.note(kept_text(of, CALL, fold_text(TASK), NOW, "a"))
        (text,) = memories.echo.of(of)
        turn = memories.turns.of(of)
        assert turn is not None
        found = keys_of(encode(exported(of, packed((11, 12)), 7, memories)))
        assert set(found) == {
            11,
            12,
            records.name_key(SCOPE, "sess_1"),
            records.client_key(SCOPE, 7),
            records.turn_key(turn.prompt_mark),
            records.history_key(33),
            records.echo_key(text.marks[0]),
            records.echo_key(text.marks[-1]),
            records.texts_key(SCOPE),
        }

    def test_kinds_never_meet(self) -> None:
        kinds = (records.echo_key, records.turn_key, records.history_key)
        of_scope = (records.client_key, records.habit_key)
        found = {kind(5) for kind in kinds} | {kind(0, 5) for kind in of_scope}
        assert len(found | {5}) == 6
        assert all(0 < key < 2**64 for key in found)

    def test_no_key_is_zero(self) -> None:
        taken_by_kind = records.echo_key(5) ^ 5
        assert records.echo_key(taken_by_kind) == 1


class TestBounds:
    def test_the_largest_session_has_its_bound(self) -> None:
        memories = Memories()
        of = session(
            trail=b"\xff" * 20 * EXCHANGES_KEPT, external="x" * 256, failed=(2**64 - 1,) * 8
        )
        memories.turns.asked(of, "一" * 9000, NOW)
        memories.turns.answered(of, "一" * 4096, NOW)
        turns = [Turn(Told(n, "語" * 2048), Told(n, "語" * 2048), 2**64 - n) for n in range(1, 9)]
        memories.histories.put(of, turns)
        for number in range(100):
            task = (f"{number} " * LONGEST)[:LONGEST]
            memories.echo.note(kept_text(of, CALL, task.encode(), NOW, f"call_{number}/0"))
        keys = range(2**64 - 3 * KEYS_KEPT, 2**64)
        state = encode(exported(of, packed(keys), 2**63, memories))
        assert MOST_BYTES * 0.7 < len(state) <= MOST_BYTES
        record, arrived = carried(of, memories, tuple(keys))
        assert list(unpacked(record.keys)) == list(keys)[-KEYS_KEPT:]
        assert [turn.reply.key for turn in arrived.histories.of(record.session)] == [*range(1, 9)]
        newest = arrived.histories.of(record.session)[-1]
        assert newest.prompt.text is None or newest.prompt.text == "語" * 2048

    def test_a_long_argument_is_kept_by_its_beginning(self) -> None:
        memories, of = Memories(), session()
        task = fold_text(" ".join(f"Part {n} of a very long task." for n in range(2000)))
        memories.echo.note(kept_text(of, CALL, task, NOW, "a"))
        _, arrived = carried(of, memories)
        (text,) = arrived.echo.of(of)
        assert task.startswith(text.folded)
        assert len(text.folded) == records.TEXTS_BYTES


class TestBytes:
    @pytest.mark.parametrize(
        "state",
        [
            b"",
            bytes((FORMAT + 1,)) + encode(records.Record(session()))[1:],
            encode(records.Record(session()))[:-3],
            bytes((FORMAT,)) + msgspec.msgpack.encode({"not": "ours"}),
        ],
    )
    def test_others_are_refused(self, state: bytes) -> None:
        with pytest.raises(UnreadableRecord):
            decode(state)

    def test_keys_of_others_are_refused(self) -> None:
        with pytest.raises(UnreadableRecord):
            keys_of(b"\x07")
        with pytest.raises(UnreadableRecord):
            keys_of(encode(records.Record(session(), keys=b"123")))

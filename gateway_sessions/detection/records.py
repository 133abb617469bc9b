"""Everything that is known of one session, as bytes: for stores that outlive a process.

A `Record` holds the session itself, the keys that lead to it, and what the detector remembers
of its texts.  `exported` takes one out of the memories, `restored` puts one back; between the two
lie `encode` and `decode`, with the number of the format in the first byte.  What `keys_of` returns
is all that a store has to know of it.

Whatever detection looks a session up by is a key.  Kinds that have no seed of their own (see
`gateway_sessions.detection.plan`) are told apart by one of the constants below.

A record has a bound (`MOST_BYTES`).  What is too much is left out, oldest texts first: then the
session is found by fewer of the rules that go by text, and by all others as before.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from gateway_sessions.detection.canonical import text_key
from gateway_sessions.detection.echo import CALL, SUMMARY, Text, kept_text
from gateway_sessions.detection.histories import Told, Turn
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.session import Session

FORMAT = 1
"""Of the bytes; others are not read."""
MOST_BYTES = 64 * 1024
"""Bytes that a record takes at most."""

KEYS_KEPT = 1536
"""Index keys kept of a session, those registered last (12 KB): three for each exchange of
which the states are known."""
TURN_BYTES = 12 * 1024
"""Bytes of the newest prompt and reply together."""
HISTORY_BYTES = 12 * 1024
"""Bytes of the texts of recent turns."""
TEXTS_BYTES = 12 * 1024
"""Bytes of pending tool arguments and the summary."""
TEXTS_KEPT = 64
"""Pending tool arguments of one session, the newest."""

_SPREAD = 0x9E3779B97F4A7C15
"""Times this (2^64 / golden ratio), each of the constants flips half of a key's bits."""
_NAME, _ECHO, _TURN, _HISTORY, _CLIENT, _HABIT, _TEXTS = (
    kind * _SPREAD & 2**64 - 1 for kind in (0x17F, 0x27F, 0x37F, 0x47F, 0x57F, 0x67F, 0x77F)
)


class UnreadableRecord(Exception):
    """The bytes are none of ours, or of a format that this version does not know."""


class Quotable(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A pending tool argument, or the summary."""

    call: str
    """Which argument of which call; empty for the summary."""
    folded: bytes
    at: float
    taken: int
    tools: int = 0
    taker: int = 0


class Exchanged(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One of the recent turns."""

    prompt_key: int
    prompt: bytes | None
    reply_key: int
    reply: bytes | None
    mark: int


Turns = Mapping[int, tuple[Turn, Exchanged]]
"""Turns that were made ready for a record, by their identity."""


class Record(msgspec.Struct, array_like=True, gc=False):
    """All that is known of a session; texts as UTF-8, lone surrogates as they are."""

    session: Session
    keys: bytes = b""
    """Index keys, 8 bytes each, those registered last at the end."""
    marks: bytes = b""
    """Keys of all other kinds, 8 bytes each."""
    begun_by: int = 0
    """Digest of the client that began it; 0 if nobody did."""
    prompt: bytes = b""
    """The newest prompt."""
    reply: bytes = b""
    """The reply to it."""
    said_at: float = 0.0
    """When the newer of the two was said; 0 if there is neither."""
    turns: tuple[Exchanged, ...] = ()
    """Recent turns, oldest first."""
    texts: tuple[Quotable, ...] = ()
    ending: bytes = b""
    """The end of a prompt that is not kept as a whole."""
    length: int = 0
    """Characters of such a prompt."""


class _Keys(msgspec.Struct, array_like=True, gc=False):
    """The beginning of a record."""

    session: msgspec.Raw
    keys: bytes
    marks: bytes


_encoder = msgspec.msgpack.Encoder()
_record = msgspec.msgpack.Decoder(Record)
_keys = msgspec.msgpack.Decoder(_Keys)


def name_key(scope: int, session_id: str) -> int:
    """Return the key of a session's own id."""
    return text_key(session_id, scope) ^ _NAME or 1


def echo_key(mark: int) -> int:
    """Return the key of a fingerprint of a text that may be quoted."""
    return mark ^ _ECHO or 1


def texts_key(scope: int) -> int:
    """Return the key of the sessions of a scope with texts that may be quoted."""
    return scope ^ _TEXTS or 1


def turn_key(mark: int) -> int:
    """Return the key of how a newest prompt or reply opens."""
    return mark ^ _TURN or 1


def history_key(mark: int) -> int:
    """Return the key of a reply, as `gateway_sessions.detection.histories` marks it."""
    return mark ^ _HISTORY or 1


def client_key(scope: int, client: int) -> int:
    """Return the key of the sessions that a client began."""
    return scope ^ client ^ _CLIENT or 1


def habit_key(scope: int, agent: int) -> int:
    """Return the key of what some instructions serve for."""
    return scope ^ agent ^ _HABIT or 1


def exported(
    session: Session,
    keys: bytes,
    begun_by: int,
    memories: Memories,
    known: Turns = MappingProxyType({}),
) -> Record:
    """Return all that is known of a session.

    Args:
        session: as it is now.
        keys: the index keys that lead to it, packed, those registered last at the end.
        begun_by: the client that began it, 0 if nobody did.
        memories: what is remembered of its texts.
        known: recent turns that were made ready before.
    """
    record = Record(session, keys[-8 * KEYS_KEPT :], begun_by=begun_by)
    scope = session.scope
    marks = [name_key(scope, session.id)]
    if begun_by:
        marks.append(client_key(scope, begun_by))
    turn = memories.turns.of(session)
    if turn is not None:
        record.said_at = turn.at
        record.prompt, record.reply = turn.prompt.encode(*_UTF8), turn.reply.encode(*_UTF8)
        record.ending, record.length = turn.ending.encode(*_UTF8), turn.length
        if len(record.prompt) + len(record.reply) > TURN_BYTES:
            record.prompt, record.reply = _cut(record.prompt), _cut(record.reply)
        if turn.prompt_mark:
            marks.append(turn_key(turn.prompt_mark))
        if turn.reply_mark:
            marks.append(turn_key(turn.reply_mark))
    turns = memories.histories.of(session)
    if turns:
        record.turns = _exchanged(turns, known)
        marks += [turn.mark ^ _HISTORY or 1 for turn in turns]  # As `history_key`, in one go.
    texts = memories.echo.of(session)
    if texts:
        _export_texts(record, _bounded(texts), marks)
    record.marks = packed(list(dict.fromkeys(marks)))
    return record


def _export_texts(record: Record, texts: list[Text], marks: list[int]) -> None:
    record.texts = tuple(
        Quotable(
            "" if text.kind == SUMMARY else text.call,
            text.folded,
            text.at,
            text.taken,
            text.tools,
            text.taker,
        )
        for text in texts
    )
    # Only quotations from the first byte to the last count, and these have every fingerprint of
    # a text.  Templates begin alike and forms end alike, so both ends are told.
    marks += [echo_key(mark) for text in texts for mark in (text.marks[0], text.marks[-1])]
    marks.append(texts_key(record.session.scope))


def restored(record: Record, session: Session, memories: Memories, *, asked: bool = False) -> None:
    """Let the memories know of a session what a record holds, and nothing else.

    Args:
        record: what is known of it.
        session: the object that stands for it, with the values of the record's.
        memories: what is remembered of all.
        asked: whether a prompt will be noted now, which is the newest turn then.
    """
    if not asked and record.said_at:
        prompt, reply = record.prompt.decode(*_UTF8), record.reply.decode(*_UTF8)
        ending, length = record.ending.decode(*_UTF8), record.length
        memories.turns.put(session, prompt, reply, record.said_at, ending=ending, length=length)
    elif not asked:
        memories.turns.forget(session)
    memories.histories.put(session, _turns(record.turns, memories.histories.of(session)))
    if record.texts or memories.echo.of(session):
        memories.echo.put(session, [_text(session, text) for text in record.texts])
    if record.begun_by:
        memories.recent.put(session, record.begun_by)


def forgotten(session: Session, begun_by: int, memories: Memories) -> None:
    """Let the memories know nothing of a session any more."""
    memories.turns.forget(session)
    memories.histories.forget(session)
    memories.echo.forget(session)
    memories.recent.forget(session, begun_by)


def encode(record: Record) -> bytes:
    """Return the bytes of a record."""
    return bytes((FORMAT,)) + _encoder.encode(record)


def decode(state: bytes) -> Record:
    """Return the record that some bytes are; raises `UnreadableRecord`."""
    try:
        return _record.decode(_body(state))
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(str(error)) from None


def keys_of(state: bytes) -> Sequence[int]:
    """Return the keys that lead to the session of a record; raises `UnreadableRecord`."""
    try:
        found = _keys.decode(_body(state))
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(str(error)) from None
    return unpacked(found.keys + found.marks)


def unpacked(keys: bytes) -> Sequence[int]:
    """Return keys that were packed, 8 bytes each."""
    try:
        return struct.unpack(f"<{len(keys) // 8}Q", keys)
    except struct.error as error:
        raise UnreadableRecord(str(error)) from None


def packed(keys: Sequence[int]) -> bytes:
    """Return keys as bytes, 8 each."""
    return struct.pack(f"<{len(keys)}Q", *keys)


def _body(state: bytes) -> memoryview:
    if not state or state[0] != FORMAT:
        raise UnreadableRecord("a record of another format")
    return memoryview(state)[1:]


_UTF8 = ("utf-8", "surrogatepass")


def _cut(text: bytes) -> bytes:
    """Return the start of a text, whole characters only."""
    return text[: TURN_BYTES // 2].decode("utf-8", "ignore").encode()


def _exchanged(turns: Sequence[Turn], known: Turns) -> tuple[Exchanged, ...]:
    """Return recent turns, the older ones by their digests alone where texts take too much."""
    left = HISTORY_BYTES
    found: list[Exchanged] = []
    for turn in reversed(turns):
        made = _made(turn, known)
        left -= len(made.prompt or b"") + len(made.reply or b"")
        if left < 0:
            made = Exchanged(made.prompt_key, None, made.reply_key, None, made.mark)
        found.append(made)
    return tuple(reversed(found))


def _made(turn: Turn, known: Turns) -> Exchanged:
    """Return a turn with its texts, as it was made ready before if it was."""
    before = known.get(id(turn))
    if before is not None and before[1].prompt is not None:
        return before[1]
    asked, said = turn.prompt, turn.reply
    prompt = None if asked.text is None else asked.text.encode(*_UTF8)
    reply = None if said.text is None else said.text.encode(*_UTF8)
    return Exchanged(asked.key, prompt, said.key, reply, turn.mark)


def _turns(turns: Sequence[Exchanged], known: Sequence[Turn]) -> list[Turn]:
    """Return recent turns; those that are known as they are, if these go on after them.

    Oldest turns that are known and no longer told have given way to newer ones.
    """
    keys = [(turn.prompt.key, turn.reply.key) for turn in known]
    for start in range(len(known)):
        told = turns[: len(known) - start]
        if [(turn.prompt_key, turn.reply_key) for turn in told] == keys[start:]:
            return [*known[start:], *map(_turn, turns[len(told) :])]
    return [_turn(turn) for turn in turns]


def _turn(turn: Exchanged) -> Turn:
    prompt, reply = [
        None if text is None else text.decode(*_UTF8) for text in (turn.prompt, turn.reply)
    ]
    return Turn(Told(turn.prompt_key, prompt), Told(turn.reply_key, reply), turn.mark)


def _bounded(texts: list[Text]) -> list[Text]:
    """Return the texts there is room for, and the beginnings of those that are too long."""
    texts = texts[-TEXTS_KEPT:]
    size = sum(len(text.folded) for text in texts)
    if size <= TEXTS_BYTES:
        return texts
    each = TEXTS_BYTES // len(texts)
    return [_shortened(text, each) if len(text.folded) > each else text for text in texts]


def _shortened(text: Text, most: int) -> Text:
    cut = kept_text(text.session, text.kind, text.folded[:most], text.at, text.call, text.tools)
    cut.taken, cut.taker = text.taken, text.taker
    return cut


def _text(session: Session, text: Quotable) -> Text:
    kind = CALL if text.call else SUMMARY
    made = kept_text(session, kind, text.folded, text.at, text.call, text.tools)
    made.taken, made.taker = text.taken, text.taker
    return made

"""The canonical form: equal meaning gives equal digests, whatever the dialect or serialiser.

A message becomes a sequence of *links*, one 16-byte xxh3-128 digest each:

====================  ======================================================================
part                  what is hashed
====================  ======================================================================
text                  ``t`` + the text in Unicode NFC (up to `LONGEST_COMPOSED` characters)
                      without any ASCII white space.  Adjacent texts are one link, so a string,
                      a list of one block and a list of many blocks are all the same, and so
                      are all kinds of line ends.
tool call             ``c`` + name + arguments as JSON with sorted keys; not its id
tool result           ``r`` + its text as above + the references of its media; not the id
image, sound, file    ``m`` + base64 text or URL
reasoning             nothing: clients drop it at will
====================  ======================================================================

White space goes altogether because there is no telling what a client makes of the seams
between blocks; two different messages that agree in all else would still need the same
history and the same answers to be taken for each other.  Links carry their side (client or
model) only through the run they are in, see `gateway_sessions.detection.walk`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from gateway_sessions.conversation import Media, Message, Part, Text, Thinking, ToolCall, ToolResult

LONGEST_COMPOSED = 1 << 15
"""Characters up to which a text is brought into NFC.  People and their keyboards write letters
with marks in either way; a longer text comes from a file or a tool and is sent again as it is."""
_ROW = 31
"""More combining marks than a stream-safe text has in a row (Unicode Standard Annex 15)."""
_STEP = 10
"""Every such row holds three characters in a row of those that stand so far apart."""
_BLOCK = 0x7FF
TEXT = b"t"
"""What comes before the canonical bytes of a text where these are hashed."""
_MANY = 8
"""Messages from which it pays to bring them into canonical form together."""
_WHITE = b" \t\n\r\v\f"
_sorted_json = msgspec.json.Encoder(order="sorted").encode
_from_json = msgspec.json.Decoder().decode


class Digested(msgspec.Struct, frozen=True, gc=False):
    """What detection keeps of one message."""

    role: str
    links: bytes
    """16 bytes a link; empty for a message that says nothing."""
    weight: int
    """Bytes of canonical text: how much there is to recognise."""
    call_ids: tuple[str, ...]
    """Ids of the tool calls in the message, or of the calls its results answer."""
    opens_with_text: bool
    ends_with_text: bool


def fold_text(text: str) -> bytes:
    """Return the canonical bytes of a text."""
    return (text.encode() if text.isascii() else _composed(text)).translate(None, _WHITE)


def fold_texts(texts: Sequence[str]) -> list[bytes]:
    """Return the canonical bytes of each of several texts, at little more than the cost of one."""
    joined = "\0".join(texts)
    if joined.count("\0") != len(texts) - 1:
        return [fold_text(text) for text in texts]
    encoded = _encoded(joined)
    if not joined.isascii():
        if max(map(len, texts)) > LONGEST_COMPOSED or _has_long_row(joined, encoded):
            return [fold_text(text) for text in texts]
        encoded = _nfc(joined, encoded)  # No mark is composed with a NUL.
    return encoded.translate(None, _WHITE).split(b"\0")


def _composed(text: str) -> bytes:
    """Return a text in NFC, in time that grows with its length and no faster."""
    encoded = _encoded(text)
    if len(text) > LONGEST_COMPOSED:
        return encoded
    return encoded if _has_long_row(text, encoded) else _nfc(text, encoded)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _nfc(text: str, encoded: bytes) -> bytes:
    composed = unicodedata.normalize("NFC", text)
    return encoded if composed is text else _encoded(composed)  # Mostly the very same object.


def _has_long_row(text: str, encoded: bytes) -> bool:
    """Whether a text has more combining marks in a row than any script has.

    It takes quadratic time to put such a row in order, so these texts are left as they are.
    Looking at a few characters is enough to rule it out nearly always.
    """
    if len(text) < _ROW:
        return False
    maybe, few, row = _rows(b"\xf0" in encoded)
    some = text[::_STEP]
    return bool(maybe.search(some) and few.search(some) and row.search(text))


@cache
def _rows(beyond_basic_plane: bool) -> tuple[re.Pattern[str], ...]:
    """Return patterns for what may be three marks in a row, what is, and for too long a row.

    Marks beyond the basic plane make a search slow, so they are looked for only where they can
    be, and first by the blocks they are in.  Three characters come apart into marks though they
    are none themselves.
    """
    last = 0x1F000 if beyond_basic_plane else 0x10000
    marks = [letter for letter in map(chr, range(0x300, last)) if unicodedata.combining(letter)]
    marks += "\u0f73\u0f75\u0f81"
    basic = "".join(mark for mark in marks if mark <= "\uffff")
    others = sorted({ord(mark) & ~_BLOCK for mark in marks if mark > "\uffff"})
    blocks = "".join(f"{chr(start)}-{chr(start | _BLOCK)}" for start in others)
    exact = "".join(marks)
    wanted = (f"[{basic}{blocks}]{{3}}", f"[{exact}]{{3}}", f"[{exact}]{{{_ROW}}}")
    return tuple(re.compile(pattern) for pattern in wanted)


def digest_messages(messages: Sequence[Message]) -> list[Digested]:
    """Return the links of each of several messages."""
    if len(messages) < _MANY:
        return [digest_parts(message.role, message.parts) for message in messages]
    alone = [_only_text(message.parts) for message in messages]
    folded = iter(fold_texts([text for text in alone if text is not None]))
    return [
        digest_parts(message.role, message.parts)
        if text is None
        else digest_text(message.role, next(folded))
        for message, text in zip(messages, alone, strict=True)
    ]


def digest_parts(role: str, parts: tuple[Part, ...]) -> Digested:
    """Return the links of a message's parts."""
    if len(parts) == 1:  # By far the most frequent cases.
        part = parts[0]
        if type(part) is Text:
            return digest_text(role, fold_text(part.text))
        if type(part) is ToolCall or type(part) is ToolResult:
            content, call_id = _content(part)
            ids = (call_id,) if call_id else ()
            return Digested(role, xxh3_128_digest(content), len(content), ids, False, False)
    return _digest_mixed(role, parts)


def _only_text(parts: tuple[Part, ...]) -> str | None:
    """Return the text of a message that is nothing else, or None."""
    if not parts:
        return ""
    part = parts[0]
    return part.text if len(parts) == 1 and type(part) is Text else None


def digest_text(role: str, folded: bytes) -> Digested:
    """Return the links of a message that is a text, given in its canonical bytes."""
    if not folded:
        return Digested(role, b"", 0, (), False, False)
    return Digested(role, xxh3_128_digest(TEXT + folded), len(folded), (), True, True)


def _digest_mixed(role: str, parts: tuple[Part, ...]) -> Digested:
    links: list[bytes] = []
    ids: list[str] = []
    weight = 0
    run: list[str] = []  # the texts since the last other part
    opens_with_text = False
    for part in parts:
        if type(part) is Text:
            run.append(part.text)
            continue
        if type(part) is Thinking:
            continue
        if run and (folded := fold_text("".join(run))):
            opens_with_text = opens_with_text or not links
            weight += len(folded)
            links.append(xxh3_128_digest(TEXT + folded))
        run.clear()
        content, call_id = _content(part)
        if call_id:
            ids.append(call_id)
        weight += len(content)
        links.append(xxh3_128_digest(content))
    folded = fold_text("".join(run)) if run else b""
    if folded:
        opens_with_text = opens_with_text or not links
        weight += len(folded)
        links.append(xxh3_128_digest(TEXT + folded))
    return Digested(role, b"".join(links), weight, tuple(ids), opens_with_text, bool(folded))


def _content(part: Part) -> tuple[bytes, str]:
    """Return what is hashed of a part that is no text, and its call id."""
    if type(part) is ToolCall:
        name = part.name.encode("utf-8", "surrogatepass")
        return b"c%d:%b%b" % (len(name), name, _arguments(part)), part.id
    if type(part) is ToolResult:
        text = fold_text("".join([p.text for p in part.parts if type(p) is Text]))
        media = [fold_text(p.reference) for p in part.parts if type(p) is Media]
        return b"r%d:%b%b" % (len(text), text, b"\0".join(media)), part.call_id
    assert type(part) is Media
    return b"m" + part.reference.encode("utf-8", "surrogatepass"), ""


def _arguments(call: ToolCall) -> bytes:
    arguments: Any = call.arguments
    if isinstance(arguments, str):
        return fold_text(arguments)
    try:
        sent = _sorted_json(arguments)
        if b".0" in sent or b"e+" in sent:
            sent = _sorted_json(_whole_numbers(arguments))
        if sent.isascii():
            return sent
        composed = _composed(sent.decode())
        # Composed letters may sort otherwise than decomposed ones.
        return sent if composed == sent else _sorted_json(_from_json(composed))
    except (OverflowError, RecursionError, TypeError, ValueError):
        # Integers beyond 64 bits and absurd nesting: no canonical JSON, so any stable text does.
        return repr(arguments).encode("utf-8", "surrogatepass")


def _whole_numbers(value: Any) -> Any:
    """Return a JSON value with 2.0 written as 2, which serialisers do or do not."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value


def join_messages(messages: list[Message]) -> Digested:
    """Return the links of several messages of one role as if they were one message."""
    parts = tuple(part for message in messages for part in message.parts)
    return digest_parts(messages[0].role, parts)


def text_key(text: str, seed: int) -> int:
    """Return the 64-bit index key of a text under a seed."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed)

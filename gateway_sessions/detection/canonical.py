"""The canonical form: equal meaning gives equal digests, whatever the dialect or serialiser.

A message becomes a sequence of *links*, one 16-byte xxh3-128 digest each:

====================  ======================================================================
part                  what is hashed
====================  ======================================================================
text                  ``t`` + the text in Unicode NFC without any ASCII white space.  Adjacent
                      texts are one link, so a string, a list of one block and a list of many
                      blocks are all the same, and so are all kinds of line ends.
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
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from gateway_sessions.conversation import Message, Part, Text, Thinking, ToolCall, ToolResult

_MARKS_IN_A_ROW = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u302a-\u302f\ufe20-\ufe2f]{31}"
)
"""More combining marks than a stream-safe text has in a row (Unicode Standard Annex 15)."""
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
    if text.isascii():
        return text.encode().translate(None, _WHITE)
    composed = _composed(text)
    return composed.encode("utf-8", "surrogatepass").translate(None, _WHITE)


def _composed(text: str) -> str:
    """Return a text in NFC, in time that grows with its length and no faster.

    Long rows of combining marks, which no script has, take quadratic time to put in order;
    texts that hold one are left as they are.
    """
    if _MARKS_IN_A_ROW.search(text):
        return text
    return unicodedata.normalize("NFC", text)


def digest_parts(role: str, parts: tuple[Part, ...]) -> Digested:
    """Return the links of a message's parts."""
    if len(parts) == 1 and type(parts[0]) is Text:
        # By far the most frequent message: one text.
        folded = fold_text(parts[0].text)
        if not folded:
            return Digested(role, b"", 0, (), False, False)
        return Digested(role, xxh3_128_digest(b"t" + folded), len(folded), (), True, True)
    return _digest_mixed(role, parts)


def _digest_mixed(role: str, parts: tuple[Part, ...]) -> Digested:
    links: list[bytes] = []
    ids: list[str] = []
    weight = 0
    run: list[str] = []  # the texts since the last other part
    opens_with_text = False
    for part in parts:
        if isinstance(part, Text):
            run.append(part.text)
            continue
        if isinstance(part, Thinking):
            continue
        if folded := fold_text("".join(run)):
            opens_with_text = opens_with_text or not links
            weight += len(folded)
            links.append(xxh3_128_digest(b"t" + folded))
        run.clear()
        content, call_id = _content(part)
        if call_id:
            ids.append(call_id)
        weight += len(content)
        links.append(xxh3_128_digest(content))
    folded = fold_text("".join(run))
    if folded:
        opens_with_text = opens_with_text or not links
        weight += len(folded)
        links.append(xxh3_128_digest(b"t" + folded))
    return Digested(role, b"".join(links), weight, tuple(ids), opens_with_text, bool(folded))


def _content(part: Part) -> tuple[bytes, str]:
    """Return what is hashed of a part that is no text, and its call id."""
    if isinstance(part, ToolCall):
        name = part.name.encode("utf-8", "surrogatepass")
        return b"c%d:%b%b" % (len(name), name, _arguments(part)), part.id
    if isinstance(part, ToolResult):
        text = fold_text("".join(p.text for p in part.parts if isinstance(p, Text)))
        media = [fold_text(p.reference) for p in part.parts if not isinstance(p, Text)]
        return b"r%d:%b%b" % (len(text), text, b"\0".join(media)), part.call_id
    assert not isinstance(part, Text | Thinking)
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
        # Composed letters may sort otherwise than decomposed ones.
        return _sorted_json(_from_json(_composed(sent.decode())))
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

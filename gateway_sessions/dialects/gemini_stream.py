"""The streams of Gemini: server-sent events, or a JSON array, of partial responses."""

from __future__ import annotations

from typing import Any, ClassVar

from gateway_sessions.conversation import Reply
from gateway_sessions.dialects import json_array, sse, streaming
from gateway_sessions.dialects.parsing import Json, mapping


class Parser:
    """Reads either form of a stream; its first byte tells which it is."""

    end: ClassVar[bytes] = b"\n\n"
    """What completes an event; blank space means nothing in an array."""

    def __init__(self) -> None:
        self._parser: streaming.EventParser | None = None

    @property
    def overflowed(self) -> bool:
        """True once something too long was dropped."""
        return self._parser is not None and self._parser.overflowed

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """Return the events or elements that this chunk completes."""
        if self._parser is None:
            chunk = chunk.lstrip()
            if not chunk:
                return []
            self._parser = json_array.Parser() if chunk.startswith(b"[") else sse.Parser()
        return self._parser.feed(chunk)

    def unfinished(self) -> sse.Event | None:
        """Return the event of which only the end is missing, or None."""
        return self._parser.unfinished() if self._parser is not None else None


_MERGED = frozenset({"text", "thought"})
"""The fields of parts that go on from one event to the next."""


class _Candidate:
    """One alternative answer as it comes together."""

    def __init__(self) -> None:
        self.fields: Json = {}
        self._content: Json = {}
        self._parts: list[Json] = []
        self._text: streaming.Words | None = None

    def apply(self, delta: Json) -> int:
        """Take one entry of an event's ``candidates``; return what it weighs."""
        weight = 0
        for key, value in delta.items():
            if key != "content":
                weight += streaming.replace(self.fields, key, value)
                continue
            for name, item in mapping(value).items():
                if name != "parts":
                    weight += streaming.replace(self._content, name, item)
                    continue
                for part in item if type(item) is list else ():
                    weight += self._add(part)
        return weight

    def _add(self, part: Any) -> int:
        """Take a part: text goes on where the last part was text of the same kind."""
        if type(part) is not dict:
            raise ValueError("a part is no object")
        words = part.get("text")
        if type(words) is not str or not part.keys() <= _MERGED:
            self._text = None
            self._parts.append(part)
            return streaming.weigh(part)
        if self._text is not None and self._parts[-1].get("thought") == part.get("thought"):
            return self._text.write(words)
        self._text = streaming.Words()
        self._parts.append(part | {"text": self._text})
        return streaming.NEW + self._text.write(words)

    def value(self) -> Json:
        """Return the candidate as a whole response has it."""
        parts = [
            part | {"text": part["text"].getvalue()} if _is_open(part) else part
            for part in self._parts
        ]
        content = {"content": {"parts": parts} | self._content} if parts or self._content else {}
        return content | self.fields


def _is_open(part: Json) -> bool:
    return type(part.get("text")) is streaming.Words


class ContentAssembler(streaming.StreamAssembler):
    """Rebuilds the response object from a stream of partial ones."""

    def __init__(self, read: streaming.ReadReply, limit: int = streaming.COLLECT_LIMIT) -> None:
        super().__init__(limit, Parser())
        self._read_reply = read
        self._envelope: Json | None = None
        """What stands around the responses of Code Assist."""
        self._fields: Json = {}
        self._candidates: dict[int, _Candidate] = {}
        self._open: set[int] = set()
        """The candidates of which there is more to come."""

    def _apply(self, event: Json) -> int:
        weight = 0
        if type(inner := event.get("response")) is dict:
            self._envelope = self._envelope or {}
            for key, value in event.items():
                if key != "response":
                    weight += streaming.replace(self._envelope, key, value)
            event = inner
        for key, value in event.items():
            if key != "candidates":
                weight += streaming.replace(self._fields, key, value)
                continue
            for delta in value if type(value) is list else ():
                index = _index(delta)
                candidate = self._candidates.get(index)
                if candidate is None:
                    candidate = self._candidates[index] = _Candidate()
                    weight += streaming.NEW
                weight += candidate.apply(delta)
        return weight

    def _ends(self, event: Json) -> bool:
        """There is no end marker; the last event of an answer says why it is the last."""
        event = mapping(event.get("response")) or event
        if mapping(event.get("promptFeedback")).get("blockReason"):
            return True
        candidates = event.get("candidates")
        ended = False
        for candidate in candidates if type(candidates) is list else ():
            index = _index(candidate)
            if candidate.get("finishReason"):
                ended = True
                self._open.discard(index)
            elif self._room > 0:
                self._open.add(index)
        return ended and not self._open

    def _is_end(self, event: sse.Event) -> bool:
        return event.data == json_array.LAST or super()._is_end(event)

    def _object(self) -> Json:
        candidates = [candidate.value() for _, candidate in sorted(self._candidates.items())]
        answer = ({"candidates": candidates} if candidates else {}) | self._fields
        if self._envelope is None:
            return answer
        return self._envelope | {"response": answer}

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return self._read_reply(answer, body, complete=complete)


def _index(candidate: Any) -> int:
    """Return the number of the candidate; the first one goes without."""
    index = mapping(candidate).get("index") or 0
    if type(candidate) is not dict or type(index) is not int:
        raise ValueError("a candidate is no object with a number")
    return index

"""Google Gemini, at AI Studio and Vertex AI, and in the Code Assist envelope of the Gemini CLI."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from gateway_sessions.conversation import ASSISTANT, Conversation, Message, Reply, Usage
from gateway_sessions.dialects import parsing
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.envelope import (
    ABSENT,
    Envelope,
    conversation,
    present,
    read_envelope,
)
from gateway_sessions.dialects.gemini_contents import content_parts, read_content
from gateway_sessions.dialects.gemini_stream import ContentAssembler
from gateway_sessions.dialects.parsing import Json, mapping, text
from gateway_sessions.dialects.paths import model_before_verb, plain
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    contents: list[Raw] | dict[str, Raw] | None = None
    system: Raw = msgspec.field(name="systemInstruction", default=ABSENT)
    system_in_snake_case: Raw = msgspec.field(name="system_instruction", default=ABSENT)
    request: Raw = ABSENT
    """The actual request, in the envelope of Code Assist."""
    counted: Raw = msgspec.field(name="generateContentRequest", default=ABSENT)
    """The actual request, where its tokens are to be counted with all that belongs to it."""


_REQUEST = msgspec.json.Decoder(_Request)


class Gemini(Dialect):
    """``POST …/models/m:generateContent`` and ``…:streamGenerateContent``.

    A stream is one of server-sent events with ``alt=sse``, and else a JSON array whose
    elements come one by one.
    """

    name: ClassVar[str] = "gemini"
    provider: ClassVar[str] = "gemini"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body; the path has the model."""
        request = read_envelope(_REQUEST, body)
        if present(request.counted):
            request = read_envelope(_REQUEST, bytes(request.counted))
        stream = plain(path).endswith(":streamGenerateContent")
        if not present(request.request):
            return _conversation(request, model=model_before_verb(path), stream=stream)
        inner = read_envelope(_REQUEST, bytes(request.request))
        inner.model = request.model
        found = _conversation(inner, model=None, stream=stream)
        return replace(found, fields={"request": found.fields}) if found.fields else found

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body, or in the whole array of a stream."""
        answer = parsing.read(body)
        if type(answer) is list:
            assembler = self.assembler()
            assembler.feed(body)
            return assembler.reply()
        return _reply(mapping(answer), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream, of events or an array."""
        return ContentAssembler(_reply)

    def streams(self, content_type: str, *, asked: bool) -> bool:
        """Tell whether a response is a stream: an array in JSON is, if one was asked for."""
        return super().streams(content_type, asked=asked) or (
            asked and content_type.lower().startswith("application/json")
        )

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"error": {code, message, status}}``."""
        usual = "INTERNAL" if status >= 500 else "INVALID_ARGUMENT"
        words = parsing.unicode(message)
        error = {"code": status, "message": words, "status": _ERRORS.get(status, usual)}
        return msgspec.json.encode({"error": error})


_ERRORS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The status of an error by its HTTP status, where it is not ``INVALID_ARGUMENT`` (below 500)
or ``INTERNAL``."""


def _conversation(request: _Request, *, model: str | None, stream: bool) -> Conversation:
    contents = request.contents or []
    if isinstance(contents, dict):
        contents = [Raw(msgspec.json.encode(contents))]
    system = request.system if present(request.system) else request.system_in_snake_case
    return conversation(request, contents, read_content, system, model=model, stream=stream)


_REFUSALS = frozenset(
    {"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "IMAGE_SAFETY",
     "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"}
)  # fmt: skip


def _reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a response object; what in it has another shape is left out."""
    inner = mapping(answer.get("response"))
    if inner and "candidates" not in answer:
        answer = inner  # in the envelope of Code Assist
    candidates = answer.get("candidates")
    found = [c for c in candidates if type(c) is dict] if type(candidates) is list else []
    finish = text(found[0].get("finishReason")) if found else ""
    blocked = text(mapping(answer.get("promptFeedback")).get("blockReason"))
    return Reply(
        messages=tuple(m for candidate in found if (m := _message(candidate)) is not None),
        body=body,
        id=text(answer.get("responseId")),
        model=text(answer.get("modelVersion")),
        finish_reason=finish or blocked,
        usage=_usage(answer.get("usageMetadata")),
        complete=complete,
        refused=finish in _REFUSALS or bool(blocked),
    )


def _message(candidate: Json) -> Message | None:
    """Return the answer in a candidate, or None if it holds none."""
    content = candidate.get("content")
    if type(content) is not dict:
        return None
    try:
        return Message(ASSISTANT, content_parts(content))
    except UnreadableBody:
        return None


def _usage(value: Any) -> Usage | None:
    """Return the counts; the provider counts thoughts apart from what the candidates say."""
    if type(value) is not dict:
        return None
    thoughts = parsing.count(value.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=parsing.count(value.get("promptTokenCount"))
        + parsing.count(value.get("toolUsePromptTokenCount")),
        output_tokens=parsing.count(value.get("candidatesTokenCount")) + thoughts,
        cache_read_tokens=parsing.count(value.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        thinking_tokens=thoughts,
        audio_input_tokens=_audio(value.get("promptTokensDetails")),
        audio_output_tokens=_audio(value.get("candidatesTokensDetails")),
    )


def _audio(details: Any) -> int:
    """Return the tokens of sound among those that are told apart by modality."""
    found = [mapping(item) for item in details] if type(details) is list else []
    return sum(
        parsing.count(item.get("tokenCount")) for item in found if item.get("modality") == "AUDIO"
    )

"""Traces: one JSON file per exchange, made for grep and jq."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway_sessions import (
    Client,
    ConfigError,
    Context,
    Exchange,
    Filer,
    Headers,
    Response,
    Usage,
    embedded,
    json_line,
    utc_timestamp,
)

_NOTHING = msgspec.Raw(b"null")
_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_MESSAGE_FIELDS = ("messages", "contents", "input")
"""Where the dialects keep a request's messages."""

_encoder = msgspec.json.Encoder()
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_messages = msgspec.json.Decoder(list[msgspec.Raw])


class _Request(msgspec.Struct):
    method: str
    path: str
    headers: dict[str, str] | None
    body: msgspec.Raw
    messages_left_out: int | UnsetType = UNSET
    """With ``delta``: how many messages came before those of ``body``."""


class _Response(msgspec.Struct):
    status: int
    headers: dict[str, str] | None
    body: msgspec.Raw
    duration_ms: float
    time_to_first_byte_ms: float
    streamed: bool
    usage: Usage | None
    cost_usd: float | None
    error: str | None
    stream: str | UnsetType = UNSET


class _Trace(msgspec.Struct):
    """The document, field by field; those that default to UNSET are left out where not asked."""

    timestamp: str
    timestamp_unix: float
    session_id: str | None
    parent_session_id: str | None
    root_session_id: str | None
    request_id: str
    provider: str
    relation: str | None
    source: str | None
    confidence: float | None
    client: Client
    request: _Request
    response: _Response | None
    parse_error: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    explain: tuple[dict[str, Any], ...] | UnsetType = UNSET


class _Untagged:
    """Stands for the tag of an exchange that has no session."""

    session_id = parent_session_id = root_session_id = relation = source = confidence = None
    reason = ""
    explain = ()


_UNTAGGED = _Untagged()


class Trace:
    """Writes each exchange to ``DIR/PREFIX-2024-01-20T10-30-45-123Z-<request_id>.json``.

    A file is written under a temporary name and renamed, so that a reader never sees half of
    one.  It is not synced to the disk: a power cut may take the last seconds, traffic waits for
    nothing.

    Args:
        directory: Folder of the files; made with mode 0700 if it is missing.
        include_headers: Keep the headers of requests and responses (credentials masked).
        include_body: ``full``, ``none``, or ``delta``: of a request only the messages that its
            session had not sent before.
        include_stream: Keep the chunks of a streamed response as they came, beside the
            reassembled body.
        max_body_size: Bytes of a body above which only its beginning is kept.
        file_prefix: Beginning of the file names.
        max_age_days: Days after which files are deleted; null keeps them.
        max_total_size_mb: Megabytes (10^6) of files above which the oldest are deleted; null
            sets no limit.
    """

    def __init__(
        self,
        directory: Path = Path("traces"),
        include_headers: bool = True,
        include_body: Literal["full", "delta", "none"] = "full",
        include_stream: bool = False,
        max_body_size: Annotated[int, Meta(ge=0)] = 1_048_576,
        file_prefix: str = "trace",
        max_age_days: Annotated[float, Meta(gt=0)] | None = 30,
        max_total_size_mb: Annotated[float, Meta(gt=0)] | None = 10_000,
    ) -> None:
        if _PREFIX.fullmatch(file_prefix) is None:
            raise ConfigError(
                f"file_prefix {file_prefix!r} must be 1 to 64 letters, digits, '_', '-' or '.'"
            )
        self._filer = Filer(
            Path(directory),
            file_prefix,
            f"{__name__}:Documents",
            {
                "include_headers": include_headers,
                "include_body": include_body,
                "include_stream": include_stream,
                "max_body_size": max_body_size,
                "file_prefix": file_prefix,
            },
            max_age_seconds=None if max_age_days is None else max_age_days * 86_400,
            max_total_bytes=None if max_total_size_mb is None else int(max_total_size_mb * 1e6),
        )
        self.needs_body = include_body != "none"
        """Tells the gateway whether to keep the bodies of requests while they are answered."""
        self.wants_raw_stream = include_stream
        """Tells the gateway to keep the chunks of streams."""

    def open(self, context: Context) -> None:
        """Make the folder; raises `StartError` if files can not be made in it."""
        self._filer.open()

    def write(self, batch: Sequence[Exchange]) -> None:
        """Write one file per exchange; raises `PartlyWritten` where one fails."""
        self._filer.write(batch)

    def close(self) -> None:
        """Wait for the last file."""
        self._filer.close()


class Documents:
    """Makes the documents, in the process that writes them; the options are those of `Trace`."""

    def __init__(
        self,
        include_headers: bool,
        include_body: str,
        include_stream: bool,
        max_body_size: int,
        file_prefix: str,
    ) -> None:
        self._include_headers = include_headers
        self._include_body = include_body
        self._include_stream = include_stream
        self._limit = max_body_size
        self._prefix = file_prefix

    def file(self, exchange: Exchange) -> tuple[str, bytes]:
        """Return name and content of an exchange's file."""
        timestamp = utc_timestamp(exchange.started_at)
        stamp = timestamp.replace(":", "-").replace(".", "-")
        name = f"{self._prefix}-{stamp}-{_UNSAFE.sub('_', exchange.request_id)}.json"
        return name, json_line(self._document(exchange, timestamp))

    def _document(self, exchange: Exchange, timestamp: str) -> _Trace:
        tag = exchange.session or _UNTAGGED
        return _Trace(
            timestamp=timestamp,
            timestamp_unix=math.floor(exchange.started_at * 1000) / 1000,
            session_id=tag.session_id,
            parent_session_id=tag.parent_session_id,
            root_session_id=tag.root_session_id,
            request_id=exchange.request_id,
            provider=exchange.provider,
            relation=tag.relation,
            source=tag.source,
            confidence=tag.confidence,
            client=exchange.client,
            request=self._request(exchange),
            response=None if exchange.response is None else self._response(exchange.response),
            parse_error=exchange.parse_error or UNSET,
            reason=tag.reason if tag.explain else UNSET,
            explain=tag.explain or UNSET,
        )

    def _request(self, exchange: Exchange) -> _Request:
        request = exchange.request
        left_out: int | UnsetType = UNSET
        if self._include_body == "none":
            body = _NOTHING
        else:
            kept, size = request.body, request.size
            if self._include_body == "delta" and kept:
                kept, left_out = _only_new(kept, exchange.new_messages)
                size = len(kept)
            body = embedded(kept, size, self._limit)
        headers = self._headers(request.headers)
        return _Request(request.method, request.path, headers, body, left_out or UNSET)

    def _response(self, response: Response) -> _Response:
        with_body = self._include_body != "none"
        return _Response(
            status=response.status,
            headers=self._headers(response.headers),
            body=embedded(response.body, len(response.body), self._limit)
            if with_body
            else _NOTHING,
            duration_ms=round(response.duration_ms, 3),
            time_to_first_byte_ms=round(response.time_to_first_byte_ms, 3),
            streamed=response.streamed,
            usage=response.usage,
            cost_usd=response.cost_usd,
            error=response.error,
            stream=response.raw_stream[: self._limit].decode("utf-8", "replace")
            if self._include_stream and response.streamed
            else UNSET,
        )

    def _headers(self, headers: Headers) -> dict[str, str] | None:
        return _by_name(headers) if self._include_headers else None


def _by_name(headers: Headers) -> dict[str, str]:
    """Return headers by lower-case name; repeats are joined by commas, as HTTP reads them."""
    named = {name.lower(): value for name, value in headers}
    if len(named) < len(headers):
        named.clear()
        for name, value in headers:
            key = name.lower()
            named[key] = f"{named[key]}, {value}" if key in named else value
    return named


def _only_new(body: bytes, new_messages: int) -> tuple[bytes, int]:
    """Return a request body that keeps only the last ``new_messages`` of its messages.

    With it, how many were left out.  A body that can not be read so, being no JSON object or
    having no list of messages, comes back whole.
    """
    try:
        fields = _fields.decode(body)
        for name in _MESSAGE_FIELDS:
            if name in fields:
                messages = _messages.decode(fields[name])
                left_out = max(0, len(messages) - new_messages)
                fields[name] = msgspec.Raw(_encoder.encode(messages[left_out:]))
                return _encoder.encode(fields), left_out
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return body, 0

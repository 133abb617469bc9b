"""The exchange log: what a line of it, or one of our traces, says of an exchange."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from gateway_sessions.errors import UnreadableLog


class LoggedRequest(msgspec.Struct):
    """The request of an exchange log line."""

    path: str
    method: str = "POST"
    headers: dict[str, str | list[str]] | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")
    messages_left_out: int = 0
    """In our own traces: messages that came before those of ``body``."""


class LoggedResponse(msgspec.Struct):
    """The response of an exchange log line; ``body`` is an object, a stream's text, or null."""

    status: int = 200
    headers: dict[str, str | list[str]] | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")
    duration_ms: float = 0.0
    client_aborted: bool = False
    error: str | None = None


class LoggedClient(msgspec.Struct):
    """The sender of a logged request."""

    ip: str = ""
    scope: str = ""
    """Set in our own traces, whose credentials are masked: it tells senders apart instead,
    whichever headers ``session.scope.headers`` names."""


class LoggedExchange(msgspec.Struct):
    """One line of an exchange log, or one trace file."""

    timestamp: datetime
    request: LoggedRequest
    response: LoggedResponse | None = None
    request_id: str = ""
    client: LoggedClient = msgspec.field(default_factory=LoggedClient)


_decode_line = msgspec.json.Decoder(LoggedExchange).decode


def read_log(lines: Iterable[bytes | str], name: str = "log") -> Iterator[LoggedExchange]:
    """Yield the exchanges of a log, blank lines left out.

    Raises:
        UnreadableLog: a line is no exchange; the text names the line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        yield read_line(line, name, number)


def read_line(line: bytes | str, name: str, number: int, unit: str = "line") -> LoggedExchange:
    """Return the exchange of one line, or of whatever ``unit`` the log consists of.

    Raises:
        UnreadableLog: the line is no exchange.
    """
    try:
        return _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableLog(
            f"{name}, {unit} {number}: not an exchange ({error}); each {unit} needs a JSON object "
            "with timestamp, request and response."
        ) from None

"""One line on the terminal per request and per response."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, TextIO

from msgspec import Meta

from gateway_sessions import Exchange, Response, SessionTag, line_pieces, utc_timestamp

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls, line breaks, marks that turn the direction of writing, halves of surrogates: a
model's words must not be able to move the cursor or forge a line."""

_RESET, _DIM, _GREEN, _YELLOW, _RED, _CYAN = (
    f"\x1b[{code}m" for code in ("0", "2", "32", "33", "31", "36")
)


class Printer:
    """Prints finished exchanges on standard error, in colour if that is a terminal.

    Both lines of an exchange are printed when it is over, one below the other, off the event
    loop: a terminal that is scrolled back may not hold up traffic.

    Args:
        log_requests: Print a line for each request.
        log_responses: Print a line for each response.
        log_body: End the lines with the bodies.
        max_body_length: Characters of a body to print.
    """

    def __init__(
        self,
        log_requests: bool = True,
        log_responses: bool = True,
        log_body: bool = False,
        max_body_length: Annotated[int, Meta(ge=0)] = 1000,
    ) -> None:
        self._log_requests = log_requests
        self._log_responses = log_responses
        self._log_body = log_body
        self._max_body_length = max_body_length
        self.needs_body = log_body

    def write(self, batch: Sequence[Exchange]) -> None:
        """Print the lines of a batch at once."""
        stream = sys.stderr
        colour = stream.isatty() and "NO_COLOR" not in os.environ
        lines: list[str] = []
        for exchange in batch:
            if self._log_requests:
                lines.append(self._request_line(exchange, colour))
            if self._log_responses and exchange.response is not None:
                lines.append(self._response_line(exchange, exchange.response, colour))
        _print(stream, lines)

    def _request_line(self, exchange: Exchange, colour: bool) -> str:
        request = exchange.request
        words = [
            _painted(_DIM, utc_timestamp(exchange.started_at)[11:23], colour),
            "→",
            _painted(_CYAN, _session(exchange.session), colour),
            _safe(f"{request.method} {request.path}"),
            _safe(exchange.model),
            f"{exchange.message_count} messages ({exchange.new_messages} new)",
            f"{request.size:,} bytes",
        ]
        return self._line(words, request.body)

    def _response_line(self, exchange: Exchange, response: Response, colour: bool) -> str:
        ended = exchange.started_at + response.duration_ms / 1000
        healthy = response.status < 400 and response.error is None
        status_colour = _GREEN if healthy else _RED if response.status >= 500 else _YELLOW
        usage = response.usage
        words = [
            _painted(_DIM, utc_timestamp(ended)[11:23], colour),
            "←",
            _painted(_CYAN, exchange.session.session_id if exchange.session else "-", colour),
            _painted(status_colour, str(response.status), colour),
            f"{response.duration_ms:.0f} ms (first byte {response.time_to_first_byte_ms:.0f} ms)",
            f"{usage.input_tokens} → {usage.output_tokens} tokens" if usage else "",
            "streamed" if response.streamed else "",
            _safe(response.error or ""),
        ]
        return self._line(words, response.body)

    def _line(self, words: list[str], body: bytes) -> str:
        if self._log_body and body:
            # Up to four bytes make a character; the rest need not be decoded.
            text = body[: 4 * self._max_body_length + 4].decode("utf-8", "replace")
            shown = text[: self._max_body_length]
            words.append(_safe(shown) + ("…" if len(text) > len(shown) else ""))
        return " ".join(word for word in words if word)


def _session(tag: SessionTag | None) -> str:
    if tag is None:
        return "-"
    return f"{tag.session_id} {tag.relation}/{tag.source} {tag.confidence:.2f}"


def _painted(colour: str, text: str, colourful: bool) -> str:
    return f"{colour}{text}{_RESET}" if colourful else text


def _safe(text: str) -> str:
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _print(stream: TextIO, lines: list[str]) -> None:
    for text in line_pieces("".join(f"{line}\n" for line in lines)):
        try:
            stream.write(text)
        except UnicodeEncodeError:
            # A terminal without Unicode.
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()

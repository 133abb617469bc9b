"""What nobody is to read: headers of one's own choice, and personal data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote, unquote_plus

import msgspec

from gateway_sessions import MASK, Context, Exchange, Headers, Response

if TYPE_CHECKING:
    from gateway_sessions import Personal

KEY = "personal data"
"""The purpose of the key of tokens; session files have the same token for the same value."""


class Redact:
    """Takes out what nobody is to read, before it is written.

    Credentials are masked without it, before any interceptor sees an exchange: well-known
    headers, query parameters, and whatever looks like a key.  What is forwarded is never
    changed.

    Named headers are masked for every interceptor after this one, so it belongs at the top of
    the list.  Personal data is taken out of bodies, paths, header values and the client's
    address on the way to the writers; what can not be cleaned is not written.

    Args:
        headers: Names of further headers whose values are replaced by ``***``, in requests and
            responses.
        personal_data: Take personal data out of what is written.
        mode: What takes its place: ``[EMAIL]``; nothing; ``[EMAIL_1f0c…]``, the same for the
            same value; or the value with its middle starred out.
        kinds: What to look for; null looks for all of these.
        patterns: Names and RE2 expressions of further things to look for.
    """

    needs_body = False  # It cleans what writers get, and they say what they need.

    def __init__(
        self,
        headers: list[str] | None = None,
        personal_data: bool = False,
        mode: Literal["mask", "remove", "tokenize", "partial"] = "mask",
        kinds: list[Literal["email", "card", "ssn", "ip", "phone"]] | None = None,
        patterns: dict[str, str] | None = None,
    ) -> None:
        self._names = frozenset(name.lower() for name in headers or ())
        self._mode = mode
        self._kinds = kinds
        self._patterns = patterns
        self._personal = self._with_key(b"") if personal_data else None
        # A hook that would do nothing is not there: each costs every exchange something.
        if self._names:
            self.request_started = self._request_started
        if self._names or personal_data:
            self.exchange_finished = self._exchange_finished
        if personal_data:
            self.before_write = self._before_write

    def open(self, context: Context) -> None:
        """Get the key of the tokens."""
        if self._personal is not None:
            self._personal = self._with_key(context.derive_key(KEY))

    def _request_started(self, exchange: Exchange) -> None:
        """Mask the request before the recording of its session sees it."""
        self._mask_request(exchange)

    def _exchange_finished(self, exchange: Exchange) -> None:
        """Put masked copies in place of request and response; writers see those."""
        if self._personal is not None:
            # The log has a line with the path, and is no writer.
            path = _clean_path(exchange.request.path, self._personal.text)
            exchange.request = msgspec.structs.replace(exchange.request, path=path)
        if not self._names:
            return
        self._mask_request(exchange)
        if exchange.response is not None:
            exchange.response = msgspec.structs.replace(
                exchange.response, headers=self._masked(exchange.response.headers)
            )

    def _before_write(self, exchange: Exchange) -> Exchange:
        """Return an exchange without personal data, for all writers."""
        personal = self._personal
        if personal is None:
            return exchange
        client, request, response = exchange.client, exchange.request, exchange.response
        error = exchange.parse_error
        return replace(
            exchange,
            client=msgspec.structs.replace(
                client, ip=personal.text(client.ip), user_agent=personal.text(client.user_agent)
            ),
            request=msgspec.structs.replace(
                request,
                path=_clean_path(request.path, personal.text),
                headers=_clean_headers(request.headers, personal),
                body=personal.json(request.body),
            ),
            response=None if response is None else _clean_response(response, personal),
            parse_error=None if error is None else personal.text(error),
        )

    def _with_key(self, key: bytes) -> Personal:
        # Loaded where it is used: its regular expressions are a library of their own.
        from gateway_sessions import Personal  # noqa: PLC0415

        return Personal(self._mode, kinds=self._kinds, patterns=self._patterns, key=key)

    def _mask_request(self, exchange: Exchange) -> None:
        exchange.request = msgspec.structs.replace(
            exchange.request, headers=self._masked(exchange.request.headers)
        )
        if "user-agent" in self._names:
            exchange.client = msgspec.structs.replace(exchange.client, user_agent=MASK)

    def _masked(self, headers: Headers) -> Headers:
        return tuple(
            (name, MASK if name.lower() in self._names else value) for name, value in headers
        )


def _clean_response(response: Response, personal: Personal) -> Response:
    body = personal.json(response.body)
    # A stream has words in pieces, in which nothing can be found.  Where its whole, put
    # together, holds personal data, or could not be put together, the pieces are left out.
    whole = body == response.body != b""
    return msgspec.structs.replace(
        response,
        headers=_clean_headers(response.headers, personal),
        body=body,
        raw_stream=personal.json(response.raw_stream) if whole else b"",
    )


def _clean_headers(headers: Headers, personal: Personal) -> Headers:
    return tuple((name, personal.text(value)) for name, value in headers)


def _clean_path(path: str, clean: Callable[[str], str]) -> str:
    """Return a path cleaned; the parts of it in which nothing is found stay as they were."""
    stem, mark, query = path.partition("?")
    plain = unquote(stem)
    cleaned = clean(plain)
    pairs = "&".join(_clean_pair(pair, clean) for pair in query.split("&"))
    return f"{stem if cleaned == plain else quote(cleaned, safe='/[]*:')}{mark}{pairs}"


def _clean_pair(pair: str, clean: Callable[[str], str]) -> str:
    plain = unquote_plus(pair)
    cleaned = clean(plain)
    return pair if cleaned == plain else quote(cleaned, safe="=[]*@")

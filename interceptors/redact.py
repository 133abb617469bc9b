"""More headers to mask, for those who carry secrets under names of their own."""

from __future__ import annotations

import msgspec

from gateway_sessions import MASK, Exchange, Headers


class Redact:
    """Masks headers for every interceptor after it, so it belongs at the top of the list.

    Credentials are masked without it, before any interceptor sees an exchange: well-known
    headers, query parameters, and whatever looks like a key.  What is forwarded is never
    changed.

    Args:
        headers: Names of further headers whose values are replaced by ``***``, in requests and
            responses.
    """

    def __init__(self, headers: list[str] | None = None) -> None:
        self._names = frozenset(name.lower() for name in headers or ())

    def exchange_finished(self, exchange: Exchange) -> None:
        """Put masked copies in place of request and response; writers see those."""
        if not self._names:
            return
        exchange.request = msgspec.structs.replace(
            exchange.request, headers=self._masked(exchange.request.headers)
        )
        if exchange.response is not None:
            exchange.response = msgspec.structs.replace(
                exchange.response, headers=self._masked(exchange.response.headers)
            )
        if "user-agent" in self._names:
            exchange.client = msgspec.structs.replace(exchange.client, user_agent=MASK)

    def _masked(self, headers: Headers) -> Headers:
        return tuple(
            (name, MASK if name.lower() in self._names else value) for name, value in headers
        )

"""One line in the log for every request: which session it got, why, and how it went.

It is an interceptor like any other, so it sees what they see: credentials are masked before.
"""

from __future__ import annotations

import logging

from gateway_sessions.exchange import Exchange

LINE = (
    "%(method)s %(path)s %(status)s session=%(session)s relation=%(relation)s source=%(source)s"
    " model=%(model)s ms=%(ms).1f request=%(request)s"
)
"""The line; written as JSON, its values are keys of their own."""

_LONGEST = 200
"""Characters of a path or a model name; both are whatever a client sends."""

logger = logging.getLogger(__name__)


class RequestLog:
    """Logs each exchange when its last byte has left, at level INFO."""

    needs_headers = False
    needs_body = False

    def exchange_finished(self, exchange: Exchange) -> None:
        """Log one line; texts only, so that a line in the queue holds no body in memory."""
        if not logger.isEnabledFor(logging.INFO):
            return
        tag, response = exchange.session, exchange.response
        error = response.error if response else None
        values = {
            "method": exchange.request.method,
            "path": exchange.request.path[:_LONGEST],
            "status": response.status if response else 0,
            "session": tag.session_id if tag else "-",
            "relation": tag.relation if tag else "-",
            "source": tag.source if tag else "-",
            "model": exchange.model[:_LONGEST] or "-",
            "ms": round(response.duration_ms, 1) if response else 0.0,
            "request": exchange.request_id,
        }
        if error:
            logger.info(f"{LINE} error=%(error)s", values | {"error": error})  # noqa: G004 -- a constant
        else:
            logger.info(LINE, values)

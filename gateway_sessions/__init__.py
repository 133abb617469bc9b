"""gateway-sessions: gives every LLM request a session.

The names here are the public interface, the one that interceptors are written against.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gateway_sessions import events as session_events
from gateway_sessions.conversation import Usage
from gateway_sessions.errors import ConfigError, GatewaySessionsError, StartError
from gateway_sessions.exchange import (
    Client,
    Exchange,
    Headers,
    Refusal,
    Request,
    Response,
    SessionTag,
)
from gateway_sessions.hooks import Context, Interceptor
from gateway_sessions.recording.files import (
    make_private_directory,
    open_private,
    private_directory,
    write_all,
)
from gateway_sessions.recording.filing import Filer
from gateway_sessions.recording.jsontext import embedded, json_line, utc_timestamp
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.redaction import MASK, masked_headers
from gateway_sessions.telemetry import (
    Detected,
    Dropped,
    Event,
    ExplicitIdRejected,
    IndexFellBack,
    InterceptorFailed,
    RateLimited,
    SessionEnded,
    SessionStarted,
    Telemetry,
    Written,
)

if TYPE_CHECKING:
    from gateway_sessions.embed import (
        SESSION,
        SessionASGIMiddleware,
        session_middleware,
        setup,
    )

_EMBEDDING = frozenset({"SESSION", "SessionASGIMiddleware", "session_middleware", "setup"})
"""Names that need a web server: imported when they are first asked for, since commands that
only read logs start in a third of the time without one."""


def __getattr__(name: str) -> Any:
    if name in _EMBEDDING:
        return getattr(import_module("gateway_sessions.embed"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "MASK",
    "SESSION",
    "Client",
    "ConfigError",
    "Context",
    "Detected",
    "Dropped",
    "Event",
    "Exchange",
    "ExplicitIdRejected",
    "Filer",
    "GatewaySessionsError",
    "Headers",
    "IndexFellBack",
    "Interceptor",
    "InterceptorFailed",
    "PartlyWritten",
    "RateLimited",
    "Refusal",
    "Request",
    "Response",
    "SessionASGIMiddleware",
    "SessionEnded",
    "SessionStarted",
    "SessionTag",
    "StartError",
    "Telemetry",
    "Usage",
    "Written",
    "embedded",
    "json_line",
    "make_private_directory",
    "masked_headers",
    "open_private",
    "private_directory",
    "session_events",
    "session_middleware",
    "setup",
    "utc_timestamp",
    "write_all",
]

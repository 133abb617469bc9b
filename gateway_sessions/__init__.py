"""gateway-sessions: gives every LLM request a session.

The names here are the public interface, the one that interceptors are written against.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gateway_sessions import events as session_events
from gateway_sessions.conversation import Usage
from gateway_sessions.errors import ConfigError, GatewaySessionsError, StartError, WrongQuery
from gateway_sessions.exchange import (
    Client,
    Exchange,
    Headers,
    Refusal,
    Request,
    Response,
    SessionTag,
)
from gateway_sessions.hooks import (
    LEFT_OUT,
    Company,
    Context,
    FeedEvent,
    Interceptor,
    RecordingHandle,
)
from gateway_sessions.pages.amounts import dollars, round_dollars, short
from gateway_sessions.recording.event_lane import EventWriter
from gateway_sessions.recording.files import (
    line_pieces,
    make_private_directory,
    open_private,
    private_directory,
    write_all,
)
from gateway_sessions.recording.filing import Filer
from gateway_sessions.recording.jsontext import embedded, json_line, utc_timestamp
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.recorded import events_of_session, recorded_events
from gateway_sessions.recording.restoring import restore as restore_session_files
from gateway_sessions.recording.session_keeping import KeepLimits
from gateway_sessions.recording.session_writing import SessionFiles
from gateway_sessions.recording.sqlite_store import SqliteStore
from gateway_sessions.redaction import MASK, masked_headers
from gateway_sessions.storage.filters import PAGE_SIZE, SessionFilter, parse_filter
from gateway_sessions.storage.readers import ReaderPool
from gateway_sessions.storage.reports import UNKNOWN_MODEL, Bin, Slot, bins, percentile
from gateway_sessions.storage.results import Exchange as RecordedExchange
from gateway_sessions.storage.results import Latency, Page, SessionRow, ToolCall, ToolGroup
from gateway_sessions.storage.search import Search
from gateway_sessions.storage.sqlite import CorruptDatabase, quarantine
from gateway_sessions.storage.sqlite import connect as connect_sqlite
from gateway_sessions.storage.sqlite import transaction as sqlite_transaction
from gateway_sessions.storage.sqlite import translated as sqlite_errors
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
    Unpriced,
    Written,
)

if TYPE_CHECKING:
    from gateway_sessions.client import RecordingClient
    from gateway_sessions.embed import (
        SESSION,
        SessionASGIMiddleware,
        session_middleware,
        setup,
    )
    from gateway_sessions.pages.charts import Plot, Series, stacked
    from gateway_sessions.pages.environment import look, page_environment
    from gateway_sessions.pages.plots import latency_plot, plots_over_time
    from gateway_sessions.personal_data import Personal
    from gateway_sessions.recording.postgres_store import PostgresStore
    from gateway_sessions.storage.trees import Family, Member, family
    from gateway_sessions.web.admin import has_admin_scope, reporting
    from gateway_sessions.web.login import LOGIN_COOKIE

_LATE = {
    "LOGIN_COOKIE": "gateway_sessions.web.login",
    "RecordingClient": "gateway_sessions.client",
    "SESSION": "gateway_sessions.embed",
    "Family": "gateway_sessions.storage.trees",
    "Member": "gateway_sessions.storage.trees",
    "Personal": "gateway_sessions.personal_data",
    "Plot": "gateway_sessions.pages.charts",
    "PostgresStore": "gateway_sessions.recording.postgres_store",
    "Series": "gateway_sessions.pages.charts",
    "SessionASGIMiddleware": "gateway_sessions.embed",
    "family": "gateway_sessions.storage.trees",
    "latency_plot": "gateway_sessions.pages.plots",
    "look": "gateway_sessions.pages.environment",
    "page_environment": "gateway_sessions.pages.environment",
    "plots_over_time": "gateway_sessions.pages.plots",
    "has_admin_scope": "gateway_sessions.web.admin",
    "reporting": "gateway_sessions.web.admin",
    "session_middleware": "gateway_sessions.embed",
    "setup": "gateway_sessions.embed",
    "stacked": "gateway_sessions.pages.charts",
}
"""Names imported when they are first asked for: they need a web server, without which commands
that only read logs start in a third of the time, templates, or a driver that is an extra."""


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "LEFT_OUT",
    "LOGIN_COOKIE",
    "MASK",
    "PAGE_SIZE",
    "SESSION",
    "UNKNOWN_MODEL",
    "Bin",
    "Client",
    "Company",
    "ConfigError",
    "Context",
    "CorruptDatabase",
    "Detected",
    "Dropped",
    "Event",
    "EventWriter",
    "Exchange",
    "ExplicitIdRejected",
    "Family",
    "FeedEvent",
    "Filer",
    "GatewaySessionsError",
    "Headers",
    "IndexFellBack",
    "Interceptor",
    "InterceptorFailed",
    "KeepLimits",
    "Latency",
    "Member",
    "Page",
    "PartlyWritten",
    "Personal",
    "Plot",
    "PostgresStore",
    "RateLimited",
    "ReaderPool",
    "RecordedExchange",
    "RecordingClient",
    "RecordingHandle",
    "Refusal",
    "Request",
    "Response",
    "Search",
    "Series",
    "SessionASGIMiddleware",
    "SessionEnded",
    "SessionFiles",
    "SessionFilter",
    "SessionRow",
    "SessionStarted",
    "SessionTag",
    "Slot",
    "SqliteStore",
    "StartError",
    "Telemetry",
    "ToolCall",
    "ToolGroup",
    "Unpriced",
    "Usage",
    "Written",
    "WrongQuery",
    "bins",
    "connect_sqlite",
    "dollars",
    "embedded",
    "events_of_session",
    "family",
    "has_admin_scope",
    "json_line",
    "latency_plot",
    "line_pieces",
    "look",
    "make_private_directory",
    "masked_headers",
    "open_private",
    "page_environment",
    "parse_filter",
    "percentile",
    "plots_over_time",
    "private_directory",
    "quarantine",
    "recorded_events",
    "reporting",
    "restore_session_files",
    "round_dollars",
    "session_events",
    "session_middleware",
    "setup",
    "short",
    "sqlite_errors",
    "sqlite_transaction",
    "stacked",
    "utc_timestamp",
    "write_all",
]

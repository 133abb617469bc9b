"""The configuration, key by key: names, types, defaults and what each is for.

Everything is frozen and every key is optional, so that ``Config()`` is the configuration of a
user who has written none.  Names and defaults are the product's promise: changing one breaks
files that people already have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway_sessions.config import checks
from gateway_sessions.config.keys import FREE_FORM, Key, Section
from gateway_sessions.config.recording import RecordingApi, SessionRecording

Whole = Annotated[int, Meta(ge=1)]
"""A count of which there is at least one."""


class Server(Section, frozen=True, kw_only=True):
    """Where clients reach the gateway."""

    host: Annotated[
        str, Key("Address to listen on; 0.0.0.0 means every network.", check=checks.not_blank)
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), Key("Port to listen on; 0 takes a free one.")] = 3000
    workers: Annotated[Whole, Key("Processes that share the port.")] = 1
    trusted_proxies: Annotated[
        tuple[str, ...],
        Key(
            "Addresses or networks whose X-Forwarded-For header is believed.",
            check=checks.networks,
        ),
    ] = ()
    response_headers: Annotated[
        Literal["all", "id", "none"],
        Key("Session headers in responses: all of them, the session id only, or none."),
    ] = "all"


class Match(Section, frozen=True, kw_only=True):
    """Which requests an upstream gets."""

    path: Annotated[
        str,
        Key("Path pattern; * stands for anything, slashes included.", check=checks.path_pattern),
    ] = "/*"
    headers: Annotated[
        dict[str, str],
        Key(
            "Header patterns, all of which must fit: {x-team: blue*}.",
            check=checks.header_keys,
        ),
    ] = msgspec.field(default_factory=dict)


Preset = Literal["litellm", "helicone", "portkey", "langfuse", "openrouter", "envoy", "openai"]
"""Next hops whose session headers are known."""
Injected = Literal["session", "parent", "root", "request"]
"""What a header can be filled with: the session's id, its parent's, its root's, the request's."""


class Upstream(Section, frozen=True, kw_only=True):
    """A server that requests are forwarded to."""

    url: Annotated[
        str,
        Key(
            "Where to forward to; builtin://echo is an embedded stand-in.",
            check=checks.upstream_url,
        ),
    ]
    name: Annotated[str, Key("Name in logs and metrics; the URL's host if empty.")] = ""
    match: Match = Match()
    timeout_seconds: Annotated[
        float, Meta(gt=0), Key("Longest silence of the upstream before the client gets a 504.")
    ] = 600.0
    inject: Annotated[
        bool | Preset | dict[str, Injected],
        Key(
            "Session headers to add upstream: true (X-Gateway-Session-Id), false, the name of a"
            " preset, or {header: session|parent|root|request}.",
            expected="true, false, one of litellm, helicone, portkey, langfuse, openrouter, envoy,"
            " openai, or a mapping from header names to session, parent, root or request",
            check=checks.header_keys,
        ),
    ] = True


class Scope(Section, frozen=True, kw_only=True):
    """Who is asking: sessions never cross scopes."""

    headers: Annotated[
        tuple[str, ...],
        Key("Headers that carry the tenant's credential.", check=checks.header_names),
    ] = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    credential: Annotated[
        bool, Key("Separate sessions by credential; false where keys rotate per request.")
    ] = True
    end_user: Annotated[bool, Key("Separate sessions by the end user named in the body.")] = True


class Explicit(Section, frozen=True, kw_only=True):
    """Session ids that clients send themselves."""

    enabled: Annotated[bool, Key("Use them.")] = True
    headers: Annotated[
        tuple[str, ...],
        Key("Headers to trust beside the built-in table.", check=checks.header_names),
    ] = ()


class Persistence(Section, frozen=True, kw_only=True):
    """What of the sessions survives a restart."""

    enabled: Annotated[
        bool, Key("Keep sessions beyond the process, and share them with others.")
    ] = False
    backend: Annotated[
        Literal["memory", "file", "redis", "postgres"],
        Key("Where sessions are kept: a file of this machine, or a server that replicas share."),
    ] = "memory"
    connection: Annotated[
        str | None,
        Key(
            "The file, or the URL of the server; null is live.db in the state directory.",
            secret=True,
        ),
    ] = None


class Session(Section, frozen=True, kw_only=True):
    """How requests are put into sessions."""

    enabled: Annotated[bool, Key("Detect sessions; false only forwards.")] = True
    max_sessions: Annotated[
        Whole, Key("Live sessions kept; beyond it the one unused for longest is forgotten.")
    ] = 10_000
    session_ttl_seconds: Annotated[
        float,
        Meta(gt=0),
        Key("Idle time after which a conversation that goes on is a new session."),
    ] = 3600.0
    fuzzy_matching: Annotated[bool, Key("Recognise histories that were altered.")] = True
    fuzzy_threshold: Annotated[
        float, Meta(ge=0, le=1), Key("Similarity from which two histories count as the same.")
    ] = 0.8
    fuzzy_max_diff: Annotated[
        int, Meta(ge=0), Key("Messages by which an altered history's length may differ.")
    ] = 2
    reset_phrases: Annotated[
        tuple[str, ...],
        Key("A user message that begins with one of these starts over.", check=checks.phrases),
    ] = ("start over", "new conversation", "clear chat")
    min_messages_for_new_session: Annotated[
        int,
        Meta(ge=0),
        Key("A new session shorter than this, beside a longer one of its client: count_drop."),
    ] = 3
    scope: Scope = Scope()
    explicit: Explicit = Explicit()
    persistence: Persistence = Persistence()


class PerSession(Section, frozen=True, kw_only=True):
    """Limits of each session."""

    requests_per_minute: Annotated[Whole | None, Key("Requests in any minute.")] = None
    tokens_per_hour: Annotated[Whole | None, Key("Tokens in any hour.")] = None
    min_confidence: Annotated[
        float,
        Meta(ge=0, le=1),
        Key("Confidence of detection below which nothing is refused."),
    ] = 0.7


class RateLimiting(Section, frozen=True, kw_only=True):
    """How much a session may use."""

    per_session: PerSession = PerSession()


class InterceptorEntry(Section, frozen=True, kw_only=True):
    """A part of the gateway that sees tagged exchanges."""

    type: Annotated[
        str,
        Key("Name of an installed interceptor, or module:Class.", check=checks.not_blank),
    ]
    enabled: Annotated[bool, Key("Run it.")] = True
    config: Annotated[FREE_FORM, Key("Its own options.")] = msgspec.field(default_factory=dict)


class Admin(Section, frozen=True, kw_only=True):
    """Who may see the gateway's own endpoints (/health, /metrics, /config, ...)."""

    listen: Annotated[
        str | None,
        Key(
            "Own host:port for them; null shares the main port, or takes 127.0.0.1:3001 where"
            " others can reach that one and there is no token.",
            expected="an address of the form host:port, such as 127.0.0.1:3001, or null",
            check=checks.host_port,
        ),
    ] = None
    token: Annotated[
        str | None,
        Key("Bearer token they ask for.", secret=True, check=checks.not_blank),
    ] = None
    prefix: Annotated[
        str,
        Key("Path to move them under, where the upstream uses theirs.", check=checks.path_prefix),
    ] = ""


class Logging(Section, frozen=True, kw_only=True):
    """What the gateway says about itself."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Key("Least important messages to show.")
    ] = "INFO"
    format: Annotated[Literal["console", "json"], Key("Lines for people or for machines.")] = (
        "console"
    )
    file: Annotated[
        str | None, Key("File that gets every line besides the terminal; null for none.")
    ] = "logs/gateway.log"


DEFAULT_INTERCEPTORS = (
    InterceptorEntry(type="redact"),
    InterceptorEntry(
        type="trace",
        config={
            "directory": "./traces",
            "include_headers": True,
            "include_body": "full",
            "max_body_size": 1_048_576,
            "file_prefix": "trace",
        },
    ),
    InterceptorEntry(
        type="printer",
        enabled=False,
        config={
            "log_requests": True,
            "log_responses": True,
            "log_body": False,
            "max_body_length": 1000,
        },
    ),
    InterceptorEntry(
        type="message_logger",
        enabled=False,
        config={"log_file": "message_logs/messages.jsonl", "include_metadata": True},
    ),
)
"""What runs when the user lists nothing."""

ECHO = Upstream(url="builtin://echo")
"""The upstream of a newcomer who has none: canned, well-formed answers without a key."""


class Config(Section, frozen=True, kw_only=True):
    """Configuration of gateway-sessions; every key is optional."""

    server: Server = Server()
    upstreams: Annotated[
        tuple[Upstream, ...],
        Key(
            "Servers to forward to, the first that matches wins; short form: `upstream: URL`.",
            check=checks.some_upstream,
        ),
    ] = (ECHO,)
    session: Session = Session()
    rate_limiting: RateLimiting = RateLimiting()
    interceptors: Annotated[
        tuple[InterceptorEntry, ...],
        Key("What is done with tagged traffic, in this order."),
    ] = DEFAULT_INTERCEPTORS
    session_recording: SessionRecording = SessionRecording()
    recording_api: RecordingApi = RecordingApi()
    admin: Admin = Admin()
    logging: Logging = Logging()
    state_directory: Annotated[
        str,
        Key("Folder for what must survive a restart.", check=checks.not_blank),
    ] = "~/.gateway-sessions"
    secret: Annotated[
        str | None,
        Key(
            "Key of the hashes that tell tenants apart; null makes one in the state directory.",
            secret=True,
            check=checks.long_secret,
        ),
    ] = None

    @property
    def state_path(self) -> Path:
        """The state directory with ``~`` expanded."""
        return Path(self.state_directory).expanduser()


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, and where each value of it that the user gave came from."""

    config: Config
    places: Mapping[str, str]
    """``{"server.port": "gateway.yaml, line 3"}``: the keys that somebody set."""

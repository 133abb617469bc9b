"""From a configuration to a gateway: the one place that knows how its parts fit together.

It knows nothing of HTTP, so that the standalone server and a host application that embeds the
gateway put it together in the same way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway_sessions import plugins
from gateway_sessions.chain import implements
from gateway_sessions.config import Config, Loaded, Source, detection_settings, effective, load
from gateway_sessions.config.prices_file import read_prices
from gateway_sessions.config.schema import InterceptorEntry
from gateway_sessions.errors import ConfigError
from gateway_sessions.gateway import Gateway
from gateway_sessions.hooks import Company
from gateway_sessions.index.making import MAPPED, make_store
from gateway_sessions.index.store import Store
from gateway_sessions.prices import Prices
from gateway_sessions.recording.child import Child, Spawned
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.recording.writers import check_writers, entries
from gateway_sessions.request_log import RequestLog
from gateway_sessions.secret import PERSONAL_DATA, derived_key, server_secret
from gateway_sessions.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Assembly:
    """A gateway and the configuration that it was made from."""

    gateway: Gateway
    config: Config
    prices: Prices
    company: Company | None = None
    """The other processes of a gateway with several workers."""

    async def open(self) -> None:
        """Open the gateway; raises `StartError` or `ConfigError` if a part of it refuses."""
        loading = asyncio.get_running_loop().run_in_executor(None, self.prices.load)
        try:
            await self.gateway.open(
                effective(self.config),
                self.config.state_path,
                _database(self.config),
                self.company,
            )
        finally:
            await loading

    async def close(self) -> None:
        """Write down what is queued and close everything; idempotent."""
        await self.gateway.close()


class Share(NamedTuple):
    """The part of a process in a gateway that has several."""

    company: Company
    recorder: Callable[[], Child]
    """Starts the recorder of all processes, or connects to it."""
    sessions: Path
    """What workers share sessions in where nothing else is configured; it goes with them."""

    def wants(self, interceptor: object) -> bool:
        """Tell whether an interceptor is for this process.

        The main one has those that serve endpoints, or workers by an attribute of this name; the
        workers have those that see traffic.  One that does both is in all of them.
        """
        if self.company.is_main:
            asked = getattr(interceptor, "serves_workers", False)
            return implements(interceptor, "routes") or asked
        serves = implements(interceptor, "routes")
        return not serves or any(implements(interceptor, hook) for hook in TRAFFIC_HOOKS)


MEMORY = "memory"
"""The back end that is none."""
TRAFFIC_HOOKS = (
    "request_started",
    "upstream_headers",
    "client_headers",
    "exchange_finished",
    "before_write",
    "write",
)


def assemble(
    source: Source = None, *, serves: bool = False, share: Share | None = None
) -> Assembly:
    """Put a gateway together from a configuration: a file, a mapping, or one already loaded.

    ``serves`` tells that the gateway's own endpoints will be served, so that what consists of
    endpoints is worth having; ``share`` that other processes do the rest.  Nothing is opened yet.
    Raises `ConfigError` for a wrong configuration and `StartError` if the server secret can not
    be stored.
    """
    loaded = load(source)
    config = loaded.config
    check_interceptors(loaded)
    check_writers(config.session_recording)
    telemetry = Telemetry()
    talkative = config.logging.level in ("DEBUG", "INFO")
    chain = plugins.load(
        (*_limits(config), *config.interceptors, *(_endpoints(config) if serves else ())),
        telemetry,
        extra=(("log", RequestLog()),) if talkative else (),
        wanted=(lambda _: True) if share is None else share.wants,
    )
    secret = server_secret(config.secret, config.state_path)
    recording = config.session_recording
    prices = Prices(read_prices(recording.prices_file))
    gateway = Gateway(
        detection_settings(config.session),
        secret=secret,
        store=_store(config, share),
        backend=_kept(config, share)[0],
        interceptors=chain,
        recording=RecordingProcess(
            recording,
            telemetry,
            secret=derived_key(secret, PERSONAL_DATA),
            idle_seconds=config.session.session_ttl_seconds,
            begin=Spawned if share is None else share.recorder,
            shared=share is not None and share.company.is_main,
        )
        if entries(recording)
        else None,
        prices=prices,
        telemetry=telemetry,
    )
    return Assembly(gateway, config, prices, None if share is None else share.company)


def _kept(config: Config, share: Share | None) -> tuple[str, str | None]:
    """Return the kind of what keeps sessions beyond the process, and where; memory does not.

    Workers need something in any case, and the main process, which carries no traffic, nothing.
    """
    shared = config.session.persistence
    if not config.session.enabled or (share is not None and share.company.is_main):
        return MEMORY, None
    if shared.enabled and shared.backend != MEMORY:
        return shared.backend, shared.connection
    return (MEMORY, None) if share is None else (MAPPED, str(share.sessions))


def _store(config: Config, share: Share | None) -> Store | None:
    """Return what keeps sessions beyond the process, where that is wanted or needed."""
    backend, connection = _kept(config, share)
    if backend == MEMORY:
        return None
    return make_store(
        backend,
        connection,
        config.state_path,
        max_sessions=config.session.max_sessions,
        ttl_seconds=config.session.session_ttl_seconds,
    )


def _limits(config: Config) -> list[InterceptorEntry]:
    """Return the interceptor that limits sessions, where they are to be limited.

    It comes first: what it refuses need not be looked at by others.
    """
    limits = config.rate_limiting.per_session
    if limits.requests_per_minute is None and limits.tokens_per_hour is None:
        return []
    return [InterceptorEntry(type="rate_limit", config=msgspec.structs.asdict(limits))]


def _endpoints(config: Config) -> list[InterceptorEntry]:
    """Return the interceptors that serve endpoints by a block of the configuration."""
    listed = {entry.type for entry in config.interceptors}
    found: list[InterceptorEntry] = []
    if config.recording_api.enabled and "recording_api" not in listed:
        options = msgspec.structs.asdict(config.recording_api)
        del options["enabled"], options["token"]
        found.append(InterceptorEntry(type="recording_api", config=options))
    return found


def _database(config: Config) -> Path | None:
    recording = config.session_recording
    if not (recording.enabled and recording.sqlite.enabled):
        return None
    return Path(recording.sqlite.path).expanduser()


def build_gateway(source: Source = None) -> Gateway:
    """Return the gateway of `assemble` alone, for hosts that open it in their own way."""
    return assemble(source).gateway


def check_interceptors(loaded: Loaded) -> None:
    """Check the types and options of all interceptors without making any.

    Raises `ConfigError` with the place in the configuration.
    """
    for number, entry in enumerate(loaded.config.interceptors):
        try:
            plugins.check(entry)
        except ConfigError as error:
            place = _place(loaded, f"interceptors.{number}", str(error))
            end = "" if str(error).endswith((".", "?")) else "."
            raise ConfigError(f"{place}{error}{end}") from None


def _place(loaded: Loaded, item: str, sentence: str) -> str:
    """Return where in the configuration an interceptor's error comes from, as its beginning."""
    option = re.search(r"option '([^']+)'", sentence)
    keys = [f"{item}.config.{option[1]}"] if option else []
    for key in (*keys, f"{item}.type"):
        for given, place in loaded.places.items():
            if given == key or given.startswith(f"{key}."):
                return f"{place}: "
    return ""

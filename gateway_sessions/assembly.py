"""From a configuration to a gateway: the one place that knows how its parts fit together.

It knows nothing of HTTP, so that the standalone server and a host application that embeds the
gateway put it together in the same way.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway_sessions import plugins
from gateway_sessions.config import Config, Loaded, Source, detection_settings, effective, load
from gateway_sessions.config.prices_file import read_prices
from gateway_sessions.config.schema import InterceptorEntry
from gateway_sessions.errors import ConfigError
from gateway_sessions.gateway import Gateway
from gateway_sessions.index.making import make_store
from gateway_sessions.index.store import Store
from gateway_sessions.prices import Prices
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

    async def open(self) -> None:
        """Open the gateway; raises `StartError` or `ConfigError` if a part of it refuses."""
        loading = asyncio.get_running_loop().run_in_executor(None, self.prices.load)
        try:
            await self.gateway.open(
                effective(self.config), self.config.state_path, _database(self.config)
            )
        finally:
            await loading

    async def close(self) -> None:
        """Write down what is queued and close everything; idempotent."""
        await self.gateway.close()


def assemble(source: Source = None, *, serves: bool = False) -> Assembly:
    """Put a gateway together from a configuration: a file, a mapping, or one already loaded.

    ``serves`` tells that the gateway's own endpoints will be served, so that what consists of
    endpoints is worth having.  Nothing is opened yet.  Raises `ConfigError` for a wrong
    configuration and `StartError` if the server secret can not be stored.
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
    )
    secret = server_secret(config.secret, config.state_path)
    recording = config.session_recording
    prices = Prices(read_prices(recording.prices_file))
    gateway = Gateway(
        detection_settings(config.session),
        secret=secret,
        store=_store(config),
        backend=config.session.persistence.backend,
        interceptors=chain,
        recording=RecordingProcess(
            recording,
            telemetry,
            secret=derived_key(secret, PERSONAL_DATA),
            idle_seconds=config.session.session_ttl_seconds,
        )
        if entries(recording)
        else None,
        prices=prices,
        telemetry=telemetry,
    )
    return Assembly(gateway, config, prices)


def _store(config: Config) -> Store | None:
    """Return what keeps sessions beyond the process, where that is wanted."""
    session = config.session
    if not (session.enabled and session.persistence.enabled):
        return None
    return make_store(
        session.persistence.backend,
        session.persistence.connection,
        config.state_path,
        max_sessions=session.max_sessions,
        ttl_seconds=session.session_ttl_seconds,
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

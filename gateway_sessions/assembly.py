"""From a configuration to a gateway: the one place that knows how its parts fit together.

It knows nothing of HTTP, so that the standalone server and a host application that embeds the
gateway put it together in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway_sessions import plugins
from gateway_sessions.config import Config, Loaded, Source, detection_settings, effective, load
from gateway_sessions.errors import ConfigError
from gateway_sessions.gateway import Gateway
from gateway_sessions.request_log import RequestLog
from gateway_sessions.secret import server_secret
from gateway_sessions.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Assembly:
    """A gateway and the configuration that it was made from."""

    gateway: Gateway
    config: Config

    async def open(self) -> None:
        """Open the gateway; raises `StartError` or `ConfigError` if an interceptor refuses."""
        await self.gateway.open(effective(self.config), self.config.state_path)

    async def close(self) -> None:
        """Write down what is queued and close everything; idempotent."""
        await self.gateway.close()


def assemble(source: Source = None) -> Assembly:
    """Put a gateway together from a configuration: a file, a mapping, or one already loaded.

    Nothing is opened yet.  Raises `ConfigError` for a wrong configuration and `StartError` if
    the server secret can not be stored.
    """
    loaded = load(source)
    config = loaded.config
    check_interceptors(loaded)
    telemetry = Telemetry()
    talkative = config.logging.level in ("DEBUG", "INFO")
    chain = plugins.load(
        config.interceptors, telemetry, extra=(("log", RequestLog()),) if talkative else ()
    )
    gateway = Gateway(
        detection_settings(config.session),
        secret=server_secret(config.secret, config.state_path),
        interceptors=chain,
        telemetry=telemetry,
    )
    return Assembly(gateway, config)


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

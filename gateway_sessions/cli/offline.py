"""Detection on logs, without a gateway: what ``detect`` drives."""

from __future__ import annotations

import secrets
from hashlib import blake2b

from gateway_sessions.config import Config, Loaded, detection_settings
from gateway_sessions.detection.detector import SESSION_PREFIX
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.exchange_log import LoggedExchange
from gateway_sessions.names import crockford
from gateway_sessions.replay import LoggedVerdict, Replay
from gateway_sessions.secret import SECRET_BYTES, stored_secret
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.tracker import Tracker


class Detection:
    """One configuration at work on a log.

    A session's id is made of the place of its first exchange in the log.  So the same log gives
    the same ids each time, and sessions that begin with the same exchange have the same id under
    two configurations.  Nobody can use such an id with a gateway, so it may be guessed.
    """

    def __init__(self, config: Config, secret: bytes, *, explain: bool = False) -> None:
        """Detect with the ``session`` block of a configuration."""
        self.telemetry = Telemetry()
        settings = detection_settings(config.session)
        tracker = Tracker(settings, secret, self.telemetry, mint=self._mint, explain=explain)
        self._replay = Replay(tracker)
        self._exchanges = 0
        self._minted = 0

    def verdict(self, exchange: LoggedExchange) -> LoggedVerdict:
        """Return the verdict on the log's next exchange."""
        self._exchanges += 1
        self._minted = 0
        return self._replay.verdict(exchange)

    def _mint(self) -> str:
        self._minted += 1
        place = f"{self._exchanges}/{self._minted}".encode()
        return SESSION_PREFIX + crockford(blake2b(place, digest_size=13).digest())


def check_enabled(configuration: Loaded) -> None:
    """Refuse a configuration under which a gateway would give no request a session.

    Raises:
        ConfigError: ``session.enabled`` is false; the text says where.
    """
    if not configuration.config.session.enabled:
        place = configuration.places.get("session.enabled", "the configuration")
        raise ConfigError(
            f"{place}: session.enabled is false, so there is nothing to detect; "
            "add --set session.enabled=true."
        )


def secret_of(config: Config) -> bytes:
    """Return the gateway's secret, so that ids which clients give lead to the same sessions."""
    if config.secret is not None:
        return config.secret.encode()
    try:
        return stored_secret(config.state_path) or secrets.token_bytes(SECRET_BYTES)
    except StartError:
        # Another user's secret, or none: sessions are the same, only some ids differ.
        return secrets.token_bytes(SECRET_BYTES)

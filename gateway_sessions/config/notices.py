"""What a user should know of a configuration that is right, and does not do what he may expect."""

from __future__ import annotations

from gateway_sessions.config.schema import Config, Loaded

_BACKEND = "session.persistence.backend"


def notices(loaded: Loaded) -> list[str]:
    """Return one sentence for each thing that is to be said when it is loaded.

    At present that is one: replicas with secrets of their own would not know each other's
    sessions.
    """
    if not shares_through_server(loaded.config) or loaded.config.secret is not None:
        return []
    backend = loaded.config.session.persistence.backend
    place = loaded.places.get(_BACKEND, "the configuration")
    said = (
        f"{place}: {_BACKEND} {backend} shares sessions among gateways with the same secret only;"
        " set secret to the same text of 16 characters or more on all of them."
    )
    return [said]


def shares_through_server(config: Config) -> bool:
    """Whether sessions are kept where several gateways may use them."""
    persistence = config.session.persistence
    return persistence.enabled and persistence.backend in ("redis", "postgres")

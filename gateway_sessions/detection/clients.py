"""Which sessions a client began last, to say why a further one is new."""

from __future__ import annotations

from gateway_sessions.detection.session import Session

CLIENTS_KEPT = 4096
"""Clients remembered; the one that came first gives way, and comes back with its next session."""
SESSIONS_KEPT = 4
"""Sessions remembered of each, those begun last.  A client with more of them at once is a server
with many users, of which nobody can tell who has turned away from what."""


class RecentSessions:
    """The sessions that each client began last."""

    def __init__(self, kept: int = CLIENTS_KEPT) -> None:
        """Remember ``kept`` clients."""
        self._kept = kept
        self._begun: dict[int, list[Session]] = {}

    def began(self, session: Session) -> None:
        """Note a new session of the client that it names."""
        begun = self._of(session.scope ^ session.client)
        if len(begun) == SESSIONS_KEPT:
            del begun[0]
        begun.append(session)

    def put(self, session: Session, client: int) -> None:
        """Note a session that a client began at some time."""
        begun = self._of(session.scope ^ client)
        begun[:] = [other for other in begun if other.id != session.id]
        begun.append(session)
        begun.sort(key=_started)
        del begun[:-SESSIONS_KEPT]

    def forget(self, session: Session, client: int) -> None:
        """Forget that a client began a session."""
        begun = self._begun.get(session.scope ^ client)
        if begun is not None:
            begun[:] = [other for other in begun if other.id != session.id]

    def _of(self, client: int) -> list[Session]:
        begun = self._begun.get(client)
        if begun is None:
            if len(self._begun) == self._kept:
                del self._begun[next(iter(self._begun))]
            begun = self._begun[client] = []
        return begun

    def of(self, scope: int, client: int) -> list[Session]:
        """Return the sessions that a client began last, the newest at the end.

        Args:
            scope: the scope's seed.
            client: digest of address and user agent; sessions that are another's by now are
                left out.
        """
        begun = self._begun.get(scope ^ client, ())
        return [session for session in begun if session.client == client]


def _started(session: Session) -> float:
    return session.started

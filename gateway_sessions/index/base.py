"""The interface of all indexes.

A request costs one look-up phase and one commit.  Detection asks a `View` for the sessions
under a key, rule by rule; a back end in this process answers each from memory, a remote one
fetches all of the plan's keys in one round trip first and answers from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway_sessions.detection.session import Session
from gateway_sessions.detection.view import View


class Index(View, Protocol):
    """Sessions and the keys that lead to them.

    A full index lets no scope take the room of another beyond its quota, see
    `gateway_sessions.detection.quota`.
    """

    def commit(
        self, session: Session, keys: Sequence[int], now: float, outdated: Sequence[int] = ()
    ) -> None:
        """Store a session that was just used at ``now``.

        Args:
            session: new, or as a `View` gave it, with its changes.
            keys: keys that lead to it from now on.
            now: unix seconds.
            outdated: keys that no longer do.
        """

    def expire(self, now: float) -> bool:
        """Close what has been idle for too long, a bounded number of sessions a call.

        Return whether there may be more, so that the caller comes back.
        """

    @property
    def active(self) -> int:
        """Sessions that are live, as of the last `expire`."""

    def close(self) -> None:
        """Release everything."""

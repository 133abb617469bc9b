"""Recorded sessions in PostgreSQL: the tables of SQLite, shared by several gateways."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_sessions import ConfigError, session_events


class PostgresWriter:
    """Writes session events into the tables that ``docs/recording.md`` describes.

    Args:
        url: ``postgresql://user:password@host:5432/database``; the tables are made there.
    """

    def __init__(self, url: str) -> None:
        try:
            # Its driver is an extra, which only this writer needs.
            from gateway_sessions import PostgresStore  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "PostgreSQL needs a driver: pip install 'gateway-sessions[postgres]'"
            ) from error
        self._store = PostgresStore(url)

    def open(self) -> None:
        """Connect; raises `StartError` where the tables are newer than this program.

        A server that can not be reached is no error: the recorder keeps events for a while.
        """
        self._store.open()

    def write(self, batch: Sequence[session_events.SessionEvent]) -> None:
        """Write events, all in one transaction.

        Raises `OSError` where that may succeed later, `PartlyWritten` with events that are bad.
        """
        self._store.write(batch)

    def flush(self) -> None:
        """Do nothing: the server has made durable what it committed."""

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

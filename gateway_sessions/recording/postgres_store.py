"""The tables of sessions in PostgreSQL; needs the extra ``postgres``."""

from __future__ import annotations

import errno
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import msgspec
import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict

from gateway_sessions.errors import ConfigError
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.rows import apply
from gateway_sessions.recording.tables import Key, Select
from gateway_sessions.storage.migrations import migrate
from gateway_sessions.storage.schema import POSTGRES

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5
"""How long making a connection may take."""
_OPTIONS = "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC"
"""Nothing that a batch does takes so many milliseconds, unless something is wrong."""
_LOCK = 0x67775F73
"""Of the advisory lock that all gateways writing to one database take in turns.  They change the
same rows of sums, so that they would wait for each other anyway; like this never in a circle."""


class PostgresStore:
    """Writes events into one PostgreSQL database.  Not locked: one thread at a time.

    Several programs may write to the same one.  Errors of `write`: `OSError` where the server
    or the way there is at fault and trying again later may help; what else it raises is the
    fault of an event.
    """

    def __init__(self, url: str) -> None:
        try:
            where = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise ConfigError(
                "the URL of the database must be of the form"
                " postgresql://user:password@host:5432/database"
            ) from error
        self._url = url
        self.place = f"{where.get('host', 'localhost')}/{where.get('dbname', '')}"
        """For messages: what the URL says, without its user and password."""
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def open(self) -> None:
        """Connect and bring the tables up to date.

        Raises `StartError` where the tables are newer than this program.  A server that can not
        be reached, or does not let us in, is tried again with each write.
        """
        try:
            self._connect()
        except OSError as error:
            logger.warning("PostgreSQL at %s: %s; it is tried again", self.place, error.strerror)

    def write(self, batch: Sequence[SessionEvent]) -> None:
        """Write events in one transaction; raises `PartlyWritten` with those that are bad."""
        named = [_named(event) for event in batch]
        try:
            with self._transaction() as tables:
                apply(named, tables)
        except _FAULTS_OF_EVENTS as error:
            if not _of_values(error):
                raise
            bad = [batch[number] for number in self._one_by_one(named)]
            if bad:
                raise PartlyWritten(len(batch) - len(bad), bad) from error

    def close(self) -> None:
        """Close the connection; the next write makes a new one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(psycopg.Error):  # nothing of ours is under way
                connection.close()

    def _one_by_one(self, batch: Sequence[SessionEvent]) -> list[int]:
        """Write each event for itself; return which are bad, by number."""
        bad: list[int] = []
        with self._transaction() as tables:
            for number, event in enumerate(batch):
                try:
                    with tables.connection.transaction():  # a savepoint
                        apply([event], tables)
                except _FAULTS_OF_EVENTS as error:
                    if not _of_values(error):
                        raise
                    bad.append(number)
        return bad

    @contextmanager
    def _transaction(self) -> Iterator[_PostgresTables]:
        with self._translated():
            connection = self._connection or self._connect()
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                yield _PostgresTables(connection)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        with self._translated():
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                options=_OPTIONS,
                application_name="gateway-sessions",
            )
            try:
                connection.adapters.register_loader("timestamp", _AsText)
                migrate(connection, POSTGRES, lambda: _alone(connection))
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise errors of the server and of the connection as what they mean for a caller."""
        try:
            yield
        except psycopg.Error as error:
            if _of_values(error):
                raise
            self.close()
            said = " ".join(str(error).split())
            raise OSError(errno.EIO, said, self.place) from error


_FAULTS_OF_EVENTS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
"""What a bad event may make: values that a row can not have, or a type that nobody knows."""


def _of_values(error: Exception) -> bool:
    """Tell whether an error is about what was to be written, not about the database."""
    if isinstance(error, psycopg.ProgrammingError):
        return error.sqlstate is None  # a type that can not be sent; else, a missing table
    return isinstance(error, psycopg.DataError | psycopg.IntegrityError) or not isinstance(
        error, psycopg.Error
    )


class _PostgresTables:
    """Reads and writes rows inside of a transaction."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection

    def find(self, select: Select, keys: Collection[Key]) -> Iterable[Sequence[Any]]:
        if not keys:
            return ()
        values = [list(column) for column in zip(*keys, strict=True)]
        return self.connection.execute(_select(select), values).fetchall()

    def has(self, sql: str, values: Sequence[Any]) -> bool:
        return self.connection.execute(_placed(sql), values).fetchone() is not None

    def write(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        with self.connection.cursor() as cursor:
            cursor.executemany(_placed(sql), [_storable(row) for row in rows])


class _AsText(Loader):
    """Reads times as SQLite has them, so that the same code compares them."""

    def load(self, data: psycopg.abc.Buffer) -> str:
        text = bytes(data).decode()
        return f"{text[:19]}.{text[20:]:0<6}"


@contextmanager
def _alone(connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        yield


def _named(event: SessionEvent) -> SessionEvent:
    """Return an event whose ids PostgreSQL can hold: rows are looked up by them."""
    if "\0" not in f"{event.session_id}{event.request_id}":
        return event
    return msgspec.structs.replace(
        event, session_id=_kept(event.session_id), request_id=_kept(event.request_id)
    )


def _kept(text: str) -> str:
    """Return a text without the one character that PostgreSQL has no place for."""
    return text.replace("\0", "\ufffd")


def _storable(row: Sequence[Any]) -> Sequence[Any]:
    if any(isinstance(value, str) and "\0" in value for value in row):
        return [_kept(value) if isinstance(value, str) else value for value in row]
    return row


@lru_cache
def _placed(sql: str) -> str:
    return sql.replace("?", "%s")


@lru_cache
def _select(select: Select) -> str:
    columns = ", ".join(f"t.{column}" for column in select.columns)
    arrays = ", ".join("%s::text[]" for _ in select.by)
    condition = " AND ".join(f"t.{column} = k.{column}" for column in select.by)
    keys = ", ".join(select.by)
    return (
        f"SELECT {columns} FROM {select.table} t JOIN unnest({arrays}) AS k({keys}) ON {condition}"  # noqa: S608 - names of ours
    )

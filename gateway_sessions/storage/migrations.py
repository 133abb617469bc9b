"""Bringing a database to the tables that this program knows.

Each migration is a function that names its statements.  It runs in one transaction together
with the row that records it, so that a database is never between two versions.  Migrations are
only ever added: one that was released stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gateway_sessions.errors import StartError
from gateway_sessions.storage import schema
from gateway_sessions.storage.schema import Dialect

Migration = Callable[[Dialect], Sequence[str]]

MIGRATIONS: tuple[Migration, ...] = (
    schema.sessions,
    schema.exchanges,
    schema.tools,
    schema.streams,
    schema.days,
    schema.tree,
    schema.texts,
    schema.messages,
)
"""In their order; the first makes version 1."""

VERSION = len(MIGRATIONS)
"""Of the tables that this program reads and writes."""


class UnsupportedSchema(StartError):
    """The database was made by a newer program."""


class Connection(Protocol):
    """The part of a database connection, of either kind, that migrations need."""

    def execute(self, sql: str, /) -> Any:
        """Run one statement; the result has ``fetchone``."""


def migrate(
    connection: Connection,
    dialect: Dialect,
    transaction: Callable[[], AbstractContextManager[object]],
    migrations: Sequence[Migration] = MIGRATIONS,
) -> int:
    """Apply what is missing; return how many migrations that were.

    ``transaction`` begins one that keeps other writers out and commits at its end.  Each
    migration looks at the version anew inside of its own, so that two programs may start at
    the same time.  Raises `UnsupportedSchema`.
    """
    with transaction():
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)"
        )
    applied = 0
    while True:
        with transaction():
            version = _version(connection)
            check(version, len(migrations))
            if version == len(migrations):
                return applied
            for statement in migrations[version](dialect):
                connection.execute(statement)
            connection.execute(f"INSERT INTO schema_version (version) VALUES ({version + 1:d})")
        applied += 1


def check(version: int, known: int = VERSION) -> None:
    """Raise `UnsupportedSchema` if a database is newer than this program."""
    if version > known:
        raise UnsupportedSchema(
            f"Unsupported schema version: {version} (this program knows {known});"
            " run the newer gateway-sessions that made it, or name another database"
        )


def _version(connection: Connection) -> int:
    row = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
    return int(row[0] or 0)

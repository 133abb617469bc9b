"""The way to a PostgreSQL server: one connection, made when it is needed; needs ``psycopg``."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.index.batches import ANSWER_SECONDS
from gateway_sessions.index.store import StoreFailed

_LOCK = 0x67775F6C
"""Of the advisory lock under which one gateway at a time brings the tables up to date."""

_Connection = psycopg.AsyncConnection[TupleRow]


class PostgresLink:
    """Runs one statement at a time; connects anew when the connection was lost."""

    def __init__(self, dsn: str) -> None:
        """Prepare; raises `ConfigError` where the address can not be read."""
        try:
            where = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError as error:
            # What the library says about it may hold the password.
            raise ConfigError(
                "session.persistence.connection must be of the form"
                " postgresql://user:password@host:5432/database"
            ) from error
        self._dsn = dsn
        self.name = f"PostgreSQL at {where.get('host', 'localhost')}/{where.get('dbname', '')}"
        """For messages: no user, no password."""
        self._connection: _Connection | None = None
        self._asking = False
        self._hung_up = False

    async def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[TupleRow]:
        """Return the rows of a statement, within `ANSWER_SECONDS`; raises `StoreFailed`.

        A statement is run again where its connection turns out to be broken, so it must be one
        that may be run twice.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        cut = loop.call_at(deadline, self._cut)
        used_before = self._connection is not None
        self._asking = True
        self._hung_up = False
        try:
            try:
                return await self._ask(statement, parameters)
            except psycopg.OperationalError:
                broken = used_before and self._connection is None
                if not broken or self._hung_up or loop.time() >= deadline:
                    raise
                return await self._ask(statement, parameters)
        except (psycopg.Error, OSError) as error:
            if loop.time() >= deadline:
                reason = f"no answer within {ANSWER_SECONDS:g} s"
            else:
                reason = str(error).partition("\n")[0]
            raise StoreFailed(f"{self.name}: {reason}") from error
        finally:
            cut.cancel()
            self._asking = False

    async def migrate(self, scripts: Sequence[str]) -> None:
        """Bring the tables up to date: the first script makes version 1, and so on.

        Raises `StoreFailed`, or `StartError` where they are newer than this program.
        """
        try:
            connection = self._connection or await self._connect()
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                await connection.execute(
                    "CREATE TABLE IF NOT EXISTS live_schema (version integer PRIMARY KEY)"
                )
                found = await connection.execute(
                    "SELECT coalesce(max(version), 0) FROM live_schema"
                )
                row = await found.fetchone()
                assert row is not None
                version: int = row[0]
                if version > len(scripts):
                    raise StartError(
                        f"{self.name}: the tables of live sessions have version {version}, and this"
                        f" program knows {len(scripts)}: use a newer one, or another database"
                    )
                for number, script in enumerate(scripts[version:], version + 1):
                    await connection.execute(script.encode())
                    await connection.execute("INSERT INTO live_schema VALUES (%s)", (number,))
        except (psycopg.Error, OSError) as error:
            await self.hang_up()
            raise StoreFailed(f"{self.name}: {str(error).partition(chr(10))[0]}") from error

    async def hang_up(self) -> None:
        """Close the connection; a statement that is under way fails at once."""
        self._hung_up = True
        if self._asking:
            self._cut()
        elif self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    def _cut(self) -> None:
        """Break the connection beneath the library, which then notices.

        To cancel what waits for it would be politer: the library asks the server to cancel the
        statement and waits for that.  A server that is asked to hang up does not answer.
        """
        connection = self._connection
        if connection is not None and not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as way:
                way.shutdown(socket.SHUT_RDWR)

    async def _ask(self, statement: str, parameters: Sequence[Any]) -> list[TupleRow]:
        connection = self._connection or await self._connect()
        try:
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()
        finally:
            if connection.closed:
                self._connection = None

    async def _connect(self) -> _Connection:
        async with asyncio.timeout(ANSWER_SECONDS):
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                # Statements are calls of functions, whose plans the server keeps itself; named
                # ones would get lost behind a pooler.
                prepare_threshold=None,
                application_name="gateway-sessions",
            )
        return self._connection

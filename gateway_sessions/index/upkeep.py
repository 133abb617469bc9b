"""The upkeep of the file of sessions, on a thread of its own: what no request should wait for.

- The log of changes is written back into the database and shortened.  Only this syncs to the
  disk, so that a machine that loses its power finds a sound file.
- Sessions that can be found no longer are removed, and keys that lead to none, some at a time.

Every process that uses the file has such a thread; one that finds another one writing leaves it
for the next round.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from gateway_sessions.storage.sqlite import log_size

logger = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
"""Between two rounds."""
LOG_BYTES = 4 * 2**20
"""Size of the log from which it is written back; what is read often should not be in it."""
LONGEST_LOG_BYTES = 16 * 2**20
"""Size from which the log is emptied, for which those who write wait some milliseconds."""
REMOVED_AT_ONCE = 50
"""Sessions removed in one transaction: less than a millisecond, for which commits wait."""
REMOVED_PER_ROUND = 2000
"""Sessions removed in one round, and twice as many keys looked at for each that was."""
KEYS_AT_ONCE = 1000
"""Keys looked at in one transaction."""

_BEGINNING = (-(2**63), 0)
_EXPIRED = "SELECT n, scope FROM sessions WHERE scope = ? AND bucket < ? ORDER BY bucket LIMIT ?"
_SCOPES = "SELECT scope FROM scopes"
_NEXT_KEYS = """
SELECT k.key, k.n, s.n IS NULL FROM keys AS k LEFT JOIN sessions AS s ON s.n = k.n
WHERE (k.key, k.n) > (?, ?) ORDER BY k.key, k.n LIMIT ?
"""


class Upkeep:
    """A thread that looks after a file of sessions."""

    def __init__(self, path: Path, *, gone_after: float, bucket_seconds: float) -> None:
        """Look after a file.

        Args:
            path: the file, which is there already.
            gone_after: seconds after its last use for which a session can be found.
            bucket_seconds: what sessions are ordered by.
        """
        self._path = path
        self._gone_after = gone_after
        self._bucket_seconds = bucket_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sessions file", daemon=True)
        self._after = _BEGINNING
        """The last key that was looked at, and where it led."""
        self._removed = 1
        """Sessions that were removed since all keys were looked at; of those before, nobody
        knows."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def removed(self) -> None:
        """Note that a session was removed elsewhere, so that its keys lead nowhere."""
        self._removed += 1

    def stop(self) -> None:
        """Write back what is in the log and end; may take some milliseconds."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            logger.warning("%s can not be looked after: %s", self._path, error)
            return
        with closing(connection):
            connection.execute("PRAGMA synchronous = NORMAL")
            while not self._stopped.wait(ROUND_SECONDS):
                self.round(connection, time.time())
            self._write_back(connection, 0)

    def round(self, connection: sqlite3.Connection, now: float) -> None:
        """Do what is due at a time (unix seconds)."""
        try:
            self._removed += self._remove_expired(connection, now)
            if self._removed:
                self._remove_keys(connection)
        except sqlite3.Error as error:
            # Somebody else is writing, or the next request will meet and tell what is wrong.
            logger.debug("%s: upkeep is put off: %s", self._path, error)
        self._write_back(connection, LOG_BYTES)

    def _remove_expired(self, connection: sqlite3.Connection, now: float) -> int:
        """Remove sessions that can be found no longer; return how many."""
        before = int((now - self._gone_after) / self._bucket_seconds)
        removed = 0
        for (scope,) in connection.execute(_SCOPES).fetchall():
            while removed < REMOVED_PER_ROUND:
                gone = connection.execute(_EXPIRED, (scope, before, REMOVED_AT_ONCE)).fetchall()
                if not gone:
                    break
                removed += _remove(connection, scope, [number for number, _ in gone], before)
        return removed

    def _remove_keys(self, connection: sqlite3.Connection) -> None:
        """Look at the next keys, and remove those that lead to no session."""
        budget = max(KEYS_AT_ONCE, 2 * min(self._removed, REMOVED_PER_ROUND))
        while budget > 0 and not self._stopped.is_set():
            rows = connection.execute(_NEXT_KEYS, (*self._after, KEYS_AT_ONCE)).fetchall()
            dead = [(key, number) for key, number, is_dead in rows if is_dead]
            if dead:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("DELETE FROM keys WHERE key = ? AND n = ?", dead)
                connection.execute("COMMIT")
            budget -= KEYS_AT_ONCE
            if len(rows) < KEYS_AT_ONCE:
                self._after, self._removed = _BEGINNING, 0
                return
            self._after = rows[-1][:2]

    def _write_back(self, connection: sqlite3.Connection, beyond: int) -> None:
        """Write the log back into the database if it is longer than some bytes."""
        try:
            size = log_size(self._path)
            if size > beyond:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if size > LONGEST_LOG_BYTES or not beyond:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (OSError, sqlite3.Error) as error:
            logger.debug("%s: its log is not written back: %s", self._path, error)


def _remove(connection: sqlite3.Connection, scope: int, numbers: list[int], before: int) -> int:
    """Remove sessions that were not used since they were looked at; return how many went."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        removed = 0
        for number in numbers:
            sql = "DELETE FROM sessions WHERE n = ? AND bucket < ?"
            removed += connection.execute(sql, (number, before)).rowcount
        connection.execute("UPDATE scopes SET held = held - ? WHERE scope = ?", (removed, scope))
        connection.execute("DELETE FROM scopes WHERE scope = ? AND held <= 0", (scope,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return removed

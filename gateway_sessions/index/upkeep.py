"""The upkeep of the file of sessions, on a thread of its own: what no request should wait for.

- Keys are moved from the news into their table, many at a time.
- Sessions that can be found no longer are removed, and keys that lead to none.
- The log of changes is written back into the database and shortened.  Only this syncs to the
  disk, so that a machine that loses its power finds a sound file.

One process does it at a time; the others are ready to take over.  Each change of the file is a
single statement: SQLite runs it without Python's lock, and so without waiting for a busy event
loop while it keeps others from writing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from gateway_sessions.index.news import unpacked
from gateway_sessions.storage.sqlite import log_size

logger = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
"""Between two rounds."""
BUSY_SECONDS = 0.5
"""How long a statement waits for a gap between commits, which are short."""
LOG_BYTES = 4 * 2**20
"""Size of the log from which it is written back; what is read often should not be in it."""
LONGEST_LOG_BYTES = 16 * 2**20
"""Size from which the log is emptied, for which those who write wait some milliseconds."""
NEWS_READ = 100
"""Rows of news read at once."""
MOVED_AT_ONCE = 100
"""Keys moved by one statement: less than a millisecond, for which commits wait."""
REMOVED_AT_ONCE = 100
"""Sessions removed by one statement: about a millisecond."""
KEYS_AT_ONCE = 2000
"""Keys looked at by one statement: about a millisecond."""
STATEMENTS_PER_ROUND = 20
"""That remove something, of each kind: sessions expire no faster than they come."""

ROUNDS_OF_NEWS = 100
"""How often news are read in one round: 10,000 commits in a second are more than come."""

_BEGINNING = (-(2**63), 0)
_NEWS = """
SELECT seq, n, added, outdated FROM news WHERE seq < (SELECT MAX(seq) FROM news)
ORDER BY seq LIMIT ?
"""
_MOVING = "CREATE TEMP TABLE IF NOT EXISTS moving (key INTEGER, n INTEGER)"
_MOVE = "INSERT OR IGNORE INTO keys (key, n) SELECT key, n FROM moving"
_REMOVE = "DELETE FROM keys WHERE (key, n) IN (SELECT key, n FROM moving)"
_EXPIRED = """
DELETE FROM sessions WHERE n IN (
  SELECT n FROM sessions WHERE scope = ?1 AND bucket < ?2 ORDER BY bucket LIMIT ?3
)
"""
_DEAD = """
DELETE FROM keys WHERE (key, n) IN (
  SELECT key, n FROM (
    SELECT key, n FROM keys WHERE (key, n) > (?1, ?2) ORDER BY key, n LIMIT ?3
  ) AS part WHERE NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.n = part.n)
)
"""
_NEXT = "SELECT key, n FROM keys WHERE (key, n) > (?1, ?2) ORDER BY key, n LIMIT 1 OFFSET ?3"


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
        self._removed = True
        """Whether sessions were removed since all keys were looked at; of those before, nobody
        knows."""
        self.moved = 0
        """The rows of news up to this one are where all keys are."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def removed(self) -> None:
        """Note that a session was removed elsewhere, so that its keys lead nowhere."""
        self._removed = True

    def stop(self) -> None:
        """Write back what is in the log and end; may take some milliseconds."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            logger.warning("%s can not be looked after: %s", self._path, error)
            return
        lock = os.open(f"{self._path}.upkeep", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with closing(connection):
                connection.execute("PRAGMA synchronous = NORMAL")
                while not self._stopped.wait(ROUND_SECONDS):
                    if _is_ours(lock):
                        self.round(connection, time.time())
                    with suppress(sqlite3.Error):
                        self.look(connection)
                if _is_ours(lock):
                    self.round(connection, time.time())
                    self._write_back(connection, 0)
        finally:
            os.close(lock)

    def look(self, connection: sqlite3.Connection) -> None:
        """Find out how far news have been moved, by whatever process."""
        (first,) = connection.execute("SELECT MIN(seq) FROM news").fetchone()
        self.moved = (first or 1) - 1

    def round(self, connection: sqlite3.Connection, now: float) -> None:
        """Do what is due at a time (unix seconds)."""
        try:
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(_MOVING)
            self._move_news(connection)
            if self._remove_expired(connection, now):
                self._removed = True
            if self._removed:
                self._remove_keys(connection)
        except sqlite3.Error as error:
            # Somebody else is writing, or the next request will meet and tell what is wrong.
            logger.debug("%s: upkeep is put off: %s", self._path, error)
        self._write_back(connection, LOG_BYTES)

    def _move_news(self, connection: sqlite3.Connection) -> None:
        """Move keys into their table, all but those of the newest row, which keeps the count."""
        for _ in range(ROUNDS_OF_NEWS):
            rows = connection.execute(_NEWS, (NEWS_READ,)).fetchall()
            if not rows:
                return
            said: dict[tuple[int, int], bool] = {}
            for _, number, added, outdated in rows:
                said.update({(key, number): False for key in unpacked(outdated)})
                said.update({(key, number): True for key in unpacked(added)})
            for sql, is_added in ((_MOVE, True), (_REMOVE, False)):
                # Sorted, as the table is: neighbours share a page.
                pairs = sorted(pair for pair, each in said.items() if each is is_added)
                for start in range(0, len(pairs), MOVED_AT_ONCE):
                    _at_once(connection, sql, pairs[start : start + MOVED_AT_ONCE])
            connection.execute("DELETE FROM news WHERE seq <= ?", (rows[-1][0],))
            if len(rows) < NEWS_READ:
                return

    def _remove_expired(self, connection: sqlite3.Connection, now: float) -> bool:
        """Remove sessions that can be found no longer; return whether there were any."""
        before = int((now - self._gone_after) / self._bucket_seconds)
        statements = 0
        for (scope,) in connection.execute("SELECT scope FROM scopes").fetchall():
            gone = 0
            while statements < STATEMENTS_PER_ROUND:
                removed = connection.execute(_EXPIRED, (scope, before, REMOVED_AT_ONCE)).rowcount
                gone += removed
                statements += removed > 0
                if removed < REMOVED_AT_ONCE:
                    break
            if gone:
                sql = "UPDATE scopes SET held = held - ? WHERE scope = ?"
                connection.execute(sql, (gone, scope))
        if statements:
            connection.execute("DELETE FROM scopes WHERE held <= 0")
        return statements > 0

    def _remove_keys(self, connection: sqlite3.Connection) -> None:
        """Look at the next keys, and remove those that lead to no session."""
        for _ in range(STATEMENTS_PER_ROUND):
            end = connection.execute(_NEXT, (*self._after, KEYS_AT_ONCE - 1)).fetchone()
            connection.execute(_DEAD, (*self._after, KEYS_AT_ONCE))
            if end is None:
                self._after, self._removed = _BEGINNING, False
                return
            self._after = end

    def _write_back(self, connection: sqlite3.Connection, beyond: int) -> None:
        """Write the log back into the database if it is longer than some bytes."""
        try:
            size = log_size(self._path)
            if size > beyond:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if size > LONGEST_LOG_BYTES or not beyond:
                # What came since is little, and nobody can write until it is done: that is not
                # the time to wait for the disk.  The next writing back does.
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (OSError, sqlite3.Error) as error:
            logger.debug("%s: its log is not written back: %s", self._path, error)
        finally:
            connection.execute("PRAGMA synchronous = NORMAL")


def _at_once(connection: sqlite3.Connection, sql: str, pairs: list[tuple[int, int]]) -> None:
    """Run a statement on keys and where they lead, which come into memory of our own first."""
    connection.execute("DELETE FROM moving")
    connection.executemany("INSERT INTO moving (key, n) VALUES (?, ?)", pairs)
    connection.execute(sql)


def _is_ours(lock: int) -> bool:
    """Whether this process looks after the file; it does until it ends, once it does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

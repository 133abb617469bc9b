"""Keys that were registered just now, before they are where all keys are.

Keys are hashes: each of them lies on another page of the table of keys, and to write six pages for
every turn costs more than all the rest of it.  So a commit appends what changed of its keys as one
row to a list of news, and `gateway_sessions.index.upkeep` moves many of them into the table at a
time.  Until then they are found here, in memory, where every process reads the news of all.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

_READ = "SELECT seq, n, added, outdated FROM news WHERE seq > ? ORDER BY seq"
_APPEND = "INSERT INTO news (n, added, outdated) VALUES (?, ?, ?)"


def append(
    connection: sqlite3.Connection, number: int, added: Sequence[int], outdated: Sequence[int]
) -> int:
    """Tell how the keys of a session, known by its number, have changed.

    Returns the row that says so; 0 where nothing has changed.
    """
    if not (added or outdated):
        return 0
    return connection.execute(_APPEND, (number, packed(added), packed(outdated))).lastrowid or 0


def packed(keys: Sequence[int]) -> bytes:
    """Return keys as the file has them, 8 bytes each."""
    return struct.pack(f"<{len(keys)}q", *keys)


def unpacked(keys: bytes) -> tuple[int, ...]:
    """Return keys that were packed."""
    return struct.unpack(f"<{len(keys) // 8}q", keys)


class News:
    """What the news say of each key."""

    def __init__(self) -> None:
        self._read = 0
        """The last row that was read."""
        self._said: dict[int, dict[int, tuple[int, bool]]] = {}
        """By key and session: the row that said something last, and whether it was added."""
        self._order: deque[tuple[int, int, int]] = deque()
        """Row, key and session of all that was said."""

    def read(self, connection: sqlite3.Connection, moved: int) -> None:
        """Learn what is new; forget the rows up to ``moved``, which are in the table by now."""
        for row, number, added, outdated in connection.execute(_READ, (self._read,)).fetchall():
            self._note(row, number, unpacked(outdated), is_added=False)
            self._note(row, number, unpacked(added), is_added=True)
            self._read = row
        order = self._order
        while order and order[0][0] <= moved:
            row, key, number = order.popleft()
            numbers = self._said[key]
            if numbers.get(number, (0, False))[0] == row:
                del numbers[number]
                if not numbers:
                    del self._said[key]

    def wrote(self, row: int, number: int, added: Sequence[int], outdated: Sequence[int]) -> None:
        """Learn what this process has told, once it is committed.

        Where others told something in between, all of it is still to be read, in its order.
        """
        if row == self._read + 1:
            self._note(row, number, outdated, is_added=False)
            self._note(row, number, added, is_added=True)
            self._read = row

    def of(self, key: int, known: Sequence[int], most: int) -> Sequence[int]:
        """Return the sessions to which a key leads.

        Args:
            key: as the file has it.
            known: those that the table has.
            most: so many that were added last are enough.
        """
        said = self._said.get(key)
        if said is None:
            return known
        numbers = {number for number in known if said.get(number, (0, True))[1]}
        added = (number for number, (_, is_added) in reversed(said.items()) if is_added)
        return [*numbers.union(islice(added, most))]

    def _note(self, row: int, number: int, keys: Iterable[int], *, is_added: bool) -> None:
        for key in keys:
            said = self._said.setdefault(key, {})
            said.pop(number, None)  # It comes to the end.
            said[number] = (row, is_added)
            self._order.append((row, key, number))

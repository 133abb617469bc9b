"""From bytes to rows, whatever a log is made of: lines, the elements of a list, a table.

What a log is made of shows in its first bytes.  They are looked at and put back, so that pipes
can be read as well as files, and a pipe that is still being written to gives each line at once.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import msgspec

from gateway_sessions.dialects.json_array import LAST, Parser
from gateway_sessions.dialects.parsing import JSON_ERRORS, Json, parse
from gateway_sessions.errors import UnreadableLog

LONGEST_ROW = 256 * 1024 * 1024
"""Bytes of one line or element: ten times the longest context of today with its images.  What
is longer is no log of exchanges, and would have to be held in memory to find out."""
LONGEST_START = 16 * 1024 * 1024
"""Bytes in which the list of a document has to begin; before it, browsers list their pages."""
CHUNK = 64 * 1024
_ENOUGH = 64
"""Bytes that tell what a log is made of."""
_AHEAD = 64 * 1024
"""Bytes that are looked at, at most: lines are long."""

_BOM = b"\xef\xbb\xbf"
_LISTS = (
    # HTTP archives; the replies of list endpoints.
    (re.compile(rb'\s*\{\s*"log"\s*:\s*\{'), b"entries"),
    (re.compile(rb'\s*\{\s*("object"\s*:\s*"list"\s*,\s*)?"data"\s*:\s*\['), b"data"),
)
"""How documents begin that hold a list, and the key under which they do."""
_HEADER = re.compile(rb'\s*"?\w+"?\s*(?P<separator>[,;\t])\s*"?\w')
"""How a table begins: with names."""


class Row(msgspec.Struct):
    """One row of a log, not yet read."""

    name: str
    """Of the log, for errors."""
    number: int
    unit: str
    """``line`` or ``entry``: what the number counts."""
    raw: bytes = b""
    """Its JSON; empty in tables."""
    cells: Json | None = None
    """The columns of a table, those that are not empty."""
    fault: str = ""
    """Why it can not be read, if that is known already."""

    @property
    def place(self) -> str:
        """Where it stands, for errors."""
        return f"{self.name}, {self.unit} {self.number}"

    def values(self) -> Json:
        """Return its fields; raises `UnreadableLog` if it has none."""
        if self.fault:
            raise UnreadableLog(f"{self.place}: {self.fault}.")
        if self.cells is not None:
            return self.cells
        try:
            value: Any = parse(self.raw)
        except JSON_ERRORS as error:
            raise UnreadableLog(f"{self.place}: no JSON object ({error}).") from None
        if type(value) is not dict:
            raise UnreadableLog(f"{self.place}: no JSON object.")
        return value

    def holds(self, mark: str) -> bool:
        """Tell whether a text stands anywhere in it."""
        if self.cells is None:
            return mark.encode() in self.raw
        return any(mark in cell for cell in self.cells.values())


class Source:
    """A stream of bytes whose beginning can be looked at before it is read."""

    def __init__(
        self, stream: BinaryIO, name: str, read: Callable[[int], None] = lambda size: None
    ) -> None:
        """Read a stream; ``read`` is told how many bytes have been taken from it."""
        self.name = name
        self._stream = stream
        self._read = read
        self._ahead = b""

    def head(self) -> bytes:
        """Return the first bytes, up to the end of a line if that is not far."""
        while len(self._ahead.strip()) < _ENOUGH and len(self._ahead) < _AHEAD:
            line = self._stream.readline(_AHEAD)
            if not line:
                break
            self._ahead = (self._ahead + line).removeprefix(_BOM)
        return self._ahead

    def lines(self) -> Iterator[bytes]:
        """Yield all lines; raises `UnreadableLog` if one is too long."""
        *whole, rest = self.head().split(b"\n")
        for line in whole:
            self._read(len(line) + 1)
            yield line + b"\n"
        readline, number = self._stream.readline, len(whole)
        line = rest + readline(LONGEST_ROW)
        while line:
            number += 1
            if len(line) >= LONGEST_ROW and not line.endswith(b"\n"):
                raise _too_long(f"{self.name}, line {number}")
            self._read(len(line))
            yield line
            line = readline(LONGEST_ROW)

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes, as they come."""
        chunk = self.head()
        while chunk:
            self._read(len(chunk))
            yield chunk
            chunk = self._stream.read(CHUNK)


def rows(source: Source) -> Iterator[Row]:
    """Yield the rows of a log, blank lines left out.

    Raises:
        UnreadableLog: it ends within a row, or one is too long; no more rows follow then.
    """
    head = source.head()
    if head.lstrip().startswith(b"["):
        return _elements(source, b"")
    for begins, key in _LISTS:
        if begins.match(head):
            return _elements(source, key)
    header = _HEADER.match(head)
    if header:
        return _records(source, header["separator"].decode())
    return _lines(source)


def _lines(source: Source) -> Iterator[Row]:
    for number, line in enumerate(source.lines(), 1):
        if not line.isspace():
            yield Row(source.name, number, "line", line)


def _elements(source: Source, key: bytes) -> Iterator[Row]:
    parser = Parser(LONGEST_ROW)
    number, ended = 0, False
    for chunk in _from_list(source, key):
        for event in parser.feed(chunk):
            if event.data == LAST:
                ended = True
                break
            number += 1
            yield Row(source.name, number, "entry", event.data)
        if parser.overflowed:
            raise _too_long(f"{source.name}, near entry {number + 1}")
        if ended:
            return
    raise UnreadableLog(f"{source.name} ends in the middle of its list, after entry {number}.")


def _from_list(source: Source, key: bytes) -> Iterator[bytes]:
    """Yield a document from the bracket on that opens its list."""
    chunks = source.chunks()
    if key:
        # Within a text, quotes are escaped: only a key can look like this.
        opening = re.compile(rb'(?<!\\)"%b"\s*:\s*\[' % key)
        start = b""
        found = None
        while found is None:
            chunk = next(chunks, b"") if len(start) < LONGEST_START else b""
            if not chunk:
                raise UnreadableLog(f"{source.name} has no list of {key.decode()}.")
            seen = max(0, len(start) - _ENOUGH)
            start += chunk
            found = opening.search(start, seen)
        yield start[found.end() - 1 :]
    yield from chunks


def _records(source: Source, separator: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_ROW)
    reader = csv.reader(_texts(source.lines()), delimiter=separator)
    try:
        names = next(reader)
        line = reader.line_num
        for cells in reader:
            line, begins = reader.line_num, line + 1
            if len(cells) == len(names):
                found = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
                yield Row(source.name, begins, "line", cells=found)
            elif cells:
                fault = f"{len(cells)} columns where the first line names {len(names)}"
                yield Row(source.name, begins, "line", cells={}, fault=fault)
    except csv.Error as error:
        raise UnreadableLog(
            f"{source.name}, line {reader.line_num}: not a row of a table ({error})."
        ) from None


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        yield line.decode("utf-8", "replace")


def _too_long(place: str) -> UnreadableLog:
    most = LONGEST_ROW // (1024 * 1024)
    return UnreadableLog(f"{place}: longer than {most} MB, which no exchange is.")

"""Recorded rows to files that other programs read: CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from gateway_sessions.errors import StartError
from gateway_sessions.recording.files import open_private
from gateway_sessions.storage.results import Result

Form = Literal["csv", "jsonl", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)

_BATCH = 10_000
"""Rows that are held at once: a group of rows in Parquet."""
_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of what a spreadsheet would run as a formula."""


def export(rows: Iterable[Result], kind: type[Result], form: Form, output: Path | None) -> None:
    """Write rows of a kind to a file, or to standard output where ``output`` is None.

    A file appears under its name when it is whole, readable by its owner only.  Raises
    `StartError` where it can not be written, or a library is missing.
    """
    write = _parquet() if form == "parquet" else _csv if form == "csv" else _jsonl
    if output is None:
        write(rows, kind, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with whole_file(output) as stream:
        write(rows, kind, stream)


def form_of(output: Path | None) -> Form | None:
    """Return the format that a file's name says; None if it says none."""
    ending = output.suffix.removeprefix(".").lower() if output else ""
    return next((form for form in FORMS if form == ending), None)


@contextmanager
def whole_file(output: Path) -> Iterator[BinaryIO]:
    """Yield a file that appears under its name, mode 0600, when it is whole.

    Raises `StartError` where it can not be written.
    """
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        descriptor = open_private(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
            part.replace(output)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartError(f"{output} can not be written: {reason}.") from None


def _jsonl(rows: Iterable[Result], kind: type[Result], stream: BinaryIO) -> None:
    del kind  # each line names its fields
    encoder = msgspec.json.Encoder()
    stream.writelines(encoder.encode(row) + b"\n" for row in rows)


def _csv(rows: Iterable[Result], kind: type[Result], stream: BinaryIO) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text)
        writer.writerow(kind.__struct_fields__)
        for row in rows:
            writer.writerow([_cell(value) for value in msgspec.structs.astuple(row)])
    finally:
        text.detach()


def _cell(value: Any) -> Any:
    """Return a value as a spreadsheet may have it: a recorded text never runs as a formula."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        value = value.replace("\0", "")
        return f"'{value}" if value.startswith(_RUNS) else value
    return value


def _parquet() -> Callable[[Iterable[Result], type[Result], BinaryIO], None]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise StartError(
            "Parquet needs pyarrow, which is not installed;"
            " pip install 'gateway-sessions[parquet]'."
        ) from None

    def write(rows: Iterable[Result], kind: type[Result], stream: BinaryIO) -> None:
        hints = get_type_hints(kind)
        names = kind.__struct_fields__
        schema = arrow.schema([(name, _arrow_type(arrow, name, hints[name])) for name in names])
        remaining = iter(rows)
        with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
            while batch := list(islice(remaining, _BATCH)):
                columns = zip(*map(msgspec.structs.astuple, batch), strict=True)
                arrays = [
                    arrow.array(_column(name, values), schema.field(name).type)
                    for name, values in zip(names, columns, strict=True)
                ]
                writer.write_batch(arrow.record_batch(arrays, schema=schema))

    return write


def _arrow_type(arrow: Any, name: str, hint: Any) -> Any:
    if _is_time(name):
        return arrow.timestamp("us", tz="UTC")
    plain = hint
    if get_origin(hint) in {Union, types.UnionType}:
        plain = next(kind for kind in get_args(hint) if kind is not type(None))
    kinds = {str: arrow.string, int: arrow.int64, float: arrow.float64, bool: arrow.bool_}
    return kinds[plain]()


def _column(name: str, values: Sequence[Any]) -> list[Any]:
    if not _is_time(name):
        return list(values)
    return [None if value is None else datetime.fromisoformat(value) for value in values]


def _is_time(name: str) -> bool:
    return name.endswith("_at")

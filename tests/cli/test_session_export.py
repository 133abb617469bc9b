"""Rows to CSV, JSON lines and Parquet, and back."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from gateway_sessions.cli import session_export
from gateway_sessions.cli.session_export import FORMS, export, form_of, whole_file
from gateway_sessions.errors import StartError
from gateway_sessions.storage.queries import Clause
from gateway_sessions.storage.reading import following
from gateway_sessions.storage.results import Exchange
from gateway_sessions.storage.search import Search
from tests.storage.recorded import Talk, record

TALK = (
    Talk("sess_1")
    .ask('=HYPERLINK("http://x")', "a\nb, \"c\" \0 'd'", thinking_tokens=7)
    .ask("-1", None, success=None, cost_usd=None)
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    database = record(tmp_path_factory.mktemp("export") / "sessions.db", [TALK])
    with following(database) as connection:
        return list(Search(connection).exchanges(Clause("1")))


def test_csv_has_a_column_for_each_field(rows: list[Exchange], tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    export(rows, Exchange, "csv", file)
    first, second = csv.DictReader(io.StringIO(file.read_text(), newline=""))
    assert list(first) == list(Exchange.__struct_fields__)
    assert first["session_id"] == "sess_1"
    assert first["thinking_tokens"] == "7"
    assert first["success"] == "1"
    assert first["response_text"] == "a\nb, \"c\"  'd'"
    assert (second["success"], second["cost_usd"], second["response_text"]) == ("", "", "")


def test_no_text_is_a_formula_in_a_spreadsheet(rows: list[Exchange], tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    export(rows, Exchange, "csv", file)
    texts = [row["request_text"] for row in csv.DictReader(io.StringIO(file.read_text()))]
    assert texts == ['\'=HYPERLINK("http://x")', "'-1"]


def test_json_lines_are_the_rows(rows: list[Exchange], tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    export(rows, Exchange, "jsonl", file)
    lines = file.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Exchange) for line in lines] == rows


def test_parquet_has_typed_columns(rows: list[Exchange], tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    export(rows, Exchange, "parquet", file)
    table: Any = pyarrow.parquet.read_table(file)
    kinds = {field.name: str(field.type) for field in table.schema}
    assert list(kinds) == list(Exchange.__struct_fields__)
    assert kinds["created_at"] == "timestamp[us, tz=UTC]"
    assert (kinds["input_tokens"], kinds["cost_usd"]) == ("int64", "double")
    assert (kinds["success"], kinds["request_text"]) == ("bool", "string")
    first, second = table.to_pylist()
    assert first["created_at"] == datetime(2026, 1, 1, 8, 0, tzinfo=UTC)
    assert first["request_text"] == '=HYPERLINK("http://x")'
    assert (second["success"], second["cost_usd"]) == (None, None)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_a_file_too(form: session_export.Form, tmp_path: Path) -> None:
    file = tmp_path / "x"
    export([], Exchange, form, file)
    assert file.stat().st_size > 0 or form == "jsonl"


def test_many_rows_are_written_in_groups(rows: list[Exchange], tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    export((rows[0] for _ in range(10_001)), Exchange, "parquet", file)
    assert pyarrow.parquet.ParquetFile(file).metadata.num_row_groups == 2
    assert pyarrow.parquet.read_table(file).num_rows == 10_001


def test_without_pyarrow_it_says_what_to_install(
    rows: list[Exchange], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(session_export, "import_module", missing)
    with pytest.raises(StartError) as caught:
        export(rows, Exchange, "parquet", tmp_path / "x.parquet")
    assert str(caught.value) == (
        "Parquet needs pyarrow, which is not installed; pip install 'gateway-sessions[parquet]'."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_private_and_replaces_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("old")
    with whole_file(file) as stream:
        stream.write(b"new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_half_a_file_is_none(tmp_path: Path) -> None:
    def rows() -> Iterator[Exchange]:
        raise RuntimeError("half way")
        yield

    with pytest.raises(RuntimeError):
        export(rows(), Exchange, "jsonl", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError) as caught, whole_file(tmp_path / "no" / "x"):
        pytest.fail("it was opened")
    assert str(caught.value) == (
        f"{tmp_path / 'no' / 'x'} can not be written: no such file or directory."
    )


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.csv", "csv"),
        ("x.JSONL", "jsonl"),
        ("x.parquet", "parquet"),
        ("x.txt", None),
        (None, None),
    ],
)
def test_a_name_says_its_format(name: str | None, form: str | None) -> None:
    assert form_of(Path(name) if name else None) == form

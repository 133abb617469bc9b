"""The commands on recorded sessions, as users run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from gateway_sessions.cli.root import run as run_here
from gateway_sessions.cli.sessions import sessions
from gateway_sessions.storage.sqlite import connect
from tests.cli.helpers import COMMAND, environment
from tests.storage.recorded import Talk, many, record

TALKS = (
    Talk("sess_egg1").ask("How long do I boil an egg?", "Seven minutes.").ask("Soft?", "Five."),
    Talk("sess_egg2", provider="anthropic").ask("An omelette?", "Ask a cook.", success=0),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(record(tmp_path_factory.mktemp("sessions") / "sessions.db", TALKS))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], database: str) -> Any:
    def run(*arguments: str, code: int = 0) -> str:
        assert run_here(["sessions", *arguments, "--database", database]) == code
        done = capsys.readouterr()
        return done.out if code == 0 else done.err

    return run


@pytest.mark.parametrize("name", sessions.commands)
def test_every_command_shows_examples_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["sessions", name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"  gateway-sessions sessions {name}" in shown.partition("Examples:")[2]
    assert "Exit codes: 0 " in shown


def test_list_shows_a_table_and_how_many_there_are(said: Any) -> None:
    *table, last = said("list").splitlines()
    assert [line.split()[0] for line in table] == ["Session", "sess_egg1", "sess_egg2"]
    assert last == "2 sessions."
    assert said("list", "--provider", "azure") == "0 sessions.\n"


def test_list_adds_the_sums_over_all_pages(said: Any) -> None:
    lines = said("list", "--totals", "--page-size", "1").splitlines()
    assert lines[-2] == "2 sessions, page 1 of 2; --page 2 shows more."
    assert lines[-1].startswith("2 sessions, 3 requests (1 failed), 450 tokens, $0.00300;")


def test_list_as_json_is_a_page(said: Any) -> None:
    page = json.loads(said("list", "--json", "--sort", "requests"))
    assert [row["session_id"] for row in page["sessions"]] == ["sess_egg1", "sess_egg2"]
    assert (page["total"], page["page"], page["pages"], page["page_size"]) == (2, 1, 1, 50)
    assert "totals" not in page
    assert json.loads(said("list", "--json", "--totals"))["totals"]["requests"] == 3


def test_show_takes_the_beginning_of_an_id(said: Any) -> None:
    shown = said("show", "sess_egg2")
    assert shown.startswith("sess_egg2  An omelette?\n")
    assert "   < Ask a cook." in shown
    detail = json.loads(said("show", "sess_egg1", "--json"))
    assert [row["response_text"] for row in detail["exchanges"]] == ["Seven minutes.", "Five."]


def test_show_says_what_is_wrong_with_an_id(said: Any) -> None:
    assert said("show", "sess_egg", code=2) == (
        'Error: Several sessions\' ids begin with "sess_egg": sess_egg1, sess_egg2;'
        " give more of it.\n"
    )
    assert "No recorded session has the id" in said("show", "x", code=2)


def test_search_shows_where_words_occur(said: Any) -> None:
    shown = said("search", "boil", "minutes")
    assert "sess_egg1" in shown
    assert "boil an egg" in shown or "Seven minutes" in shown
    assert shown.endswith("1 session.\n")
    assert said("search", "zebra") == "0 sessions.\n"


def test_search_as_json_has_snippets(said: Any) -> None:
    (row,) = json.loads(said("search", "--json", '"Ask a cook"'))["sessions"]
    assert (row["session_id"], row["snippet"]) == ("sess_egg2", "Ask a cook.")


def test_search_without_a_word_is_wrong_usage(said: Any) -> None:
    assert "TEXT" in said("search", code=2)
    assert "Error: --text must be at most 1000 characters" in said("search", "?!", code=2)


def test_tail_shows_the_newest_lines_once(said: Any) -> None:
    lines = said("tail", "--once", "--lines", "2").splitlines()
    assert [line.split()[1] for line in lines] == ["sess_egg1", "sess_egg2"]
    (row,) = said("tail", "--once", "--json", "--provider", "anthropic").splitlines()
    assert json.loads(row)["request_text"] == "An omelette?"


def test_tail_follows_until_it_is_stopped(tmp_path: Path) -> None:
    path = record(tmp_path / "sessions.db", TALKS)
    with subprocess.Popen(
        [*COMMAND, "sessions", "tail", "--lines", "1", "--database", str(path)],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "sess_egg2" in process.stdout.readline()
        with closing(connect(path)) as connection:
            Talk("sess_new").ask("Anything new?").record(connection)
        assert "sess_new  first" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_export_writes_what_the_name_says(said: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert said("export", "--output", str(file), "--rows", "exchanges", "--success", "yes") == ""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["request_text"] for row in rows] == ["How long do I boil an egg?", "Soft?"]


@pytest.mark.parametrize(("rows", "lines"), [("sessions", 3), ("exchanges", 4), ("tools", 1)])
def test_export_to_standard_output(rows: str, lines: int, database: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "sessions", "export", "--format", "csv", "--rows", rows, "--database", database],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == lines
    assert done.stdout.startswith("session_id,")


def test_export_asks_for_a_format(said: Any) -> None:
    assert said("export", "--output", "x.txt", code=2).splitlines()[-1] == (
        "Error: Say the format: --format csv|jsonl|parquet, or an --output that ends with one of"
        " them."
    )


def test_without_a_database_each_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.db")
    for arguments in (
        ["list"],
        ["show", "x"],
        ["search", "x"],
        ["tail"],
        ["export", "--format=csv"],
    ):
        assert run_here(["sessions", *arguments, "--database", missing]) == 2
        assert capsys.readouterr().err == (
            f"Error: {missing}: no sessions are recorded there; run the gateway with"
            " session_recording.sqlite.enabled, or name another database.\n"
        )


def test_an_empty_database_has_no_sessions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(record(tmp_path / "sessions.db", []))
    for arguments in (["list", "--totals"], ["search", "x"], ["tail", "--once"]):
        assert run_here(["sessions", *arguments, "--database", path]) == 0
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = record(tmp_path / "sessions.db", many(60))
    read, write = os.pipe()
    os.close(read)
    for arguments in (["list"], ["export", "--format", "csv"], ["tail", "--once"]):
        done = subprocess.run(
            [*COMMAND, "sessions", *arguments, "--database", str(path)],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(write)


def test_commands_are_in_the_order_of_their_use() -> None:
    assert isinstance(sessions, click.Group)
    assert list(sessions.commands) == ["list", "show", "tree", "search", "tail", "export"]

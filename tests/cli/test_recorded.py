"""What the commands that look at recorded sessions share."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.progress import Progress

from gateway_sessions.cli import recorded
from gateway_sessions.cli.recorded import (
    PAGING,
    SORTING,
    console,
    database_path,
    filtered,
    given_pairs,
    waiting,
    wanted,
)
from gateway_sessions.errors import WrongQuery
from gateway_sessions.storage.filters import PARAMETERS, SessionFilter


def test_the_database_is_that_of_the_configuration_unless_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("session_recording: {sqlite: {path: /data/s.db}}\n")
    assert database_path(None, str(file), ()) == Path("/data/s.db")
    assert database_path("x.db", str(file), ()) == Path("x.db")
    assert database_path(None, str(file), ("session_recording.sqlite.path=y.db",)) == Path("y.db")


def test_by_default_it_is_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GATEWAY_SESSIONS_CONFIG", raising=False)
    assert database_path(None, None, ()) == tmp_path / ".gateway-sessions" / "sessions.db"
    assert database_path("~/x.db", None, ()) == tmp_path / "x.db"


def options(without: frozenset[str] = frozenset()) -> click.Command:
    @click.command()
    @filtered(without)
    def command(**given: Any) -> None:
        click.echo(repr(given_pairs(given)))

    return command


def test_everything_that_can_be_asked_for_is_an_option() -> None:
    names = [option.name for option in options().params]
    assert names == [parameter.name for parameter in PARAMETERS]
    left = {option.name for option in options(PAGING | SORTING).params}
    assert left == set(names) - {"page", "page_size", "sort", "order"}


def test_options_become_pairs_of_texts() -> None:
    arguments = ["--model", "a", "--model", "b,c", "--min-tokens", "5"]
    done = CliRunner().invoke(options(), arguments)
    assert done.output == "[('model', 'a'), ('model', 'b,c'), ('min_tokens', '5')]\n"


def test_a_filter_is_made_of_options() -> None:
    assert wanted({"model": ("a", "b"), "page": "2", "since": None}) == SessionFilter(
        models=("a", "b"), page=2
    )


def test_errors_name_options_as_they_are_typed() -> None:
    with pytest.raises(WrongQuery, match=r"^--min-tokens must be a whole number"):
        wanted({"min_tokens": "x"})


def test_somebody_who_watches_sees_that_a_command_is_at_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorded, "wanted_by_somebody", lambda *, speaks: not speaks)
    monkeypatch.setattr(recorded, "WORTH_SECONDS", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    started = Event()
    begin = Progress.start

    def start(self: Progress) -> None:
        begin(self)
        started.set()

    monkeypatch.setattr(Progress, "start", start)
    with waiting("Adding up", speaks=False):
        assert started.wait(30)
    assert "Adding up" in capsys.readouterr().err


def test_a_short_wait_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorded, "wanted_by_somebody", lambda *, speaks: not speaks)
    with waiting("Adding up", speaks=False):
        pass
    with waiting("Adding up", speaks=True):
        pass
    assert capsys.readouterr().err == ""


def test_a_console_shows_recorded_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("[red]:smile: 42[/red]")
    assert capsys.readouterr().out == "[red]:smile: 42[/red]\n"

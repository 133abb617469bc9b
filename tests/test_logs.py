"""The gateway's log: off the path, one line an event, nobody else's business."""

from __future__ import annotations

import io
import json
import logging
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_sessions import logs
from gateway_sessions.config import Logging
from gateway_sessions.errors import StartError
from gateway_sessions.logs import (
    BackgroundHandler,
    ConsoleFormatter,
    JsonFormatter,
    LogFile,
    escaped,
    set_up,
)

HOSTILE = "a\nb\rc\x1b[31m\u2028d\u202ee\x7f\x9b\ud800"


@pytest.fixture(autouse=True)
def _root_level() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


class Lines:
    """A sink that keeps what it gets, and waits before each write if told to."""

    def __init__(self, *, failing: bool = False) -> None:
        self.text = ""
        self.writes = 0
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.failing = failing
        self.failed = threading.Event()

    def write(self, text: str) -> None:
        self.reached.set()
        self.gate.wait()
        self.writes += 1
        if self.failing:
            self.failed.set()
            raise OSError("disk full")
        self.text += text


def record(message: str, *args: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("test", level, __file__, 1, message, args, None)


def handler(sink: Lines, **options: float) -> BackgroundHandler:
    return BackgroundHandler(
        logging.Formatter("%(message)s"),
        [(sink, 0)],
        limit=int(options.get("limit", 100)),
        gather=options.get("gather", 0.0),
    )


def failure(text: str) -> logging.LogRecord:
    made = record("it failed")
    try:
        _fail(text)
    except RuntimeError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def _fail(text: str) -> None:
    raise RuntimeError(text)


def test_what_is_queued_is_written_in_order_at_the_latest_on_close() -> None:
    sink = Lines()
    background = handler(sink, gather=60.0)
    for number in range(50):
        background.handle(record("%d", number))
    background.close()
    assert sink.text.split() == [str(number) for number in range(50)]


def test_lines_that_gather_are_written_at_once() -> None:
    sink = Lines()
    background = handler(sink, gather=60.0)
    for number in range(50):
        background.handle(record("%d", number))
    background.close()
    assert sink.writes == 1


def test_a_line_is_written_without_waiting_for_the_end() -> None:
    sink = Lines()
    background = handler(sink)
    background.handle(record("now"))
    assert sink.reached.wait(10)
    background.close()


def test_a_sink_that_hangs_holds_nobody_up_and_losses_are_counted() -> None:
    sink = Lines()
    sink.gate.clear()
    background = handler(sink, limit=10)
    background.handle(record("first"))
    assert sink.reached.wait(10)
    for number in range(25):
        background.handle(record("%d", number))
    sink.gate.set()
    background.close()
    lines = sink.text.splitlines()
    assert lines[:11] == ["first", *map(str, range(10))]
    assert lines[11:] == ["log lines lost: 15; too many at once, or the log was not writable"]


def test_a_full_disk_is_survived_and_told_when_there_is_room_again() -> None:
    sink = Lines(failing=True)
    background = handler(sink)
    background.handle(record("lost"))
    assert sink.failed.wait(10)
    sink.failing = False
    background.handle(record("next"))
    background.close()
    assert sink.text.splitlines() == [
        "next",
        "log lines lost: 1; too many at once, or the log was not writable",
    ]


def test_a_record_that_can_not_be_formatted_does_not_end_the_log() -> None:
    sink = Lines()
    background = handler(sink)
    background.handle(record("%d", "no number"))
    background.handle(record("next"))
    background.close()
    first, second = sink.text.splitlines()
    assert first.startswith("a log line of test can not be formatted: ")
    assert second == "next"


def test_closing_twice_is_harmless() -> None:
    background = handler(Lines())
    background.close()
    background.close()


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_nobody_can_forge_a_line_or_drive_the_terminal(formatter: logging.Formatter) -> None:
    text = formatter.format(record("%s", HOSTILE))
    assert text.isprintable()
    assert "a\\nb" in text.replace("\\\\", "\\")


def test_everything_unsafe_is_escaped_and_all_else_left() -> None:
    assert escaped(HOSTILE) == "a\\nb\\rc\\u001b[31m\\u2028d\\u202ee\\u007f\\u009b\\ud800"
    assert escaped('größe 数 😀 \\ "') == 'größe 数 😀 \\ "'


def test_a_line_for_people_has_time_and_level() -> None:
    made = record("hello %s", "you")
    made.created = 1705746645.123
    assert ConsoleFormatter().format(made) == "2024-01-20T10:30:45.123Z INFO    hello you"


def test_a_traceback_for_people_is_indented_so_that_it_forges_nothing() -> None:
    first, *rest = ConsoleFormatter().format(failure("x\n2024 INFO forged")).split("\n")
    assert first.endswith(" it failed")
    assert rest
    assert all(line.startswith("    | ") for line in rest)


def test_a_line_for_machines_has_the_values_as_keys() -> None:
    made = record("%(method)s took %(ms)s", {"method": "POST", "ms": 1.5, "level": "forged"})
    made.created = 1705746645.123
    assert json.loads(JsonFormatter().format(made)) == {
        "timestamp": "2024-01-20T10:30:45.123Z",
        "level": "INFO",
        "logger": "test",
        "message": "POST took 1.5",
        "method": "POST",
        "ms": 1.5,
    }


def test_a_traceback_for_machines_stays_on_the_line() -> None:
    text = JsonFormatter().format(failure("x\ny"))
    assert "\n" not in text
    assert "RuntimeError: x" in json.loads(text)["traceback"]


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_credentials_in_urls_are_not_logged(formatter: logging.Formatter) -> None:
    text = formatter.format(record("no answer from %s", "http://u:canary@h/?key=canary"))
    assert "canary" not in text
    assert "canary" not in formatter.format(failure("at http://u:canary@h"))


def test_the_file_and_its_folder_are_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "logs" / "gateway.log"
    background = set_up(Logging(file=str(path)), stream=io.StringIO())
    logging.getLogger("x").info("hello")
    background.close()
    assert path.read_text().endswith(" INFO    hello\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    path.write_text("before\n")
    path.chmod(0o644)
    file = LogFile(path)
    file.write("after\n")
    file.close()
    assert path.read_text() == "before\nafter\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    file = LogFile(path)
    file.write("one\n")
    path.rename(tmp_path / "gateway.log.1")
    file.write("two\n")
    file.close()
    assert path.read_text() == "two\n"


def test_a_file_that_can_not_be_begun_anew_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    file = LogFile(folder / "gateway.log")
    (folder / "gateway.log").unlink()
    folder.rmdir()
    folder.write_text("a file where the folder should be")
    for _ in range(2):
        with pytest.raises(OSError, match="logs"):
            file.write("lost\n")
    folder.unlink()
    file.write("written\n")
    file.close()
    assert (folder / "gateway.log").read_text() == "written\n"


def test_a_terminal_that_nobody_reads_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "CLOSE_SECONDS", 0.01)
    sink = Lines()
    sink.gate.clear()
    background = handler(sink)
    background.handle(record("stuck"))
    assert sink.reached.wait(10)
    background.close()
    assert background._thread.is_alive()
    sink.gate.set()
    background._thread.join(10)
    assert sink.text == "stuck\n"


def test_terminal_and_file_get_the_same_lines(tmp_path: Path) -> None:
    terminal, path = io.StringIO(), tmp_path / "gateway.log"
    background = set_up(Logging(file=str(path)), stream=terminal)
    logging.getLogger("x").info("hello")
    logging.getLogger("x").debug("unheard")
    background.close()
    assert terminal.getvalue() == path.read_text()
    assert len(terminal.getvalue().splitlines()) == 1


def test_the_terminal_can_be_quieter_than_the_file(tmp_path: Path) -> None:
    terminal, path = io.StringIO(), tmp_path / "gateway.log"
    background = set_up(Logging(file=str(path)), console_level="WARNING", stream=terminal)
    logging.getLogger("x").info("hello")
    background.close()
    assert terminal.getvalue() == ""
    assert "hello" in path.read_text()


def test_after_closing_nothing_is_left_behind(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    set_up(Logging(file=str(tmp_path / "gateway.log")), stream=io.StringIO()).close()
    assert logging.getLogger().handlers == before


def test_a_default_file_that_can_not_be_opened_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    terminal = io.StringIO()
    set_up(Logging(file=str(tmp_path / "logs" / "gateway.log")), stream=terminal).close()
    assert terminal.getvalue().partition("WARNING ")[2] == (
        f"logging.file {tmp_path}/logs/gateway.log can not be written: not a directory;"
        " logging to the terminal only\n"
    )


def test_a_file_that_the_user_named_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(StartError) as caught:
        set_up(Logging(file=str(tmp_path / "logs" / "gateway.log")), file_wanted=True)
    assert str(caught.value) == (
        f"logging.file {tmp_path}/logs/gateway.log can not be written: not a directory;"
        " name another file, or null for none."
    )


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        LogFile(tmp_path / "gateway.log")
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_file_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    set_up(Logging(file=None), stream=io.StringIO()).close()
    assert list(tmp_path.iterdir()) == []

"""Files one after the other, with a meter over all of them and sentences about what is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli import log_files
from gateway_sessions.cli.log_files import LogFiles
from gateway_sessions.errors import UnreadableLog

LINE = {"id": "r1", "timestamp": 1767225600, "messages": [{"role": "user", "content": "hi"}]}


class Meter:
    """Stands in for the progress bar and notes what it is told."""

    made: list[Meter]

    def __init__(self, total: int | None, what: str) -> None:
        self.total, self.what = total, what
        self.bytes = self.exchanges = 0
        self.stopped = False
        Meter.made.append(self)

    def read(self, size: int) -> None:
        self.bytes += size

    def placed(self) -> None:
        self.exchanges += 1

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> list[Meter]:
    Meter.made = []
    monkeypatch.setattr(log_files, "Meter", Meter)
    return Meter.made


def written(path: Path, *lines: Any) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_one_meter_goes_over_all_files(tmp_path: Path, meters: list[Meter]) -> None:
    files = [written(tmp_path / name, LINE | {"response": "x"}) for name in ("a", "b", "c")]
    assert len(list(LogFiles(files, watched=True).exchanges())) == 3
    (meter,) = meters
    size = sum(Path(file).stat().st_size for file in files)
    assert (meter.total, meter.bytes, meter.exchanges) == (size, size, 3)
    assert (meter.what, meter.stopped) == ("3 files", True)


def test_a_pipe_has_no_size(monkeypatch: pytest.MonkeyPatch, meters: list[Meter]) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(LINE).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert len(list(LogFiles(["-"], watched=True).exchanges())) == 1
    assert (meters[0].total, meters[0].what) == (None, "standard input")


def test_nobody_watches_nobody_is_shown_anything(tmp_path: Path, meters: list[Meter]) -> None:
    list(LogFiles([written(tmp_path / "a", LINE)]).exchanges())
    assert meters == []


def test_the_meter_goes_away_when_the_log_is_broken(tmp_path: Path, meters: list[Meter]) -> None:
    with pytest.raises(UnreadableLog):
        list(LogFiles([written(tmp_path / "a", LINE, 5)], watched=True).exchanges())
    assert meters[0].stopped


def test_each_file_may_be_of_another_program(tmp_path: Path) -> None:
    own = {"timestamp": "2026-01-01T00:00:00Z", "request": {"path": "/v1/models"}}
    files = [written(tmp_path / "a", LINE), written(tmp_path / "b", own)]
    assert [found.request.path for found in LogFiles(files).exchanges()] == [
        "/v1/chat/completions",
        "/v1/models",
    ]
    with pytest.raises(UnreadableLog, match="not an exchange"):
        list(LogFiles(files, form="exchange").exchanges())


def test_what_is_missing_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogFiles([written(tmp_path / "a", LINE), written(tmp_path / "b", LINE)])
    list(log.exchanges())
    assert not log.tell()
    assert capsys.readouterr().err == (
        "Note: 2 of 2 exchanges hold no reply, and what goes on from them may be taken for a new"
        " session.\n"
    )


def test_skipped_lines_are_told_with_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a", LINE | {"response": "x"}, {"messages": 1}, 5)
    log = LogFiles([file], skip_bad_lines=True)
    assert len(list(log.exchanges())) == 1
    assert log.tell()
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": no")[0] for line in told] == [
        f"Warning: {file}, line 2",
        f"Warning: {file}, line 3",
        "Lines that were skipped: 2.",
    ]


def test_prompts_that_are_missing_lose_exchanges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"startTime": "2026-01-01", "call_type": "acompletion", "proxy_server_request": {}}
    log = LogFiles([written(tmp_path / "a", row)])
    list(log.exchanges())
    assert log.tell()
    assert "general_settings.store_prompts_in_spend_logs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "no such file or directory"), ("", "is a directory")]
)
def test_a_file_that_can_not_be_read_is_a_sentence(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UnreadableLog) as raised:
        list(LogFiles([str(tmp_path / name)], watched=True).exchanges())
    assert str(raised.value) == f"{tmp_path / name} can not be read: {reason}."

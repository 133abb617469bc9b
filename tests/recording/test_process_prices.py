"""Prices of one's own, on their way to the recorder process and into what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions.errors import ConfigError
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.processes import recording
from tests.recording.recordings import arrived, finished, lines


def process(folder: Path, prices: str) -> RecordingProcess:
    path = folder / "prices.yaml"
    path.write_text(prices, encoding="utf-8")
    settings = msgspec.structs.replace(recording(folder / "lines"), prices_file=str(path))
    return RecordingProcess(settings, Telemetry())


async def test_costs_are_those_of_the_file(tmp_path: Path) -> None:
    recorder = process(tmp_path, "gpt-4o: {input: 1000000, output: 2000000}")
    await recorder.open()
    recorder.record(arrived(1))
    recorder.record(finished(1))
    await recorder.shutdown()
    last: dict[str, Any] = lines(tmp_path / "lines")[-1]
    assert last["final_stats"]["estimated_cost"]["total_cost_usd"] == pytest.approx(13.0)


async def test_a_mistake_in_the_file_refuses_the_start(tmp_path: Path) -> None:
    recorder = process(tmp_path, "gpt-4o: {input: 1}")
    with pytest.raises(ConfigError, match=r"line 1: gpt-4o needs the key output\."):
        await recorder.open()
    await recorder.shutdown()

"""``python -m gateway_sessions``."""

from __future__ import annotations

import runpy
import sys

import pytest


def test_the_module_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gateway-sessions", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("gateway_sessions", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("gateway-sessions ")

"""Keys without effect are said, never ignored in silence."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import gateway_sessions
from gateway_sessions.config import Config, inert, inert_settings, load
from gateway_sessions.config.inert import INERT, Inert, is_inert
from gateway_sessions.config.keys import leaves
from gateway_sessions.detection.settings import DetectionSettings


def sentences(source: dict[str, object]) -> list[str]:
    return inert_settings(load(source, environ={}))


def test_a_user_who_sets_nothing_hears_nothing() -> None:
    assert sentences({}) == []


@pytest.fixture
def _one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Inert(
        "server.workers", "this is a test", harmless=lambda config: config.server.workers == 1
    )
    monkeypatch.setattr(inert, "INERT", (row,))


@pytest.mark.usefixtures("_one_row")
def test_each_key_without_effect_is_named_with_its_place() -> None:
    assert sentences({"server": {"workers": 2, "port": 1}}) == [
        "the configuration: server.workers has no effect in this version: this is a test."
    ]
    assert not is_inert("server.workers")  # at its default


@pytest.mark.usefixtures("_one_row")
def test_a_value_that_asks_for_nothing_missing_is_fine() -> None:
    assert sentences({"server": {"workers": 1}}) == []


def test_keys_with_effect_are_not_named() -> None:
    assert sentences({"server": {"workers": 2}, "session": {"max_sessions": 5}}) == []


def test_every_row_names_a_key_of_the_schema() -> None:
    keys = [key for key, _ in leaves(Config)]
    assert all(any(row.covers(key) for key in keys) for row in INERT)


def test_blocks_are_covered_by_their_name_and_not_by_its_beginning() -> None:
    row = Inert("session", "this is a test")
    assert row.covers("session")
    assert row.covers("session.max_sessions")
    assert not row.covers("session_recording.enabled")
    assert not is_inert("session")
    assert not is_inert("session.max_sessions")


@pytest.mark.parametrize("field", [field.name for field in fields(DetectionSettings)])
def test_the_table_tells_the_truth_about_detection(field: str) -> None:
    package = Path(gateway_sessions.__file__).parent
    parts = [package / "gateway.py", package / "tracker.py", *(package / "detection").glob("*.py")]
    code = "".join(part.read_text() for part in parts if part.name != "settings.py")
    assert is_inert(f"session.{field}") is not bool(re.search(rf"settings\.{field}\b", code))

"""From a configuration to a gateway."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.assembly import assemble, build_gateway, check_interceptors
from gateway_sessions.config import load
from gateway_sessions.errors import ConfigError
from gateway_sessions.exchange import Exchange
from gateway_sessions.gateway import Gateway, RequestHead
from gateway_sessions.hooks import Context

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


class Witness:
    """An interceptor that notes in a file what it got."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def open(self, context: Context) -> None:
        token = context.effective_config["admin"]["token"]
        self._note("open", str(context.state_directory), token)

    def write(self, batch: Sequence[Exchange]) -> None:
        for exchange in batch:
            self._note("write", exchange.request_id)

    def close(self) -> None:
        self._note("close")

    def _note(self, *words: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{' '.join(words)}\n")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return a configuration that writes into the test's own folder only."""
    monkeypatch.chdir(tmp_path)
    return {
        "state_directory": str(tmp_path / "state"),
        "interceptors": [
            {"type": "tests.test_assembly:Witness", "config": {"file": str(tmp_path / "notes")}}
        ],
        "admin": {"token": "canary"},
    }


async def exchange(gateway: Gateway) -> Exchange:
    head = RequestHead("POST", "/v1/chat/completions", (("Authorization", "Bearer x"),), "::1")
    transit = await gateway.begin(head, BODY)
    transit.response_started(200, ())
    transit.finish()
    return transit.exchange


async def test_it_opens_serves_and_closes(source: dict[str, Any], tmp_path: Path) -> None:
    assembly = assemble(source)
    await assembly.open()
    tagged = await exchange(assembly.gateway)
    await assembly.close()
    assert tagged.session is not None
    assert (tmp_path / "notes").read_text().splitlines() == [
        f"open {tmp_path}/state ***",
        f"write {tagged.request_id}",
        "close",
    ]


async def test_a_secret_is_made_and_kept(source: dict[str, Any], tmp_path: Path) -> None:
    assemble(source)
    first = (tmp_path / "state" / "secret").read_text()
    assemble(source)
    assert (tmp_path / "state" / "secret").read_text() == first


async def test_requests_are_logged_only_where_somebody_wants_to_read_it(
    source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for level, lines in (("WARNING", 0), ("INFO", 1)):
        caplog.clear()
        await exchange(build_gateway(source | {"logging": {"level": level}}))
        assert len([text for text in caplog.messages if "session=sess_" in text]) == lines


async def test_metrics_are_there_without_being_listed(source: dict[str, Any]) -> None:
    gateway = build_gateway(source | {"interceptors": []})
    paths = {getattr(route, "path", "") for route in gateway.interceptors.routes()}
    assert "/metrics" in paths


async def test_detection_can_be_switched_off(source: dict[str, Any]) -> None:
    gateway = build_gateway(source | {"session": {"enabled": False}})
    assert (await exchange(gateway)).session is None


@pytest.mark.parametrize(
    ("interceptors", "sentence"),
    [
        (
            "[{type: trcae}]",
            (
                "f.yaml, line 2: interceptors: there is no type 'trcae'; did you mean 'trace'?;"
                " give one of your own as package.module:Class."
            ),
        ),
        (
            "\n  - type: trace\n    config:\n      directory: x\n      max_body_size: big\n",
            ("f.yaml, line 6: interceptor trace: option 'max_body_size': expected int, got str."),
        ),
        (
            "\n  - type: trace\n    config:\n      directry: x\n",
            (
                "f.yaml, line 5: interceptor trace: there is no option 'directry'; did you mean"
                " 'directory'?"
            ),
        ),
    ],
)
def test_a_wrong_interceptor_is_named_with_its_line(
    interceptors: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(f"secret: sixteen letters!\ninterceptors: {interceptors}\n")
    with pytest.raises(ConfigError) as caught:
        check_interceptors(load("f.yaml", environ={}))
    assert str(caught.value) == sentence
    with pytest.raises(ConfigError):
        assemble("f.yaml")

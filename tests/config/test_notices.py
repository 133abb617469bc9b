from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.config import inert, load, notices

SERVER = {"enabled": True, "backend": "redis", "connection": "redis://127.0.0.1"}


def said(persistence: dict[str, Any], **more: Any) -> list[str]:
    return notices(load({"session": {"persistence": persistence}, **more}, environ={}))


def test_replicas_need_one_secret() -> None:
    (sentence,) = said(SERVER)
    assert sentence == (
        "the configuration: session.persistence.backend redis shares sessions among gateways with"
        " the same secret only; set secret to the same text of 16 characters or more on all of"
        " them."
    )


@pytest.mark.parametrize(
    ("persistence", "more"),
    [
        (SERVER, {"secret": "shared by all of them"}),
        ({**SERVER, "enabled": False}, {}),
        ({"enabled": True, "backend": "file"}, {}),
    ],
)
def test_others_need_none(persistence: dict[str, Any], more: dict[str, Any]) -> None:
    assert said(persistence, **more) == []


def test_what_has_no_effect_is_said_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert, "INERT", (inert.Inert("server.workers", "this is a test"),))
    assert len(said(SERVER, server={"workers": 2})) == 2

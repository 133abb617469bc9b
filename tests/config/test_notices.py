from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.config import load, notices

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

from __future__ import annotations

import dataclasses

import pytest

from gateway_sessions.detection.settings import (
    DetectionSettings,
    ExplicitSettings,
    ScopeSettings,
)


def test_the_documented_defaults() -> None:
    assert dataclasses.asdict(DetectionSettings()) == {
        "enabled": True,
        "max_sessions": 10_000,
        "session_ttl_seconds": 3600.0,
        "fuzzy_matching": True,
        "fuzzy_threshold": 0.8,
        "fuzzy_max_diff": 2,
        "reset_phrases": ("start over", "new conversation", "clear chat"),
        "min_messages_for_new_session": 3,
        "scope": {
            "headers": ("authorization", "x-api-key", "api-key", "x-goog-api-key"),
            "credential": True,
            "end_user": True,
        },
        "explicit": {"enabled": True, "headers": ()},
    }


@pytest.mark.parametrize("made", [DetectionSettings(), ScopeSettings(), ExplicitSettings()])
def test_they_can_be_shared_and_never_change(made: object) -> None:
    field = dataclasses.fields(made)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, field, None)
    assert hash(made) == hash(type(made)())

"""Detection gets what the user has configured, and the same defaults."""

from __future__ import annotations

from gateway_sessions.config import Session, detection_settings, load
from gateway_sessions.detection.settings import (
    DetectionSettings,
    ExplicitSettings,
    ScopeSettings,
)


def test_both_have_the_same_defaults() -> None:
    assert detection_settings(Session()) == DetectionSettings()


def test_every_value_is_passed_on() -> None:
    block = {
        "enabled": False,
        "max_sessions": 5,
        "session_ttl_seconds": 6,
        "fuzzy_matching": False,
        "fuzzy_threshold": 0.7,
        "fuzzy_max_diff": 8,
        "reset_phrases": ["neu"],
        "min_messages_for_new_session": 9,
        "scope": {"headers": ["X-Key"], "credential": False, "end_user": False},
        "explicit": {"enabled": False, "headers": ["X-Chat"]},
    }
    settings = detection_settings(load({"session": block}, environ={}).config.session)
    assert settings == DetectionSettings(
        enabled=False,
        max_sessions=5,
        session_ttl_seconds=6.0,
        fuzzy_matching=False,
        fuzzy_threshold=0.7,
        fuzzy_max_diff=8,
        reset_phrases=("neu",),
        min_messages_for_new_session=9,
        scope=ScopeSettings(headers=("x-key",), credential=False, end_user=False),
        explicit=ExplicitSettings(enabled=False, headers=("x-chat",)),
    )

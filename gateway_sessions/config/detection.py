"""The ``session`` block as detection takes it."""

from __future__ import annotations

from gateway_sessions.config.schema import Session
from gateway_sessions.detection.settings import (
    DetectionSettings,
    ExplicitSettings,
    ScopeSettings,
)


def detection_settings(session: Session) -> DetectionSettings:
    """Return detection's settings; header names are compared in lower case there."""
    scope, explicit = session.scope, session.explicit
    return DetectionSettings(
        enabled=session.enabled,
        max_sessions=session.max_sessions,
        session_ttl_seconds=session.session_ttl_seconds,
        fuzzy_matching=session.fuzzy_matching,
        fuzzy_threshold=session.fuzzy_threshold,
        fuzzy_max_diff=session.fuzzy_max_diff,
        reset_phrases=session.reset_phrases,
        min_messages_for_new_session=session.min_messages_for_new_session,
        scope=ScopeSettings(
            headers=tuple(name.lower() for name in scope.headers),
            credential=scope.credential,
            end_user=scope.end_user,
        ),
        explicit=ExplicitSettings(
            enabled=explicit.enabled,
            headers=tuple(name.lower() for name in explicit.headers),
        ),
    )

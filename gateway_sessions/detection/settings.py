"""The knobs of detection: names and defaults of the configuration's ``session`` block."""

from __future__ import annotations

from dataclasses import dataclass

RESET_PHRASES = ("start over", "new conversation", "clear chat")


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """What tells one asker from another."""

    headers: tuple[str, ...] = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    """Headers that carry the tenant's credential; the first one present counts."""
    credential: bool = True
    """False where keys rotate with every request: then only the end user separates."""
    end_user: bool = True
    """Whether an end user named in the body separates as well."""


@dataclass(frozen=True, slots=True)
class ExplicitSettings:
    """Session ids that clients send themselves."""

    enabled: bool = True
    headers: tuple[str, ...] = ()
    """Headers to trust beside the built-in table, first of all."""


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """Everything that detection and its index can be told."""

    enabled: bool = True
    max_sessions: int = 10_000
    """Live sessions kept; beyond it the one unused for longest is forgotten."""
    session_ttl_seconds: float = 3600.0
    """Idle time after which a conversation that goes on is a new session."""
    fuzzy_matching: bool = True
    fuzzy_threshold: float = 0.8
    """Similarity (0 to 1) from which two histories count as the same."""
    fuzzy_max_diff: int = 2
    """Messages by which a fuzzily matched history may differ from the expected length."""
    reset_phrases: tuple[str, ...] = RESET_PHRASES
    min_messages_for_new_session: int = 3
    scope: ScopeSettings = ScopeSettings()
    explicit: ExplicitSettings = ExplicitSettings()

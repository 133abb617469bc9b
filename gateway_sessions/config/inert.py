"""Keys that are accepted and checked, and do nothing in this version.

A setting that is ignored in silence is a trap, so `serve` and `check-config` say it for every
such key that the user has set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway_sessions.config.schema import Config, Loaded


@dataclass(frozen=True, slots=True)
class Inert:
    """A part of the configuration without effect."""

    prefix: str
    """The dotted key of a value or of a whole block."""
    why: str
    """What is not there yet, as the end of a sentence."""
    harmless: Callable[[Config], bool] = lambda _: False
    """Tells of a value that asks for nothing which is missing."""

    def covers(self, key: str) -> bool:
        """Tell whether a dotted key is this one or lies below it."""
        return key == self.prefix or key.startswith(f"{self.prefix}.")


INERT: tuple[Inert, ...] = ()
"""Everything that has no effect, in the order of the schema's blocks; nothing at present."""


def inert_settings(loaded: Loaded) -> list[str]:
    """Return one sentence for each key that the user set and that has no effect."""
    return [
        f"{place}: {key} has no effect in this version: {row.why}."
        for key, place in loaded.places.items()
        for row in INERT
        if row.covers(key) and not row.harmless(loaded.config)
    ]


def is_inert(key: str) -> bool:
    """Tell whether a dotted key has no effect at its default value."""
    return any(row.covers(key) and not row.harmless(Config()) for row in INERT)

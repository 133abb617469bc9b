"""The wire formats, and the table that tells which one a request speaks."""

from __future__ import annotations

from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.routing import (
    COUNTS,
    ROUTES,
    counted_dialect,
    dialect_for,
    is_readable,
)

__all__ = [
    "COUNTS",
    "ROUTES",
    "Assembler",
    "Dialect",
    "counted_dialect",
    "dialect_for",
    "is_readable",
]

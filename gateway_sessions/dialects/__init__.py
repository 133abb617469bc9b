"""The wire formats, and the table that tells which one a request speaks."""

from __future__ import annotations

from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.routing import ROUTES, dialect_for

__all__ = ["ROUTES", "Assembler", "Dialect", "dialect_for"]

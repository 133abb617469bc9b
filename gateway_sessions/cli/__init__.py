"""The command ``gateway-sessions``.

Each command is a module of its own, imported only when it is the one that runs: starting up
quickly matters to whoever puts ``detect`` into a pipe.
"""

from __future__ import annotations

from gateway_sessions.cli.root import main

__all__ = ["main"]

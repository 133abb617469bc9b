"""``python -m gateway_sessions`` is the command ``gateway-sessions``."""

from __future__ import annotations

from gateway_sessions.cli import main

if __name__ == "__main__":
    main()

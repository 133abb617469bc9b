"""Tables of results, and where they go in docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = True) -> str:
    """Return a Markdown table; all columns but the first are ``figures``, aligned to the right."""
    lines = [heads, ["---", *("---:" if figures else "---" for _ in heads[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Return one line that says what was measured on what, without naming the machine."""
    parts = [
        datetime.now(UTC).strftime("%Y-%m-%d"),
        f"{platform.python_implementation()} {platform.python_version()}",
        f"aiohttp {version('aiohttp')}",
        f"{platform.system()} {platform.machine()}",
        f"{os.cpu_count()} cores",
    ]
    return "Measured " + ", ".join(parts) + "."


def insert(text: str, name: str, block: str) -> str:
    """Return ``text`` with what stands between the markers of ``name`` replaced by ``block``.

    The markers are ``<!-- generated:NAME -->`` and ``<!-- /generated:NAME -->``, on lines of
    their own.
    Raises `ValueError` where they are missing, because results would be lost silently.
    """
    pattern = re.compile(
        rf"(<!-- generated:{re.escape(name)} -->\n).*?(<!-- /generated:{re.escape(name)} -->)",
        re.DOTALL,
    )
    if not pattern.search(text):
        raise ValueError(f"no markers generated:{name} in the text")
    return pattern.sub(lambda found: f"{found[1]}\n{block}\n\n{found[2]}", text)


def publish(name: str, block: str, page: Path = PAGE) -> None:
    """Write a block of results into the page."""
    page.write_text(insert(page.read_text(encoding="utf-8"), name, block), encoding="utf-8")

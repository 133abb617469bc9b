"""The examples of the documentation: fenced blocks and what the text says about running them.

An HTML comment on the line before a block may say

- ``<!-- server: 3000 -->``: it runs a server on this port until it is stopped,
- ``<!-- not run: REASON -->``: it can not be run here; it is still checked for its syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
"""Every page of the documentation."""

_BLOCK = re.compile(
    r"(?:<!-- (?P<kind>server|not run): (?P<remark>[^\n]*?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Line of its opening fence, from 1."""
    language: str
    text: str
    server_port: int | None = None
    """The port on which it serves until it is stopped; None if it ends by itself."""
    not_run: str | None = None
    """Why it can not be run here; None if it can."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(source):
        kind, remark = match["kind"], match["remark"]
        found.append(
            Block(
                page=page,
                line=source.count("\n", 0, match.start("language")) + 1,
                language=match["language"],
                text=match["text"],
                server_port=int(remark) if kind == "server" else None,
                not_run=remark if kind == "not run" else None,
            )
        )
    return found


def every(*languages: str) -> list[Block]:
    """Return the blocks of all pages in one of these languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]

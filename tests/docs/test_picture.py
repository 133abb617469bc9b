"""The picture in the README is what the demo really prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, blocks


def _comparable(text: str) -> list[str]:
    """Return lines without what differs from run to run: ids, times, and who was quicker."""
    rows = re.sub(r"sess_[0-9a-z]{20}", "sess_", text).splitlines()
    return sorted(_timeless(row.rstrip()) for row in rows if row.strip())


def _timeless(row: str) -> str:
    """Return a line of the tree without times, and what the end of the line cuts off."""
    if "·" not in row:
        return row
    row = re.sub(r"[0-9:]{8}|[0-9.]+ m?s\b", "", row)
    return re.sub(r"(\$[0-9.]+ ·)[^✓]*…?$", r"\1", row)


def test_the_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    picture = next(b.text for b in blocks(ROOT / "README.md") if b.language == "text")
    command, _, shown = picture.partition("\n")
    assert command == "$ ./scripts/demo"
    done = subprocess.run(
        [Path(sys.executable).with_name("gateway-sessions"), "demo", "--once", "--port", "0"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "COLUMNS": "110"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert _comparable(done.stdout) == _comparable(shown)

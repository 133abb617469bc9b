"""What the page on tuning shows is what the commands print."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "tuning.md"


def test_what_is_shown_is_what_is_printed(tmp_path: Path) -> None:
    shown = 0
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_SESSIONS_")}
    for block, following in pairwise(blocks(PAGE)):
        if block.language != "bash" or "scripts/demo" in block.text:
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=tmp_path,
            env=environment | {"PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if following.language == "text":
            assert done.stdout == following.text
            shown += 1
    assert shown == 2

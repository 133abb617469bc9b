"""What the served description promises holds for requests that nobody thought of."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.cli.helpers import environment
from tests.interceptors.recording_api.served import served

EXAMPLES = 5
"""Of each operation, besides those at the borders of every field; the seed is fixed."""
_CHECKS = (
    "--checks=all",
    # A whole number may be written 1.0 in JSON Schema, and the API takes 1 only; what is wrong in a
    # batch is told event by event, with status 200.
    "--exclude-checks=positive_data_acceptance,negative_data_rejection",
)


async def test_the_api_does_what_its_description_says(tmp_path: Path) -> None:
    async with served(tmp_path / "state", max_event_bytes=2000) as api:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{api.url}/recording/openapi.json",
            f"--max-examples={EXAMPLES}",
            "--seed=1",
            "--no-color",
            "--suppress-health-check=all",
            "--generation-database=none",
            *_CHECKS,
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-5000:]
    assert "Tested: 8" in output.decode(), "every operation was tried"

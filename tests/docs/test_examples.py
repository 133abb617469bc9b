"""Every example of the documentation works as printed."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from gateway_sessions.config import load
from tests.docs.blocks import PAGES, ROOT, Block, blocks, every
from tests.docs.shell import Shell

LANGUAGES = {"bash", "python", "yaml", "json", "sql", "text", "conversation", "tree", "transcript"}

NOT_RUN = {
    ("CONTRIBUTING.md", "./scripts/test -k samples"),
    ("docs/performance.md", "./scripts/bench"),
}
"""The blocks that are allowed not to run, by page and first line; each says why."""


def _runs(page: Path) -> bool:
    return any(b.language in ("bash", "python") and not b.not_run for b in blocks(page))


@pytest.mark.needs("jq", "apt-get install jq")
@pytest.mark.needs("curl", "apt-get install curl")
@pytest.mark.parametrize("page", [p for p in PAGES if _runs(p)], ids=lambda page: page.name)
def test_commands_and_programs_of_a_page_work_in_order(page: Path, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        for block in blocks(page):
            if block.language in ("bash", "python") and not block.not_run:
                shell.run(block)


@pytest.mark.parametrize("block", every("yaml"), ids=str)
def test_yaml_is_a_valid_configuration(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(block.text, encoding="utf-8")
    assert load(file, environ={}).places, "the configuration sets nothing"


@pytest.mark.parametrize("block", every("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def test_every_block_names_a_language_that_is_tested() -> None:
    untested = [str(b) for page in PAGES for b in blocks(page) if b.language not in LANGUAGES]
    assert untested == []


def test_only_reviewed_blocks_are_not_run() -> None:
    found = [b for page in PAGES for b in blocks(page) if b.not_run is not None]
    names = {(str(b.page.relative_to(ROOT)), b.text.partition("\n")[0]) for b in found}
    assert names == NOT_RUN
    assert all(b.not_run for b in found)


@pytest.mark.parametrize("block", [b for b in every("bash", "python") if b.not_run], ids=str)
def test_blocks_that_are_not_run_are_at_least_well_formed(block: Block) -> None:
    if block.language == "python":
        ast.parse(block.text)
    else:
        subprocess.run(["bash", "-n", "-c", block.text], check=True)

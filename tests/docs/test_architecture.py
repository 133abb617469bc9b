"""The page on architecture names every part of the core, in the layers that are enforced."""

from __future__ import annotations

import re
import tomllib

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]


def test_the_layers_on_the_page_are_those_of_the_contract() -> None:
    (layers,) = (contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    enforced = [
        {name for name in layer.split(" : ") if not name.startswith("(")} for layer in layers
    ]
    rows = re.findall(r"^\| [\w ]+ \| (`[^|]+) \|", PAGE, re.MULTILINE)
    shown = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    # The page puts the command line, its entry point and workers into the layer of assembly.
    assert enforced.pop(0) == {"__main__"}
    enforced[0:3] = [enforced[0] | enforced[1] | enforced[2]]
    assert shown == enforced


def test_the_layers_hold_every_module() -> None:
    here = {
        path.stem
        for path in (ROOT / "gateway_sessions").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__", "__main__"}
    assert here <= set(re.findall(r"`(\w+)`", PAGE))

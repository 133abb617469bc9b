"""A file with prices of your own: for models that no public list has, or that cost you less."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_sessions.config.convert import built
from gateway_sessions.config.keys import Key, Section
from gateway_sessions.config.yaml_file import read_file
from gateway_sessions.prices import Rates

Price = Annotated[float, Meta(ge=0)]
"""US dollars per million tokens."""
_Part = Annotated[Price | None, Key("As that of which it is a part, if not given.")]


class ModelPrices(Section, frozen=True, kw_only=True):
    """The prices of one model; see `Rates`."""

    input: Annotated[Price, Key("US dollars per million tokens.")]
    output: Annotated[Price, Key("US dollars per million tokens.")]
    cache_read: _Part = None
    cache_write: _Part = None
    cache_write_1h: _Part = None
    input_audio: _Part = None
    output_audio: _Part = None
    thinking: _Part = None


def read_prices(path: str | None) -> dict[str, Rates]:
    """Return the rates in a file (YAML, of which JSON is a part); none without a file.

    The file maps ``model`` or ``provider/model`` to US dollars per million tokens::

        my-llama: {input: 0.2, output: 0.4}
        anthropic/claude-sonnet-4-5: {input: 2.4, output: 12, cache_read: 0.24}

    Raises:
        ConfigError: it can not be read, or says something else; with file and line.
    """
    if not path:
        return {}
    tree = read_file(Path(path).expanduser(), {})
    return {
        model: Rates(**msgspec.structs.asdict(built(ModelPrices, node, model)))
        for model, node in tree.value.items()
    }

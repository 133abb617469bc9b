"""A configuration as text: the effective one for `check-config`, the example for everybody."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from gateway_sessions.config.keys import Field, Section, fields_of, section_in, section_list_in
from gateway_sessions.config.masking import masked
from gateway_sessions.config.schema import Config

_WIDTH = 100
"""Columns of the example file."""


def effective(config: Config) -> dict[str, Any]:
    """Return the whole configuration as plain JSON values, secrets replaced by ``***``."""
    return {key: tidy(value) for key, value in masked(config).items()}


def as_yaml(config: Config) -> str:
    """Return the effective configuration as YAML, secrets hidden."""
    return yaml.safe_dump(effective(config), sort_keys=False, allow_unicode=True, width=_WIDTH)


def as_json(config: Config) -> str:
    """Return the effective configuration as JSON, secrets hidden."""
    return json.dumps(effective(config), indent=2, ensure_ascii=False)


def tidy(value: Any) -> Any:
    """Return a value with whole floats as integers, as people write them."""
    if isinstance(value, dict):
        return {key: tidy(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def example() -> str:
    """Return a file with every key at its default, each with a line that explains it."""
    lines = [
        "# Configuration of gateway-sessions. Every key is optional; the values are the defaults.",
        "# ${VAR}, ${VAR:-default} and ${VAR:?message} are filled in from the environment.",
        "# Variables such as GATEWAY_SESSIONS_SERVER__PORT=8080 and options such as",
        "# --set server.port=8080 go before the file; check-config shows what it all amounts to.",
        "",
    ]
    for field in fields_of(Config).values():
        lines += [*_entry(field, field.default, ""), ""]
    return "\n".join(lines[:-1]) + "\n"


def _entry(field: Field, value: Any, above: str) -> Iterator[str]:
    """Yield the lines of one key: what it is for, then the key with all that is below it."""
    dotted = f"{above}.{field.name}" if above else field.name
    yield from _comment(field.key.help)
    yield from _lines(field, value, dotted)


def _lines(field: Field, value: Any, dotted: str) -> Iterator[str]:
    inner, item = section_in(field.type), section_list_in(field.type)
    if inner is not None:
        yield f"{field.name}:"
        for child in fields_of(inner).values():
            for line in _entry(child, getattr(value, child.name), dotted):
                yield f"  {line}"
    elif item is not None and value:
        yield f"{field.name}:"
        for number, entry in enumerate(value):
            yield from _item(item, entry, f"{dotted}.{number}", explained=number == 0)
    elif isinstance(value, dict) and value:
        yield f"{field.name}:"
        yield from _dumped(tidy(value), flow=False, indent="  ")
    else:
        yield f"{field.name}: {next(_dumped(tidy(value), flow=True))}"


def _item(section: type[Section], value: Section, dotted: str, *, explained: bool) -> Iterator[str]:
    """Yield the lines of one item of a list; keys are explained at the first one only."""
    lead = "  "
    for field in fields_of(section).values():
        for line in _entry(field, getattr(value, field.name), dotted):
            comment = line.lstrip().startswith("# ")
            if comment and not explained:
                continue
            first = lead == "  " and not comment
            yield f"  - {line}" if first else lead + line
            lead = "    " if first else lead


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 10))


def _dumped(value: Any, *, flow: bool, indent: str = "") -> Iterator[str]:
    text = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, width=10_000)
    return (indent + line for line in text.splitlines() if line != "...")

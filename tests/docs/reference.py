"""The reference of all configuration keys, made from the schema.

``python -m tests.docs.reference`` writes it into docs/configuration.md; a test keeps it so.
"""

from __future__ import annotations

import json

from bench import report
from gateway_sessions.config.keys import Field, leaves, section_list_in
from gateway_sessions.config.schema import Config
from gateway_sessions.config.show import tidy
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def page() -> str:
    """Return the page with its generated part as it should be."""
    return report.insert(PAGE.read_text(encoding="utf-8"), "keys", _table())


def _table() -> str:
    rows = []
    for name, field in leaves(Config):
        inner = section_list_in(field.type)
        if inner is None:
            rows.append(_row(name, field, _shown(field.default)))
        else:
            rows.append(_row(name, field, "see below"))
            rows += [
                _row(f"{name}[].{key}", child, _shown(child.default))
                for key, child in leaves(inner)
            ]
    return report.table(["key", "default", "takes", "what it is"], rows, figures=False)


def _row(name: str, field: Field, default: str) -> list[str]:
    help_text = field.key.help.replace("|", "\\|")
    return [f"`{name}`", default, field.expected, help_text]


def _shown(default: object) -> str:
    try:
        return f"`{json.dumps(tidy(default), ensure_ascii=False)}`"
    except TypeError:  # msgspec's mark of a field that has to be given
        return "required"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Templates: everything that comes from elsewhere is escaped, and all pages look alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway_sessions.logs import escaped
from gateway_sessions.pages import amounts

_FOLDER = Path(__file__).parent / "templates"
_MANY = 0.05
"""Share of failures from which they are worth a colour."""


def page_environment(folder: Path) -> Environment:
    """Return what renders the templates of a folder, and of ``plots.html``.

    Whatever is put into them is escaped, for HTML by itself, and control characters with the
    filters ``plain`` (one line) and ``lines``.  Other filters write numbers as people read them.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "counted": amounts.counted,
        "short": amounts.short,
        "dollars": amounts.dollars,
        "milliseconds": amounts.milliseconds,
        "size": amounts.size,
        "plural": amounts.plural,
        "share": amounts.share,
        "plain": escaped,
        "lines": lambda text: "\n".join(map(escaped, text.split("\n"))),
        "moment": lambda text: f"{text[:10]} {text[11:16]}",
        "pixels": lambda number: f"{number:.2f}".rstrip("0").rstrip("."),
    }
    environment.filters.update(filters)
    environment.tests["many_of"] = lambda part, whole: part > _MANY * whole
    return environment


def look() -> str:
    """Return the style sheet that all pages begin with: colours, text, cards, tables, plots."""
    return (_FOLDER / "look.css").read_text(encoding="utf-8")

"""``${VAR}``, ``${VAR:-default}`` and ``${VAR:?message}`` in the texts of a configuration file.

As in a shell, a variable that is set but empty counts as unset for the forms with a colon.
``$${`` stands for the characters ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway_sessions.errors import ConfigError

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<form>[-?])(?P<rest>[^}]*))?\}|(?P<bad>\$\{)"
)


def expanded(text: str, environ: Mapping[str, str], place: str) -> str:
    """Return ``text`` with its references replaced; ``place`` begins the error sentences."""

    def replacement(match: re.Match[str]) -> str:
        if match["bad"]:
            raise ConfigError(
                f"{place}: a reference is written ${{VAR}}, ${{VAR:-default}} or ${{VAR:?message}};"
                " write $${ for the characters themselves."
            )
        if match["name"] is None:
            return "${"
        return _looked_up(match, environ, place)

    return _REFERENCE.sub(replacement, text) if "${" in text else text


def _looked_up(match: re.Match[str], environ: Mapping[str, str], place: str) -> str:
    name, form, rest = match["name"], match["form"], match["rest"]
    value = environ.get(name)
    if value or (value is not None and form is None):
        return value
    if form == "-":
        return str(rest)
    if form == "?" and rest.strip():
        raise ConfigError(f"{place}: {rest.strip().rstrip('.')} (environment variable {name}).")
    raise ConfigError(
        f"{place}: the environment variable {name} is not set;"
        f" set it, or give a default as ${{{name}:-default}}."
    )

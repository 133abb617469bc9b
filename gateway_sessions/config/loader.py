"""Where the configuration comes from, and which source wins.

``--set`` options win over environment variables, these over the file, the file over the
defaults.  Mappings are merged key by key; lists are replaced as a whole, though an option or a
variable can change a part of one item (``interceptors.trace.config.directory``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway_sessions.config import checks
from gateway_sessions.config.convert import built, shown
from gateway_sessions.config.schema import DEFAULT_INTERCEPTORS, ECHO, Config, Loaded
from gateway_sessions.config.tree import Node, from_value, places, plain, with_value
from gateway_sessions.config.yaml_file import read_file, value_from_text
from gateway_sessions.errors import ConfigError

ENV_PREFIX = "GATEWAY_SESSIONS_"
"""``GATEWAY_SESSIONS_SERVER__PORT`` is ``server.port``: levels are separated by ``__``."""
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
"""Names the configuration file where no ``--config`` does."""

Source = Config | Loaded | Mapping[str, Any] | str | Path | None
"""What a configuration can be given as; None is the file that `CONFIG_VARIABLE` names, or none."""


class Override(NamedTuple):
    """A value from an option of its own, such as ``--port``."""

    option: str
    """The option as the user typed it, for errors."""
    key: str
    """The dotted key that it sets."""
    value: str


def load(
    source: Source = None,
    *,
    overrides: Iterable[str | Override] = (),
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Return the effective configuration, and where each value that was given came from.

    ``source`` is a file's path or a mapping of the same shape; a `Config` is taken as it is.
    ``overrides`` are texts ``a.b=c`` or `Override`, later ones winning.  ``environ`` is
    `os.environ` unless given.  Raises `ConfigError`, one sentence with the place, for the
    first mistake.
    """
    environ = os.environ if environ is None else environ
    if isinstance(source, Loaded):
        return source
    if isinstance(source, Config):
        _check_persistence(source, {})
        return Loaded(source, {})
    tree = _base(source, environ)
    for path, value in [*_from_environ(environ), *map(_from_option, overrides)]:
        tree = _overridden(tree, path, value)
    config = built(Config, tree)
    given = {key: place for key, place in places(tree) if place != _DEFAULT}
    _check_persistence(config, given)
    return Loaded(config, given)


_DEFAULT = "default"
_SEEDS: dict[str, Any] = {
    "upstreams": [msgspec.to_builtins(ECHO)],
    "interceptors": [msgspec.to_builtins(entry) for entry in DEFAULT_INTERCEPTORS],
}
"""The default lists, for overrides that change one item of a list nobody has written."""


def _base(source: Mapping[str, Any] | str | Path | None, environ: Mapping[str, str]) -> Node:
    if source is None:
        source = environ.get(CONFIG_VARIABLE) or {}
    if isinstance(source, Mapping):
        tree = from_value(source, "the configuration")
    else:
        tree = read_file(Path(source).expanduser(), environ)
    keys: dict[str, Node] = dict(tree.value)
    short = keys.pop("upstream", None)
    if short is None or short.value is None:
        return Node(keys, tree.place)
    if "upstreams" in keys:
        raise ConfigError(
            f"{short.place}: upstream is the short form of upstreams and both are there;"
            " keep one of them."
        )
    return Node({**keys, "upstreams": _upstreams(short)}, tree.place)


def _upstreams(short: Node) -> Node:
    if not isinstance(short.value, str):
        wanted: str | None = "a URL"
    else:
        wanted = checks.upstream_url(short.value)
    if wanted:
        raise ConfigError(f"{short.place}: upstream must be {wanted}, not {shown(plain(short))}.")
    return Node([Node({"url": short}, short.place)], short.place)


def _overridden(tree: Node, path: tuple[str, ...], value: Node) -> Node:
    if path == ("upstream",):
        return with_value(tree, ("upstreams",), _upstreams(value))
    if len(path) > 1 and path[0] in _SEEDS and path[0] not in tree.value:
        tree = with_value(tree, path[:1], from_value(_SEEDS[path[0]], _DEFAULT))
    return with_value(tree, path, value)


def _from_environ(environ: Mapping[str, str]) -> list[tuple[tuple[str, ...], Node]]:
    found = []
    for name in sorted(environ):
        # An empty variable counts as none, which is how container files leave a setting out.
        if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE and environ[name]:
            path = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
            found.append((path, value_from_text(environ[name], f"environment variable {name}")))
    return found


def _from_option(given: str | Override) -> tuple[tuple[str, ...], Node]:
    if isinstance(given, Override):
        value = value_from_text(given.value, f"option {given.option}")
        return tuple(given.key.split(".")), value
    key, equals, text = given.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(
            f"option --set {key}: write KEY=VALUE with a dotted key, such as server.port=3001."
        )
    return path, value_from_text(text, f"option --set {'.'.join(path)}")


def _check_persistence(config: Config, given: Mapping[str, str]) -> None:
    """Refuse a store that keeps nothing, rather than forget sessions silently."""
    store = config.session.persistence
    if not store.enabled or store.backend == "file":
        return
    prefix = "session.persistence"
    if store.backend == "memory":
        place = given.get(f"{prefix}.backend") or given.get(f"{prefix}.enabled")
        raise ConfigError(
            f"{place or 'the configuration'}: {prefix}.backend memory keeps nothing beyond the"
            f" process; set it to file, redis or postgres, or {prefix}.enabled to false."
        )
    if not store.connection:
        raise ConfigError(
            f"{given.get(f'{prefix}.backend', 'the configuration')}: {prefix}.connection is"
            f" missing; set it to the URL of the server, such as {_URLS[store.backend]}."
        )


_URLS = {
    "redis": "redis://127.0.0.1:6379/0",
    "postgres": "postgresql://user:password@127.0.0.1/sessions",
}

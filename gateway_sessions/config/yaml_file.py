"""A YAML file as a tree of values with line numbers.

The composer's nodes know their lines, and a node is turned into a value only after the
environment variables in it are filled in: ``port: ${PORT}`` is a number, ``"${PORT}"`` a text.
What a variable contains is never read as YAML structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway_sessions.config.expand import expanded
from gateway_sessions.config.tree import MAX_DEPTH, Node
from gateway_sessions.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
"""Larger than any configuration; keeps a log file given by mistake from being parsed."""

MAX_VALUES = 100_000
"""Values in a file, aliases followed; a few lines of nested aliases can stand for billions."""


def read_file(path: Path, environ: Mapping[str, str]) -> Node:
    """Read a configuration file; raises `ConfigError` with file and line."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path}: the configuration file can not be read: {reason}.") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB; is it a configuration file?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: the file is not UTF-8; save it as UTF-8."
        ) from None
    return parsed(text, str(path), environ)


def parsed(text: str, name: str, environ: Mapping[str, str]) -> Node:
    """Turn the text of a YAML document into a tree; ``name`` is the file's name in errors."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None or root.tag == _NULL:
            return Node({}, name)
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(
                f"{name}, line {root.start_mark.line + 1}: a configuration is a mapping of keys"
                " to values, such as `server: {port: 3000}`."
            )
        return _Reader(loader, name, environ).tree(root, f"{name}, line 1")
    except yaml.YAMLError as error:
        raise ConfigError(_sentence(error, text, name)) from None
    except RecursionError:
        raise ConfigError(f"{name} is nested deeper than {MAX_DEPTH} levels.") from None


def value_from_text(text: str, place: str) -> Node:
    """Read the value of an environment variable or an option: YAML types, no references.

    Brackets, braces and quotes are read as YAML; everything else is one plain value, so that
    characters which YAML gives a meaning (``*``, ``#``, ``:``) need no quotes of their own.
    """
    stripped = text.strip()
    try:
        if stripped[:1] not in ("[", "{", '"', "'"):
            return Node(_plain_value(stripped), place, text)
        loader = yaml.SafeLoader(stripped)
        root = loader.get_single_node() or yaml.ScalarNode(_NULL, "")
        tree = _Reader(loader, "", None, place).tree(root, place)
        return Node(tree.value, place, text)
    except (yaml.YAMLError, RecursionError):
        return Node(text, place, text)


class _Reader:
    """Turns composed nodes into a tree, counting as it goes."""

    def __init__(
        self,
        loader: yaml.SafeLoader,
        name: str,
        environ: Mapping[str, str] | None,
        place: str | None = None,
    ) -> None:
        self._loader = loader
        self._name = name
        self._environ = environ
        self._place = place
        self._count = 0
        self._flattened: set[int] = set()

    def tree(self, node: yaml.Node, place: str, depth: int = 0) -> Node:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_VALUES:
            what = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else "too large"
            raise ConfigError(f"{place}: the configuration is {what}.")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, depth), place)
        items = [self.tree(item, self._place_of(item), depth + 1) for item in node.value]
        return Node(items, place)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Node]:
        if id(node) not in self._flattened:
            # Only once, however many aliases lead here: flattening copies merged keys in.
            self._check_keys(node)
            self._loader.flatten_mapping(node)
            self._flattened.add(id(node))
        return {
            key.value: self.tree(value, self._place_of(key), depth + 1) for key, value in node.value
        }

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[str, str] = {}
        for key, _ in node.value:
            place = self._place_of(key)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{place}: a key is a plain word, not a list or a mapping.")
            if key.value in seen and key.tag != _MERGE:
                raise ConfigError(
                    f"{place}: the key {key.value} is there twice, first in {seen[key.value]};"
                    " keep one of them."
                )
            seen[key.value] = place.removeprefix(f"{self._name}, ")

    def _scalar(self, node: yaml.ScalarNode, place: str) -> Node:
        if self._environ is None or "${" not in node.value:
            return Node(_constructed(self._loader, node), place)
        text = expanded(node.value, self._environ, place)
        if node.style is None:
            return Node(_plain_value(text), place, text)
        return Node(text, place)

    def _place_of(self, node: yaml.Node) -> str:
        return self._place or f"{self._name}, line {node.start_mark.line + 1}"


_MERGE, _NULL = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"


def _plain_value(text: str) -> Any:
    """Give an unquoted text its YAML type."""
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return _constructed(loader, yaml.ScalarNode(tag, text))


def _constructed(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    try:
        return loader.construct_object(node)
    except ValueError:
        # What looks like a date or a number and is none (2024-99-99, 0x) stays text.
        return node.value


_PROBLEMS = (
    ("but got '{'", "${", "between braces or brackets a ${VAR} needs quotes"),
    ("cannot start any token", "\t", "YAML is indented with spaces; replace the tab"),
    ("mapping values are not allowed", "", "a value that contains `: ` needs quotes"),
    ("could not find expected ':'", "", "a colon is missing after the key"),
    ("expected <block end>", "", "the indentation does not fit the lines above"),
    ("found another document", "", "a configuration is one document; remove the `---`"),
    ("found undefined alias", "", "the name after * is defined nowhere above"),
    ("could not determine a constructor", "", "tags (!…) are not used in a configuration"),
)
"""What the YAML parser says, what the line contains besides, and what a user needs to hear."""


def _sentence(error: yaml.YAMLError, text: str, name: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{name}, line {line}: the file contains a control character; remove it."
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    line = mark.line + 1 if mark else 1
    content = text.split("\n")[line - 1] if line <= text.count("\n") + 1 else ""
    for pattern, needed, advice in _PROBLEMS:
        if pattern in problem and needed in content:
            return f"{name}, line {line}: {advice}."
    return f"{name}, line {line}: this is not valid YAML: {problem}."

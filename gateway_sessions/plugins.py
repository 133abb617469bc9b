"""From the ``interceptors`` block of the configuration to objects.

An interceptor is named by its entry point (group ``gateway_sessions.interceptors``) or by its
place, ``package.module:Class``.  Its options are the arguments of its constructor, so there is
no second list of them to keep: names, types and defaults are read off the signature.
"""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway_sessions.chain import InterceptorChain, Named
from gateway_sessions.errors import ConfigError
from gateway_sessions.telemetry import Telemetry

GROUP = "gateway_sessions.interceptors"
"""Entry points of this group name interceptors."""

BUILT_IN = {
    name: f"interceptors.{name}:{class_name}"
    for name, class_name in {
        "message_logger": "MessageLogger",
        "printer": "Printer",
        "prometheus": "Prometheus",
        "rate_limit": "RateLimit",
        "redact": "Redact",
        "trace": "Trace",
    }.items()
}
"""Where those in the box are, for a checkout that was never installed and has no entry points."""

ALWAYS = "prometheus"
"""Runs unless it is listed with ``enabled: false``: ``/metrics`` is always there."""


class Section(Protocol):
    """One entry of the configuration's ``interceptors`` list."""

    @property
    def type(self) -> str:
        """Entry point or ``package.module:Class``."""

    @property
    def enabled(self) -> bool:
        """Whether it runs."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its options."""


def load(
    sections: Iterable[Section], telemetry: Telemetry, *, extra: Named = ()
) -> InterceptorChain:
    """Return the chain of the configured interceptors, in their order.

    ``extra`` are interceptors of the host's own, made already, that run last.  The options of
    those that are disabled are checked too.  Raises `ConfigError` for an unknown type, an
    unknown option or an option of the wrong type.
    """
    named: list[tuple[str, object]] = []
    disabled: list[str] = []
    seen: dict[str, int] = {}
    for section in sections:
        seen[section.type] = count = seen.get(section.type, 0) + 1
        name = section.type if count == 1 else f"{section.type}-{count}"
        make = check(section)
        if section.enabled:
            named.append((name, _made(section.type, make)))
        else:
            disabled.append(name)
    if ALWAYS not in seen:
        named.append((ALWAYS, find(ALWAYS)()))
    named.extend(extra)
    return InterceptorChain(named, telemetry, disabled=disabled)


def check(section: Section) -> Callable[[], object]:
    """Return what makes the interceptor of a section, its options checked and converted.

    Raises `ConfigError` as `load` does; also for use without making anything.
    """
    try:
        factory = find(section.type)
    except ConfigError:
        if section.enabled:
            raise
        return object  # switched off, perhaps because it is not installed here
    options = _options(section.type, factory, section.config)
    return lambda: factory(**options)


def find(kind: str) -> Callable[..., object]:
    """Return the class or function that makes interceptors of a type.

    Raises `ConfigError` with the nearest known name if there is none.
    """
    for entry in entry_points(group=GROUP, name=kind):
        return _imported(kind, entry.value)
    if kind in BUILT_IN:
        return _imported(kind, BUILT_IN[kind])
    if ":" in kind or "." in kind:
        return _imported(kind, kind)
    known = {*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}
    raise ConfigError(
        f"interceptors: there is no type {kind!r}{_nearest(kind, known)};"
        " give one of your own as package.module:Class"
    )


def _imported(kind: str, place: str) -> Callable[..., object]:
    module_name, colon, attribute = place.partition(":")
    if not colon:
        module_name, _, attribute = place.rpartition(".")
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as exc:  # importing runs code of strangers
        raise ConfigError(
            f"interceptors: {kind!r} can not be loaded ({type(exc).__name__}: {exc})"
        ) from exc
    if not callable(found):
        raise ConfigError(f"interceptors: {kind!r} is not a class")
    return typing.cast("Callable[..., object]", found)


def _made(kind: str, make: Callable[[], object]) -> object:
    try:
        return make()
    except ConfigError as exc:
        raise ConfigError(f"interceptor {kind}: {exc}") from exc
    except Exception as exc:  # as above
        raise ConfigError(
            f"interceptor {kind} can not be made ({type(exc).__name__}: {exc})"
        ) from exc


def _options(
    kind: str, factory: Callable[..., object], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Check options against the factory's signature and convert them to its types."""
    parameters = inspect.signature(factory).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    valid = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    }
    missing = [n for n, p in valid.items() if p.default is p.empty and n not in config]
    if missing:
        raise ConfigError(f"interceptor {kind}: option {missing[0]!r} is missing from its config")
    hints = _hints(factory)
    options = {}
    for name, value in config.items():
        if name not in valid and not takes_any:
            hint = _nearest(name, valid) or f"; it has {', '.join(valid) or 'no options'}"
            raise ConfigError(f"interceptor {kind}: there is no option {name!r}{hint}")
        try:
            options[name] = _converted(value, hints.get(name, Any))
        except msgspec.ValidationError as exc:
            reason = str(exc).replace("`", "")
            raise ConfigError(
                f"interceptor {kind}: option {name!r}: {reason[:1].lower()}{reason[1:]}"
            ) from exc
    return options


def _hints(factory: Callable[..., object]) -> dict[str, Any]:
    target: Any = factory
    if isinstance(factory, type):
        target = target.__init__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations need not be resolvable; then types go unchecked
        return {}


def _converted(value: Any, hint: Any) -> Any:
    try:
        return msgspec.convert(value, hint, dec_hook=_decode)
    except TypeError:
        # A type that msgspec knows nothing of: the interceptor will judge itself.
        return value


def _decode(kind: Any, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise msgspec.ValidationError(f"expected {getattr(kind, '__name__', kind)}, got {value!r}")


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

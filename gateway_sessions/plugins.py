"""From the configuration to objects: interceptors, and writers of session events.

Both are named by their entry point (groups ``gateway_sessions.interceptors`` and
``gateway_sessions.writers``) or by their place, ``package.module:Class``.  Their options are the
arguments of their constructor, so there is no second list of them to keep: names, types and
defaults are read off the signature.
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
        "dashboard": "Dashboard",
        "message_logger": "MessageLogger",
        "printer": "Printer",
        "prometheus": "Prometheus",
        "rate_limit": "RateLimit",
        "recording_api": "RecordingApi",
        "redact": "Redact",
        "trace": "Trace",
    }.items()
}
"""Where those in the box are, for a checkout that was never installed and has no entry points."""

WRITER_GROUP = "gateway_sessions.writers"
"""Entry points of this group name writers of session events."""

WRITERS = {
    "jsonl": "interceptors.jsonl:JsonlWriter",
    "postgres": "interceptors.postgres:PostgresWriter",
    "sqlite": "interceptors.sqlite:SqliteWriter",
}
"""As `BUILT_IN`."""

ALWAYS = ("prometheus", "dashboard")
"""Run unless listed with ``enabled: false``: ``/metrics`` and ``/sessions`` are always there."""


class Kind(msgspec.Struct, frozen=True):
    """A sort of plug-in."""

    noun: str
    """What sentences call one of them."""
    block: str
    """Where in the configuration they are listed."""
    group: str
    built_in: Mapping[str, str]


INTERCEPTOR = Kind("interceptor", "interceptors", GROUP, BUILT_IN)
WRITER = Kind("writer", "session_recording.writers", WRITER_GROUP, WRITERS)


class Section(Protocol):
    """One entry of a list of plug-ins in the configuration."""

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
    sections: Iterable[Section],
    telemetry: Telemetry,
    *,
    extra: Named = (),
    wanted: Callable[[object], bool] = lambda _: True,
) -> InterceptorChain:
    """Return the chain of the configured interceptors, in their order.

    ``extra`` are interceptors of the host's own, made already, that run last.  The options of
    those that are disabled are checked too.  Those that are not ``wanted`` are left out.  Raises
    `ConfigError` for an unknown type, an unknown option or an option of the wrong type.
    """
    named: list[tuple[str, object]] = []
    disabled: list[str] = []
    seen: dict[str, int] = {}
    for section in sections:
        seen[section.type] = count = seen.get(section.type, 0) + 1
        name = section.type if count == 1 else f"{section.type}-{count}"
        make = check(section)
        if section.enabled:
            named.append((name, _made(f"interceptor {section.type}", make)))
        else:
            disabled.append(name)
    named += [(name, find(name)()) for name in ALWAYS if name not in seen]
    named.extend(extra)
    named = [(name, each) for name, each in named if wanted(each)]
    return InterceptorChain(named, telemetry, disabled=disabled)


def check(section: Section, kind: Kind = INTERCEPTOR) -> Callable[[], object]:
    """Return what makes the plug-in of a section, its options checked and converted.

    Raises `ConfigError` as `load` does; also for use without making anything.
    """
    try:
        factory = find(section.type, kind)
    except ConfigError:
        if section.enabled:
            raise
        return object  # switched off, perhaps because it is not installed here
    options = _options(f"{kind.noun} {section.type}", factory, section.config)
    return lambda: factory(**options)


def made(section: Section, kind: Kind = INTERCEPTOR) -> object:
    """Return the plug-in of a section; raises `ConfigError` as `load` does."""
    return _made(f"{kind.noun} {section.type}", check(section, kind))


def find(name: str, kind: Kind = INTERCEPTOR) -> Callable[..., object]:
    """Return the class or function that makes plug-ins of a type.

    Raises `ConfigError` with the nearest known name if there is none.
    """
    for entry in entry_points(group=kind.group, name=name):
        return _imported(name, entry.value, kind)
    if name in kind.built_in:
        return _imported(name, kind.built_in[name], kind)
    if ":" in name or "." in name:
        return _imported(name, name, kind)
    known = {*kind.built_in, *(entry.name for entry in entry_points(group=kind.group))}
    raise ConfigError(
        f"{kind.block}: there is no type {name!r}{_nearest(name, known)};"
        " give one of your own as package.module:Class"
    )


def _imported(name: str, place: str, kind: Kind) -> Callable[..., object]:
    module_name, colon, attribute = place.partition(":")
    if not colon:
        module_name, _, attribute = place.rpartition(".")
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as exc:  # importing runs code of strangers
        raise ConfigError(
            f"{kind.block}: {name!r} can not be loaded ({type(exc).__name__}: {exc})"
        ) from exc
    if not callable(found):
        raise ConfigError(f"{kind.block}: {name!r} is not a class")
    return typing.cast("Callable[..., object]", found)


def _made(what: str, make: Callable[[], object]) -> object:
    try:
        return make()
    except ConfigError as exc:
        raise ConfigError(f"{what}: {exc}") from exc
    except Exception as exc:  # as above
        raise ConfigError(f"{what} can not be made ({type(exc).__name__}: {exc})") from exc


def _options(
    what: str, factory: Callable[..., object], config: Mapping[str, Any]
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
        raise ConfigError(f"{what}: option {missing[0]!r} is missing from its config")
    hints = _hints(factory)
    options = {}
    for name, value in config.items():
        if name not in valid and not takes_any:
            hint = _nearest(name, valid) or f"; it has {', '.join(valid) or 'no options'}"
            raise ConfigError(f"{what}: there is no option {name!r}{hint}")
        try:
            options[name] = _converted(value, hints.get(name, Any))
        except msgspec.ValidationError as exc:
            reason = str(exc).replace("`", "")
            raise ConfigError(f"{what}: option {name!r}: {reason[:1].lower()}{reason[1:]}") from exc
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

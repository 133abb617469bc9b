"""Which recorded sessions are wanted: one value, read from options and from URL queries alike.

`PARAMETERS` is the one table of what can be asked for: the command line makes its options from
it, and a URL's query uses the same names, so that both understand and refuse the same things.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, cast, get_args

from gateway_sessions.errors import WrongQuery
from gateway_sessions.storage import filter_values as values

PAGE_SIZE = 50
"""Rows of a page where nobody says otherwise."""
MAX_PAGE_SIZE = 1000
"""Rows of the largest page: what a reader can hold, and memory can for several readers."""
MAX_VALUES = 100
"""Values of one kind (models, session ids, …) that can be asked for at once."""

SortKey = Literal["started", "duration", "tokens", "cost", "requests"]
"""What sessions can be sorted by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """The sessions that are wanted, their order, and which page of them.

    Every condition that is given has to hold; of several values in one condition, any.  In
    names of models and providers ``*`` stands for anything.
    """

    since: datetime | None = None
    """Earliest start, with time zone."""
    until: datetime | None = None
    """Start before this, with time zone."""
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """The model that answered, or that was asked for where none did."""
    session_ids: tuple[str, ...] = ()
    request_ids: tuple[str, ...] = ()
    """Sessions that any of these requests belongs to."""
    success: bool | None = None
    """Whether the session's last exchange succeeded; None for either."""
    streaming: bool | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    min_cost_usd: float | None = None
    max_cost_usd: float | None = None
    client_ips: tuple[str, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    text: str = ""
    """Words that all have to occur in what was asked or answered; "in quotes", as a phrase."""
    parent: str | None = None
    """The session that started the wanted ones."""
    root: str | None = None
    """The session at the top of the wanted ones' tree, itself included."""
    sort: SortKey = "started"
    descending: bool = True
    page: int = 1
    """From 1."""
    page_size: int = PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that can be asked for."""

    name: str
    """As in a URL's query; as an option with ``--`` and dashes."""
    field: str
    """Of `SessionFilter`."""
    read: Callable[[str, datetime], Any]
    """Makes the field's value from text and the present time; raises `ValueError`."""
    expected: str
    """What ``read`` takes, to follow "must be"."""
    help: str
    many: bool = False
    """Whether several values may be given: repeated, or with commas between."""


def _sort(text: str, _: datetime) -> SortKey:
    if text not in get_args(SortKey):
        raise ValueError(text)
    return cast("SortKey", text)


def _order(text: str, _: datetime) -> bool:
    return {"desc": True, "asc": False}[text]


_TIME = "a time such as 2026-01-31, 2026-01-31T10:30:00Z, today, or 24h for 24 hours ago"
_SPAN_WORDS = "a length of time such as 500ms, 30s, 5m or 2h"
_COUNT = "a whole number of at least 0"
_MOST = 10**18
_YES = "yes or no"
_COST = "an amount in dollars such as 0.25"
_NAME = "a name"

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "since", "since", values.moment, _TIME, "Started at or after this time, or so long ago."
    ),
    Parameter("until", "until", values.end, _TIME, "Started before this time; of a day, its end."),
    Parameter(
        "provider", "providers", values.name, _NAME, "Provider; * stands for anything.", many=True
    ),
    Parameter("model", "models", values.name, _NAME, "Model; * stands for anything.", many=True),
    Parameter("session", "session_ids", values.name, "a session id", "Session id.", many=True),
    Parameter(
        "request", "request_ids", values.name, "a request id", "Id of any request.", many=True
    ),
    Parameter("success", "success", values.yes, _YES, "Whether the last exchange succeeded."),
    Parameter("streaming", "streaming", values.yes, _YES, "Whether responses were streamed."),
    Parameter("min_tokens", "min_tokens", values.whole(0, _MOST), _COUNT, "Least tokens in all."),
    Parameter("max_tokens", "max_tokens", values.whole(0, _MOST), _COUNT, "Most tokens in all."),
    Parameter(
        "min_duration", "min_duration_ms", values.milliseconds, _SPAN_WORDS, "Least time spent."
    ),
    Parameter(
        "max_duration", "max_duration_ms", values.milliseconds, _SPAN_WORDS, "Most time spent."
    ),
    Parameter("min_cost", "min_cost_usd", values.dollars, _COST, "Least cost in dollars."),
    Parameter("max_cost", "max_cost_usd", values.dollars, _COST, "Most cost in dollars."),
    Parameter("client_ip", "client_ips", values.name, "an address", "Client's address.", many=True),
    Parameter(
        "finish_reason", "finish_reasons", values.name, _NAME, "Last finish reason.", many=True
    ),
    Parameter(
        "text",
        "text",
        values.text,
        f"at most {values.MAX_TEXT} characters with a letter or digit among them",
        'Words in what was asked or answered; "in quotes", a phrase.',
    ),
    Parameter("parent", "parent", values.name, "a session id", "Started by this session."),
    Parameter("root", "root", values.name, "a session id", "In the tree below this session."),
    Parameter("sort", "sort", _sort, f"one of {', '.join(get_args(SortKey))}", "What to sort by."),
    Parameter("order", "descending", _order, "asc or desc", "Direction of the sort."),
    Parameter(
        "page", "page", values.whole(1, 10**9), "a whole number of at least 1", "Page, from 1."
    ),
    Parameter(
        "page_size",
        "page_size",
        values.whole(1, MAX_PAGE_SIZE),
        f"a whole number from 1 to {MAX_PAGE_SIZE}",
        "Rows of a page.",
    ),
)
"""Everything that can be asked for, in the order in which help shows it."""

_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}

Filter = TypeVar("Filter", bound=SessionFilter)


def parse_filter(
    pairs: Iterable[tuple[str, str]],
    *,
    now: datetime,
    called: Callable[[str], str] = str,
) -> SessionFilter:
    """Return the filter that names and texts ask for.

    Args:
        pairs: as of a URL's query; empty texts count as not given, as forms send them.
        now: the present, with time zone, for times such as ``24h``.
        called: what the user calls a parameter, for errors: ``--min-tokens``.

    Raises:
        WrongQuery: one sentence on the first thing that can not be understood.
    """
    found: dict[str, Any] = {}
    for name, text in pairs:
        parameter = _BY_NAME.get(name)
        if parameter is None:
            raise WrongQuery(
                f"{_shown(called(name))} is nothing that can be asked for;"
                f" there are {', '.join(called(known) for known in _BY_NAME)}."
            )
        if not text.strip():
            continue
        if parameter.many:
            before = found.get(parameter.field, ())
            found[parameter.field] = (*before, *_several(parameter, text, now, called))
        elif parameter.field in found:
            raise WrongQuery(f"{called(name)} is given more than once; give it once.")
        else:
            found[parameter.field] = _one(parameter, text.strip(), now, called)
    _check(found, called)
    return SessionFilter(**found)


def _several(
    parameter: Parameter, text: str, now: datetime, called: Callable[[str], str]
) -> list[Any]:
    parts = [part.strip() for part in text.split(",")]
    return [_one(parameter, part, now, called) for part in parts]


def _one(parameter: Parameter, text: str, now: datetime, called: Callable[[str], str]) -> Any:
    try:
        return parameter.read(text, now)
    except (ValueError, KeyError, OverflowError):
        raise WrongQuery(
            f"{called(parameter.name)} must be {parameter.expected}, not {_shown(text)}."
        ) from None


def _shown(text: str) -> str:
    """Return a text in quotes, shortened, with nothing in it that acts on a terminal."""
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return json.dumps(short).replace("\x7f", "\\u007f")


_RANGES = (
    ("since", "until", "since", "until"),
    ("min_tokens", "max_tokens", "min_tokens", "max_tokens"),
    ("min_duration_ms", "max_duration_ms", "min_duration", "max_duration"),
    ("min_cost_usd", "max_cost_usd", "min_cost", "max_cost"),
)
"""Pairs of fields of which the first must not lie above the second, and their names."""


def _check(found: dict[str, Any], called: Callable[[str], str]) -> None:
    """Refuse what can find nothing, which is more likely a slip than a wish, and too much."""
    for low, high, low_name, high_name in _RANGES:
        if low in found and high in found and found[low] > found[high]:
            raise WrongQuery(f"{called(low_name)} lies above {called(high_name)}; swap them.")
    for parameter in PARAMETERS:
        if parameter.many and len(found.get(parameter.field, ())) > MAX_VALUES:
            raise WrongQuery(
                f"{called(parameter.name)} is given more than {MAX_VALUES} times;"
                " search in several steps."
            )

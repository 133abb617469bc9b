"""What addresses ask for: periods, pages of sessions, turns; and what the database answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from gateway_sessions import PAGE_SIZE, Page, Search, SessionFilter, WrongQuery
from interceptors.dashboard.figures import DEFAULT, PERIODS, Period

TAIL = 50
"""Exchanges with which the live page begins."""

_WORDS = {
    "since": "From",
    "until": "Until",
    "min_tokens": "Least tokens",
    "max_tokens": "Most tokens",
    "min_cost": "Least cost",
    "max_cost": "Most cost",
    "text": "Search",
}


def period_of(query: Mapping[str, str]) -> Period:
    """Return the period that an address names; raises `WrongQuery`."""
    name = query.get("period", DEFAULT)
    if name not in PERIODS:
        raise WrongQuery(f"period must be one of {', '.join(PERIODS)}.")
    return PERIODS[name]


def label(parameter: str) -> str:
    """Return what the form calls a parameter."""
    return _WORDS.get(parameter, parameter.replace("_", " ").capitalize())


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A page of sessions, and where in them the words that were searched for occur."""

    page: Page
    snippets: Mapping[str, str]


def sessions(connection: sqlite3.Connection, wanted: SessionFilter) -> Found:
    """Return the page of sessions that a filter finds."""
    search = Search(connection)
    found = search.page(wanted)
    ids: Sequence[str] = [row.session_id for row in found.sessions]
    snippets = search.snippets(wanted, ids) if wanted.text and ids else {}
    return Found(page=found, snippets=snippets)


def of_page_size(wanted: SessionFilter) -> SessionFilter:
    """Return a filter whose pages are small enough for a page on a phone."""
    return replace(wanted, page_size=min(wanted.page_size, PAGE_SIZE))


def whole(query: Mapping[str, str], name: str) -> int | None:
    """Return a positive number of an address, None where there is none; raises `WrongQuery`."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise WrongQuery(f"{name} must be a whole number of at least 1.")
    return int(text)

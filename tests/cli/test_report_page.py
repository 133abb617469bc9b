"""The page of a report stands alone, runs nothing, and shows what was recorded as text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway_sessions.cli.report_page import page
from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.reports import Report, Reports
from tests.storage.recorded import NOW, START, Talk, many, record

EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(1)>'\"&\x1b[31m\u202e"


def report_on(path: Path) -> Report:
    with reading(path) as connection:
        return Reports(connection).report(SessionFilter(), NOW)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = record(tmp_path_factory.mktemp("page") / "sessions.db", many(200))
    return page(report_on(path), {"since": "30d"})


class Tags(HTMLParser):
    """Notes every tag with its attributes, and that all of them are closed."""

    VOID = frozenset({"meta", "rect", "line", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_nothing_is_loaded_and_nothing_runs(busy: str) -> None:
    tags = Tags(busy)
    assert tags.open == []
    names = {tag for tag, _ in tags.found}
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "form", "a", "base"})
    for _, attributes in tags.found:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.keys().isdisjoint({"style", "src", "href", "xlink:href"})
    assert "url(" not in busy
    assert "@import" not in busy
    assert "://" not in busy


def test_the_policy_allows_the_one_style_sheet_and_nothing_else(busy: str) -> None:
    (policy,) = (
        attributes["content"]
        for tag, attributes in Tags(busy).found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    (style,) = re.findall(r"<style>(.*?)</style>", busy, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_what_was_recorded_is_only_ever_text(tmp_path: Path) -> None:
    talk = Talk("sess_1", provider=EVIL).ask(EVIL, EVIL, model_name=EVIL, model_requested=EVIL)
    talk.call(EVIL, "call_1")
    other = Talk("sess_2", started=START).ask("harmless")
    made = page(report_on(record(tmp_path / "sessions.db", [talk, other])), {"model": EVIL})
    tags = Tags(made)
    assert tags.open == []
    assert {tag for tag, _ in tags.found}.isdisjoint({"script", "img"})
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert any("<script>alert(1)</script>" in text for text in tags.texts)


def test_it_has_figures_plots_and_tables(busy: str) -> None:
    tags = Tags(busy)
    titles = ["Cost", "Requests", "Tokens", "Latency", "Latency by model", "Models"]
    titles += ["Providers", "Tools", "Most expensive sessions", "Days"]
    assert re.findall(r"<h2>(.*?)</h2>", busy) == titles
    assert sum(tag == "table" for tag, _ in tags.found) == 6
    labels = [attributes.get("aria-label") for _, attributes in tags.found]
    assert [label for label in labels if label] == [
        "Cost over time by model",
        "Requests over time",
        "Tokens over time",
        "Distribution of latency",
    ]
    assert "<li>since: <b>30d</b></li>" in busy
    assert "200" in tags.texts


def test_a_single_provider_needs_no_table_of_its_own(tmp_path: Path) -> None:
    made = page(report_on(record(tmp_path / "sessions.db", [Talk("sess_1").ask()])), {})
    assert "<h2>Providers</h2>" not in made
    assert "<h2>Tools</h2>" not in made
    assert '<ul class="chips">' not in made


def test_without_requests_it_says_so(tmp_path: Path) -> None:
    made = page(report_on(record(tmp_path / "sessions.db", [])), {})
    assert "No requests were recorded that the report was asked for." in made
    assert "<svg" not in made


def test_dark_print_and_phone_are_thought_of(busy: str) -> None:
    for query in ("(prefers-color-scheme: dark)", "print", "(max-width: 560px)"):
        assert f"@media {query} {{" in busy
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in busy

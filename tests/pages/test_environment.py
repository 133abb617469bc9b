"""Templates escape; the look of all pages is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from gateway_sessions.pages.environment import look, page_environment


def rendered(folder: Path, template: str, **values: object) -> str:
    (folder / "page.html").write_text(template)
    return page_environment(folder).get_template("page.html").render(**values)


def test_whatever_is_put_in_is_escaped(tmp_path: Path) -> None:
    found = rendered(tmp_path, "{{ text|plain }}", text="<b>\n\u202eabc")
    assert found == "&lt;b&gt;\\n\\u202eabc"
    assert rendered(tmp_path, "{{ text|lines }}", text="a\nb\x1b") == "a\nb\\u001b"


def test_a_name_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        rendered(tmp_path, "{{ missing }}")


@pytest.mark.parametrize(("part", "found"), [(4, "few"), (6, "many")])
def test_many_are_more_than_a_twentieth(tmp_path: Path, part: int, found: str) -> None:
    template = "{{ 'many' if part is many_of(100) else 'few' }}"
    assert rendered(tmp_path, template, part=part) == found


def test_plots_are_there_for_all_templates(tmp_path: Path) -> None:
    assert "<rect" in rendered(tmp_path, '{% from "plots.html" import bar %}{{ bar(50) }}')
    assert look().startswith(":root")

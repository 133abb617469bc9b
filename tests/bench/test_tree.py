"""Agent trees are compared with the truth, and what falls short is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report, tree
from bench.accuracy import ROOT
from bench.tree import Figures, Share
from gateway_sessions.prices import Prices, Rates
from tests.bench import tree_logs

PRICES = Prices({"m": Rates(input=1.0, output=2.0)})


def test_a_log_is_measured(tmp_path: Path) -> None:
    tree_logs.write(tmp_path)
    found = tree.measure(tmp_path, "small", PRICES)
    assert found._replace(microseconds=0.0) == Figures(
        placed=Share(6, 6),
        opened=Share(4, 4),
        rightly=Share(4, 4),
        precise=Share(2, 2),
        recalled=Share(2, 2),
        calls=Share(2, 2),
        fans=Share(1, 1),
        rolled_up=Share(1, 1),
        microseconds=0.0,
    )
    assert found.microseconds > 0
    assert found.shortfalls("small") == []


def test_links_that_the_truth_does_not_have_are_seen(tmp_path: Path) -> None:
    tree_logs.write(tmp_path)
    truth = tmp_path / "small.truth.jsonl"
    text = truth.read_text().replace(
        '"one", "parent_session": "lead"', '"one", "parent_session": null'
    )
    truth.write_text(text)
    found = tree.measure(tmp_path, "small", PRICES)
    assert (found.precise, found.recalled) == (Share(1, 2), Share(1, 1))
    assert found.shortfalls("small") == [
        "small: precise 50.00 % is below 99 %",
        "small: fans 0.00 % is below 99 %",
    ]


def test_every_exchange_must_be_in_one_place() -> None:
    whole = Share(1000, 1000)
    good = Figures(whole, whole, whole, whole, whole, whole, whole, whole, 1.0)
    assert good._replace(calls=Share(0, 0)).shortfalls("s") == []
    assert good._replace(calls=Share(991, 1000)).shortfalls("s") == []
    bad = good._replace(placed=Share(999, 1000))
    assert bad.shortfalls("s") == ["s: placed 99.90 % is below 100 %"]


def test_the_command_prints_the_table_and_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree_logs.write(tmp_path)
    assert tree.main(["--logs", str(tmp_path), "--scenario", "small"]) == 0
    shown = capsys.readouterr().out
    assert "| small | 6 | 100.00 | 4 | 100.00 |" in shown
    assert shown.endswith("all figures are as they should be\n")


def test_the_table_goes_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- generated:agent-tree -->\n<!-- /generated:agent-tree -->\n")
    monkeypatch.setattr(tree, "PAGE", page)
    tree_logs.write(tmp_path)
    tree.main(["--logs", str(tmp_path), "--scenario", "small", "--table"])
    assert "| small |" in page.read_text()
    assert "| small |" in capsys.readouterr().out
    assert report.insert(ROOT.joinpath("docs/agent-tree.md").read_text(), "agent-tree", "x")


def test_a_missing_benchmark_is_said_and_not_passed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SESSIONBENCH", str(tmp_path))
    assert tree.main([]) == 2
    assert "holds no sessionbench" in capsys.readouterr().err


def test_a_benchmark_that_fails_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sessionbench").mkdir()
    (tmp_path / "sessionbench" / "__main__.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("SESSIONBENCH", str(tmp_path))
    assert tree.main([]) == 2
    assert "could not build its logs" in capsys.readouterr().err

"""Curves of measurements as pictures for docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rcParams
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent.parent / "docs" / "images"
# The same figures give the same file, and texts stay texts.
rcParams["svg.hashsalt"] = "gateway-sessions"
rcParams["svg.fonttype"] = "none"

Curve = Sequence[tuple[float, float]]
"""Points, from left to right."""


def draw(
    name: str,
    title: str,
    across: str,
    up: str,
    curves: Mapping[str, Curve],
    *,
    logarithmic: bool = True,
    folder: Path = FOLDER,
) -> Path:
    """Write curves, each with its name, to ``growth-NAME.svg``; return the file.

    ``across`` and ``up`` name the axes; with ``logarithmic`` both count in powers of ten.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, points in curves.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=label)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(visible=True, which="major", alpha=0.3)
    if len(curves) > 1:
        axes.legend()
    path = folder / f"growth-{name}.svg"
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path

"""Pictures of training runs, drawn by matplotlib (extra ``plot``) from their logs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CaffeError, DataError, MissingExtra, Where
from ..files.atomic import atomic_write
from ..text.foreign_bytes import shown
from .training_log import Row, TrainingLog, columns_of

# The charts of Caffe's plot_training_log.py, in its order: a chart's index is its number.
CHARTS = tuple(
    f"{y} vs. {x}"
    for y in ("Test accuracy", "Test loss", "Train learning rate", "Train loss")
    for x in ("Iters", "Seconds")
)
_TOO_LARGE = 1e100
FORMATS = (".png", ".svg", ".pdf")

Points = tuple[list[float], list[float]]


def chart_points(log: TrainingLog, chart: str) -> dict[str, Points]:
    """Return a chart's lines by the names of the outputs that they show. The training loss is the smoothed one."""
    y, x = chart.split(" vs. ")
    column, which = ("NumIters", 0) if x == "Iters" else ("Seconds", 1)
    if y == "Train loss":
        return {"loss": ([loss[which] for loss in log.losses], [loss[2] for loss in log.losses])} if log.losses else {}
    if y == "Train learning rate":
        return _lines(log.train, column, ["LearningRate"])
    word = y.removeprefix("Test ")
    return _lines(log.test, column, [name for name in columns_of(log.test)[3:] if word in name.lower()])


def _lines(rows: Sequence[Row], x: str, names: Sequence[str]) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for name in names:
        shown = [row for row in rows if name in row]
        if shown:
            found[name] = [row[x] for row in shown], [row[name] for row in shown]
    return found


def plot_chart(chart: str, logs: Mapping[str, TrainingLog], path: str | os.PathLike[str]) -> None:
    """Draw one chart with the lines of several runs to ``path``: PNG, SVG or PDF, depending on its suffix."""
    figure = new_figure(path)
    axes = figure.subplots()
    for label, log in logs.items():
        lines = chart_points(log, chart)
        if not lines:
            raise DataError(f"nothing for the chart {chart!r} is in this log", where=Where(label), hint=_hint(log))
        for name, (x, y) in lines.items():
            axes.plot(x, _finite(y), label=label if len(lines) == 1 else f"{label}: {name}", **_style(len(x)))
    y_name, x_name = chart.split(" vs. ")
    axes.set(title=chart, xlabel=x_name, ylabel=y_name)
    axes.grid(alpha=0.3)
    _legend(axes, "lower right" if "accuracy" in chart else "upper right")
    save(figure, path)


def plot_run(log: TrainingLog, path: str | os.PathLike[str], title: str) -> None:
    """Draw the losses of training and tests above, other outputs of the tests (accuracy) below, over the iterations."""
    figure = new_figure(path)
    losses = {f"train {name}": points for name, points in chart_points(log, "Train loss vs. Iters").items()}
    others: dict[str, Points] = {}
    for name, points in _lines(log.test, "NumIters", columns_of(log.test)[3:]).items():
        (losses if "loss" in name.lower() else others)[f"test {name}"] = points
    panels = [lines for lines in (losses, others) if lines]
    for axes, lines in zip(figure.subplots(len(panels) or 1, squeeze=False, sharex=True)[:, 0], panels, strict=False):
        for label, (x, y) in lines.items():
            axes.plot(x, _finite(y), label=label, **_style(len(x)))
        axes.grid(alpha=0.3)
        _legend(axes, "best")
    figure.axes[-1].set_xlabel("Iters")
    figure.suptitle(shown(title), parse_math=False)
    save(figure, path)


def _legend(axes: Any, place: str) -> None:
    """Show the lines' names literally: for matplotlib, $ begins a formula, and _ begins a name that is not shown."""
    lines = axes.get_lines()
    legend = axes.legend(lines, map(str, range(len(lines))), loc=place)
    for text, line in zip(legend.get_texts(), lines, strict=True):
        text.set(text=shown(line.get_label()), parse_math=False)


def _finite(values: Sequence[float]) -> list[float]:
    """Replace values that matplotlib cannot compute with by NaN: these points are left out of the line."""
    return [value if abs(value) < _TOO_LARGE else math.nan for value in values]


def _style(count: int) -> dict[str, Any]:
    return {"linewidth": 1, "marker": "o" if count <= 50 else None, "markersize": 3}


def _hint(log: TrainingLog) -> str:
    there = [f"{number} ({chart})" for number, chart in enumerate(CHARTS) if chart_points(log, chart)]
    return f"There is something for {', '.join(there)}" if there else "It has no losses, rates, accuracies"


def new_figure(path: str | os.PathLike[str]) -> Any:
    """Make an empty figure. Raise if matplotlib is missing, or if ``path`` does not end with a picture's suffix."""
    if Path(path).suffix.lower() not in FORMATS:
        raise CaffeError(
            "a picture of what format?", where=Where(os.fspath(path)), hint=f"End its name with {' or '.join(FORMATS)}"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "plot", "draw") from None
    return Figure(figsize=(8, 6), layout="constrained")


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    with atomic_write(path) as part:
        figure.savefig(part, format=Path(path).suffix[1:].lower(), dpi=120)

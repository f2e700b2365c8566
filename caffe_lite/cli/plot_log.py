"""Draw one chart of one or several training runs from their logs: loss, accuracy or learning rate."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import Parser


def add_arguments(parser: Parser) -> None:
    from ..logs.plotting import CHARTS

    charts = "; ".join(f"{number}: {chart}" for number, chart in enumerate(CHARTS))
    parser.add_argument("chart", metavar="CHART", type=_chart, help=f"its number or name. {charts}")
    parser.add_argument("picture", metavar="PICTURE", help="the file to write: .png, .svg or .pdf")
    parser.add_argument("logs", metavar="LOG", nargs="+", help="what caffe-lite train, or Caffe, wrote")


def run(arguments: argparse.Namespace) -> int:
    from ..logs.plotting import plot_chart
    from ..logs.training_log import read_training_log

    stems = [Path(log).stem for log in arguments.logs]
    labels = stems if len(set(stems)) == len(stems) else arguments.logs
    runs = {label: read_training_log(log) for label, log in zip(labels, arguments.logs, strict=True)}
    plot_chart(arguments.chart, runs, arguments.picture)
    return 0


def _chart(text: str) -> str:
    """Find the chart of a number or a name: "6", "Train loss vs. Iters", "test accuracy" (over iterations)."""
    from ..logs.plotting import CHARTS

    if text.isdecimal() and int(text) < len(CHARTS):
        return CHARTS[int(text)]
    words = " ".join(text.lower().split())
    for chart in CHARTS:
        if words in (chart.lower(), chart.lower().removesuffix(" vs. iters"), chart.lower().replace(" vs.", " vs")):
            return chart
    raise argparse.ArgumentTypeError(f"{text!r} is no chart: it is a number from 0 to {len(CHARTS) - 1} or a name")

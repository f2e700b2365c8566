"""What weights files hold, without the net and its data: statistics and histograms of blobs; how two files differ."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from ..logs.plotting import new_figure, save
from ..net.weights import LayerWeights, read_weights
from ..text.table import table
from .costs import memory, shape_text

BINS = 60  # of a histogram
LINE = 0.25  # inches of the picture for each blob


class Statistics(NamedTuple):
    """The finite values of a blob: least, mean, largest, standard deviation; and how many values are not finite."""

    least: float
    mean: float
    largest: float
    deviation: float
    not_finite: int


class Difference(NamedTuple):
    """How two blobs of one shape differ: the largest difference, and the length of all over that of the first blob."""

    largest: float
    relative: float


def statistics(blob: np.ndarray) -> Statistics:
    """Return the statistics of a blob; NaN stands for those of no values."""
    finite = blob[np.isfinite(blob)].astype(np.float64)
    if not finite.size:
        return Statistics(np.nan, np.nan, np.nan, np.nan, blob.size)
    least, mean, largest, deviation = map(float, (finite.min(), finite.mean(), finite.max(), finite.std()))
    return Statistics(least, mean, largest, deviation, blob.size - finite.size)


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return how two blobs of one shape differ. Values that are equal do not differ, even if they are not finite."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    length = sqrt(np.square(a).sum())
    apart = sqrt(np.square(gap).sum())
    relative = (apart / length if length else np.inf) if apart else 0.0
    return Difference(float(gap.max(initial=0)), relative)


def describe(path: str) -> str:
    """Return a table of the blobs in a weights file, and its totals."""
    layers = read_weights(path)
    rows, odd = [], 0
    for layer, index, blob in _blobs(layers):
        s = statistics(blob)
        odd += s.not_finite
        rows.append(
            (
                layer.name,
                layer.type,
                str(index),
                shape_text(blob.shape),
                f"{blob.size:,}",
                *(f"{value:.4g}" for value in s[:4]),
            )
        )
    count = sum(blob.size for _, _, blob in _blobs(layers))
    heads = ("Layer", "Type", "Blob", "Shape", "Values", "Min", "Mean", "Max", "Std")
    lines = [
        *table(heads, rows, right=heads[4:]),
        "",
        f"{len({layer.name for layer in layers})} layers, {len(rows)} blobs, {count:,} values ({memory(count)})",
    ]
    if odd:
        lines.append(f"{odd:,} values are not finite; the statistics are those of the others")
    return "\n".join(lines)


def compare(path: str, other: str) -> str:
    """Return a table of the blobs in two weights files that differ, and how many are equal."""
    firsts, seconds = ({(*key, i): blob for *key, i, blob in _keyed(read_weights(file))} for file in (path, other))
    rows, equal = [], 0
    for key in dict.fromkeys([*firsts, *seconds]):
        first, second = firsts.get(key), seconds.get(key)
        name, _, index = key
        cells = (str(name), str(index), *("" if blob is None else shape_text(blob.shape) for blob in (first, second)))
        if first is None or second is None:
            rows.append((*cells, f"only in {path if second is None else other}", ""))
        elif first.shape != second.shape:
            rows.append((*cells, "other shape", ""))
        elif (gap := difference(first, second)).largest == 0:
            equal += 1
        else:
            rows.append((*cells, f"{gap.largest:.4g}", f"{gap.relative:.4g}"))
    heads = ("Layer", "Blob", "Shape", "Other shape", "Largest difference", "Relative")
    lines = [*table(heads, rows, right=heads[4:]), ""] if rows else []
    return "\n".join([*lines, f"{equal} blobs are equal, {len(rows)} differ"])


def draw_histograms(path: str, picture: str | os.PathLike[str]) -> None:
    """Draw the distribution of every blob's finite values to ``picture``: PNG, SVG or PDF, depending on its suffix.

    Each blob has one line: its name and index, the least value, a histogram from there on, and the largest value.
    """
    figure = new_figure(picture)
    blobs = [(f"{layer.name} {index}", blob[np.isfinite(blob)]) for layer, index, blob in _blobs(read_weights(path))]
    figure.set_size_inches(8, 0.5 + LINE * len(blobs))
    axes = figure.subplots()
    for line, (_, values) in enumerate(blobs):
        counts, _ = np.histogram(values, BINS)
        axes.stairs(
            line - 0.9 * counts / counts.max(initial=1),
            np.linspace(0, 1, BINS + 1),
            baseline=line,
            fill=True,
            color="C0",
        )
        if values.size:
            axes.text(-0.01, line, f"{values.min():.4g}", ha="right", fontsize=7)
            axes.text(1.01, line, f"{values.max():.4g}", ha="left", fontsize=7)
    axes.set(xlim=(-0.12, 1.12), ylim=(len(blobs), -1), xticks=[], yticks=range(len(blobs)))
    axes.set_yticklabels([name.replace("$", r"\$") for name, _ in blobs], fontsize=7)
    save(figure, picture)


def _blobs(layers: Sequence[LayerWeights]) -> Iterator[tuple[LayerWeights, int, np.ndarray]]:
    for layer in layers:
        for index, blob in enumerate(layer.blobs):
            if blob is not None:
                yield layer, index, blob


def _keyed(layers: Sequence[LayerWeights]) -> Iterator[tuple[str, int, int, np.ndarray]]:
    """Yield name, occurrence of that name, index and array of each blob."""
    seen: Counter[str] = Counter()
    for layer in layers:
        for index, blob in enumerate(layer.blobs):
            if blob is not None:
                yield layer.name, seen[layer.name], index, blob
        seen[layer.name] += bool(layer.blobs)

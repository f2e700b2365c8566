"""The pictures of docs/losses.md; our layers compute every value in them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import caffe_lite

_SHAPES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: %d } } }
layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 1 %s } } }
force_backward: true
"""
CROSS_ENTROPY = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss" }'
SQUARED_ERROR = """
layer { name: "p" type: "Softmax" bottom: "x" top: "p" }
layer { name: "loss" type: "EuclideanLoss" bottom: "p" bottom: "y" top: "loss" }
"""
SPAN = np.linspace(-8, 8, 49)


def net(layers: str, scores: int, target: str) -> caffe_lite.Net:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.prototxt")
        path.write_text(_SHAPES % (scores, target) + layers, encoding="utf-8")
        return caffe_lite.Net(str(path), caffe_lite.TRAIN, engine="numpy", dtype="float64")


@cache
def surfaces() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute both losses and their gradients' lengths over the scores of classes 0 and 1; that of class 2 is 0."""
    made = {}
    for name, layers, target, truth in (
        ("cross entropy", CROSS_ENTROPY, "", [0]),
        ("squared error", SQUARED_ERROR, "dim: 3", [[1, 0, 0]]),
    ):
        small = net(layers, 3, target)
        small.blobs["y"].data[...] = truth
        values, slopes = np.zeros((2, len(SPAN), len(SPAN)))
        for row, other in enumerate(SPAN):
            for column, right in enumerate(SPAN):
                small.blobs["x"].data[...] = [[right, other, 0]]
                values[row, column] = float(small.forward()["loss"])
                small.backward()
                slopes[row, column] = np.linalg.norm(small.blobs["x"].diff)
        made[name] = (values, slopes)
    return made


def pictures() -> dict[str, bytes]:
    """Map paths under docs to SVGs."""
    with mpl.rc_context(
        {"svg.hashsalt": "caffe-lite", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        return {f"pictures/{name}.svg": _svg(draw) for name, draw in _PICTURES.items()}


def _svg(draw: Callable[[Figure], None]) -> bytes:
    figure = Figure(figsize=(7.2, 3), layout="constrained")
    draw(figure)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _softmax(figure: Figure) -> None:
    small = net(
        'layer { name: "p" type: "Softmax" bottom: "x" top: "p" } layer { name: "s" type: "Silence" bottom: "y" }',
        3,
        "",
    )
    curves = []
    for score in SPAN:
        small.blobs["x"].data[...] = [[score, 1, -1]]
        curves.append(small.forward()["p"][0].copy())
    axes = figure.subplots()
    for number, (curve, score) in enumerate(zip(np.transpose(curves), ("x", "1", "-1"), strict=True)):
        axes.plot(SPAN, curve, label=f"class {number}, score {score}")
    axes.set(xlabel="score x of class 0", ylabel="probability")
    axes.legend(frameon=False)


def _one_score(figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    zero = len(SPAN) // 2
    for name, (values, slopes) in surfaces().items():
        left.plot(SPAN, values[zero], label=name)
        right.plot(SPAN, slopes[zero], label=name)
    left.set(xlabel="score of the right class, the others 0", ylabel="loss")
    right.set(xlabel="score of the right class, the others 0", ylabel="length of the gradient")
    left.legend(frameon=False)


def _surface(which: int, title: str) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        for axes, (name, both) in zip(figure.subplots(1, 2), surfaces().items(), strict=True):
            shown: Any = axes.contourf(SPAN, SPAN, both[which], levels=16, cmap="viridis")
            axes.contour(SPAN, SPAN, both[which], levels=16, colors="white", linewidths=0.3)
            axes.set(xlabel="score of the right class", ylabel="score of a wrong class", title=f"{title}: {name}")
            figure.colorbar(shown, ax=axes)

    return draw


_PICTURES: dict[str, Callable[[Figure], None]] = {
    "softmax": _softmax,
    "one-score": _one_score,
    "surfaces": _surface(0, "loss"),
    "gradients": _surface(1, "gradient"),
}

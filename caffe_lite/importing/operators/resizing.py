"""Resize: images of another size. It is linear along each axis, so that a matrix says what it does there."""

from __future__ import annotations

import numpy as np

from ..formulas import mapped
from ..graph import Node
from ..writer import CannotSay, Writer, spells


class _Axis:
    """What a Resize does along one axis: the sizes, and the factor between them."""

    def __init__(self, old: int, new: int, factor: float) -> None:
        self.old, self.new, self.factor = old, new, factor

    def place(self, rule: str, index: np.ndarray) -> np.ndarray:
        """Return where in the old axis each index of the new one lies."""
        if rule == "align_corners":
            return index * (self.old - 1) / (self.new - 1) if self.new > 1 else 0 * index
        if rule == "asymmetric":
            return index / self.factor
        if rule == "half_pixel" or (rule == "pytorch_half_pixel" and self.new > 1):
            return (index + 0.5) / self.factor - 0.5
        if rule == "pytorch_half_pixel":
            return 0 * index
        if rule == "half_pixel_symmetric":
            shift = self.old / 2 * (1 - self.new / (self.factor * self.old))
            return shift + (index + 0.5) / self.factor - 0.5
        raise CannotSay(f"its coordinate_transformation_mode is {rule}")


def _axes(w: Writer, node: Node) -> list[_Axis]:
    old, new = w.shape(node.inputs[0]), w.shape(node.outputs[0])
    scales = w.graph.setting(node, "scales", 1 if node.operator == "Upsample" or w.graph.opset < 11 else 2)
    if scales is None or not np.size(scales):
        factors = [n / o for o, n in zip(old, new, strict=True)]
    elif len(scales) == len(old):
        factors = [float(scale) for scale in scales]
    else:
        factors = [1.0] * len(old)
        for axis, scale in zip(node.attributes["axes"], scales, strict=True):
            factors[axis] = float(scale)
    return [_Axis(*each) for each in zip(old, new, factors, strict=True)]


def _rules(w: Writer, node: Node) -> tuple[str, str, str]:
    """Return the mode, the rule for coordinates and that for rounding them."""
    if w.graph.opset < 11:
        return node.attributes.get("mode", "nearest"), "asymmetric", "floor"
    if node.attributes.get("antialias", 0):
        raise CannotSay("it smooths what it shrinks (antialias)")
    rule = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    nearest = node.attributes.get("nearest_mode", "round_prefer_floor")
    return node.attributes.get("mode", "nearest"), rule, nearest


def _matrix(w: Writer, node: Node, axis: _Axis) -> np.ndarray:
    """Return the matrix (new, old) of what happens along an axis."""
    mode, rule, rounding = _rules(w, node)
    place = axis.place(rule, np.arange(axis.new, dtype=np.float64))
    matrix = np.zeros((axis.new, axis.old))
    rows = np.arange(axis.new)
    if mode == "nearest":
        rounds = {
            "floor": np.floor(place),
            "ceil": np.ceil(place),
            "round_prefer_floor": np.ceil(place - 0.5),
            "round_prefer_ceil": np.floor(place + 0.5),
        }
        matrix[rows, np.clip(rounds[rounding], 0, axis.old - 1).astype(int)] = 1
        return matrix
    before = np.floor(place)
    part = place - before
    if mode == "linear":
        weights = {0: 1 - part, 1: part}
    elif mode == "cubic":
        if node.attributes.get("exclude_outside", 0):
            raise CannotSay("it leaves out what lies outside (exclude_outside)")
        a = node.attributes.get("cubic_coeff_a", -0.75)
        weights = {offset: _cubic(np.abs(part - offset), a) for offset in (-1, 0, 1, 2)}
    else:
        raise CannotSay(f"its mode is {mode}")
    for offset, weight in weights.items():
        np.add.at(matrix, (rows, np.clip(before + offset, 0, axis.old - 1).astype(int)), weight)
    return matrix


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Return Keys' kernel at these distances, all of them below 2."""
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    return np.where(x <= 1, near, a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a)


def _repeats(w: Writer, node: Node) -> int:
    """Return how often both axes of an image repeat each pixel; raise CannotSay if it does something else."""
    axes = _axes(w, node)
    factor = axes[-1].new // axes[-1].old
    if len(axes) != 4 or any(axis.new != axis.old for axis in axes[:2]):
        raise CannotSay("it changes other axes than those of an image")
    for axis in axes[2:]:
        if axis.new != factor * axis.old or not np.array_equal(
            _matrix(w, node, axis), np.repeat(np.eye(axis.old), factor, axis=0)
        ):
            raise CannotSay("it does not repeat each pixel")
    return factor


@spells("Resize", "Upsample", uses=["Upsample"])
def repeated_pixels(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    return w.add("Upsample", [x], w.shape(node.outputs[0]), upsample_param={"scale": _repeats(w, node)})


@spells("Resize", "Upsample", uses=["Interp"])
def interpolated(w: Writer, node: Node) -> str:
    x, new = w.blob(node.inputs[0]), w.shape(node.outputs[0])
    mode, rule, _ = _rules(w, node)
    if mode != "linear" or rule != "align_corners" or len(new) != 4 or new[:2] != w.shapes[x][:2]:
        raise CannotSay("its corners are not aligned")
    return w.add("Interp", [x], new, interp_param={"height": new[2], "width": new[3]})


@spells("Resize", "Upsample", uses=["Deconvolution"])
def repeated_by_deconvolution(w: Writer, node: Node) -> str:
    x, factor = w.blob(node.inputs[0]), _repeats(w, node)
    channels = w.shapes[x][1]
    windows = {"kernel_size": [factor], "stride": [factor]}
    param = {"num_output": channels, "group": channels, "bias_term": False, **windows}
    weight = np.ones((channels, 1, factor, factor))
    return w.add("Deconvolution", [x], w.shape(node.outputs[0]), [weight], convolution_param=param)


@spells("Resize", "Upsample", uses=["Convolution", "InnerProduct", "Reshape", "Flatten"])
def by_matrices(w: Writer, node: Node) -> str:
    """Multiply by a matrix along each axis that changes."""
    x = w.blob(node.inputs[0])
    if node.input(1) and _rules(w, node)[1] == "tf_crop_and_resize":
        raise CannotSay("it crops")
    for index, axis in enumerate(_axes(w, node)):
        if axis.old == axis.new and axis.factor == 1:
            continue
        x = mapped(w, x, index, _matrix(w, node, axis))
    return x

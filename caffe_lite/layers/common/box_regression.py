"""How Cascade R-CNN's layers express boxes: normalised, and relative to regions or to the anchors of a map."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple, Protocol

import numpy as np

from ...data.boxes import Measure, from_deltas, to_deltas
from ...layer import Layer
from ...onnx_graph import OnnxGraph, Value
from . import onnx_boxes


class BoxCode(NamedTuple):
    """R-CNN's deltas, of which ``mean`` is subtracted and which are divided by ``std``, four values each."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, layer: Layer) -> BoxCode:
        """Return what bbox_reg_param says; without means and deviations, deltas are as they are."""
        p = layer.param.bbox_reg_param
        if not p.bbox_mean and not p.bbox_std:
            return cls(np.zeros(4), np.ones(4))
        if len(p.bbox_mean) != 4 or len(p.bbox_std) != 4:
            layer.error(
                f"bbox_reg_param has {len(p.bbox_mean)} values bbox_mean and {len(p.bbox_std)} values bbox_std",
                "give four of each, for x, y, width and height, or none",
            )
        if min(p.bbox_std) <= 0:
            layer.error(f"a bbox_std is {min(p.bbox_std):g}", "deviations are above 0")
        return cls(np.array(p.bbox_mean), np.array(p.bbox_std))

    def encode(self, boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the numbers (N, 4) that express targets relative to boxes."""
        return self.normalize(to_deltas(boxes, targets))

    def decode(self, boxes: np.ndarray, numbers: np.ndarray, bounds: Bounds | None = None) -> np.ndarray:
        """Return the boxes (N, 4) that numbers express relative to boxes, with deltas moved between the bounds."""
        deltas = numbers * self.std.astype(numbers.dtype) + self.mean.astype(numbers.dtype)
        if bounds is not None:
            deltas = np.clip(deltas, *(bound.astype(numbers.dtype) for bound in bounds))
        found = from_deltas(boxes, deltas)
        found[..., 2:] -= 1  # the last pixels, of which from_deltas returns the next
        return found

    def decoded(self, g: OnnxGraph, boxes: Value | np.ndarray, numbers: Value, bounds: Bounds | None = None) -> Value:
        """Write ``decode``."""
        deltas = g.Add(g.Mul(numbers, self.std.astype(np.float32)), self.mean.astype(np.float32))
        if bounds is not None:
            deltas = g.Min(g.Max(deltas, bounds.least.astype(np.float32)), bounds.most.astype(np.float32))
        found: Value = g.Sub(onnx_boxes.from_deltas(g, boxes, deltas), np.array([0, 0, 1, 1], np.float32))
        return found

    def normalize(self, deltas: np.ndarray) -> np.ndarray:
        return (deltas - self.mean.astype(deltas.dtype)) / self.std.astype(deltas.dtype)


class Bounds(NamedTuple):
    """The smallest and the largest delta of x, y, width and height."""

    least: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, layer: Layer, field_xyr: float, field_whr: float) -> Bounds:
        """Let a centre move by 1 / ``field_xyr`` of an anchor, and its size change by the factor ``field_whr``."""
        if field_xyr <= 0 or field_whr < 1:
            layer.error(
                f"field_xyr is {field_xyr:g} and field_whr {field_whr:g}",
                "give field_xyr above 0, and field_whr of at least 1",
            )
        most = np.array([1 / field_xyr] * 2 + [log(field_whr)] * 2)
        return cls(-most, most)


class Fields(Protocol):
    """A message that describes anchors."""

    @property
    def field_w(self) -> Sequence[int]: ...

    @property
    def field_h(self) -> Sequence[int]: ...

    @property
    def stride(self) -> int: ...


class Anchors(NamedTuple):
    """Anchors of G sizes in the middle of each cell of a map, whose cells are ``stride`` pixels wide and high."""

    sizes: np.ndarray  # (G, 2): width, height
    stride: int

    @classmethod
    def of(cls, layer: Layer, fields: Fields) -> Anchors:
        if not fields.field_w or len(fields.field_w) != len(fields.field_h) or 0 in [*fields.field_w, *fields.field_h]:
            layer.error(
                f"field_w has {len(fields.field_w)} values and field_h {len(fields.field_h)}",
                "give as many of each, at least one, and none of them 0",
            )
        if not fields.stride:
            layer.error("there is no stride", "give the number of pixels from one place of the map to the next")
        return cls(np.array([fields.field_w, fields.field_h], float).T, fields.stride)

    def __len__(self) -> int:
        return len(self.sizes)

    def at(self, group: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the anchors (N, 4) of these sizes at these places."""
        centre = np.stack([column, row], -1) * float(self.stride) + self.stride / 2
        size = self.sizes[group]
        return np.concatenate([centre - size / 2, centre + size / 2 - 1], -1)


def check_measure(layer: Layer, measure: Measure) -> None:
    """Refuse to write a measure of overlaps that ONNX does not have."""
    if measure is not Measure.UNION:
        layer.error(f"nms_type is {measure.value}, and ONNX measures overlaps by the union", "Use IOU")


def measure_of(layer: Layer, nms_type: str) -> Measure:
    """Return how a layer measures overlaps."""
    try:
        return Measure(nms_type)
    except ValueError:
        layer.error(f"nms_type is {nms_type!r}", f"use {', '.join(measure.value for measure in Measure)}")

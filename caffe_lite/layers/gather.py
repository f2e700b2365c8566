"""Gather: slices of a blob, picked by their positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .scatter import ScatterLayer


@register_layer("Gather")
class GatherLayer(ScatterLayer):
    """The bottom's slices at the positions ``indices`` along ``axis``.

    yjxiong's layer collects a batch from several processes; in one process, y = x for each bottom.
    Bottom (Synopsys): any shape. Top: ``shape`` in the place of the axis; an axis less where shape is 0 or missing.
    Meanings: with ``gather_param`` it is Synopsys', without it yjxiong's.
    Reads ``gather_param``: indices, shape (none), axis (0; may be negative).
    Source: gather_layer.cpp of Synopsys' Caffe, which has no gradient, and of yjxiong's.
    """

    formula = r"y_j = x_{i_j}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.picks = self.param.HasField("gather_param")
        if self.picks:
            self.meaning = "Synopsys' Gather, because gather_param is given"
        else:
            self.meaning = "yjxiong's Gather, because gather_param is not given"
        p = self.param.gather_param
        self.shape = () if list(p.shape) == [0] else tuple(p.shape)
        if self.picks and len(bottom) > 1:
            self.error(f"gather_param is given for {len(bottom)} bottoms", "give it one bottom and one top")
        if self.picks and len(p.indices) != prod(self.shape):
            self.error(
                f"{len(p.indices)} indices do not have the shape {self.shape}",
                f"give {prod(self.shape)}, or set shape",
            )

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.picks:
            super().Reshape(bottom, top)
            return
        p, shape = self.param.gather_param, bottom[0].shape
        self.along = self.axis(p.axis, len(shape))
        if any(index >= shape[self.along] for index in p.indices):
            self.error(
                f"index {max(p.indices)} is out of range for axis {self.along} of the bottom {shape}",
                f"use 0 to {shape[self.along] - 1}",
            )
        top[0].Reshape((*shape[: self.along], *self.shape, *shape[self.along + 1 :]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.picks:
            super().Forward(bottom, top)
            return
        rows = self.ops.take_rows(self._to_front(bottom[0].data), self._indices())
        top[0].data = self.ops.reshape(self._from_front(rows), top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if not self.picks:
            return super().to_onnx(g, bottom, top)
        indices = np.array(self.param.gather_param.indices, np.int64).reshape(self.shape)
        return [g.Gather(bottom[0], indices, axis=self.along)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not self.picks:
            super().Backward(top, propagate_down, bottom)
        elif propagate_down[0]:
            shape, along = bottom[0].shape, self.along
            picked = (*shape[:along], len(self.param.gather_param.indices), *shape[along + 1 :])
            rows = self._to_front(self.ops.reshape(top[0].diff, picked))
            bottom[0].diff = self._from_front(self.ops.sum_rows(rows, self._indices(), shape[along]))

    def _indices(self) -> Array:
        return self.ops.indices(np.array(self.param.gather_param.indices, np.int64))

    def _to_front(self, x: Array) -> Array:
        others = [axis for axis in range(x.ndim) if axis != self.along]
        return self.ops.transpose(x, (self.along, *others))

    def _from_front(self, x: Array) -> Array:
        return self.ops.transpose(x, (*range(1, self.along + 1), 0, *range(self.along + 1, x.ndim)))

"""Fusion: neighbouring layers run as one kernel, and nobody can tell.

Runs are found once per net. A run stands for its nodes in a pass that covers all of them; a pass over a part of it, or
with ``debug_info``, takes the nodes one by one. What an engine can do lies in ``ops/<engine>_fused.py``; an engine
without such a module runs every layer by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from .blob import Blob, Later
from .layer import Layer
from .layers.batch_norm import BatchNormLayer
from .layers.bias import BiasLayer
from .layers.convolution import ConvolutionLayer
from .layers.eltwise import EltwiseLayer
from .layers.inner_product import InnerProductLayer
from .layers.relu import ReLULayer
from .layers.scale import ScaleLayer
from .ops.base import Array, Ops
from .proto.caffe_pb2 import TEST, EltwiseParameter

if TYPE_CHECKING:
    from .net import Node


# An array, and what to add to the result of the convolution, to the result.
Kernel = Callable[[Array, "Array | None"], Array]


class Fusion:
    """The runs of a net, of these kinds or of all."""

    def __init__(self, nodes: Sequence[Node], ops: Ops, kinds: Sequence[type[Run]] | None = None) -> None:
        self.nodes = nodes
        self.runs: dict[int, Run] = {}  # by the index of each node in it
        name = f"{__package__}.ops.{ops.name}_fused"
        if not find_spec(name):
            return
        kernels = import_module(name)
        at = 0
        while at < len(nodes):
            row = _row(nodes[at:])
            of_kinds = ((kind, kind.length(row)) for kind in kinds or (Folded, Normalized, Rectified))
            kind, length = next((found for found in of_kinds if found[1]), (Folded, 0))
            if length:
                self.runs |= dict.fromkeys(range(at, at + length), kind(at, row[:length], kernels))
            at += max(1, length)

    def steps(self, start: int, end: int | None, one_by_one: bool) -> list[Node | Run]:
        """What a pass over the nodes from ``start`` to ``end``, both included, has to execute, in order."""
        steps: list[Node | Run] = []
        at, stop = start, len(self.nodes) if end is None else end + 1
        while at < stop:
            run = self.runs.get(at)
            if run and run.first == at and at + len(run.nodes) <= stop and not one_by_one:
                steps.append(run)
                at += len(run.nodes)
            else:
                if run:
                    run.separate()
                    run.shapes = []
                steps.append(self.nodes[at])
                at += 1
        return steps


class Run(ABC):
    """Nodes in a row, each the only reader of what the one before makes."""

    def __init__(self, first: int, nodes: Sequence[Node], kernels: Any) -> None:
        self.first = first
        self.nodes = nodes
        self.kernels = kernels
        self.layers: list[Any] = [node.layer for node in nodes]
        self.bottom, self.top = nodes[0].bottom[0], nodes[-1].top[0]
        self.ops = self.top.ops
        self.blobs = [blob for node in nodes for blob in (*node.bottom, *node.top)]
        self.shapes: list[tuple[int, ...]] = []  # of the blobs, as the layers know them from the last pass as a run
        # What went in, and into a sum beside it, while the layers do not know of the last forward pass.
        self.x: Array | None = None
        self.addend: Array | None = None

    @staticmethod
    @abstractmethod
    def length(row: Sequence[Node]) -> int:
        """How many nodes at the head of the row make a run of this kind; 0 if they make none."""

    @abstractmethod
    def fused(self) -> bool:
        """Compute the top, as all nodes would, and return True; or do nothing."""

    def reshape(self) -> None:
        if [blob.shape for blob in self.blobs] != self.shapes:
            for node in self.nodes:
                node.reshape()
            self.shapes = [blob.shape for blob in self.blobs]

    def forward(self) -> None:
        self.x = None
        if self.fused():
            for node in self.nodes:
                node.note_forward()
        else:
            for node in self.nodes:
                node.forward()

    def backward(self) -> None:
        self.separate()
        for node in reversed(self.nodes):
            node.backward()

    @property
    def lacks_forward(self) -> bool:
        return any(node.lacks_forward for node in self.nodes)

    def run_aside(self) -> None:
        self.separate()
        for node in self.nodes:
            if node.lacks_forward:
                node.run_aside()

    def separate(self) -> None:
        """Let each layer have what it would have kept for its backward pass, had it run by itself."""
        if self.x is not None:
            made = self._one_by_one(self.x, self.addend, self._blobs())
            for layer, (twin, _) in zip(self.layers, made, strict=True):
                layer.__dict__.update({name: value for name, value in vars(twin).items() if name != "blobs"})
            self.x = self.addend = None

    def _blobs(self) -> list[list[Blob]]:
        return [layer.blobs for layer in self.layers]

    def _one_by_one(self, x: Array, addend: Array | None, blobs: Sequence[list[Blob]]) -> Iterator[tuple[Layer, Array]]:
        """Twins of the layers that have run on ``x`` with these blobs, and what they made."""
        bottom = _holding(self.ops, x)
        with self.ops.quiet():
            for layer, own in zip(self.layers, blobs, strict=True):
                twin, top = copy(layer), Blob(self.ops)
                twin.blobs = own
                bottoms = [bottom]
                if addend is not None and isinstance(layer, EltwiseLayer):
                    bottoms.append(_holding(self.ops, addend))
                twin.Reshape(bottoms, [top])
                twin.Forward(bottoms, [top])
                yield twin, top.data
                bottom = top


class Folded(Run):
    """In TEST: a convolution, or an inner product, whose weights do the work of the BatchNorm, Scale and Bias after it.

    A sum with one other blob may follow a convolution, and a ReLU everything.

    The weights are folded in the second pass with the same parameters, and serve until these change, as far as
    ``Blob.stamp`` can tell: while a user holds a NumPy array of one nothing is folded.
    Blobs between the layers compute what they hold when they are read, from copies of the input and the parameters.
    """

    def __init__(self, first: int, nodes: Sequence[Node], kernels: Any) -> None:
        super().__init__(first, nodes, kernels)
        self.other = next((_other_bottom(b, a) for a, b in pairwise(nodes) if len(b.bottom) > 1), None)
        self.between = [(i, a.top[0]) for i, (a, b) in enumerate(pairwise(nodes)) if a.top[0] is not b.top[0]]
        last = self.between[-1][0] if self.between else 0
        self.keeps_addend = any(len(node.bottom) > 1 for node in nodes[: last + 1])
        self.differentiable = any(node.need_backward for node in nodes)
        self.differentiated = False
        self.key: Any = None
        self.arrays: list[Array] = []
        self.kernel: Kernel | None = None
        self.copies: list[list[Blob]] = []

    @staticmethod
    def length(row: Sequence[Node]) -> int:
        head = row[0].layer if row else None
        if isinstance(head, ConvolutionLayer):
            foldable = head.phase == TEST and head.channel_axis == 1
        else:
            foldable = isinstance(head, InnerProductLayer) and head.phase == TEST and row[0].top[0].num_axes == 2
        if not foldable:
            return 0
        count = 1
        while count < len(row) and _folds(row[count]):
            count += 1
        if isinstance(head, InnerProductLayer):
            if count == 1:
                return 0
        elif count < len(row) and len(row[count].bottom) > 1:
            count += 1
        return count + (count < len(row) and isinstance(row[count].layer, ReLULayer))

    def fused(self) -> bool:
        x = self.bottom.data
        kernel = None if self.differentiated else self._kernel_for(x)
        if kernel is None:
            return False
        head = self.layers[0]
        addend = None if self.other is None else self.other.data
        y = kernel(self.ops.reshape(x, (-1, head.num_input)) if isinstance(head, InnerProductLayer) else x, addend)
        if self.between:
            copy_of_x = self.ops.copy(x)
            copy_of_addend = self.ops.copy(addend) if self.keeps_addend else None
            for place, blob in self.between:
                blob.data = Later(partial(self._made, place, copy_of_x, copy_of_addend, self.copies))
        self.top.data = y
        if self.differentiable:
            self.x, self.addend = x, addend
        return True

    def backward(self) -> None:
        self.differentiated = True  # and will be again: from now on the layers keep what they need for it
        super().backward()

    def _made(self, place: int, x: Array, addend: Array | None, blobs: list[list[Blob]]) -> Array:
        """What the layer at this place makes of ``x``."""
        made = self._one_by_one(x, addend, blobs)
        for _ in range(place):
            next(made)
        return next(made)[1]

    def _kernel_for(self, x: Array) -> Kernel | None:
        """The kernel of the parameters as they are now, for arrays like ``x``; None if there cannot be one yet."""
        key = (x.shape, *[blob.stamp() for layer in self.layers for blob in layer.blobs])
        if key != self.key or None in key:
            self.key, self.kernel, self.copies = key, None, []
            # Kept alive, for their stamps.
            self.arrays = [blob.source.data for layer in self.layers for blob in layer.blobs]
        elif self.kernel is None:
            self.kernel = self._fold(x)
            self.copies = [[_copied(blob) for blob in own] for own in self._blobs()] if self.between else []
        return self.kernel

    def _fold(self, x: Array) -> Kernel:
        head, ops = self.layers[0], self.ops
        weight = head.blobs[0].data
        scale, shift = None, (head.blobs[1].data if len(head.blobs) > 1 else None)
        slope = None
        for layer in self.layers[1:]:
            if isinstance(layer, EltwiseLayer):
                continue
            if isinstance(layer, ReLULayer):
                slope = layer.slope
                break
            factor, term = _factor_and_term(layer, ops)
            if factor is not None:
                scale = factor if scale is None else scale * factor
                shift = None if shift is None else shift * factor
            if term is not None:
                shift = term if shift is None else shift + term
        linear = isinstance(head, InnerProductLayer)
        if linear and head.transposed:
            weight = weight.T
        if scale is not None:
            weight = weight * ops.reshape(scale, (-1, *[1] * (weight.ndim - 1)))
        if linear:
            return self._finished(partial(ops.inner_product, weight=weight, bias=shift), slope)
        w = head.windows
        geometry = {"stride": w.stride, "pad": w.pad, "dilation": w.dilation, "group": head.group}
        packed = self.kernels.convolution(x, weight, shift, slope, **geometry)
        return packed or self._finished(partial(ops.convolution, weight=weight, bias=shift, **geometry), slope)

    def _finished(self, linear: Callable[[Array], Array], slope: float | None) -> Kernel:
        def kernel(x: Array, addend: Array | None) -> Array:
            y = linear(x)
            if addend is not None:
                y += addend
            return y if slope is None else self.kernels.rectify(y, slope)

        return kernel


class Normalized(Run):
    """BatchNorm by the batch's own statistics, the Scale after it, and a ReLU if there is one: one pass each way."""

    @staticmethod
    def length(row: Sequence[Node]) -> int:
        if len(row) < 2 or not isinstance(row[0].layer, BatchNormLayer) or row[0].layer.use_global_stats:
            return 0
        if not (_scales_channels(row[1]) and _in_place(row[1]) and isinstance(row[1].layer, ScaleLayer)):
            return 0
        return 2 + (len(row) > 2 and _rectifies_in_place(row[2]))

    def fused(self) -> bool:
        norm, scale, *relu = self.layers
        x = self.bottom.data
        if prod(x.shape) <= norm.channels or not _scales_channels(self.nodes[1]):  # one element has no variance
            return False
        if self.ops.tracer is not None and not self.kernels.normalizes(x):
            return False  # what the compiler makes of the layers is faster than torch's kernel
        factor, shift = [*(blob.data for blob in scale.blobs), None][:2]
        y, mean, variance, self.saved = self.kernels.batch_norm(
            self.ops.reshape(x, norm.x_shape), factor, shift, norm.eps, relu[0].slope if relu else None
        )
        for blob, latest in zip(norm.blobs, (mean, variance, 1.0), strict=True):
            statistic = blob.data
            statistic *= norm.fraction
            statistic += latest
        self.x, self.y = x, self.ops.reshape(y, self.top.shape)
        self.top.data = self.y
        return True

    def backward(self) -> None:
        if self.x is None:
            super().backward()
            return
        norm, scale, *relu = self.layers
        dy, factor, slope = self.top.diff, scale.blobs[0].data, relu[0].slope if relu else None
        if slope is not None and self.nodes[2].need_backward:
            self.top.diff = Later(partial(self.ops.relu_backward, dy, self.y, slope))
        if not self.nodes[1].need_backward:
            return
        need_x = self.nodes[0].need_backward and self.nodes[0].bottom_need_backward[0]
        need = need_x, *[*scale.param_propagate_down, False][:2]
        dx, *gradients = self.kernels.batch_norm_backward(
            *(self.ops.reshape(array, norm.x_shape) for array in (dy, self.x, self.y)),
            *(factor, self.saved, norm.eps, slope, need),
        )
        for blob, gradient, needed in zip(scale.blobs, gradients, need[1:], strict=False):
            if needed:
                blob.add_diff(gradient)
        if self.nodes[1].bottom_need_backward[0]:
            self.top.diff = Later(partial(self._before_scale, dy, self.y, slope, self.ops.copy(factor)))
        if need_x:
            self.bottom.diff = self.ops.reshape(dx, self.bottom.shape)

    def _before_scale(self, dy: Array, y: Array, slope: float | None, factor: Array) -> Array:
        if slope is not None:
            dy = self.ops.relu_backward(dy, y, slope)
        return dy * self.ops.along_channels(factor, dy.ndim)

    def _blobs(self) -> list[list[Blob]]:
        """Copies: the running statistics have met this batch already."""
        return [[_copied(blob) for blob in own] for own in super()._blobs()]


class Rectified(Run):
    """A layer with a fresh result, and the ReLU in place after it: it writes over that result."""

    @staticmethod
    def length(row: Sequence[Node]) -> int:
        if len(row) < 2 or not _rectifies_in_place(row[1]):
            return 0
        layer = row[0].layer
        adds = isinstance(layer, EltwiseLayer) and layer.operation == EltwiseParameter.SUM
        return 2 if adds or isinstance(layer, (ConvolutionLayer, InnerProductLayer)) else 0

    def fused(self) -> bool:
        self.nodes[0].forward()
        relu = self.layers[1]
        relu.signed = self.top.data = self.kernels.rectify(self.top.data, relu.slope)
        return True


def _row(nodes: Sequence[Node]) -> list[Node]:
    """The first nodes as far as each makes one blob, which counts in no loss and which only the next one reads.

    One that adds another blob to it may follow, but not take part otherwise.
    """
    row: list[Node] = []
    for node in nodes:
        if len(node.top) != 1 or any(node.loss_weights):
            break
        if row and node.bottom != row[-1].top and not _adds(node, row[-1]):
            break
        row.append(node)
    return row


def _adds(node: Node, before: Node) -> bool:
    """Whether it is the plain sum of what the node before makes and another blob."""
    layer = node.layer
    plain = isinstance(layer, EltwiseLayer) and layer.operation == EltwiseParameter.SUM and layer.coeff == [1.0, 1.0]
    return plain and sum(blob is before.top[0] for blob in node.bottom) == 1


def _other_bottom(node: Node, before: Node) -> Blob:
    return next(blob for blob in node.bottom if blob is not before.top[0])


def _in_place(node: Node) -> bool:
    return node.bottom[0] is node.top[0]


def _rectifies_in_place(node: Node) -> bool:
    # With a negative slope the layer must keep what came in.
    return isinstance(node.layer, ReLULayer) and node.layer.slope >= 0 and _in_place(node)


def _scales_channels(node: Node) -> bool:
    """Whether it is a Scale or Bias with learned operands, one for each channel."""
    layer, shape = node.layer, node.bottom[0].shape
    if not isinstance(layer, (ScaleLayer, BiasLayer)) or len(node.bottom) > 1 or len(shape) < 2:
        return False
    axis = (layer.param.scale_param if isinstance(layer, ScaleLayer) else layer.param.bias_param).axis
    return layer.axis(axis, len(shape)) == 1 and layer.blobs[0].shape == shape[1:2]


def _folds(node: Node) -> bool:
    return _scales_channels(node) or (isinstance(node.layer, BatchNormLayer) and node.layer.use_global_stats)


def _factor_and_term(layer: Any, ops: Ops) -> tuple[Array | None, Array | None]:
    """What the layer multiplies each channel by, and what it then adds."""
    if isinstance(layer, BatchNormLayer):
        mean, variance, weight = (blob.data for blob in layer.blobs)
        share = ops.astype(weight != 0) / ops.where(weight == 0, ops.scalar(1), weight)
        factor = 1.0 / ops.sqrt(variance * share + layer.eps)
        return factor, -(mean * share) * factor
    if isinstance(layer, BiasLayer):
        return None, layer.blobs[0].data
    factor, term = [*(blob.data for blob in layer.blobs), None][:2]
    return factor, term


def _copied(blob: Blob) -> Blob:
    return _holding(blob.ops, blob.ops.copy(blob.data))


def _holding(ops: Ops, array: Array) -> Blob:
    blob = Blob(ops, array.shape)
    blob.data = array
    return blob

"""Fusion: neighbouring layers run as one kernel, with the same results.

Runs are found once per net, from what each layer says it is to its neighbours (``roles``). A run stands for its nodes
in a pass that covers all of them; a pass over some of them, or with ``debug_info``, executes the nodes one by one. The
kernels are the engine's (``ops.fused``); an engine without them runs every layer by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import partial
from itertools import pairwise
from math import inf, prod
from typing import Any

from ..blobs import Blob
from ..blobs.changes import stamp
from ..blobs.later import Later
from ..layer import Layer
from ..ops.array import Array
from ..ops.base import Fused, Ops
from ..ops.roles import ChannelMap, LearnedChannelMap, Linear, Normalization, Rectifier, Role, Sum, combined
from ..proto.caffe_pb2 import TEST
from .wiring import Node

# Takes an array, and another to add to the result of the convolution; returns the result.
Kernel = Callable[[Array, "Array | None"], Array]


class Fusion:
    """The runs of a net, of the given kinds or of all; nodes go to the first kind that fits."""

    def __init__(self, nodes: Sequence[Node], ops: Ops[Array], kinds: Sequence[type[Run]] | None = None) -> None:
        self.nodes = nodes
        self.runs: dict[int, Run] = {}  # by the index of each node in it
        at = 0
        while at < len(nodes) and ops.fused is not None:
            row = _row(nodes[at:])
            of_kinds = ((kind, kind.length(row)) for kind in kinds or KINDS)
            kind, length = next((found for found in of_kinds if found[1]), (Folded, 0))
            if length:
                self.runs |= dict.fromkeys(range(at, at + length), kind(at, row[:length], ops.fused))
            at += max(1, length)

    def steps(self, start: int, end: int | None, one_by_one: bool) -> list[Node | Run]:
        """Return the steps of a pass over the nodes from ``start`` to ``end``, both included, in order."""
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
    """Nodes in a row, each the only reader of the previous one's top."""

    def __init__(self, first: int, nodes: Sequence[Node], kernels: Fused[Array]) -> None:
        self.first = first
        self.nodes = nodes
        self.kernels = kernels
        self.layers = [node.layer for node in nodes]
        self.roles: list[Any] = [_role(node) for node in nodes]
        self.bottom, self.top = nodes[0].bottom[0], nodes[-1].top[0]
        self.ops = self.top.ops
        self.blobs = [blob for node in nodes for blob in (*node.bottom, *node.top)]
        self.shapes: list[tuple[int, ...]] = []  # of the blobs, as the layers know them from the last pass as a run
        # The input, and the other bottom of a sum, as long as the layers do not know of the last forward pass.
        self.x: Array | None = None
        self.addend: Array | None = None

    @staticmethod
    @abstractmethod
    def length(row: Sequence[Node]) -> int:
        """Return how many nodes at the head of the row make a run of this kind; 0 if they make none."""

    @abstractmethod
    def fused(self) -> bool:
        """Compute the top as all nodes would, and return True; or do nothing, and return False."""

    def reshape(self) -> None:
        if [blob.shape for blob in self.blobs] != self.shapes:
            for node in self.nodes:
                node.reshape()
            self.shapes = [blob.shape for blob in self.blobs]

    def forward(self) -> None:
        self.x = None
        if not self.fused():
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
        """Give each layer what it would have kept for its backward pass if it had run by itself."""
        if self.x is not None:
            made = self._one_by_one(self.x, self.addend, self._blobs())
            for node, (twin, _) in zip(self.nodes, made, strict=True):
                node.layer.saved.take(twin.saved)
            self.x = self.addend = None

    def _forget(self) -> None:
        """Clear what each layer has kept from an earlier pass; ``separate`` gives it what belongs to this one."""
        for node in self.nodes:
            node.layer.saved = node.nothing_saved()

    def _blobs(self) -> list[list[Blob]]:
        return [layer.blobs for layer in self.layers]

    def _one_by_one(self, x: Array, addend: Array | None, blobs: Sequence[list[Blob]]) -> Iterator[tuple[Layer, Array]]:
        """Yield twins of the layers that have run on ``x`` with these blobs, and what each of them has made."""
        bottom = _holding(self.ops, x)
        with self.ops.quiet():
            for node, own in zip(self.nodes, blobs, strict=True):
                twin, top = copy(node.layer), Blob(self.ops)
                twin.blobs, twin.saved = own, node.nothing_saved()
                bottoms = [bottom]
                if addend is not None and len(node.bottom) > 1:
                    bottoms.append(_holding(self.ops, addend))
                twin.Reshape(bottoms, [top])
                twin.Forward(bottoms, [top])
                yield twin, top.data
                bottom = top


class Folded(Run):
    """In TEST: a convolution or an inner product whose weights do the work of the BatchNorm, Scale and Bias after it.

    A sum with one other blob may follow a convolution, and a ReLU or ReLU6 may follow all of them.

    The weights are folded in the second pass with the same parameters, and are used until these change. ``stamp``
    detects that; while a user holds a NumPy array of a parameter, nothing is folded. Blobs between the layers are
    computed when they are read, from copies of the input and the parameters.
    """

    def __init__(self, first: int, nodes: Sequence[Node], kernels: Fused[Array]) -> None:
        super().__init__(first, nodes, kernels)
        self.other = next((_other_bottom(b, a) for a, b in pairwise(nodes) if len(b.bottom) > 1), None)
        self.between = [(i, a.top[0]) for i, (a, b) in enumerate(pairwise(nodes)) if a.top[0] is not b.top[0]]
        last = self.between[-1][0] if self.between else 0
        self.keeps_addend = any(len(node.bottom) > 1 for node in nodes[: last + 1])
        self.differentiable = any(node.need_backward for node in nodes)
        self.differentiated = False
        self.key: tuple[object, ...] | None = None
        self.arrays: list[Array] = []
        self.kernel: Kernel | None = None
        self.copies: list[list[Blob]] = []

    @staticmethod
    def length(row: Sequence[Node]) -> int:
        head = _role(row[0]) if row else None
        if not (isinstance(head, Linear) and head.along_channels and row[0].layer.phase == TEST):
            return 0
        count = 1
        while count < len(row) and isinstance(_role(row[count]), ChannelMap) and len(row[count].bottom) == 1:
            count += 1
        if head.windows is None:
            if count == 1:
                return 0
        elif count < len(row) and len(row[count].bottom) > 1:
            count += 1
        return count + (count < len(row) and isinstance(_role(row[count]), Rectifier))

    def fused(self) -> bool:
        x = self.bottom.data
        kernel = None if self.differentiated else self._kernel_for(x)
        if kernel is None:
            return False
        addend = None if self.other is None else self.other.data
        y = kernel(self.roles[0].rows(x), addend)
        if self.between:
            copy_of_x = self.ops.copy(x)
            copy_of_addend = self.ops.copy(addend) if addend is not None and self.keeps_addend else None
            for place, blob in self.between:
                blob.data = Later(partial(self._made, place, copy_of_x, copy_of_addend, self.copies))
        self.top.data = y
        self._forget()
        if self.differentiable:
            self.x, self.addend = x, addend
        return True

    def backward(self) -> None:
        self.differentiated = True  # it will be again, so from now on the layers keep what they need for it
        super().backward()

    def _made(self, place: int, x: Array, addend: Array | None, blobs: list[list[Blob]]) -> Array:
        """Return what the layer at this place makes from ``x``."""
        made = self._one_by_one(x, addend, blobs)
        for _ in range(place):
            next(made)
        return next(made)[1]

    def _kernel_for(self, x: Array) -> Kernel | None:
        """Return the kernel for the present parameters and arrays like ``x``; None if there cannot be one yet."""
        key = (x.shape, *[stamp(blob) for layer in self.layers for blob in layer.blobs])
        if key != self.key or None in key:
            self.key, self.kernel, self.copies = key, None, []
            # The arrays are kept alive for their stamps.
            self.arrays = [blob.source.data for layer in self.layers for blob in layer.blobs]
        elif self.kernel is None:
            self.kernel = self._fold(x)
            self.copies = [[_copied(blob) for blob in own] for own in self._blobs()] if self.between else []
        return self.kernel

    def _fold(self, x: Array) -> Kernel:
        linear: Linear = self.roles[0]
        weight, shift = linear.weight_and_bias()
        scale, shift = combined(self.roles[1:], shift)
        relu = self.roles[-1]
        slope, most = (relu.slope, relu.most) if isinstance(relu, Rectifier) else (None, inf)
        if scale is not None:
            weight = self.ops.scale_outputs(weight, scale, linear.transposed_groups)
        packed = linear.windows and self.kernels.convolution(x, weight, shift, slope, linear.windows)
        kernel = packed or self._finished(lambda x: linear.apply(x, weight, shift), slope)
        if most == inf:
            return kernel
        return lambda x, addend: self.kernels.limit(kernel(x, addend), most)

    def _finished(self, linear: Callable[[Array], Array], slope: float | None) -> Kernel:
        def kernel(x: Array, addend: Array | None) -> Array:
            y = linear(x)
            if addend is not None:
                y += addend
            return y if slope is None else self.kernels.rectify(y, slope)

        return kernel


class Normalized(Run):
    """A normalisation with the batch's own statistics, the scale after it, and a ReLU if there is one, in one pass.

    Either the layer itself scales, as BN does, or a Scale layer after it.
    """

    def __init__(self, first: int, nodes: Sequence[Node], kernels: Fused[Array]) -> None:
        super().__init__(first, nodes, kernels)
        self.norm: Normalization = self.roles[0]
        self.scaling = nodes[0 if self.norm.learned else 1]
        self.learned = self.norm.learned or range(len(self.scaling.layer.blobs))
        relu = self.roles[-1]
        self.slope = relu.slope if isinstance(relu, Rectifier) else None

    @staticmethod
    def length(row: Sequence[Node]) -> int:
        norm = _role(row[0]) if row else None
        if not isinstance(norm, Normalization):
            return 0
        count = 1 if norm.learned else 2
        if len(row) < count or (count == 2 and not _scales_in_place(row[1])):
            return 0
        return count + (len(row) > count and _rectifies_in_place(row[count]))

    def fused(self) -> bool:
        x = self.bottom.data
        rows = self.norm.rows(x)
        # One element has no variance, and none have no statistics at all.
        if prod(rows.shape) <= rows.shape[1] or not (self.norm.learned or _scales_in_place(self.scaling)):
            return False
        if self.ops.tracer is not None and not self.kernels.normalizes(x):
            return False  # the compiler's code for the layers is faster than torch's kernel
        factor, *shift = self._scale_and_shift()
        y, mean, variance, self.kept = self.kernels.batch_norm(
            rows, factor, shift[0] if shift else None, self.norm.eps, self.slope
        )
        self.norm.remember(mean, variance)
        self._forget()
        self.x, self.y = x, self.ops.reshape(y, self.top.shape)
        self.top.data = self.y
        return True

    def _scale_and_shift(self) -> list[Array]:
        """Return the scale and, if there is one, the shift, (C)."""
        return [self.ops.reshape(self.scaling.layer.blobs[i].data, (-1,)) for i in self.learned]

    def backward(self) -> None:
        if self.x is None:
            super().backward()
            return
        rows, layer, dy, slope = self.norm.rows, self.scaling.layer, self.top.diff, self.slope
        factor = self._scale_and_shift()[0]
        if slope is not None and self.nodes[-1].need_backward:
            self.top.diff = Later(partial(self.ops.relu_backward, dy, self.y, slope))
        if not self.scaling.need_backward:
            return
        need_x = self.nodes[0].need_backward and self.nodes[0].bottom_need_backward[0]
        need_factor, need_shift = (*(layer.param_propagate_down[i] for i in self.learned), False)[:2]
        need = need_x, need_factor, need_shift
        dx, *gradients = self.kernels.batch_norm_backward(
            rows(dy), rows(self.x), rows(self.y), factor, self.kept, self.norm.eps, slope, need
        )
        for i, gradient in zip(self.learned, gradients, strict=False):
            if gradient is not None:
                layer.blobs[i].add_diff(self.ops.reshape(gradient, layer.blobs[i].shape))
        if self.scaling is not self.nodes[0] and self.scaling.bottom_need_backward[0]:
            self.top.diff = Later(partial(self._before_scale, dy, self.y, slope, self.ops.copy(factor)))
        if dx is not None:
            self.bottom.diff = self.ops.reshape(dx, self.bottom.shape)

    def _before_scale(self, dy: Array, y: Array, slope: float | None, factor: Array) -> Array:
        if slope is not None:
            dy = self.ops.relu_backward(dy, y, slope)
        return dy * self.ops.along_channels(factor, dy.ndim)

    def _blobs(self) -> list[list[Blob]]:
        """Return copies, because the running statistics already include this batch."""
        return [[_copied(blob) for blob in own] for own in super()._blobs()]


class Rectified(Run):
    """A layer with a new result, and the in-place ReLU after it, which overwrites that result."""

    @staticmethod
    def length(row: Sequence[Node]) -> int:
        if len(row) < 2 or not _rectifies_in_place(row[1]):
            return 0
        return 2 if isinstance(_role(row[0]), Sum | Linear) else 0

    def fused(self) -> bool:
        first, second = self.nodes
        first.forward()
        relu: Rectifier = self.roles[1]
        self.top.data = self.kernels.rectify(self.top.data, relu.slope)
        second.layer.saved = second.nothing_saved()
        relu.remember(self.top.data)
        return True


# In the order of preference.
KINDS: tuple[type[Run], ...] = (Folded, Normalized, Rectified)


def _role(node: Node) -> Role | None:
    return node.layer.role(node.bottom, node.top)


def _row(nodes: Sequence[Node]) -> list[Node]:
    """Return the first nodes that each make one blob, which has no loss weight and which only the next node reads.

    A node may also add another blob to the previous node's, but not use one in any other way.
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
    """Return whether the node is the plain sum of the previous one's top and another blob."""
    role = _role(node)
    plain = isinstance(role, Sum) and role.plain and len(node.bottom) == 2
    return plain and sum(blob is before.top[0] for blob in node.bottom) == 1


def _other_bottom(node: Node, before: Node) -> Blob:
    return next(blob for blob in node.bottom if blob is not before.top[0])


def _in_place(node: Node) -> bool:
    return node.bottom[0] is node.top[0]


def _rectifies_in_place(node: Node) -> bool:
    # With a negative slope the layer must keep its input.
    role = _role(node)
    return isinstance(role, Rectifier) and role.slope >= 0 and role.most == inf and _in_place(node)


def _scales_in_place(node: Node) -> bool:
    role = _role(node)
    return isinstance(role, LearnedChannelMap) and role.factor_and_term()[0] is not None and _in_place(node)


def _copied(blob: Blob) -> Blob:
    return _holding(blob.ops, blob.ops.copy(blob.data))


def _holding(ops: Ops[Array], array: Array) -> Blob:
    blob = Blob(ops, array.shape)
    blob.data = array
    return blob

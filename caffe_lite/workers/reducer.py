"""Gradients averaged over all workers: buckets of them are on their way while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
import torch.distributed as distributed

from ..blobs import Blob
from ..blobs.lending import refresh
from ..net.passes import Step
from ..net.structure import Structure
from .group import Group

# In bytes. The first bucket is small, so that the exchange begins early.
_FIRST, _LATER = 2**20, 25 * 2**20


class Reducer:
    """Replaces the gradients of a net's parameters by their means over the workers of a group.

    ``after_step`` is to be called after each step of the backward pass that completes the gradients, ``finish`` at its
    end. All workers' nets have the same parameters. A parameter that got no gradient in a worker counts as zeros there.

    Attributes:
        sent: bytes of gradients that each iteration exchanges.
    """

    def __init__(self, group: Group, net: Structure) -> None:
        self.group = group
        self.net = net
        self._index = {id(node): index for index, node in enumerate(net.nodes)}
        self._buckets: list[_Bucket] = []
        self._launched = 0
        self._learned: list[int] | None = None

    def after_step(self, number: int, step: Step) -> None:
        """Send the buckets whose gradients are complete now that a step has run backward."""
        reached = self._index[id(step.nodes[0])]
        buckets = self._current()
        while self._launched < len(buckets) - 1 and buckets[self._launched].complete_at >= reached:
            self._launch()

    def finish(self, numbers: Sequence[float]) -> list[float]:
        """Send what is left, and wait; return the means of these numbers over the workers.

        Every worker gives as many numbers.
        """
        buckets = self._current()
        while self._launched < len(buckets) - 1:
            self._launch()
        self._launch(numbers)
        self._launched = 0
        with self.group.guarded():
            for bucket in buckets:
                bucket.finish()
        return buckets[-1].numbers()

    @property
    def sent(self) -> int:
        return sum(bucket.bytes for bucket in self._current())

    def _launch(self, numbers: Sequence[float] = ()) -> None:
        with self.group.guarded():
            self._buckets[self._launched].launch(numbers)
        self._launched += 1

    def _current(self) -> list[_Bucket]:
        """Return the buckets, made anew if the net now learns other blobs, before the first is sent."""
        learned = [id(param.blob) for param in self.net.learnable_params]
        if not self._launched and learned != self._learned:
            self._learned = learned
            self._buckets = list(self._new_buckets())
        return self._buckets

    def _new_buckets(self) -> Iterator[_Bucket]:
        """Yield buckets of parameters, in the order in which their gradients are complete."""
        complete: dict[int, int] = {}
        for index, node in reversed(list(enumerate(self.net.nodes))):
            for blob, needed in zip(node.layer.blobs, node.layer.param_propagate_down, strict=False):
                if needed:
                    complete[id(blob.source)] = index
        params = [param.blob for param in self.net.learnable_params if id(param.blob.source) in complete]
        params.sort(key=lambda blob: -complete[id(blob.source)])
        bucket: list[Blob] = []
        size, most = 0, _FIRST
        for blob in params:
            bucket.append(blob)
            size += blob.count * blob.ops.itemsize
            if size >= most:
                yield _Bucket(self.group, bucket, complete[id(blob.source)])
                bucket, size, most = [], 0, _LATER
        yield _Bucket(self.group, bucket, 0)


class _Bucket:
    """Parameters whose gradients travel as one array, and behind them, in the last bucket, some numbers."""

    def __init__(self, group: Group, blobs: list[Blob], complete_at: int) -> None:
        self.group = group
        self.blobs = blobs
        self.complete_at = complete_at  # the index of the node after whose backward they are complete
        self.size = sum(blob.count for blob in blobs)
        self.bytes = sum(blob.count * blob.ops.itemsize for blob in blobs)
        self._flat = torch.empty(0)
        self._slots: list[torch.Tensor] = []
        self._work: distributed.Work

    def launch(self, numbers: Sequence[float]) -> None:
        """Send the gradients."""
        if len(self._flat) != self.size + len(numbers):
            self._flat = _like(self.blobs[:1], self.size + len(numbers))
            begins = accumulate((blob.count for blob in self.blobs), initial=0)
            self._slots = [
                self._flat[begin : begin + blob.count].view(blob.shape)
                for begin, blob in zip(begins, self.blobs, strict=False)
            ]
        for blob, slot in zip(self.blobs, self._slots, strict=True):
            if blob.has_diff:
                torch.mul(_tensor(blob), 1 / self.group.count, out=slot)
            else:
                slot.zero_()
        if numbers:
            self._flat[self.size :] = torch.tensor(numbers) / self.group.count
        self._work = self.group.summing(self._flat)

    def finish(self) -> None:
        """Wait for the means; bind them."""
        self._work.wait()
        for blob, slot in zip(self.blobs, self._slots, strict=True):
            blob.diff = slot if isinstance(blob.diff, torch.Tensor) else blob.ops.asarray(slot.numpy())
            refresh(blob)

    def numbers(self) -> list[float]:
        return self._flat[self.size :].tolist()


def _tensor(blob: Blob) -> torch.Tensor:
    """Return the gradient of a blob of any engine."""
    gradient = blob.diff
    return gradient if isinstance(gradient, torch.Tensor) else torch.from_numpy(np.array(blob.ops.host_view(gradient)))


def _like(blobs: Sequence[Blob], size: int) -> torch.Tensor:
    """Return room for so many values of the kind of these blobs' gradients."""
    return _tensor(blobs[0]).new_empty(size) if blobs else torch.empty(size)

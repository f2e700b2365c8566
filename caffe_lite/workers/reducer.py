"""Gradients averaged over all workers: buckets of them are on their way while the backward pass goes on."""

from __future__ import annotations

import os
import sys
import time
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

# In bytes. A bucket takes half of what is left, so that the last one, which nothing hides, is small.
_LARGEST, _SMALLEST = 10 * 2**20, 2**20
# Seconds to wait for the others awake. To be woken takes longer than a small exchange.
_AWAKE = 0.01


class Reducer:
    """Replaces the gradients of a net's parameters by their means over the workers of a group.

    ``after_step`` is to be called after each step of the backward pass that completes the gradients, ``finish`` at its
    end. All workers' nets have the same parameters. A parameter that got no gradient in a worker counts as zeros there.
    """

    def __init__(self, group: Group, net: Structure) -> None:
        self.group = group
        self.net = net
        self._index = {id(node): index for index, node in enumerate(net.nodes)}
        self._buckets: list[_Bucket] = []
        self._launched = 0
        self._began = False
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
        self._began = False
        until = time.perf_counter() + _AWAKE
        with self.group.guarded():
            for bucket in buckets:
                bucket.finish(until)
        return buckets[-1].numbers()

    def _launch(self, numbers: Sequence[float] = ()) -> None:
        with self.group.guarded():
            self._buckets[self._launched].launch(numbers)
        self._launched += 1

    def _current(self) -> list[_Bucket]:
        """Return the buckets of this pass: made anew, when it begins, if the net now learns other blobs."""
        if not self._began:
            self._began = True
            learned = [id(param.blob) for param in self.net.learnable_params]
            if learned != self._learned:
                self._learned = learned
                self._buckets = list(self._new_buckets())
        return self._buckets

    def _new_buckets(self) -> Iterator[_Bucket]:
        """Yield buckets of parameters, in the order in which their gradients are complete."""
        complete = complete_at(self.net)
        params = [param.blob for param in self.net.learnable_params if id(param.blob.source) in complete]
        params.sort(key=lambda blob: -complete[id(blob.source)])
        left = sum(blob.count * blob.ops.itemsize for blob in params)
        bucket: list[Blob] = []
        size = 0
        for blob in params:
            bucket.append(blob)
            size += blob.count * blob.ops.itemsize
            if left > size >= min(_LARGEST, max(_SMALLEST, left / 2)):
                yield _Bucket(self.group, bucket, complete[id(blob.source)])
                bucket, size, left = [], 0, left - size
        yield _Bucket(self.group, bucket, 0)


def complete_at(net: Structure) -> dict[int, int]:
    """Return the index of the node whose backward completes a gradient, by the id of the learned blob."""
    found: dict[int, int] = {}
    for index, node in reversed(list(enumerate(net.nodes))):
        for blob, needed in zip(node.layer.blobs, node.layer.param_propagate_down, strict=False):
            if needed:
                found[id(blob.source)] = index
    return found


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

    def finish(self, until: float) -> None:
        """Wait for the means, awake up to a time; bind them."""
        while not self._flat.is_cuda and not self._work.is_completed() and time.perf_counter() < until:
            time.sleep(0) if sys.platform == "win32" else os.sched_yield()
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

"""Passes: the steps of a net, executed one after another. An error names the layer in which it happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from ..blobs import Blob
from ..blobs.lending import data_is_held, diff_is_held, refresh
from ..errors import CaffeError
from ..ops.array import Array
from ..ops.base import Ops
from .wiring import Node


class Step(Protocol):
    """The unit that a pass executes: a node, or several in a row as one kernel."""

    @property
    def nodes(self) -> Sequence[Node]: ...

    def reshape(self) -> None: ...

    def forward(self) -> None: ...

    def backward(self) -> None: ...


# Is called before or after a step, with the step's number in its pass and the step.
Observer = Callable[[int, Step], None]
# Makes the error to raise if a step fails with anything but a CaffeError.
Explain = Callable[[Node, Exception], CaffeError]


def forward(
    steps: Sequence[Step],
    ops: Ops[Array],
    before: Observer | None = None,
    after: Observer | None = None,
    explain: Explain | None = None,
) -> Array:
    """Execute the steps in their order; return the sum of their weighted losses.

    An array that a user holds of a blob shows the blob's data as soon as the last step that makes it has run.
    """
    loss: Array | float = 0.0
    held = _held_data(steps)
    with _located(explain) as at, ops.quiet():
        for number, step in enumerate(steps):
            at.node = step.nodes[-1]
            if before is not None:
                before(number, step)
            step.reshape()
            step.forward()
            for blob in held.get(number, ()):
                made = blob.data
                refresh(blob)
                for node in step.nodes:
                    node.layer.saved.exchange(made, blob.data)
            for blob, weight in zip(at.node.top, at.node.loss_weights, strict=True):
                if weight:
                    loss = loss + weight * ops.sum(blob.data)
            if after is not None:
                after(number, step)
    return ops.scalar(loss)


def backward(
    steps: Sequence[Step],
    ops: Ops[Array],
    before: Observer | None = None,
    after: Observer | None = None,
    explain: Explain | None = None,
) -> None:
    """Execute the steps backward, from the last to the first; they are numbered as in the forward pass.

    An array that a user holds of a diff shows the diff as soon as a step has made it.
    """
    held = _held_diffs(steps)
    with _located(explain) as at, ops.quiet():
        for number, step in reversed(list(enumerate(steps))):
            at.node = step.nodes[0]
            if before is not None:
                before(number, step)
            step.backward()
            for blob in held.get(number, ()):
                refresh(blob)
            if after is not None:
                after(number, step)


def _held_data(steps: Sequence[Step]) -> dict[int, list[Blob]]:
    """Return the tops whose data a user holds, by the number of the last step that makes them."""
    last = {
        blob: number
        for number, step in enumerate(steps)
        for node in step.nodes
        for blob in node.top
        if blob.data_loan is not None and data_is_held(blob)
    }
    return _by_number((number, blob) for blob, number in last.items())


def _held_diffs(steps: Sequence[Step]) -> dict[int, list[Blob]]:
    """Return the bottoms and parameters whose diffs a user holds, by the number of each step that makes them."""
    held: list[tuple[int, Blob]] = []
    for number, step in enumerate(steps):
        for node in step.nodes:
            held += [(number, blob) for blob in node.bottom if blob.diff_loan is not None and diff_is_held(blob)]
            held += [(number, blob) for blob in node.layer.blobs if diff_is_held(blob)]
    return _by_number(held)


def _by_number(pairs: Iterable[tuple[int, Blob]]) -> dict[int, list[Blob]]:
    held: dict[int, list[Blob]] = {}
    for number, blob in pairs:
        held.setdefault(number, []).append(blob)
    return held


class _Place:
    """The node that a pass has reached."""

    node: Node | None = None


@contextmanager
def _located(explain: Explain | None) -> Iterator[_Place]:
    at = _Place()
    try:
        yield at
    except CaffeError as error:
        if at.node is None:
            raise
        raise error.located(at.node.where, at.node.name, at.node.layer.type) from error.__cause__
    except Exception as error:
        if at.node is None:
            raise
        if at.node.layer.ops.ran_out_of_memory(error):
            raise at.node.out_of_memory() from None
        if explain is None:
            raise
        raise explain(at.node, error) from error

"""Passes: the steps of a net executed one after another. What goes wrong is told with the layer that it met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .errors import CaffeError
from .ops.base import Array, Ops
from .wiring import Node


class Step(Protocol):
    """What a pass executes at once: a node, or several in a row as one kernel."""

    @property
    def nodes(self) -> Sequence[Node]: ...

    def reshape(self) -> None: ...

    def forward(self) -> None: ...

    def backward(self) -> None: ...


# Is called with a step's number in its pass and the step, before it or after it.
Observer = Callable[[int, Step], None]
# What to raise, if a step fails by anything but a CaffeError.
Explain = Callable[[Node, Exception], CaffeError]


def _unobserved(number: int, step: Step) -> None:
    pass


def forward(
    steps: Sequence[Step],
    ops: Ops,
    before: Observer = _unobserved,
    after: Observer = _unobserved,
    explain: Explain | None = None,
) -> Array:
    """Execute the steps in their order; the sum of their weighted losses."""
    loss: Any = 0.0
    with _located(explain) as at, ops.quiet():
        for number, step in enumerate(steps):
            at.node = step.nodes[-1]
            before(number, step)
            step.reshape()
            step.forward()
            for blob, weight in zip(at.node.top, at.node.loss_weights, strict=True):
                if weight:
                    loss = loss + weight * ops.sum(blob.data)
            after(number, step)
    return ops.scalar(loss)


def backward(
    steps: Sequence[Step],
    ops: Ops,
    before: Observer = _unobserved,
    after: Observer = _unobserved,
    explain: Explain | None = None,
) -> None:
    """Execute the steps backward, from the last to the first; they are numbered as in the forward pass."""
    with _located(explain) as at, ops.quiet():
        for number, step in reversed(list(enumerate(steps))):
            at.node = step.nodes[0]
            before(number, step)
            step.backward()
            after(number, step)


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
        if isinstance(error, MemoryError):
            raise at.node.out_of_memory() from None
        if explain is None:
            raise
        raise explain(at.node, error) from error

"""A solver in a team: those of several processes that train one net together, each on its part of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WorkerError
from ..net.graph import Graph
from ..ops.array import Array
from ..ranks import diverged
from ..workers.group import Group
from ..workers.reducer import Reducer, complete_at
from ..workers.starting import check_alike, check_same, parameters_of, take_first
from .signals import SolverAction

_ACTIONS = (SolverAction.SNAPSHOT, SolverAction.STOP)


class Team:
    """What a solver exchanges with the others of its group; all of them call the same methods in the same order.

    Attributes:
        reducer: averages the gradients.
    """

    def __init__(self, group: Group, graph: Graph, settings: Sequence[str]) -> None:
        """Begin, if the solvers are alike in their ``settings`` and in the parameters of their nets."""
        self.group = group
        self.graph = graph
        self.reducer = Reducer(group, graph)
        self._asked: list[SolverAction] | None = None  # None until there was an exchange
        self._began = False
        check_alike(group, graph, settings)

    def exchange(self, loss: float, action: SolverAction) -> float:
        """Average the gradients; return the mean of the losses. ``agreed`` then tells what anybody was asked for."""
        if not self._began:
            check_same(self.group, self.graph)
            self._began = True
        loss, *shares = self.reducer.finish([loss, *(float(action is one) for one in _ACTIONS)])
        asked = [one for one, share in zip(_ACTIONS, shares, strict=True) if share]
        self._asked = [*(self._asked or ()), *asked]
        return loss

    def agreed(self) -> list[SolverAction]:
        """Return what any of the solvers was asked to do in this iteration; raise an error if they did not exchange."""
        if self._asked is None:
            raise WorkerError(
                "the solvers are to train together, but their gradients are not averaged",
                hint="call solver.add_callback(nccl) before training",
            )
        asked, self._asked = self._asked, None
        return asked

    def mean(self, number: float) -> float:
        return self.group.mean([number])[0]

    def mean_outputs(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the means of the workers' outputs; where their shapes differ, this worker's own."""
        found = self.group.gathered({name: np.ravel(values).tolist() for name, values in outputs.items()})
        return {
            name: np.mean([each[name] for each in found], axis=0).astype(values.dtype).reshape(values.shape)
            if all(len(each[name]) == values.size for each in found)
            else values
            for name, values in outputs.items()
        }

    # -- the state of all ----------------------------------------------------------------------------------------------

    def states(self) -> list[Any]:
        """Return the state of every solver's net for a snapshot, whose weights file has the first one's statistics."""
        self.take_statistics()
        return self.group.gathered(self.graph.state())

    def take_statistics(self) -> None:
        """Let what changes in a net without being learned (running statistics) be the first solver's in all of them."""
        learned = complete_at(self.graph)
        blobs = [blob for blob in parameters_of(self.graph) if id(blob) not in learned]
        take_first(self.group, self.graph.ops, [blob.data for blob in blobs])

    def start_from_first(self, states: Sequence[Any], arrays: Sequence[Array]) -> None:
        """Take the first solver's parameters and arrays, and its place in the data.

        ``states`` are what the first solver has read from a snapshot: the states of all solvers' nets. If their number
        is another one, each solver goes on at the place of the first, and draws other numbers.
        """
        rank = self.group.rank
        take_first(self.group, self.graph.ops, [*(blob.data for blob in parameters_of(self.graph)), *arrays])
        states = self.group.shared(states if len(states) == self.group.count else [self.graph.state()])
        if rank:
            self.graph.restore_state(states[rank] if len(states) == self.group.count else diverged(states[0], rank))

"""Connectionist temporal classification: all the ways in which frames may spell labels. NumPy, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Spelling(NamedTuple):
    """The states that frames pass through to spell labels: each label with a blank before and after it.

    ``labels`` (N, S) has the label of each state, ``number`` (N) how many states a sequence has. A path may stay in a
    state of ``stays`` (N, S), and may come to a state of ``skips`` (N, S) from two before it.
    """

    labels: np.ndarray
    number: np.ndarray
    stays: np.ndarray
    skips: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], blank: int, merge_repeated: bool = True) -> Spelling:
        """Return the states of sequences of labels; with ``merge_repeated``, equal labels need a blank between them."""
        number = np.array([2 * len(row) + 1 for row in rows], np.int64)
        labels = np.full((len(rows), number.max(initial=1)), blank)
        for states, row in zip(labels, rows, strict=True):
            states[1 : 2 * len(row) : 2] = row
        real = labels != blank
        skips = real.copy()
        skips[:, :2] = False
        if merge_repeated:
            skips[:, 2:] &= labels[:, 2:] != labels[:, :-2]
        return cls(labels, number, np.full(labels.shape, True) if merge_repeated else ~real, skips)

    def frames(self) -> np.ndarray:
        """Return how many frames each sequence needs at least."""
        labels = self.number // 2
        forced = (self.labels[:, 1::2][:, 1:] == self.labels[:, 1::2][:, :-1]) & ~self.skips[:, 3::2]
        return labels + (forced & (np.arange(1, 1 + forced.shape[1]) < labels[:, None])).sum(1)

    def paths(self, logs: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return -ln of the probability of each sequence; and for each frame the probabilities of the states, given it.

        ``logs`` (T, N, S) has ln of the probability of each state's label in each frame; sequence n has frames[n].
        """
        steps = len(logs)
        last = np.arange(self.labels.shape[1]) - self.number[:, None]  # -1 in the last state of a sequence
        logs = np.where(last < 0, logs, -np.inf)
        before = np.full(logs.shape, -np.inf)  # ln P(frames up to t, state at t)
        after = np.full(logs.shape, -np.inf)  # ln P(frames after t | state at t)
        for t in range(steps):
            if t == 0:
                before[t, :, :2] = logs[t, :, :2]
            else:
                before[t] = self._arrive(before[t - 1]) + logs[t]
        for t in reversed(range(steps)):
            at_end = np.where((last == -1) | (last == -2), 0.0, -np.inf)
            onward = self._depart(after[t + 1] + logs[t + 1]) if t + 1 < steps else at_end
            after[t] = np.where((frames == t + 1)[:, None], at_end, onward)
        both = before + after
        total = np.logaddexp.reduce(both[0], 1) if steps else np.full(len(frames), -np.inf)
        within = (np.arange(steps)[:, None] < frames)[..., None]
        possible = np.isfinite(total)
        shares = np.exp(both - np.where(possible, total, 0)[:, None])
        return -total, np.where(within & possible[:, None], shares, 0)

    def _arrive(self, x: np.ndarray) -> np.ndarray:
        """Return ln of the sum over the states from which a path comes to each state."""
        y = np.where(self.stays, x, -np.inf)
        y[:, 1:] = np.logaddexp(y[:, 1:], x[:, :-1])
        y[:, 2:] = np.logaddexp(y[:, 2:], np.where(self.skips[:, 2:], x[:, :-2], -np.inf))
        return y

    def _depart(self, x: np.ndarray) -> np.ndarray:
        """Return ln of the sum over the states to which a path goes from each state."""
        y = np.where(self.stays, x, -np.inf)
        y[:, :-1] = np.logaddexp(y[:, :-1], x[:, 1:])
        y[:, :-2] = np.logaddexp(y[:, :-2], np.where(self.skips[:, 2:], x[:, 2:], -np.inf))
        return y

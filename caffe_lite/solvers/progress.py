"""How long training has made no progress: what the learning-rate policies plateau and stepearly watch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEVER = float(np.finfo(np.float32).max)


@dataclass
class Progress:
    """The lowest value so far, in float32, and the iteration of the last event: it fell, or there was a step.

    plateau watches the smoothed loss, stepearly the negative of the first test net's accuracy.
    """

    lowest: float = NEVER
    event: int = 0

    def step_is_due(self, value: float, iteration: int, patience: float) -> bool:
        """Take note of a value; return whether there was no event for ``patience`` iterations, which is one itself."""
        value = float(np.float32(value))
        if value < self.lowest:
            self.lowest, self.event = value, iteration
        due = iteration >= self.event + patience
        if due:
            self.event = iteration
        return due

"""The loss that is displayed: the mean of the last ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class SmoothedLoss:
    """The mean of the last ``count`` losses."""

    def __init__(self, count: int, state: Sequence[float] = ()) -> None:
        self.mean = 0.0
        self._window: deque[float] = deque(maxlen=count)
        if state:
            self.mean, *losses = state
            self._window.extend(losses)

    def add(self, loss: float) -> None:
        window = self._window
        if len(window) < (window.maxlen or 1):
            window.append(loss)
            self.mean += (loss - self.mean) / len(window)
        else:
            self.mean += (loss - window[0]) / len(window)
            window.append(loss)

    def state(self) -> list[float]:
        return [self.mean, *self._window]

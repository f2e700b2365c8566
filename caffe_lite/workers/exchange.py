"""What layers of all workers tell each other during a pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from .group import Group


class Exchange:
    """The workers of a group, as layers see them (``layer.Everyone``)."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.count = group.count

    def gathered(self, array: Any) -> Any:
        """Return the arrays of all workers, which have one shape, along a new first axis, by their ranks.

        A tensor is sent from where it lies, on a GPU or not.
        """
        import torch
        import torch.distributed as distributed

        on_host = not isinstance(array, torch.Tensor)
        own = torch.from_numpy(np.array(array, order="C")) if on_host else array.detach().contiguous()
        found = own.new_empty((self.count, *own.shape))
        with self._group.guarded():
            distributed.all_gather(list(found.unbind(0)), own)
        return found.numpy() if on_host else found

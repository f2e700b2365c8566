"""Errors that scripts for OpenCV catch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import CaffeError

_made: dict[type[CaffeError], type[CaffeError]] = {}
_UNSPECIFIED = -2  # OpenCV's Error::StsError


@contextmanager
def also_cv2_error() -> Iterator[None]:
    """Let a CaffeError of the block be a cv2.error, too, if the script has imported cv2."""
    try:
        yield
    except CaffeError as error:
        cv2: Any = sys.modules.get("cv2")
        if hasattr(cv2, "error") and not isinstance(error, cv2.error):
            text = str(error)
            error.__class__ = _both(type(error), cv2)
            vars(error).update(code=_UNSPECIFIED, err=text, msg=text, func="", file="", line=0)
        raise


def _both(ours: type[CaffeError], cv2: Any) -> type[CaffeError]:
    found = _made.get(ours)
    if found is None:
        found = _made[ours] = type(ours.__name__, (ours, cv2.error), {"__module__": ours.__module__})
    return found

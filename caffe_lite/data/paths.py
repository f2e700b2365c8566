"""Where a path written in a prototxt points to."""

from __future__ import annotations

import os

from ..errors import Where


def resolve(path: str, where: Where | None) -> str:
    """The path relative to the working directory, as in the original, or else to the folder of the prototxt.

    The second place makes a net usable from any folder; the original would fail there.
    """
    if where is None or os.path.exists(path):
        return path
    beside = os.path.join(os.path.dirname(where.file), path)
    return beside if os.path.exists(beside) else path


def searched(path: str, where: Where | None) -> str:
    """The places that ``resolve`` looked at, for an error message."""
    places = [os.path.abspath(path)]
    if where is not None:
        places.append(os.path.abspath(os.path.join(os.path.dirname(where.file), path)))
    return " and ".join(dict.fromkeys(places))

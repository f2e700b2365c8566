"""Paths written in a prototxt: the files they point to, and the lines of text files there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..errors import DataError, Where
from ..files.paths import system_path


def resolve(path: str, where: Where | None) -> str:
    """Take a path relative to the working directory, as in the original, or else to the folder of the prototxt.

    The second place makes a net usable from any folder; the original would fail there.
    """
    path = system_path(path, DataError)
    if where is None or os.path.exists(path):
        return path
    beside = os.path.join(os.path.dirname(where.file), path)
    return beside if os.path.exists(beside) else path


def searched(path: str, where: Where | None) -> str:
    """Name the places where ``resolve`` looked, for an error message."""
    path = system_path(path)
    places = [os.path.abspath(path)]
    if where is not None:
        places.append(os.path.abspath(os.path.join(os.path.dirname(where.file), path)))
    return " and ".join(dict.fromkeys(places))


def read_lines(source: str, where: Where | None, param: str, field: str = "source") -> Iterator[tuple[int, str]]:
    """Yield the lines of a list, which ``resolve`` finds, with their numbers; stripped, and without empty ones.

    ``param`` is the message whose ``field`` names the list. Bytes that are not UTF-8 reach paths unchanged.
    """
    try:
        with open(resolve(source, where), encoding="utf-8-sig", errors="surrogateescape") as stream:
            for number, line in enumerate(stream, 1):
                if stripped := line.strip():
                    yield number, stripped
    except FileNotFoundError:
        raise DataError(
            f"there is no file {source!r}: looked for {searched(source, where)}",
            hint="Put it there, or correct the " + (f"{field} in {param}" if where else "path"),
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{source!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error

"""Regions of images that another program has found, for Fast R-CNN: read from a CSV file as pycaffe's detect.py has."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np

from ..errors import DataError, Where
from ..files.paths import system_path

_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


class GivenRegions:
    """The regions in a file with the columns filename, xmin, ymin, xmax and ymax, in any order.

    A filename is the path of an image as it is given to the command. xmax and ymax are the last pixels of a region.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._regions: dict[str, list[list[float]]] = defaultdict(list)
        try:
            with open(system_path(path), encoding="utf-8", newline="") as stream:
                rows = csv.DictReader(stream)
                missing = {"filename", *_COLUMNS} - set(rows.fieldnames or ())
                if missing:
                    raise self._error(f"there is no column {min(missing)}", ": name the columns in its first line")
                for row in rows:
                    self._regions[row["filename"]].append([self._number(row[name], rows.line_num) for name in _COLUMNS])
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            what = getattr(error, "strerror", None) or error
            raise DataError(f"the regions cannot be read: {what}", where=Where(path)) from error

    def of(self, image: str) -> np.ndarray:
        """Return the corners of the regions of an image, (R, 4)."""
        if image not in self._regions:
            raise self._error(f"there are no regions of {image!r}", ", with its path as it is given to the command")
        return np.array(self._regions[image], np.float32)

    def _number(self, text: str | None, line: int) -> float:
        try:
            return float(text or "")
        except ValueError:
            raise self._error(f"line {line} has {text!r} where a number should be", "") from None

    def _error(self, what: str, more: str) -> DataError:
        columns = ", ".join(("filename", *_COLUMNS))
        return DataError(what, where=Where(self.path), hint=f"give {columns} of each region{more}")

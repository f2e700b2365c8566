"""The results of a test with ``eval_type: "detection"``: the average precision of each class, and their mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from ..errors import NetError
from ..logs.log import logger
from ..net.structure import Structure

_COLUMNS = 5  # of a row of DetectionEvaluate
_COUNT = -1  # the image in the rows that count the boxes of each label


def _at_recalls(steps: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the mean of the precisions that can be had at recalls of at least 0, 1 / steps, ..., 1."""

    def average(precision: np.ndarray, recall: np.ndarray) -> float:
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        return float(best[np.searchsorted(recall.astype(float), np.arange(steps + 1) / steps)].mean())

    return average


def _max_integral(precision: np.ndarray, recall: np.ndarray) -> float:
    return _integral(np.maximum.accumulate(precision[::-1])[::-1], recall)


def _integral(precision: np.ndarray, recall: np.ndarray) -> float:
    return float((precision * np.diff(recall, prepend=0)).sum())


AP_VERSIONS = {
    "11point": _at_recalls(10),
    "101point": _at_recalls(100),
    "MaxIntegral": _max_integral,
    "Integral": _integral,
}


def average_precision(version: str, scores: np.ndarray, right: np.ndarray, positives: int) -> float:
    """Return the average precision of detections with these scores, of which some are right, the others wrong.

    ``version`` is one of AP_VERSIONS: "11point" as in VOC 2007, "101point" as in COCO, "MaxIntegral" as in VOC 2012 and
    ILSVRC, "Integral" the area below precision over recall as they are. ``positives`` is the number of boxes to find.
    Source: Everingham et al. 2010; SSD's bbox_util.cpp, and Cascade R-CNN's for "101point".
    """
    if not (len(scores) and positives):
        return 0.0
    found = np.cumsum(right[np.argsort(-scores, kind="stable")], dtype=np.float32)
    return AP_VERSIONS[version](found / np.arange(1, len(found) + 1, dtype=np.float32), found / np.float32(positives))


class DetectionScores:
    """The rows of DetectionEvaluate layers over the batches that a net ran; every output of the net must be such rows.

    Labels without a detection count with 0 in the mean, and are named in the log.
    """

    def __init__(self, net: Structure, ap_version: str, show_per_class: bool) -> None:
        self.net = net
        self.ap_version = ap_version
        self.show_per_class = show_per_class
        self._rows: dict[str, list[np.ndarray]] = defaultdict(list)

    def outputs(self) -> dict[str, np.ndarray]:
        """Return the rows of the batch that the net has just run, by the output's name."""
        outputs = {}
        for name, blob, _ in self.net.output_blobs:
            if blob.shape[3:] != (_COLUMNS,) and blob.shape[1:] != (_COLUMNS, 1, 1):
                raise self._no_rows(name, blob.shape)
            outputs[name] = np.array(blob.ops.host_view(blob.data)).reshape(-1, _COLUMNS)
        return outputs

    def add(self, outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Add a batch, that which the net has just run unless others are given.

        The dict is empty, since a batch has no precision of its own.
        """
        for name, rows in (self.outputs() if outputs is None else outputs).items():
            self._rows[name].append(rows)
        return {}

    def means(self) -> dict[str, np.ndarray]:
        """Return the mean average precision of each output by name; the dict is empty if there were no batches."""
        return {name: np.array([self._mean(np.concatenate(rows))]) for name, rows in self._rows.items()}

    def _mean(self, rows: np.ndarray) -> float:
        counts = rows[rows[:, 0] == _COUNT]
        detections = rows[(rows[:, 0] != _COUNT) & (rows[:, 3:] != 0).any(1)]
        precisions = []
        for label in np.unique(counts[:, 1]):
            mine = detections[detections[:, 1] == label]
            if not len(mine):
                logger.warning("Missing true_pos for label: %d", label)
            positives = int(counts[counts[:, 1] == label, 2].sum())
            precisions.append(average_precision(self.ap_version, mine[:, 2], mine[:, 3] != 0, positives))
            if self.show_per_class and len(mine):
                logger.info("class%d: %g", label, precisions[-1])
        return float(np.mean(precisions)) if precisions else 0.0

    def _no_rows(self, name: str, shape: tuple[int, ...]) -> NetError:
        maker = next(node for node in reversed(self.net.nodes) if name in node.top_names)
        return maker.error(
            f"output {name!r} has the shape {shape}, and mean average precisions come from rows of DetectionEvaluate, "
            "(1, 1, n, 5)",
            "let a Silence layer read it, or leave out eval_type",
        )

"""The common parts of losses: class labels and their check, ignore_label, and the divisor of a summed loss."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import ClassVar, NamedTuple

import numpy as np

from ...blobs import Blob
from ...layer import Kind, Layer
from ...ops.array import Array
from ...proto.caffe_pb2 import AccuracyParameter, LossParameter
from .indices import first_wrong

FULL, VALID, BATCH_SIZE, NONE = LossParameter.FULL, LossParameter.VALID, LossParameter.BATCH_SIZE, LossParameter.NONE
PRE_FIXED = LossParameter.PRE_FIXED

# The original's FLT_MIN, also in float64: a probability below it counts as this, so no label costs more than 87.3365.
SMALLEST = 1.1754943508222875e-38


class LossLayer(Layer):
    """A layer whose first top is a number to be minimised, and whose second bottom (labels) gets no gradient."""

    kind = Kind.LOSS
    bottoms = (2, 2)
    is_loss = True
    not_differentiable: ClassVar[tuple[int, ...]] = (1,)

    def check_first_axis(self, bottom: Sequence[Blob]) -> None:
        """Check that there are as many predictions as labels; the count alone would let transposed labels pass."""
        if bottom[0].shape[:1] != bottom[1].shape[:1]:
            self.error(
                f"the bottoms {bottom[0].shape} and {bottom[1].shape} differ in their first axis",
                "give both bottoms the same number of samples",
            )

    def check_pairs(self, bottom: Sequence[Blob]) -> int:
        """Check that the first two bottoms hold as many vectors of the same size; return the number of samples."""
        self.check_first_axis(bottom)
        sizes = [prod(blob.shape[1:]) for blob in bottom[:2]]
        if sizes[0] != sizes[1]:
            self.error(
                f"the bottoms {bottom[0].shape} and {bottom[1].shape} have "
                f"{sizes[0]} and {sizes[1]} values for each sample",
                "give both bottoms as many values",
            )
        return bottom[0].shape[0] if bottom[0].shape else 1

    def samples_and_classes(self, bottom: Sequence[Blob]) -> tuple[int, int]:
        """Return the number of samples, with one label each, and of classes: everything after the first axis."""
        self.check_first_axis(bottom)
        samples = bottom[0].shape[0] if bottom[0].shape else 1
        if bottom[1].count != samples:
            self.error(
                f"the predictions {bottom[0].shape} need {samples} labels, "
                f"and the labels {bottom[1].shape} are {bottom[1].count}",
                "give one class number for each sample (for one per pixel use SoftmaxWithLoss)",
            )
        return samples, prod(bottom[0].shape[1:])

    def refuse_label_gradient(self, propagate_down: Sequence[bool]) -> None:
        if propagate_down[1]:
            self.error(
                "a gradient is asked for the labels, and there is none",
                "give the layer propagate_down: true for its first bottom and propagate_down: false for its second",
            )

    # What to divide this worker's sum by, so that the mean over the workers is the loss of the whole batch.

    def counted_divisor(self, count: int) -> float:
        """Return the divisor for a count that depends on values; that of the whole batch is 1 at least."""
        return max(1, self.total_number(count)) / self.workers

    def sized_divisor(self, count: int) -> float:
        """Return the divisor for a count that follows from the shapes of the bottoms."""
        return max(1, self.total_size(count)) / self.workers

    def fixed_divisor(self, number: float) -> float:
        """Return the divisor for a number that is the same for every batch."""
        return number / self.workers


def ignored_label(param: LossParameter | AccuracyParameter) -> int | None:
    """Return the label that does not count, or None if the prototxt gives none."""
    return param.ignore_label if param.HasField("ignore_label") else None


class Normalization(NamedTuple):
    """How a summed loss is divided; ``fixed`` is the divisor for the mode PRE_FIXED."""

    mode: int
    fixed: float = 1.0


def normalization(param: LossParameter, default: int = VALID) -> Normalization:
    """Return the mode in force: ``normalization`` if set, else what ``normalize`` stands for, else the default."""
    if param.HasField("normalization"):
        return Normalization(param.normalization, param.pre_fixed_normalizer)
    if param.HasField("normalize"):
        return Normalization(VALID if param.normalize else BATCH_SIZE)
    return Normalization(default)


def normalizer(
    layer: LossLayer, normalization: Normalization, samples: int, labels: int, valid: Array | None
) -> float | Array:
    """Return the divisor of the sum over all labels, never less than 1 for the whole batch.

    FULL: ``labels``, their number. VALID: the number of ``valid`` ones (None: all). BATCH_SIZE: ``samples``.
    PRE_FIXED: a number from the prototxt. NONE: 1.
    """
    mode, fixed = normalization
    if mode == VALID and valid is not None:
        count = layer.total(layer.ops.sum(layer.ops.astype(valid)))
        least = layer.ops.at_least(count, 1.0)
        return least if layer.everyone is None else least / layer.workers
    if mode in (PRE_FIXED, NONE):
        return layer.fixed_divisor(max(1, fixed) if mode == PRE_FIXED else 1)
    return layer.sized_divisor(samples if mode == BATCH_SIZE else labels)


class Labels(NamedTuple):
    """Class numbers, shaped like the scores with 1 along the classes; those that are not ``valid`` are set to 0."""

    classes: Array
    valid: Array | None


def check_label_count(layer: Layer, scores: Blob, labels: Blob, axis: int) -> None:
    """Check that there is one label for every position of the scores; the labels may have any shape."""
    shape = (*scores.shape[:axis], *scores.shape[axis + 1 :])
    if labels.count != prod(shape):
        layer.error(
            f"the scores {scores.shape}, with classes along axis {axis}, need {prod(shape)} labels, "
            f"and the labels {labels.shape} are {labels.count}",
            f"give labels of shape {shape}, each a class number (not a one-hot vector), or set axis",
        )


def class_labels(
    layer: Layer,
    labels: Blob,
    shape: Sequence[int],
    axis: int,
    ignore: int | Sequence[int] | None = None,
    ignorable: bool = True,
) -> Labels:
    """Return the labels for scores of this shape, truncated to whole numbers as in the original, and checked.

    ``ignore`` is the label, or the labels, that do not count; ``ignorable`` says whether the layer reads an
    ignore_label at all.
    """
    ops = layer.ops
    ignored = [] if ignore is None else [ignore] if isinstance(ignore, int) else ignore
    ops.inspect(labels.data, lambda values: _check_labels(layer, values, shape[axis], ignored, ignorable))
    index = ops.reshape(ops.indices(labels.data), (*shape[:axis], 1, *shape[axis + 1 :]))
    if not ignored:
        return Labels(index, None)
    valid = index != ignored[0]
    for label in ignored[1:]:
        valid = valid & (index != label)
    return Labels(ops.where(valid, index, 0), valid)


def _check_labels(layer: Layer, values: np.ndarray, classes: int, ignored: Sequence[int], ignorable: bool) -> None:
    """Refuse a label that names no class. The original reads whatever memory lies there."""
    if not values.size or (values.min() > -1 and values.max() < classes):
        return
    if not classes:
        layer.error("the scores have no classes", "check what makes them, or set axis")
    whole = np.trunc(values)
    good = ((whole >= 0) & (whole < classes)) | np.isin(whole, ignored)
    if good.all():
        return
    at, place = first_wrong(good)
    value = float(values[at])
    ways = ["labels count from 0: correct them"]
    if isfinite(value) and value > 0:
        ways.append(f"give the scores {int(value) + 1} classes (the num_output of the layer that makes them)")
    if isfinite(value) and ignorable and not ignored:
        ways.append(f"leave this label out with ignore_label: {int(value)}")
    layer.error(
        f"label {value:.9g}{place} is none of the classes 0 to {classes - 1}"
        + "".join(f", nor ignore_label {label}" for label in ignored)
        + f" ({good.size - int(good.sum())} of {good.size} labels are wrong)",
        ", or ".join(ways),
    )

"""CTCLoss, CtcLoss: what it costs that frames, of which no one knows the labels, spell a sequence of labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from .common.ctc import Spelling
from .common.loss import LossLayer


@register_layer("CTCLoss")
class CTCLossLayer(LossLayer):
    """loss = 1/N sum_n -ln P(labels of n | frames of n), with the sum over all ways to spell the labels.

    A frame has one class, with the probability softmax(x). Runs of a class count once, and a class, the blank, is left
    out: "-aa-ab" spells "aab". dloss/dx of a frame is softmax(x), less the probability that the frame has the class
    in a spelling of the labels, over N.
    Bottoms: scores x (T, N, C), T frames of N sequences; with two bottoms, the labels (N, L), of which blanks are left
    out; with three, indicators (T, N), 0 where a sequence begins, which ends the one before, and the labels (T, N), -1
    behind the last. Top: (). The scores get a gradient.
    Meanings: with two bottoms it is warpctc-caffe's, with three that of pull request 4681 of BVLC's Caffe.
    Reads ``ctc_loss_param``: blank_label (0), the blank, or blank_index (-1: the last class), which counts with three
    bottoms, or if it is given; time_step (0: T), the number of frames that are read; alphabet_size (0: C), which must
    be C. output_delay (0): frames at the beginning that are not read; ctc_merge_repeated (true; false: each frame with
    a class spells it); preprocess_collapse_repeated (false; true: equal labels in a row count once).
    loss_calculation_t has no effect: the loss is the same at every frame.
    A net with this layer cannot be compiled, because it computes on the host.
    Source: Graves, Fernandez, Gomez and Schmidhuber 2006; warpctc-caffe's ctc_loss_layer.cpp; ctc_loss_layer.cpp of
    pull request 4681 of BVLC's Caffe. Differences: the gradient is that of the loss (the originals leave out the 1/N,
    and 4681 the loss weight too); it is computed in float64 as well; no labels at all are no error. Labels that need
    more frames than there are cost 0 with two bottoms, as in warp-ctc, without a gradient, and are an error with three.
    """

    formula = r"L = -\frac{1}{N} \sum_n \ln \sum_{\pi \text{ spells } l_n} \prod_t p_t(\pi_t)"
    bottoms = (2, 3)

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.ctc_loss_param
        if len(bottom) == 2:
            self.meaning = f"warpctc-caffe's {self.type}, because it has two bottoms"
        else:
            self.meaning = f"the {self.type} of pull request 4681 of BVLC's Caffe, because it has three bottoms"
        if p.output_delay < 0:
            self.error(f"output_delay is {p.output_delay}", "give 0 or more")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.ctc_loss_param
        scores, *others = (blob.shape for blob in bottom)
        if len(scores) < 3 or prod(scores[3:]) != 1:
            self.error(f"the scores have the shape {scores}", "give (T, N, C): frames, sequences, classes")
        frames, sequences, classes = self.shape = scores[:3]
        if len(bottom) > 2:
            for what, shape in zip(("indicators", "labels"), others, strict=True):
                if shape[:2] != scores[:2] or prod(shape[2:]) != 1:
                    self.error(f"the {what} have the shape {shape}", f"beside the scores {scores} give {scores[:2]}")
        elif others[0][:1] != (sequences,):
            self.error(f"the labels have the shape {others[0]}", f"beside the scores {scores} give ({sequences}, L)")
        last = p.HasField("blank_index") or (len(bottom) > 2 and not p.HasField("blank_label"))
        self.blank = (classes - 1 if p.blank_index < 0 else p.blank_index) if last else p.blank_label
        if not 0 <= self.blank < classes:
            self.error(
                f"the blank is {self.blank}, and the classes are 0 to {classes - 1}", "give a class as the blank"
            )
        if p.alphabet_size and p.alphabet_size != classes:
            self.error(f"alphabet_size is {p.alphabet_size}, and there are {classes} classes", "make them equal")
        if p.time_step > frames:
            self.error(f"time_step is {p.time_step}, and there are {frames} frames", "give at most as many")
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, p, (steps, sequences, _) = self.ops, self.param.ctc_loss_param, self.shape
        if ops.tracer is not None:
            raise NotImplementedError("it computes on the host")
        scores = ops.reshape(bottom[0].data, self.shape)
        prob = ops.softmax(scores, 2)
        log_sum = ops.host_view(ops.max(scores, 2) - ops.log(ops.max(prob, 2))).astype(np.float64)
        lengths, rows = self._sequences([ops.host_view(blob.data) for blob in bottom[1:]])
        spelling = Spelling.of(rows, self.blank, p.ctc_merge_repeated)
        frames = np.maximum(lengths - p.output_delay, 0)
        possible = self._possible(spelling, frames, len(bottom) > 2)
        states = np.broadcast_to(spelling.labels, (steps, *spelling.labels.shape))
        logs = np.take_along_axis(ops.host_view(scores), states, 2) - log_sum[..., None]
        losses, shares = spelling.paths(logs[p.output_delay :], np.where(possible, frames, 0))
        expected = np.zeros(self.shape)
        t, n = np.ogrid[p.output_delay : steps, :sequences]
        np.add.at(expected, (t[..., None], n[..., None], states[p.output_delay :]), shares)
        frame = np.arange(steps)[:, None]
        counts = possible & (frame >= p.output_delay) & (frame < lengths)
        self.saved.gradient = prob * ops.asarray(counts[..., None]) - ops.asarray(expected)
        self.saved.divisor = self.sized_divisor(sequences)
        top[0].data = ops.scalar(losses[possible].sum() / self.saved.divisor)

    def _sequences(self, others: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the number of frames and the labels of each sequence."""
        p, (steps, sequences, classes) = self.param.ctc_loss_param, self.shape
        lengths = np.full(sequences, p.time_step or steps)
        labels = others[-1].reshape(sequences, others[-1].size // max(1, sequences))
        if len(others) > 1:
            labels = others[1].reshape(steps, sequences).T
            begins = np.trunc(others[0].reshape(steps, sequences) + 0.5) == 0
            begins[:1] = False
            lengths = np.minimum(lengths, np.where(begins.any(0), begins.argmax(0), steps) if steps else 0)
        rows = []
        for n, row in enumerate(labels):
            if len(others) > 1:
                ends = row < 0
                row = row[: ends.argmax()] if ends.any() else row
            if p.preprocess_collapse_repeated:
                row = row[np.concatenate([[True], row[1:] != row[:-1]])[: len(row)]]
            whole = (row + 0.5 if len(others) > 1 else row).astype(np.int64)
            wrong = (whole < 0) | (whole >= classes)
            if wrong.any():
                self.error(
                    f"label {row[wrong][0]:.9g} of sequence {n} is none of the classes 0 to {classes - 1}",
                    "labels count from 0: correct them, or give the scores more classes",
                )
            rows.append(whole[whole != self.blank])
        return lengths, rows

    def _possible(self, spelling: Spelling, frames: np.ndarray, demanded: bool) -> np.ndarray:
        """Return which sequences have frames enough for their labels."""
        possible = spelling.frames() <= frames
        if demanded and not possible.all():
            n = int(possible.argmin())
            self.error(
                f"sequence {n} has {frames[n]} frames, and its labels need {spelling.frames()[n]}",
                "give longer sequences or fewer labels",
            )
        return possible & (frames > 0)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down[1:]):
            self.error("a gradient is asked for labels, and there is none", "set propagate_down: true, then false")
        if propagate_down[0]:
            dx = self.saved.gradient * (top[0].diff / self.saved.divisor)
            bottom[0].diff = self.ops.reshape(dx, bottom[0].shape)


@register_layer("CtcLoss")
class CtcLossLayer(CTCLossLayer):
    """CTCLoss, see CTCLossLayer, under the name that it has in nets for warpctc-caffe.

    Source: warpctc-caffe's ctc_loss_layer.cpp.
    """

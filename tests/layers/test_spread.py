"""Layers whose batch is spread over workers, against one process with the whole batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TRAIN, Net
from caffe_lite.errors import EngineError
from caffe_lite.layer import layer_class, layer_type_list
from caffe_lite.proto import caffe_pb2

from .crew import Crew
from .gradient import make_net
from .test_table import TABLE

Arrays = list[np.ndarray]


@pytest.fixture(scope="session")
def crews() -> Iterator[dict[int, Crew]]:
    """Return a dict for the crews that run, by their sizes."""
    running: dict[int, Crew] = {}
    yield running
    for crew in running.values():
        crew.close()


@pytest.fixture(params=[2, pytest.param(3, marks=pytest.mark.slow)])
def crew(request: pytest.FixtureRequest, crews: dict[int, Crew]) -> Crew:
    pytest.importorskip("torch")
    if request.param not in crews:
        crews[request.param] = Crew(request.param)
    return crews[request.param]


@dataclass(frozen=True)
class Task:
    """A net of an Input for each bottom, which may be ``shaped`` by other layers, and the layer under test."""

    layer: str
    engine: str
    dtype: str = "float64"
    before: str = ""
    tops: int = 1
    passes: int = 1
    sync_batch_norm: bool = False
    split_batch: bool = False
    compile: bool = False
    names: tuple[str, ...] = ()

    def net(self, bottoms: Arrays) -> Net:
        text = "force_backward: true\n"
        for i, bottom in enumerate(bottoms):
            dims = " ".join(f"dim: {n}" for n in bottom.shape)
            text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
        names = self.names or [f"x{i}" for i in range(len(bottoms))]
        ends = " ".join([*(f'bottom: "{name}"' for name in names), *(f'top: "y{i}"' for i in range(self.tops))])
        text += f'{self.before} layer {{ name: "under_test" {ends} {self.layer} }}\n'
        param = text_format.Parse(text, caffe_pb2.NetParameter())
        return Net(param, TRAIN, engine=self.engine, dtype=self.dtype, seed=0, compile=self.compile)


@dataclass
class Outcome:
    tops: Arrays = field(default_factory=list)
    bottom_diffs: Arrays = field(default_factory=list)
    blobs: Arrays = field(default_factory=list)
    blob_diffs: Arrays = field(default_factory=list)


def run(everyone: Any, task: Task, bottoms: Arrays, blobs: Arrays, diffs: Arrays) -> Outcome:
    """Run a net forward and backward with these bottoms, learned blobs and diffs of tops (if they have no loss)."""
    net = task.net(bottoms)
    if everyone is not None:
        net.spread(everyone, task.sync_batch_norm, task.split_batch)
    learned = [blob for layer in net.params.values() for blob in layer]
    for blob, values in zip(learned, blobs, strict=True):
        blob.data[...] = values
    for i, bottom in enumerate(bottoms):
        net.blobs[f"x{i}"].data[...] = bottom
    tops = [net.blobs[f"y{i}"] for i in range(task.tops)]
    if task.compile:
        net.forward_backward_pass()
        return Outcome([top.data.copy() for top in tops])
    for _ in range(task.passes):
        net.clear_param_diffs()
        net.forward()
        for top, diff in zip(tops, diffs, strict=False):
            top.diff[...] = diff
        net.backward()
    given = [net.blobs[f"x{i}"] for i in range(len(bottoms))]
    return Outcome(
        [top.data.copy() for top in tops],
        [blob.diff.copy() for blob in given],
        [blob.data.copy() for blob in learned],
        [blob.diff.copy() for blob in learned],
    )


def parts(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def close(got: np.ndarray, wanted: np.ndarray, dtype: str) -> None:
    exact = dtype == "float64"
    scale = max(1.0, np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=scale * (1e-12 if exact else 2e-6))


# -- statistics --------------------------------------------------------------------------------------------------------

OLDER = "param { lr_mult: 1 } param { lr_mult: 1 }" + " param { lr_mult: 0 }" * 3
NORMS = {
    "BVLC's": ('type: "BatchNorm"', [3, 3, 1]),
    "Intel's": ('type: "BatchNorm" batch_norm_param { filler { value: 1 } }', [3, 3, 1, 3, 3]),
    "NVIDIA's": ('type: "BatchNorm" batch_norm_param { scale_bias: true }', [3, 3, 1, 3, 3]),
    "SegNet's": ('type: "BN"', [3, 3]),
    "yjxiong's": ('type: "BN" bn_param { momentum: 0.7 }', [3, 3, 3, 3]),
}
SIZES = {2: [[3, 3], [5, 1], [0, 6]], 3: [[2, 2, 2], [1, 0, 5]]}


def compare_norms(crew: Crew, task: Task, sizes: Sequence[int], shape: tuple[int, ...], of_blobs: list[int]) -> None:
    """Losses are sums here, so that each worker's gradient of its bottom is that of the whole batch's sum."""
    rng = np.random.default_rng(1)
    x = 50 + 3 * rng.normal(size=(sum(sizes), *shape))
    blobs = [rng.uniform(0.5, 1.5, size if len(shape) else 1) for size in of_blobs]
    dy = [rng.normal(size=x.shape), *rng.normal(size=(2, 3))][: task.tops]

    def of_net(arrays: Arrays) -> Arrays:
        return [a.reshape(b.shape) for a, b in zip(arrays, like, strict=True)]

    like = [blob.data for layer in task.net([x]).params.values() for blob in layer]
    whole = run(None, task, [x], of_net(blobs), [dy[0], *(d.reshape(1, 3, 1, 1) for d in dy[1:])])
    # The gradients that reach the tops of mean and variance add up over the workers.
    shares = [d.reshape(1, 3, 1, 1) / crew.count for d in dy[1:]]
    places = parts(sizes)
    found = crew.run(run, [(task, [x[place]], of_net(blobs), [dy[0][place], *shares]) for place in places])
    for place, own in zip(places, found, strict=True):
        close(own.tops[0], whole.tops[0][place], task.dtype)
        for mine, common in zip(own.tops[1:] + own.blobs, whole.tops[1:] + whole.blobs, strict=True):
            close(mine, common, task.dtype)
        close(own.bottom_diffs[0], whole.bottom_diffs[0][place], task.dtype)
    for i, wanted in enumerate(whole.blob_diffs):
        close(sum(own.blob_diffs[i] for own in found), wanted, task.dtype)


@pytest.mark.parametrize("norm", NORMS)
def test_common_statistics(crew, engine, norm) -> None:
    layer, of_blobs = NORMS[norm]
    task = Task(layer, engine, tops=3 if norm == "SegNet's" else 1, passes=2, sync_batch_norm=True)
    for sizes in SIZES[crew.count]:
        compare_norms(crew, task, sizes, (3, 2, 2), of_blobs)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), ()])
def test_common_statistics_of_few_elements(crew, engine, shape) -> None:
    task = Task('type: "BatchNorm" batch_norm_param { eps: 0.1 }', engine, sync_batch_norm=True)
    for sizes in ([1] * crew.count, [0] * (crew.count - 1) + [1], [0] * crew.count):
        compare_norms(crew, task, sizes, shape, [3, 3, 1])


def test_common_statistics_in_float32(crew, engine) -> None:
    """The mean is far from 0 compared with the deviation, which would show if squares were subtracted."""
    task = Task('type: "BatchNorm" batch_norm_param { eps: 1e-3 }', engine, "float32", sync_batch_norm=True)
    rng = np.random.default_rng(1)
    x = (1000 + rng.normal(size=(6 * crew.count, 3, 8, 8))).astype(np.float32)
    blobs = [np.zeros(3), np.zeros(3), np.zeros(1)]
    places = parts([6] * crew.count)
    found = crew.run(run, [(task, [x[place]], blobs, [np.zeros_like(x[place])]) for place in places])
    exact = x.astype(float)
    for own in found:
        np.testing.assert_allclose(own.blobs[1], exact.var((0, 2, 3), ddof=1), rtol=1e-4)
        np.testing.assert_array_equal(own.blobs[0], found[0].blobs[0])


def test_fused_kernels_do_not_serve_common_statistics(crew, engine) -> None:
    """With a Scale and a ReLU after it, which one worker alone runs as one kernel."""
    scale = 'layer { name: "s" type: "Scale" bottom: "m" top: "m" scale_param { bias_term: true } }'
    relu = 'layer { name: "r" type: "ReLU" bottom: "m" top: "m" }'
    layers = f'layer {{ name: "n" type: "BatchNorm" bottom: "x0" top: "m" }} {scale} {relu}'
    task = Task('type: "Power"', engine, before=layers, names=("m",), sync_batch_norm=True)
    compare_norms(crew, task, [2] * crew.count, (3, 2, 2), [3, 3, 1, 3, 3])


# -- losses ------------------------------------------------------------------------------------------------------------

Make = Callable[[np.random.Generator], np.ndarray]
SAMPLES = 6


def real(*shape: int) -> Make:
    return lambda rng: rng.normal(size=(SAMPLES, *shape))


def share(*shape: int) -> Make:
    return lambda rng: rng.uniform(0.1, 0.9, (SAMPLES, *shape))


def whole(classes: int, *shape: int, least: int = 0) -> Make:
    """Draw numbers from ``least`` on; 0 is frequent in the first samples, and missing in the last ones."""

    def make(rng: np.random.Generator) -> np.ndarray:
        numbers = rng.integers(least, classes, (SAMPLES, *shape))
        numbers[: SAMPLES // 2] *= rng.random((SAMPLES // 2, *shape)) < 0.3
        numbers[SAMPLES // 2 :] = np.maximum(numbers[SAMPLES // 2 :], 1)
        return numbers

    return make


def some_missing(*shape: int) -> Make:
    """Draw numbers of which the first samples lack many."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x = rng.normal(size=(SAMPLES, *shape))
        x[0][rng.random(shape) < 0.7] = np.nan
        return x

    return make


def boxes(rng: np.random.Generator) -> np.ndarray:
    """Draw a true box for each image as class, x, y, width, height, and more for the first one."""
    rows = np.zeros((SAMPLES, 1, 3, 5))
    rows[:, 0, 0] = np.stack([np.ones(SAMPLES), *rng.uniform(0.2, 0.8, (4, SAMPLES))], 1)
    rows[0, 0, 1] = 1, 0.5, 0.3, 0.4, 0.2
    return rows


def objects(rng: np.random.Generator) -> np.ndarray:
    """Draw the truth of MultiBoxLoss: the number of the image's true boxes grows with that of the image."""
    rows = []
    for image in range(SAMPLES):
        for instance in range(image // 2):
            low, size = rng.uniform(0, 0.5, 2), rng.uniform(0.3, 0.5, 2)
            rows.append([image, rng.integers(1, 3), instance, *low, *(low + size), 0])
    return np.array([[rows]])


def anchors(rng: np.random.Generator) -> np.ndarray:
    """Draw the truth of DetectionGroupLoss; later images have more objects."""
    chance = np.linspace(0.1, 0.7, SAMPLES)[:, None, None, None]
    label = (rng.random((SAMPLES, 1, 3, 2)) < chance) * rng.integers(1, 3, (SAMPLES, 1, 3, 2))
    box = rng.uniform(2, 20, (SAMPLES, 4, 3, 2))
    return np.concatenate([label, box, rng.uniform(0, 0.8, (SAMPLES, 1, 3, 2))], 1)


PRIORS = np.stack([np.array([[0.1, 0.1, 0.4, 0.4], [0.3, 0.2, 0.8, 0.7], [0.5, 0.5, 0.9, 0.9]]), np.full((3, 4), 0.2)])


@dataclass(frozen=True)
class Loss:
    """A loss layer, what makes its bottoms, the axes of these along which samples lie, and the shape of its blob."""

    text: str
    bottoms: tuple[Make, ...]
    axes: tuple[int | None, ...] = ()
    blob: tuple[int, ...] | None = None
    passes: int = 1


MAPS = (real(3, 2, 2), whole(3, 2, 2))
PAIR = (real(3, 2), real(3, 2))
YOLO = "num: 1 num_class: 2 biases: 9 biases: 5 biases: 4 biases: 6 mask: 1"
TWO = YOLO.replace("num: 1", "num: 2 mask: 0")
GROUP = "cls_num: 3 bg_multiple: 100 field_w: 9 field_h: 8 stride: 4"
CLASSES = (real(4), whole(4))
LOSSES = [
    *(
        Loss(f'type: "SoftmaxWithLoss" loss_param {{ ignore_label: 0 normalization: {mode} }}', MAPS)
        for mode in ("VALID", "FULL", "BATCH_SIZE", "NONE", "PRE_FIXED pre_fixed_normalizer: 5")
    ),
    Loss('type: "SoftmaxWithLoss" loss_param { adaptive_weighting: true gamma: 0.6 }', MAPS, passes=3),
    Loss('type: "SoftmaxWithLoss" loss_param { max_entropy_weight: 0.9 ignore_label: 0 }', MAPS),
    Loss(
        'type: "SoftmaxWithLoss" loss_param { weight_by_label_freqs: true class_weighting: 1 class_weighting: 2 '
        "class_weighting: 3 ignore_label: 2 }",
        MAPS,
    ),
    Loss('type: "SoftmaxWithLossOHEM" loss_param { ignore_label: 0 }', CLASSES),
    Loss(
        'type: "InfogainLoss" loss_param { ignore_label: 0 }',
        (real(3), whole(3), lambda rng: rng.random((1, 1, 3, 3))),
        (0, 0, None),
    ),
    Loss('type: "SigmoidCrossEntropyLoss" loss_param { ignore_label: 0 normalization: VALID }', (real(4), whole(2, 4))),
    Loss('type: "SigmoidCrossEntropyLoss"', (real(4), whole(2, 4), share(4))),
    *(Loss(f'type: "{kind}"', PAIR) for kind in ("EuclideanLoss", "L1Loss", "SmoothL1Loss", "SmoothL1LossOHEM")),
    Loss('type: "EuclideanLoss"', (*PAIR, share(3, 2))),
    Loss('type: "SmoothL1LossOHEM" loss_param { normalization: NONE }', (*PAIR, share(3, 2))),
    Loss('type: "L1Loss" l1_loss_param { normalize_by_num_entries: true }', (some_missing(3, 2), real(3, 2))),
    Loss('type: "HingeLoss" hinge_loss_param { norm: L2 }', CLASSES),
    Loss('type: "MultinomialLogisticLoss"', (share(4), whole(4))),
    Loss('type: "ContrastiveLoss"', (*PAIR, whole(2))),
    Loss('type: "TripletLoss"', (real(3), real(3), real(3))),
    Loss('type: "CTCLoss"', (lambda rng: rng.normal(size=(5, SAMPLES, 4)), whole(4, 2)), (1, 0)),
    Loss('type: "CtcLoss"', (lambda rng: rng.normal(size=(5, SAMPLES, 4)), whole(4, 2)), (1, 0)),
    Loss('type: "CenterLoss" center_loss_param { num_output: 4 }', (real(3), whole(4)), blob=(4, 3)),
    Loss('type: "MalisLoss"', (share(2, 3, 3), share(2, 3, 3), whole(3, 1, 3, 3))),
    Loss('type: "YoloSeg"', (real(2, 3, 3), lambda rng: rng.random((SAMPLES, 2, 3, 3)) < 0.5, share(2))),
    Loss(f'type: "Yolov3" yolov3_param {{ {YOLO} }}', (real(7, 3, 2), boxes)),
    Loss(f'type: "Yolov3" yolov3_param {{ iou_loss: CIOU use_focal_loss: true {TWO} }}', (real(14, 3, 2), boxes)),
    Loss(f'type: "GaussianYolov3" yolov3_param {{ {YOLO} }}', (real(11, 3, 2), boxes)),
    Loss(
        'type: "RegionLoss" region_loss_param { num: 1 num_class: 2 biases: 1 biases: 2 }',
        (real(7, 3, 2), objects),
        (0, None),
    ),
    Loss('type: "RegionLoss" region_loss_param { num: 1 num_class: 2 biases: 1 biases: 2 }', (real(7, 3, 2), boxes)),
    *(
        Loss(
            f'type: "MultiBoxLoss" loss_param {{ normalization: {mode} }} '
            f"multibox_loss_param {{ num_classes: 3 code_type: CENTER_SIZE {mining} }}",
            (real(12), real(9), lambda rng: PRIORS.reshape(1, 2, 12), objects),
            (0, 0, None, None),
        )
        for mode, mining in (("VALID", ""), ("VALID", "mining_type: NONE"), ("BATCH_SIZE", ""), ("NONE", ""))
    ),
    *(
        Loss(
            f'type: "DetectionGroupLoss" {more} detection_group_loss_param {{ {GROUP} {param} }}',
            (real(3, 3, 2), real(4, 3, 2), anchors),
        )
        for param, more in (("", ""), ("pos_neg_weighted: true lambda: 2", "loss_param { ignore_label: 1 }"))
    ),
    Loss('type: "Reduction" loss_weight: 2 reduction_param { operation: SUMSQ }', (real(3),)),
    Loss('type: "Reduction" loss_weight: 2 reduction_param { operation: MEAN }', (real(3),)),
]


def part_of(loss: Loss, bottoms: Arrays, place: slice) -> Arrays:
    axes = loss.axes or [0] * len(bottoms)
    found = [b if axis is None else b[(slice(None),) * axis + (place,)] for b, axis in zip(bottoms, axes, strict=True)]
    if loss.bottoms[-1] is objects:
        rows = found[-1][0, 0]
        rows = rows[(rows[:, 0] >= place.start) & (rows[:, 0] < place.stop)] - [place.start, *[0] * 7]
        found[-1] = rows[None, None] if len(rows) else np.full((1, 1, 1, 8), -1)
    return found


def compare_losses(crew: Crew, task: Task, loss: Loss, sizes: Sequence[int], blobs: Arrays) -> None:
    rng = np.random.default_rng(2)
    bottoms = [np.asarray(make(rng), float) for make in loss.bottoms]
    alone = run(None, task, bottoms, blobs, [])
    places = parts(sizes)
    found = crew.run(run, [(task, part_of(loss, bottoms, place), blobs, []) for place in places])
    close(np.mean([own.tops[0] for own in found], 0), alone.tops[0], task.dtype)
    assert np.abs(alone.bottom_diffs[0]).max() > 0
    for own, place in zip(found, places, strict=True):
        for got, wanted in zip(own.bottom_diffs, part_of(loss, alone.bottom_diffs, place), strict=True):
            if got.shape == wanted.shape:
                close(got / crew.count, wanted, task.dtype)
    for i, wanted in enumerate(alone.blob_diffs):
        close(np.mean([own.blob_diffs[i] for own in found], 0), wanted, task.dtype)
    for i, wanted in enumerate(alone.blobs):
        close(found[0].blobs[i], wanted, task.dtype)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.text[6:60])
def test_losses_of_split_batches(crew, engine, loss) -> None:
    dtypes = ["float64"] if "MultiBox" in loss.text else ["float64", "float32"]
    blobs = [np.random.default_rng(3).normal(size=loss.blob)] if loss.blob else []
    for dtype in dtypes:
        task = Task(loss.text, engine, dtype, passes=loss.passes, split_batch=True)
        compare_losses(crew, task, loss, [SAMPLES // crew.count] * crew.count, blobs)


def test_every_loss_is_compared() -> None:
    losses = {name for name in layer_type_list() if (cls := layer_class(name)) and cls.is_loss}
    assert losses <= {loss.text.split('"')[1] for loss in LOSSES}


@pytest.mark.parametrize("kept", ["some", "none"])
@pytest.mark.parametrize("loss", ["SoftmaxWithLoss", "HingeLoss"])
def test_rows_that_values_choose(crew, engine, loss, kept) -> None:
    """Workers have different numbers of rows after a Filter, and the last one has none."""
    select = np.array([1, 1, 1, 0, 0, 0]) * (kept == "some")
    before = 'layer { name: "f" type: "Filter" bottom: "x0" bottom: "x1" bottom: "x2" top: "a" top: "b" }'
    task = Task(f'type: "{loss}"', engine, before=before, names=("a", "b"), split_batch=True)
    rng = np.random.default_rng(2)
    bottoms = [rng.normal(size=(SAMPLES, 4)), rng.integers(0, 4, SAMPLES), select]
    alone = run(None, task, bottoms, [], [])
    places = parts([SAMPLES // crew.count] * crew.count)
    found = crew.run(run, [(task, [b[place] for b in bottoms], [], []) for place in places])
    close(np.mean([own.tops[0] for own in found], 0), alone.tops[0], task.dtype)
    for own, place in zip(found, places, strict=True):
        close(own.bottom_diffs[0] / crew.count, alone.bottom_diffs[0][place], task.dtype)


# -- what cannot be exact ----------------------------------------------------------------------------------------------


def warning(everyone: Any, task: Task, bottoms: Arrays) -> list[str]:
    """Return the warnings that are given when a net is spread."""
    net, said = task.net(bottoms), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("caffe_lite").addHandler(handler)
    net.spread(everyone, task.sync_batch_norm, task.split_batch)
    logging.getLogger("caffe_lite").removeHandler(handler)
    return said


X = np.zeros((6, 3))
APART = [
    ('type: "BatchNorm"', [X], "under_test (BatchNorm); --sync-batch-norm helps"),
    ('type: "BatchNorm" batch_norm_param { use_global_stats: true }', [X], None),
    ('type: "BN" bn_param { bn_mode: INFERENCE }', [X], None),
    ('type: "MatMul" matmul_param { transpose_b: true }', [X, X], "under_test (MatMul)"),
    ('type: "MatMul" matmul_param { blob_shape: 3 blob_shape: 2 }', [X], None),
    ('type: "Reduction"', [X], "under_test (Reduction)"),
    ('type: "Reduction" reduction_param { axis: 1 }', [X], None),
    ('type: "Reduction" loss_weight: 1', [X], None),
    ('type: "Power" loss_weight: 1', [X], "under_test (Power)"),
    ('type: "BatchReduction"', [X], "under_test (BatchReduction)"),
    ('type: "EuclideanLoss"', [X, X], None),
]


@pytest.mark.parametrize(("layer", "bottoms", "names"), APART, ids=[f"{i}" for i in range(len(APART))])
def test_layers_that_see_one_part_only_are_named(crew, layer, bottoms, names) -> None:
    text = (
        "With --split-batch these layers see only one worker's part of the batch, "
        "so that training in one process differs: "
    )
    for split in (True, False):
        task = Task(layer, "numpy", split_batch=split)
        found = crew.run(warning, [(task, bottoms)] * crew.count)
        assert found == [[text + names] if names and split else []] * crew.count


def test_no_warning_if_statistics_are_common(crew) -> None:
    task = Task('type: "BatchNorm"', "numpy", split_batch=True, sync_batch_norm=True)
    assert crew.run(warning, [(task, [X])] * crew.count) == [[]] * crew.count


def test_common_statistics_of_no_layer(crew) -> None:
    task = Task('type: "EuclideanLoss"', "numpy", sync_batch_norm=True)
    wanted = ["--sync-batch-norm has no effect: no layer of the net normalises batches"]
    assert crew.run(warning, [(task, [X, X])] * crew.count) == [wanted] * crew.count


def refused(everyone: Any, task: Task, bottoms: Arrays) -> str:
    try:
        run(everyone, task, bottoms, [np.zeros(3), np.zeros(3), np.zeros(1)][: 3 * task.sync_batch_norm], [])
    except EngineError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize(
    "task",
    [
        Task('type: "BatchNorm" loss_weight: 1', "torch", compile=True, sync_batch_norm=True),
        Task('type: "SigmoidCrossEntropyLoss"', "torch", compile=True, split_batch=True),
    ],
    ids=["statistics", "losses"],
)
def test_compiled_passes_are_refused(crew, task) -> None:
    bottoms = [X] if task.sync_batch_norm else [X, X, X]
    for message in crew.run(refused, [(task, bottoms)] * crew.count):
        assert message.startswith('layer "under_test" (')
        assert "it cannot be compiled: workers tell each other values in it. Leave out --compile" in message


@pytest.mark.slow
def test_compiled_passes_of_other_layers(crew) -> None:
    task = Task('type: "EuclideanLoss"', "torch", compile=True, split_batch=True)
    found = crew.run(run, [(task, [X + rank, X], [], []) for rank in range(crew.count)])
    for rank, own in enumerate(found):
        np.testing.assert_allclose(own.tops[0], rank * rank * 3 / 2)


# -- layers that follow running values ---------------------------------------------------------------------------------


def test_running_scale_of_channel_scale(crew, engine) -> None:
    task = Task('type: "ChannelScale" channel_scale_param { global_scale: true }', engine, passes=3, split_batch=True)
    rng = np.random.default_rng(4)
    bottoms, blobs, dy = [rng.normal(size=(6, 3)), rng.uniform(1, 2, 6)], [np.full(1, -1.0)], rng.normal(size=(6, 3))
    alone = run(None, task, bottoms, blobs, [dy])
    places = parts([6 // crew.count] * crew.count)
    for own in crew.run(run, [(task, [b[place] for b in bottoms], blobs, [dy[place]]) for place in places]):
        close(own.blobs[0], alone.blobs[0], task.dtype)


@pytest.mark.parametrize("entry", [entry for entry in TABLE if entry.phase == TRAIN], ids=lambda entry: entry.name)
def test_blobs_that_a_pass_changes_are_not_learned(entry) -> None:
    """Each worker changes them by its own batch, unless the layer keeps learned vectors at the length 1."""
    net = make_net(entry.text, entry.bottoms, entry.tops, engine="numpy", phase=TRAIN)
    blobs = net.params.get("under_test", [])
    before = [blob.data.copy() for blob in blobs]
    net.forward()
    net.backward()
    changed = [i for i, (blob, old) in enumerate(zip(blobs, before, strict=True)) if (blob.data != old).any()]
    if entry.type in ("InnerDistance", "MarginInnerProduct"):
        return
    learned = {param.index for param in net.learnable_params if param.lr_mult}
    assert not learned.intersection(changed)


# -- the exchange ------------------------------------------------------------------------------------------------------


def exchanged(everyone: Any, arrays: Arrays) -> list[list[Any]]:
    """Return what is gathered of arrays of NumPy and of tensors made of them; their axes are reversed in memory."""
    import torch

    found = []
    for array in arrays:
        of_torch = everyone.gathered(torch.from_numpy(np.array(array)).T)
        found.append([everyone.gathered(np.asfortranarray(array)), of_torch.transpose(1, -1).numpy()])
    return found


def test_arrays_of_any_kind(crew) -> None:
    rng = np.random.default_rng(5)
    shapes = [((3, 2), np.float32), ((2, 3), np.float64), ((0, 2), np.float32), ((1, 1), np.int64)]
    each = [[rng.normal(0, 9, shape).astype(kind) for shape, kind in shapes] for _ in range(crew.count)]
    for found in crew.run(exchanged, [(arrays,) for arrays in each]):
        for i, both in enumerate(found):
            for got in both:
                wanted = np.stack([arrays[i] for arrays in each])
                assert got.dtype == wanted.dtype
                np.testing.assert_array_equal(got, wanted)

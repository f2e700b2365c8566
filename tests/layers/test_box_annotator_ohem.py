from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import EngineError, LayerError

MakeNet = Callable[..., Net]


def annotator(
    make_net: MakeNet, num: int, param: str = "roi_per_img: 3", channels: int = 8, places=(1, 1), **kw
) -> Net:
    tail = "".join(f" dim: {n}" for n in places)
    shapes = "".join(f"shape {{ dim: {num} dim: {c}{tail} }} " for c in (kw.pop("region", 5), 1, 1, channels))
    return make_net(
        f"""layer {{ name: "in" type: "Input" top: "rois" top: "loss" top: "labels" top: "weights"
                input_param {{ {shapes} }} }}
        layer {{ name: "hard" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "loss" bottom: "labels" bottom: "weights"
                top: "kept" top: "kept_weights" box_annotator_ohem_param {{ {param} }} }}""",
        **kw,
    )


def by_hand(rois, loss, labels, weights, keep: int, ignore: int) -> tuple[np.ndarray, np.ndarray]:
    """Every place of every region in turn: it is kept if fewer than ``keep`` of its image come before it."""
    kept, kept_weights = np.full(labels.shape, float(ignore)), np.zeros(weights.shape)
    places = [(n, y, x) for n in range(rois.shape[0]) for y in range(rois.shape[2]) for x in range(rois.shape[3])]
    for at, (n, y, x) in enumerate(places):
        before = 0
        for other, (m, v, u) in enumerate(places):
            same = int(rois[m, 0, v, u]) == int(rois[n, 0, y, x])
            harder = loss[m, 0, v, u] > loss[n, 0, y, x] or (loss[m, 0, v, u] == loss[n, 0, y, x] and other < at)
            before += same and harder
        if before < keep:
            kept[n, 0, y, x] = labels[n, 0, y, x]
            kept_weights[n, :, y, x] = weights[n, :, y, x]
    return kept, kept_weights


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("places", [(1, 1), (2, 3)])
@pytest.mark.parametrize("keep", [1, 4, 1000])
def test_region_by_region(make_net: MakeNet, keep: int, places: tuple[int, int], dtype: str) -> None:
    net = annotator(make_net, 20, f"roi_per_img: {keep} ignore_label: 255", places=places, dtype=dtype)
    rng = np.random.default_rng(keep)
    rois = rng.uniform(0, 50, (20, 5, *places))
    rois[:, 0] = rng.integers(0, 3, (20, *places))
    loss = rng.integers(0, 6, (20, 1, *places)) / 4  # with equals
    labels = rng.integers(0, 21, (20, 1, *places))
    weights = rng.integers(0, 2, (20, 8, *places))
    net.forward(rois=rois, loss=loss, labels=labels, weights=weights)
    kept, kept_weights = by_hand(rois, loss, labels, weights, keep, 255)
    np.testing.assert_array_equal(net.blobs["kept"].data, kept)
    np.testing.assert_array_equal(net.blobs["kept_weights"].data, kept_weights)


def test_a_region_without_places_has_four_axes(make_net: MakeNet) -> None:
    net = annotator(make_net, 2, places=())
    assert net.blobs["kept"].shape == (2, 1, 1, 1) and net.blobs["kept_weights"].shape == (2, 8, 1, 1)


def test_what_is_ignored_is_not_learned_from(make_net: MakeNet) -> None:
    """The end of a net for R-FCN: the hardest region of each image is learned from, no other."""
    net = make_net(
        """force_backward: true
        layer { name: "in" type: "Input" top: "rois" top: "score" top: "labels" top: "pred" top: "targets" top: "w"
                input_param { shape { dim: 4 dim: 5 } shape { dim: 4 dim: 3 dim: 1 dim: 1 }
                              shape { dim: 4 dim: 1 dim: 1 dim: 1 } shape { dim: 4 dim: 8 dim: 1 dim: 1 }
                              shape { dim: 4 dim: 8 dim: 1 dim: 1 } shape { dim: 4 dim: 8 dim: 1 dim: 1 } } }
        layer { name: "a" type: "SoftmaxWithLossOHEM" bottom: "score" bottom: "labels" top: "a" top: "p" top: "each_a"
                loss_weight: 0 loss_weight: 0 loss_weight: 0 propagate_down: false propagate_down: false }
        layer { name: "b" type: "SmoothL1LossOHEM" bottom: "pred" bottom: "targets" bottom: "w" top: "b" top: "each_b"
                loss_weight: 0 loss_weight: 0
                propagate_down: false propagate_down: false propagate_down: false }
        layer { name: "each" type: "Eltwise" bottom: "each_a" bottom: "each_b" top: "each"
                propagate_down: false propagate_down: false }
        layer { name: "hard" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "each" bottom: "labels" bottom: "w"
                top: "hard_labels" top: "hard_w" box_annotator_ohem_param { roi_per_img: 1 ignore_label: -1 }
                propagate_down: false propagate_down: false propagate_down: false propagate_down: false }
        layer { name: "cls" type: "SoftmaxWithLoss" bottom: "score" bottom: "hard_labels" top: "cls"
                loss_param { ignore_label: -1 } propagate_down: true propagate_down: false }
        layer { name: "box" type: "SmoothL1LossOHEM" bottom: "pred" bottom: "targets" bottom: "hard_w" top: "box"
                loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2 }
                propagate_down: true propagate_down: false propagate_down: false }"""
    )
    rois = np.zeros((4, 5))
    rois[:, 0] = [0, 1, 0, 1]
    score = np.zeros((4, 3, 1, 1))
    score[:, 0, 0, 0] = [1, 2, -1, 5]  # the hardest of image 0 is region 2, that of image 1 region 1
    net.blobs["rois"].data[...], net.blobs["score"].data[...] = rois, score
    net.blobs["pred"].data[...], net.blobs["w"].data[...] = 0.5, 1
    net.forward()
    net.backward()
    assert net.blobs["hard_labels"].data.ravel().tolist() == [-1, 0, 0, -1]
    each = net.blobs["each_a"].data.ravel()
    assert net.blobs["cls"].data == pytest.approx((each[1] + each[2]) / 2, rel=1e-6)
    assert net.blobs["score"].diff.any((1, 2, 3)).tolist() == [False, True, True, False]
    assert net.blobs["pred"].diff[:, 0, 0, 0].tolist() == [0, 0.25, 0.25, 0]


@pytest.mark.parametrize("image", [-1, np.nan, np.inf])
def test_an_image_that_is_none(make_net: MakeNet, image: float) -> None:
    net = annotator(make_net, 3)
    net.blobs["rois"].data[1, 0] = image
    with pytest.raises(LayerError, match=rf"region 1 is of image {image}\. Images count from 0"):
        net.forward()


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"param": ""}, "roi_per_img is not given, or 0"),
        ({"param": "roi_per_img: 0"}, "roi_per_img is not given, or 0"),
        ({"region": 4}, r"the regions have the shape \(3, 4, 1, 1\). Give \(N, 5\)"),
    ],
)
def test_refusals(make_net: MakeNet, shapes: dict, what: str) -> None:
    with pytest.raises(LayerError, match=what):
        annotator(make_net, 3, **shapes)


def test_bottoms_that_do_not_fit(make_net: MakeNet) -> None:
    net = annotator(make_net, 3)
    net.blobs["loss"].reshape(3, 2, 1, 1)
    what = r"the regions \(3, 5, 1, 1\) and the losses \(3, 2, 1, 1\) do not fit together. Give losses of shape \(3, 1"
    with pytest.raises(LayerError, match=what):
        net.forward()


def test_it_cannot_be_compiled(make_net: MakeNet, engine: str) -> None:
    if engine != "torch":
        pytest.skip("only torch compiles")
    net = annotator(make_net, 3, compile=True, phase=TEST)
    with pytest.raises(EngineError, match=r"BoxAnnotatorOHEM.*cannot be compiled: it computes on the host"):
        net.forward()

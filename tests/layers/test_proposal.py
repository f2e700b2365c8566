from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.errors import LayerError
from caffe_lite.inspection.check import check as check_file

from .gradient import Bottom, make_net

RNG = np.random.default_rng(5)
INFO = [[90.0, 120.0, 1.5], [70.0, 130.0, 0.8]]


def inputs(anchors: int, images: int = 1, height: int = 5, width: int = 7, info: int = 1) -> list[Bottom]:
    values = [
        RNG.permutation(images * 2 * anchors * height * width).reshape(images, 2 * anchors, height, width) / 1000,
        RNG.normal(0, 0.4, (images, 4 * anchors, height, width)),
        np.array(INFO[:info]),
    ]
    return [Bottom(value.shape, lambda rng, value=value: value) for value in values]


def overlap(a: np.ndarray, b: np.ndarray, one: int) -> float:
    width, height = (min(a[2 + i], b[2 + i]) - max(a[i], b[i]) + one for i in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + one) * (box[3] - box[1] + one) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def moved(anchor: np.ndarray, delta: np.ndarray, info: np.ndarray) -> list[float]:
    """Return an anchor moved by its deltas, and cut at the edges of the image."""
    width, height = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
    x, y = anchor[0] + width / 2 + delta[0] * width, anchor[1] + height / 2 + delta[1] * height
    half_w, half_h = math.exp(delta[2]) * width / 2, math.exp(delta[3]) * height / 2
    limits = [info[1] - 1, info[0] - 1] * 2
    return [min(max(v, 0), m) for v, m in zip([x - half_w, y - half_h, x + half_w, y + half_h], limits, strict=True)]


def candidates(scores, deltas, info, anchors, stride):
    """Yield the score and the box of each place and anchor of an image."""
    count = len(anchors)
    for i, j, k in np.ndindex(scores.shape[1], scores.shape[2], count):
        anchor = np.asarray(anchors[k]) + np.array([j * stride[1], i * stride[0]] * 2)
        yield scores[count + k, i, j], moved(anchor, deltas[4 * k : 4 * k + 4, i, j], info)


def suppressed(found, threshold: float, most: int, one: int = 1, strict: bool = False):
    kept = []
    for score, box in found:
        worst = max((overlap(box, other, one) for _, other in kept), default=0.0)
        if worst < threshold or (worst == threshold and not strict):
            kept.append((score, box))
    return kept[:most]


# The nine anchors that py-faster-rcnn names, which counts pixels from 1 there.
NINE = [
    [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199], [-56, -56, 71, 71], [-120, -120, 135, 135],
    [-248, -248, 263, 263], [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
]  # fmt: skip
MINI = (
    "proposal_param { feat_stride: 16 ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 min_size: 20 "
    "pre_nms_topn: 200 post_nms_topn: 25 nms_thresh: 0.6 }"
)


def rows(image: int, kept) -> list[list[float]]:
    return [[image, *box] for _, box in kept]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("info", [1, 2])
def test_mini_caffe(engine: str, dtype: str, info: int) -> None:
    net = make_net(f'type: "Proposal" {MINI}', inputs(9, 2, info=info), tops=2, engine=engine, dtype=dtype)
    net.forward()
    wanted, scores = [], []
    for n in range(2):
        of_image = INFO[n if info == 2 else 0]
        found = [
            (score * all(box[2 + i] - box[i] + 1 >= 20 * of_image[2] for i in (0, 1)), box)
            for score, box in candidates(net.blobs["x0"].data[n], net.blobs["x1"].data[n], of_image, NINE, (16, 16))
        ]
        kept = suppressed(sorted(found, key=lambda pair: -pair[0])[:200], 0.6, 25)
        wanted += rows(n, kept)
        scores += [score for score, _ in kept]
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(net.blobs["y0"].data, wanted, atol=tolerance)
    np.testing.assert_allclose(net.blobs["y1"].data, scores, rtol=1e-6)


@pytest.mark.parametrize(
    ("counts", "anchors"),
    [("", NINE), ("anchor_scale: 3 anchor_ratio: 1", NINE[3:6]), ("anchor_scale: 1", NINE[2::3])],
)
def test_synopsys(engine: str, counts: str, anchors: list[list[int]]) -> None:
    text = f"proposal_param {{ {counts} max_rois: 12 pre_nms_topn: 90 rpn_min_size: 30 rpn_nms_thresh: 0.5 }}"
    net = make_net(f'type: "Proposal" {text}', inputs(len(anchors)), tops=2, engine=engine)
    net.forward()
    found = [
        (score, box)
        for score, box in candidates(net.blobs["x0"].data[0], net.blobs["x1"].data[0], INFO[0], anchors, (16, 16))
        if all(box[2 + i] - box[i] + 1 >= 30 * 1.5 for i in (0, 1))
    ]
    kept = suppressed(sorted(found, key=lambda pair: -pair[0])[:90], 0.5, 12)
    np.testing.assert_allclose(net.blobs["y0"].data, rows(0, kept), atol=1e-9)
    np.testing.assert_allclose(net.blobs["y1"].data, [[score] for score, _ in kept])


XILINX = (
    "proposal_param { stride_h: 8 stride_w: 16 nms_iou_th: 0.4 nms_input_num: 60 nms_output_num: 9 min_width: 10 "
    "min_height: 20 anchor { left: -19 top: -9 right: 30 bottom: 25 } "
    "anchor { left: 1 top: -30 right: 20 bottom: 60 } }"
)


def test_xilinx(engine: str) -> None:
    net = make_net(f'type: "Proposal" {XILINX}', inputs(2, 2, info=2), engine=engine)
    net.forward()
    wanted = []
    for n, info in enumerate(INFO):
        anchors = [[-20, -10, 29, 24], [0, -31, 19, 59]]
        found = list(candidates(net.blobs["x0"].data[n], net.blobs["x1"].data[n], info, anchors, (8, 16)))
        found = sorted(found, key=lambda pair: -pair[0])[:60]
        found = [
            (score, box) for score, box in found if box[2] - box[0] > 10 * info[2] and box[3] - box[1] > 20 * info[2]
        ]
        wanted += rows(n, suppressed(found, 0.4, 9, one=0, strict=True))
    np.testing.assert_allclose(net.blobs["y0"].data, wanted, atol=1e-9)


def test_xilinx_without_any_region(engine: str) -> None:
    text = XILINX.replace("min_width: 10", "min_width: 1000")
    net = make_net(f'type: "Proposal" {text}', inputs(2), engine=engine)
    np.testing.assert_array_equal(net.forward()["y0"], [[0, 0, 0, 1, 1]])


def test_no_images_and_no_pixels(engine: str) -> None:
    for images, height in ((0, 5), (2, 0)):
        net = make_net(f'type: "Proposal" {MINI}', inputs(9, images, height), tops=2, engine=engine)
        net.forward()
        assert (net.blobs["y0"].shape, net.blobs["y1"].shape) == ((0, 5), (0,))


def test_deltas_that_overflow(engine: str) -> None:
    scores, _, info = inputs(9, height=1, width=1)
    net = make_net(
        f'type: "Proposal" {MINI}', [scores, Bottom((1, 36, 1, 1), lambda rng: np.full((1, 36, 1, 1), 1e3)), info],
        engine=engine, dtype="float32",
    )  # fmt: skip
    np.testing.assert_array_equal(net.forward()["y0"], [[0, 0, 0, 119, 89]])


def test_the_gradient_is_0(engine: str) -> None:
    text = f'type: "Proposal" {MINI} ' + "propagate_down: true " * 3
    net = make_net(text, inputs(9), engine=engine)
    net.forward()
    net.backward()
    assert not net.blobs["x0"].diff.any()


def test_the_number_of_regions_is_not_known_beforehand(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    shapes = "shape { dim: 1 dim: 18 dim: 5 dim: 7 } shape { dim: 1 dim: 36 dim: 5 dim: 7 } shape { dim: 1 dim: 3 }"
    path.write_text(
        f'layer {{ name: "in" type: "Input" top: "s" top: "d" top: "i" input_param {{ {shapes} '
        'shape { dim: 1 dim: 2 dim: 5 dim: 7 } } top: "x" }\n'
        f'layer {{ name: "rpn" type: "Proposal" bottom: "s" bottom: "d" bottom: "i" top: "rois" {MINI} }}\n'
        'layer { name: "pool" type: "ROIPooling" bottom: "x" bottom: "rois" top: "y" '
        "roi_pooling_param { pooled_h: 2 pooled_w: 2 } }\n"
    )
    assert check_file(path).problems == []


@pytest.mark.parametrize(
    ("param", "bottoms", "message"),
    [
        (MINI, inputs(8), "the scores have the shape (1, 16, 5, 7). Give two for each of the 9 anchors: (N, 18, H, W)"),
        (MINI, [*inputs(9)[:1], *inputs(8)[1:]],
         "the deltas have the shape (1, 32, 5, 7). Give four for each anchor: (1, 36, 5, 7)"),
        (MINI, [*inputs(9)[:2], Bottom((1, 2))], "the third bottom has the shape (1, 2)"),
        ("proposal_param { ratio: 1 }", inputs(1), "it has no ratio or no scale"),
        ("proposal_param { ratio: 0 scale: 1 }", inputs(1), "a ratio or scale is not above 0"),
        (XILINX.replace("stride_w: 16", ""), inputs(2), "the stride is not given"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine: str, param: str, bottoms: list[Bottom], message: str) -> None:
    with pytest.raises(LayerError) as error:
        make_net(f'type: "Proposal" {param}', bottoms, engine=engine)
    assert message in str(error.value)

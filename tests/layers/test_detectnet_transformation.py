from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError
from caffe_lite.layers.common.detectnet import Grid, View
from caffe_lite.proto.caffe_pb2 import DetectNetAugmentationParameter, DetectNetGroundTruthParameter

from .gradient import Bottom
from .gradient import make_net as make_layer_net

cv2 = pytest.importorskip("cv2")

QUIET = "scale_prob: 0 flip_prob: 0 rotation_prob: 0 hue_rotation_prob: 0 desaturation_prob: 0 crop_prob: 0"


def net_of(engine, truth, augmentation=QUIET, phase=TRAIN, more="", size=(16, 24), boxes=((2, 3, 6, 8),), **kw):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 3, *size)).astype(float)
    labels = np.zeros((1, 1, 4, 16))
    labels[0, 0, 0, :2] = len(boxes), 16
    labels[0, 0, 1 : 1 + len(boxes), :4] = boxes
    labels[0, 0, 1 : 1 + len(boxes), 5] = 1
    layer = f"detectnet_groundtruth_param {{ {truth} }} detectnet_augmentation_param {{ {augmentation} }} {more}"
    bottoms = [Bottom(images.shape, lambda rng: images), Bottom(labels.shape, lambda rng: labels)]
    net = make_layer_net(f'type: "DetectNetTransformation" {layer}', bottoms, 2, engine=engine, phase=phase, **kw)
    net.forward()
    return net


def by_hand(p: DetectNetGroundTruthParameter, boxes, classes) -> np.ndarray:
    """Return the grid, from rectangles one cell at a time."""
    known = {m.src: m.dst for m in p.object_class} or {1: 0}
    rows, columns = p.image_size_y // p.stride, p.image_size_x // p.stride
    grid = np.zeros((9 + max(known.values()), rows, columns))
    for (x1, y1, w, h), number in zip(boxes, classes, strict=True):
        x2, y2 = x1 + w, y1 + h
        if p.crop_bboxes:
            x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, p.image_size_x), min(y2, p.image_size_y)
        if number not in known or x2 <= x1 or y2 <= y1:
            continue
        sides = []
        for side in (x2 - x1, y2 - y1):
            if p.gridbox_type == DetectNetGroundTruthParameter.GRIDBOX_MIN:
                sides.append(min(side, max(p.min_cvg_len, side * p.scale_cvg)))
            else:
                sides.append(min(p.max_cvg_len, side * p.scale_cvg))
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        for row, column in np.ndindex(rows, columns):
            left, upper = column * p.stride, row * p.stride
            across = min(left + p.stride, cx + sides[0] / 2) - max(left, cx - sides[0] / 2)
            down = min(upper + p.stride, cy + sides[1] / 2) - max(upper, cy - sides[1] / 2)
            if across <= 0 or down <= 0:
                continue
            norm = max(p.stride**2 / (sides[0] * sides[1]), 0 if p.obj_norm else 1)
            cell = [1, x1 - left, y1 - upper, x2 - left, y2 - upper, 1 / (x2 - x1), 1 / (y2 - y1), norm]
            grid[:, row, column] = [*cell, *(known[number] == c for c in range(len(grid) - 8))]
    return grid


@pytest.mark.parametrize("crop", ["true", "false"])
@pytest.mark.parametrize("kind", ["GRIDBOX_MIN min_cvg_len: 9 obj_norm: true", "GRIDBOX_MAX max_cvg_len: 13"])
def test_the_cells_of_a_grid(kind, crop) -> None:
    p = text_format.Parse(
        f"stride: 8 scale_cvg: 0.5 gridbox_type: {kind} image_size_x: 64 image_size_y: 40 crop_bboxes: {crop} "
        "object_class { src: 1 dst: 0 } object_class { src: 4 dst: 2 }",
        DetectNetGroundTruthParameter(),
    )
    boxes = np.array([[3, 5, 30, 20], [10, 8, 6, 4], [-9, 20, 40, 40], [70, 0, 9, 9], [30, 30, 30, 5]], float)
    classes = np.array([1, 4, 4, 1, 3])
    wanted = by_hand(p, boxes, classes)
    assert wanted[0].sum() > 8
    np.testing.assert_allclose(Grid(p).coverage(boxes, classes), wanted, rtol=1e-12)


def test_an_image_of_the_right_size_keeps_its_pixels(engine) -> None:
    more = "transform_param { mean_value: 10 mean_value: 20 mean_value: 30 }"
    for phase in (TRAIN, TEST):
        net = net_of(engine, "image_size_x: 24 image_size_y: 16 stride: 4", phase=phase, more=more)
        wanted = net.blobs["x0"].data - np.reshape([10, 20, 30], (3, 1, 1))
        np.testing.assert_allclose(net.blobs["y0"].data, wanted, atol=1e-3)
        assert net.blobs["y1"].data.shape == (1, 9, 4, 6)
        assert net.blobs["y1"].data[0, :, 1, 1].tolist() == pytest.approx([1, -2, -1, 4, 7, 1 / 6, 1 / 8, 4 / 3, 1])


def test_an_image_of_another_size_is_scaled_in_test_and_cut_in_train(engine) -> None:
    truth = "image_size_x: 12 image_size_y: 8 stride: 4"
    net = net_of(engine, truth, phase=TEST)
    image = net.blobs["x0"].data[0].transpose(1, 2, 0).astype(np.float32)
    wanted = cv2.resize(image, (12, 8), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    np.testing.assert_allclose(net.blobs["y0"].data[0], wanted, atol=1e-2)
    assert net.blobs["y1"].data[0, 5].max() == pytest.approx(1 / 3)
    net = net_of(engine, truth)
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data[:, :, 4:12, 6:18], atol=1e-3)


def test_a_cutting_beyond_the_image_is_black(engine) -> None:
    net = net_of(engine, "image_size_x: 32 image_size_y: 12 stride: 4")
    y = net.blobs["y0"].data
    assert not y[..., :4].any() and not y[..., 28:].any()
    np.testing.assert_allclose(y[..., 4:28], net.blobs["x0"].data[:, :, 2:14], atol=1e-3)
    np.testing.assert_allclose(net.blobs["y1"].data[0, 1:5, 1, 1], [2, -3, 8, 5], atol=1e-9)


def test_a_mirrored_image(engine) -> None:
    net = net_of(engine, "image_size_x: 24 image_size_y: 16 stride: 4", QUIET.replace("flip_prob: 0", "flip_prob: 1"))
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data[..., ::-1], atol=1e-3)
    grid = net.blobs["y1"].data[0]
    row, column = np.argwhere(grid[0])[0]
    assert grid[1, row, column] + 4 * column == 24 - 2 - 6 - 1  # as in the original


@pytest.mark.parametrize("angle", [-30, 25, 90])
def test_objects_turn_with_the_image(angle) -> None:
    image = np.zeros((60, 80, 3))
    image[20:31, 50:61] = 255
    view = View(0, 1, False, (80, 60), angle, (3, -2))
    seen = view.image(image, None, (120, 120))[..., 0]
    boxes = view.boxes(np.array([[50, 20, 10, 10]]), (80, 60))
    rows, columns = np.nonzero(seen > 127)
    np.testing.assert_allclose(boxes[0, :2] + 5, [columns.mean(), rows.mean()], atol=0.6)
    assert boxes[0, 2:].tolist() == [10, 10]


def test_colours(engine) -> None:
    view = View(120, 0.5, False, (2, 2), 0, (0, 0))
    image = np.full((2, 2, 3), [0, 0, 200.0])  # red
    np.testing.assert_allclose(view.image(image, None, (2, 2))[0, 0], [100, 200, 100], atol=0.1)


def test_views_are_drawn_within_their_limits() -> None:
    p = DetectNetAugmentationParameter(
        scale_prob=0.5, scale_min=0.5, scale_max=2, rotation_prob=0.5, max_rotate_degree=20, shift_x=8, shift_y=4
    )
    views = [View.drawn(p, (100, 50), (64, 32), np.random.default_rng(seed)) for seed in range(300)]
    assert 60 < sum(view.mirrored for view in views) < 140
    assert min(v.size[0] for v in views) >= 50 and max(v.size[0] for v in views) <= 200
    assert len({view.hue for view in views}) > 60 and max(abs(view.hue) for view in views) <= 15
    assert 100 < sum(view.angle != 0 for view in views) < 200 and max(abs(view.angle) for view in views) <= 20
    as_they_are = [view for view in views if view.size == (100, 50) and not view.angle]
    assert min(view.offset for view in as_they_are) >= (-4, -2) and max(view.offset for view in as_they_are) <= (40, 20)
    assert len({view.offset for view in as_they_are}) > 30


@pytest.mark.parametrize(
    ("kw", "what"),
    [
        ({"truth": "stride: 0"}, "stride is 0"),
        ({"truth": "", "more": "transform_param { mean_value: 1 mean_value: 2 }"}, "mean_value is given 2 times"),
    ],
)
def test_what_is_refused(kw, what, engine) -> None:
    with pytest.raises(LayerError, match=what):
        net_of(engine, **kw)


@pytest.mark.parametrize("number", [4, -1, np.nan])
def test_more_objects_than_rows(number, engine) -> None:
    net = net_of(engine, "")
    net.blobs["x1"].data[0, 0, 0, 0] = number
    with pytest.raises(LayerError, match=f"begins with {number} objects of 16 values, and has 3 rows"):
        net.forward()

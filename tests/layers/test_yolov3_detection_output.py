"""Yolov3DetectionOutput and YoloDetectionOutput against the original's rules, one place after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError
from caffe_lite.inspection.check import check

from .gradient import Bottom
from .gradient import make_net as make_layer_net
from .test_yolov3 import iou_by_hand, sigmoid

ANCHORS = [(10, 20), (30, 26), (44, 80), (24, 60)]
CLASSES, THRESHOLD, OVERLAP = 3, 0.25, 0.45


def box_by_hand(n, i, j, anchor, x, y, w, h, shape, frame):
    return (
        (i + sigmoid(x)) / shape[4],
        (j + sigmoid(y)) / shape[3],
        math.exp(w) * anchor[0] / frame[0],
        math.exp(h) * anchor[1] / frame[1],
    )


def rows_by_hand(candidates, images):
    """Keep, of an image's candidates (score, label, box), those that no better kept one overlaps."""
    rows = []
    for image in range(images):
        kept = []
        for score, label, box in sorted(candidates[image], key=lambda each: -each[0]):
            if all(iou_by_hand(box, other[2]) < OVERLAP for other in kept):
                kept.append((score, label, box))
        for score, label, (x, y, w, h) in kept:
            rows.append([image, label + 1, score, x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return rows


def v3_by_hand(maps, masks, scales, gaussian):
    candidates = [[] for _ in range(len(maps[0]))]
    step, objectness = (2, 8) if gaussian else (1, 4)
    for x, mask, scale in zip(maps, masks, scales, strict=True):
        frame = (x.shape[4] * scale, x.shape[3] * scale)
        for n, a, j, i in np.ndindex(*x.shape[:2], *x.shape[3:]):
            p = x[n, a, :, j, i]
            sure = sigmoid(p[objectness])
            if gaussian:
                sure *= (4 - sum(sigmoid(p[k]) for k in (1, 3, 5, 7))) / 4
            box = box_by_hand(n, i, j, ANCHORS[mask[a]], *p[0 : 4 * step : step], x.shape, frame)
            for c in range(CLASSES):
                score = sure * sigmoid(p[objectness + 1 + c])
                if score > THRESHOLD:
                    candidates[n].append((score, c, box))
    return rows_by_hand(candidates, len(maps[0]))


def v2_by_hand(maps):
    candidates = [[] for _ in range(len(maps[0]))]
    for x in maps:
        for n, a, j, i in np.ndindex(*x.shape[:2], *x.shape[3:]):
            p = x[n, a, :, j, i]
            prob = np.exp(p[5:]) / np.exp(p[5:]).sum()
            score = sigmoid(p[4]) * prob.max()
            box = box_by_hand(n, i, j, np.divide(ANCHORS[a], 20), *p[:4], x.shape, (x.shape[4], x.shape[3]))
            if score >= THRESHOLD:
                candidates[n].append((score, int(prob.argmax()), box))
    return rows_by_hand(candidates, len(maps[0]))


def biases(unit: float = 1) -> str:
    return " ".join(f"biases: {side / unit:g}" for anchor in ANCHORS for side in anchor)


def run(engine, text, maps):
    bottoms = []
    for x in maps:
        flat = x.reshape(len(x), x.shape[1] * x.shape[2], *x.shape[3:])
        bottoms.append(Bottom(flat.shape, lambda rng, flat=flat: flat))
    net = make_layer_net(text, bottoms, engine=engine, phase=TEST)
    net.forward()
    return net.blobs["y0"].data


def random_maps(values, anchors, *sizes):
    rng = np.random.default_rng(5)
    return [rng.normal(0, 1, (3, anchors, values, *size)) for size in sizes]


@pytest.mark.parametrize("gaussian", [False, True])
def test_version_3(gaussian: bool, engine: str) -> None:
    maps = random_maps(4 + 4 * gaussian + 1 + CLASSES, 2, (2, 3), (4, 6))
    maps[0][1], maps[1][1] = -5, -5  # an image without objects
    text = f"""type: "Yolov3DetectionOutput" yolov3_detection_output_param {{
        num_classes: {CLASSES} num_box: 2 confidence_threshold: {THRESHOLD} nms_threshold: {OVERLAP} {biases()}
        anchors_scale: 32 anchors_scale: 16 mask: 1 mask: 2 mask: 3 mask: 0
        gaussian_box: {str(gaussian).lower()} }}"""
    rows = run(engine, text, maps)
    wanted = v3_by_hand(maps, [(1, 2), (3, 0)], (32, 16), gaussian)
    assert rows.shape == (1, 1, len(wanted), 7) and {row[0] for row in wanted} == {0, 2}
    np.testing.assert_allclose(rows[0, 0], wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2])
def test_version_2(count: int, engine: str) -> None:
    maps = random_maps(5 + CLASSES, 3, (2, 3), (4, 6))[:count]
    text = f"""type: "YoloDetectionOutput" yolo_detection_output_param {{ num_classes: {CLASSES} num_box: 3
        confidence_threshold: {THRESHOLD} nms_threshold: {OVERLAP} {biases(20)} label_map_file: "none" }}"""
    rows = run(engine, text, maps)
    wanted = v2_by_hand(maps)
    assert rows.shape == (1, 1, len(wanted), 7)
    np.testing.assert_allclose(rows[0, 0], wanted, rtol=1e-6, atol=1e-9)


V3 = "num_classes: 1 num_box: 1 biases: 20 biases: 10 biases: 9 biases: 9 mask_group_num: 1"
ONE = f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {V3} mask: 0 anchors_scale: 8 }}'


def test_overlaps_as_large_as_the_threshold_are_too_large(engine: str) -> None:
    """Two boxes of one place, one half as large as the other."""
    x = np.zeros((1, 2, 6, 1, 1))
    x[:, :, 2] = np.log([1, 0.5]).reshape(1, 2, 1, 1)
    text = """type: "Yolov3DetectionOutput" yolov3_detection_output_param { num_classes: 1 num_box: 2
        biases: 4 biases: 4 mask_group_num: 1 mask: 0 mask: 0 anchors_scale: 8 nms_threshold: %s }"""
    assert run(engine, text % 0.5, [x]).shape[2] == 1
    assert run(engine, text % 0.51, [x]).shape[2] == 2


def test_no_objects(engine: str) -> None:
    rows = run(engine, ONE, [np.full((2, 1, 6, 2, 2), -9.0)])
    np.testing.assert_array_equal(rows, [[[[0, *[-1] * 6], [1, *[-1] * 6]]]])
    assert run(engine, ONE, [np.zeros((0, 1, 6, 2, 2))]).shape == (1, 1, 0, 7)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        (f"{V3} mask: 0", "there are 0 anchors_scale"),
        (f"{V3} mask: 2 anchors_scale: 8", "mask has 1 numbers, up to 2, for 2 anchors"),
        (f"{V3} anchors_scale: 8", "mask has 0 numbers"),
        (V3.replace("num: 1", "num: 2") + " mask: 0 anchors_scale: 8", "mask_group_num is 2, and there are 1 bottoms"),
        (V3.replace("classes: 1", "classes: 0") + " mask: 0 anchors_scale: 8", "num_classes"),
        (f"{V3} mask: 0 anchors_scale: 8 nms_threshold: 0", "nms_threshold is 0"),
        (f"{V3} mask: 0 anchors_scale: 8 gaussian_box: true", "1 anchors need 10 numbers each"),
    ],
)
def test_mistakes(param: str, what: str) -> None:
    text = f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {param} }}'
    with pytest.raises(LayerError, match=what):
        run("numpy", text, [np.zeros((1, 1, 6, 2, 2))])


def test_mistakes_of_version_2() -> None:
    text = 'type: "YoloDetectionOutput" yolo_detection_output_param { num_classes: 1 num_box: %s biases: 1 biases: 2 }'
    with pytest.raises(LayerError, match="there are 2 biases"):
        run("numpy", text % 2, [np.zeros((1, 2, 6, 2, 2))])
    with pytest.raises(LayerError, match="different numbers of images"):
        run("numpy", text % 1, [np.zeros((1, 1, 6, 2, 2)), np.zeros((2, 1, 6, 2, 2))])


def test_check_foresees_any_number_of_rows(tmp_path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 6 dim: 2 dim: 2 } } }\n'
        f'layer {{ name: "y" bottom: "x" top: "y" {ONE} }}\n'
        'layer { name: "z" type: "Slice" bottom: "y" top: "a" top: "b" slice_param { axis: 2 slice_point: 5 } }\n'
    )
    assert check(str(file)).status == "ok"

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError
from caffe_lite.inspection.check import check as check_file

from .cascade import moved, norm, overlap, random_regions, run

MEAN, STD = (0, 0.1, 0, -0.1), (0.1, 0.1, 0.2, 0.2)


def text(param: str = "", cls_aware: bool = True) -> str:
    reg = norm(MEAN, STD, f"cls_aware: {str(cls_aware).lower()}")
    return f'type: "FrcnnOutput" {reg} frcnn_output_param {{ conf_thr: 0.2 iou_thr: 0.4 {param} }}'


def scene(rng, count=40, classes=4, cls_aware=True, images=3):
    """Return bottoms in which many boxes overlap, some beyond their images; the last image has no region."""
    regions = random_regions(rng, count, images - 1)
    regions = np.concatenate([regions, rng.uniform(0, 1, (count, 1))], 1)
    scores = rng.dirichlet(np.ones(classes), count)
    deltas = rng.normal(0, 1.5, (count, 4 * classes if cls_aware else 8))
    return [scores, deltas, regions, rng.uniform(80, 100, (images, 2)).round()]


def by_hand(arrays, cls_aware=True, most=0, conf_thr=0.2, iou_thr=0.4):
    scores, deltas, regions, sizes = arrays
    rows = []
    for i, (height, width) in enumerate(sizes):
        rows.append([i, -1, -1, -1, -1, -1, -1])
        found = []
        for label in range(1, scores.shape[1]):
            boxes = []
            for r in range(len(regions)):
                if regions[r, 0] == i and scores[r, label] >= conf_thr:
                    column = 4 * label if cls_aware else 4
                    box = moved(regions[r, 1:5], deltas[r, column : column + 4], MEAN, STD)
                    box = [max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)]
                    boxes.append((scores[r, label], box))
            boxes.sort(key=lambda pair: -pair[0])
            kept: list[tuple[float, list[float]]] = []
            for score, box in boxes:
                if all(overlap(other, box) <= iou_thr for _, other in kept):
                    kept.append((score, box))
            found += [[i, *box, label, score] for score, box in kept]
        if most:
            least = sorted((row[6] for row in found), reverse=True)[:most][-1] if found else 0
            found = [row for row in found if row[6] >= least]
        rows += found
    return rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls_aware", [True, False])
@pytest.mark.parametrize("most", [0, 5])
@pytest.mark.parametrize("ones", [(), (1, 1)])
def test_boxes_by_hand(engine, cls_aware, most, ones, dtype) -> None:
    arrays = [x.astype(dtype) for x in scene(np.random.default_rng(0), cls_aware=cls_aware)]
    layer = text(f"max_det_num: {most}", cls_aware)
    _, (top,) = run(layer, [x.reshape(*x.shape, *ones) for x in arrays], engine=engine, phase=TEST, dtype=dtype)
    wanted = by_hand(arrays, cls_aware, most)
    assert top.shape == (len(wanted), 7, 1, 1)
    assert len(wanted) > 10
    np.testing.assert_allclose(top[:, :, 0, 0], wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("images", [0, 2])
def test_nothing_is_found(engine, images) -> None:
    arrays = [np.zeros((0, 3)), np.zeros((0, 12)), np.zeros((0, 5)), np.ones((images, 2))]
    _, (top,) = run(text(), arrays, engine=engine)
    assert top.shape == (images, 7, 1, 1)
    assert top[:, :, 0, 0].tolist() == [[i, *[-1] * 6] for i in range(images)]


@pytest.mark.parametrize(
    ("change", "shapes", "what"),
    [
        ({}, [(2, 3), (2, 8), (2, 5), (1, 2)], "the deltas have the shape (2, 8). Give (N, 12, 1, 1)"),
        ({"cls_aware": False}, [(2, 3), (2, 12), (2, 5), (1, 2)], "the deltas have the shape (2, 12)"),
        ({}, [(2, 3), (2, 12), (2, 4), (1, 2)], "the regions have the shape (2, 4)"),
        ({}, [(2, 3), (2, 12), (2, 5), (1, 3)], "the sizes of images have the shape (1, 3)"),
        ({}, [(2, 3), (3, 12), (2, 5), (1, 2)], "differ in their first axis"),
        ({}, [(2, 3), (2, 12), (2, 5), (0, 2)], "region 0 is of image 0. There are 0: count from 0"),
        ({"param": "nms_type: 'X'"}, [(2, 3), (2, 12), (2, 5), (1, 2)], "nms_type is 'X'"),
    ],
)
def test_errors(engine, change, shapes, what) -> None:
    with pytest.raises(CaffeError) as error:
        run(text(**change), [np.zeros(shape) for shape in shapes], engine=engine)
    assert what in str(error.value)


# -- files -----------------------------------------------------------------------------------------------------------

NET = """layer { name: "in" type: "Input" top: "prob" top: "deltas" top: "regions" top: "sizes" input_param {
    shape { dim: 3 dim: 3 } shape { dim: 3 dim: 8 } shape { dim: 3 dim: 5 } shape { dim: 2 dim: 2 } } }
layer { name: "out" type: "FrcnnOutput" bottom: "prob" bottom: "deltas" bottom: "regions" bottom: "sizes" top: "out"
    bbox_reg_param { cls_aware: false } frcnn_output_param { conf_thr: 0.2 save_output_param { %s } } }"""


def saving(folder: Path, form: str) -> str:
    (folder / "labels.prototxt").write_text('item { name: "cat" label: 1 } item { name: "dog" label: 2 }')
    (folder / "sizes.txt").write_text("a 100 200\nb 30 60\n")
    out = folder / "out"
    return (
        f'output_directory: "{out.as_posix()}" output_name_prefix: "run_" output_format: "{form}" '
        f'label_map_file: "{(folder / "labels.prototxt").as_posix()}" '
        f'name_size_file: "{(folder / "sizes.txt").as_posix()}"'
    )


@pytest.mark.parametrize("form", ["VOC", "COCO"])
def test_files_in_pixels_of_the_images(make_net, tmp_path, form) -> None:
    net = make_net(NET % saving(tmp_path, form), TEST)
    net.forward(
        prob=np.array([[0, 0.75, 0.25], [0.75, 0.125, 0.125], [0.5, 0, 0.5]]),
        deltas=np.zeros((3, 8)),
        regions=np.array([[0, 10, 20, 30, 40], [1, 0, 0, 5, 5], [1, 5, 10, 15, 60]]),
        sizes=np.array([[50, 100], [60, 120]]),
    )
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    if form == "VOC":
        assert files == {"run_cat.txt": "a 0.75 20 40 60 80\n", "run_dog.txt": "a 0.25 20 40 60 80\nb 0.5 2 5 7 30\n"}
    else:
        assert json.loads(files["run_.json"])[2] == {
            "image_id": "b",
            "category_id": "dog",
            "bbox": [2.5, 5, 5, 25],
            "score": 0.5,
        }


def test_a_check_opens_no_files(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET % 'output_directory: "nowhere" label_map_file: "none" name_size_file: "none"')
    assert check_file(path).problems == []
    assert not Path("nowhere").exists()

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .cascade import moved, norm, overlap, run

MEAN, STD = (0, 0.1, 0, -0.1), (0.5, 0.5, 0.4, 0.4)
MAPS = [(2, 8, ((24, 40), (40, 24)), (6, 7)), (2, 16, ((48, 64),), (3, 4))]  # classes, stride, sizes, map


def text(fg_thr=0.3, iou_thr=0.5, most=0, post=0, min_size=10, maps=MAPS, more="", nms_type="IOU") -> str:
    groups = "".join(
        "box_group_param {{ stride: {} {} }} ".format(
            stride, " ".join(f"field_w: {width} field_h: {height}" for width, height in sizes)
        )
        for _, stride, sizes, _ in maps
    )
    return (
        f'type: "BoxGroupOutput" {norm(MEAN, STD)} box_group_output_param {{ {groups} fg_thr: {fg_thr} '
        f"iou_thr: {iou_thr} max_nms_num: {most} max_post_nms_num: {post} min_size: {min_size} field_whr: 1.8 "
        f'field_xyr: 3 nms_type: "{nms_type}" {more} }}'
    )


def random_maps(rng, images, maps=MAPS) -> list[np.ndarray]:
    arrays = []
    for classes, _, sizes, (height, width) in maps:
        count = images * len(sizes)
        scores = rng.uniform(0, 1, (count, classes, height, width))
        arrays += [scores / np.maximum(1e-9, scores.sum(1, keepdims=True)), rng.normal(0, 1, (count, 4, height, width))]
    return arrays


def measured(kept, box, nms_type) -> float:
    if nms_type == "IOU":
        return overlap(kept, box)
    areas = [(x[2] - x[0] + 1) * (x[3] - x[1] + 1) for x in (kept, box)]
    width, height = (max(0, min(kept[i + 2], box[i + 2]) - max(kept[i], box[i]) + 1) for i in (0, 1))
    return width * height / (min(areas) if nms_type == "IOMU" else areas[0])


def by_hand(arrays, images, fg_thr=0.3, iou_thr=0.5, most=0, post=0, min_size=10, maps=MAPS, nms_type="IOU"):
    rows = []
    for image in range(images):
        found = []
        for m, (_, stride, sizes, (height, width)) in enumerate(maps):
            scores, deltas = arrays[2 * m], arrays[2 * m + 1]
            for g, (w, h) in enumerate(sizes):
                for y in range(height):
                    for x in range(width):
                        at = image * len(sizes) + g
                        score = 1 - scores[at, 0, y, x]
                        if score < fg_thr:
                            continue
                        cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
                        bounds = [(-1 / 3, 1 / 3)] * 2 + [(-np.log(1.8), np.log(1.8))] * 2
                        delta = [
                            min(max(deltas[at, i, y, x] * STD[i] + MEAN[i], low), high)
                            for i, (low, high) in enumerate(bounds)
                        ]
                        box = moved([cx - w / 2, cy - h / 2, cx + w / 2 - 1, cy + h / 2 - 1], delta)
                        box = [
                            max(box[0], 0),
                            max(box[1], 0),
                            min(box[2], width * stride),
                            min(box[3], height * stride),
                        ]
                        if box[2] - box[0] + 1 >= min_size and box[3] - box[1] + 1 >= min_size:
                            found.append((score, box))
        found.sort(key=lambda pair: -pair[0])
        kept = []
        for score, box in found[: most or None]:
            if all(measured(other, box, nms_type) <= iou_thr for _, other in kept):
                kept.append((score, box))
        rows += [[image, *box, score] for score, box in kept[: post or None]]
    return rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"most": 40},
        {"post": 5},
        {"iou_thr": 0.3, "min_size": 30},
        {"fg_thr": 0.6, "iou_thr": 0.7},
        {"nms_type": "IOMU"},
        {"nms_type": "IOFU"},
    ],
)
@pytest.mark.parametrize("images", [1, 3])
def test_boxes_by_hand(engine, images, settings, dtype) -> None:
    arrays = [x.astype(dtype) for x in random_maps(np.random.default_rng(images), images)]
    _, (regions, scored) = run(text(**settings), arrays, 2, engine=engine, dtype=dtype)
    wanted = np.array(by_hand(arrays, images, **settings))
    assert len(wanted) >= images
    assert scored.shape == (len(wanted), 6, 1, 1)
    np.testing.assert_allclose(scored[:, :, 0, 0], wanted, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(regions, scored[:, :5])


def test_no_box_gives_a_stand_in(engine) -> None:
    arrays = random_maps(np.random.default_rng(0), 2)
    net, (regions, scored) = run(text(fg_thr=1.5), arrays, 2, engine=engine)
    np.testing.assert_array_equal(regions[:, :, 0, 0], [[0, 1, 1, 10, 10]])
    np.testing.assert_array_equal(scored[:, :, 0, 0], np.zeros((1, 6)))
    net.backward()


def test_no_images_and_no_places(engine) -> None:
    _, (regions,) = run(text(), random_maps(np.random.default_rng(0), 0), engine=engine)
    assert regions.shape == (0, 5, 1, 1)
    maps = [(2, 8, ((24, 40),), (0, 3))]
    _, (regions,) = run(text(maps=maps), random_maps(np.random.default_rng(0), 1, maps), engine=engine)
    assert regions.shape == (1, 5, 1, 1)


def test_boxes_reach_the_edge_and_no_further(engine) -> None:
    maps = [(2, 8, ((64, 64),), (4, 4))]
    arrays = [np.zeros((1, 2, 4, 4)), np.zeros((1, 4, 4, 4))]
    _, (regions,) = run(text(maps=maps, iou_thr=1), arrays, engine=engine)
    assert regions[:, 1:3].min() == 0 and regions[:, 3:].max() == 32


@pytest.mark.parametrize(
    ("change", "shapes", "what"),
    [
        ({}, [(2, 2, 6, 7), (2, 4, 6, 7)], "it has 2 bottoms and 2 box_group_param"),
        ({"maps": MAPS[:1]}, [(2, 2, 6, 7), (2, 4, 6, 8)], "make no map"),
        ({"maps": MAPS[:1]}, [(3, 2, 6, 7), (3, 4, 6, 7)], "does not divide into 2 anchors for each image"),
        ({}, [(2, 2, 6, 7), (2, 4, 6, 7), (3, 2, 3, 4), (3, 4, 3, 4)], "the maps are of 1, 3 images"),
        ({"maps": [(2, 8, (), (6, 7))]}, [(2, 2, 6, 7), (2, 4, 6, 7)], "field_w has 0 values"),
        ({"maps": [(2, 0, ((1, 1),), (6, 7))]}, [(2, 2, 6, 7), (2, 4, 6, 7)], "there is no stride"),
        ({"maps": MAPS[:1], "nms_type": "iou"}, [(2, 2, 6, 7), (2, 4, 6, 7)], "nms_type is 'iou'. Use IOU, IOMU, IOFU"),
        ({"maps": MAPS[:1], "more": "field_xyr: 0"}, [(2, 2, 6, 7), (2, 4, 6, 7)], "field_xyr is 0"),
    ],
)
def test_errors(engine, change, shapes, what) -> None:
    layer = text(**change)
    if "more" in change:
        layer = layer.replace("field_xyr: 3", "")
    with pytest.raises(LayerError) as error:
        run(layer, [np.zeros(shape) for shape in shapes], engine=engine)
    assert what in str(error.value)

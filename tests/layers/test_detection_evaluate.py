from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, ranks
from caffe_lite.errors import CaffeError, LayerError
from caffe_lite.inspection.check import check as check_file
from tests.data.test_boxes import overlap_by_hand, random_boxes

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def evaluated_by_hand(found, truth, classes, background=0, threshold=0.5, difficult=True, inclusive=False):
    """PASCAL VOC's rules, one detection after the other; rows of image, label, score, right, wrong."""
    rows = []
    for label in range(classes):
        if label != background:
            boxes = [t for t in truth if t[0] != -1 and t[1] == label and (difficult or not t[7])]
            rows.append([-1, label, len(boxes), -1, -1])
    for image, label in sorted({(f[0], f[1]) for f in found if f[0] != -1 and f[1] != -1}):
        mine = sorted((f for f in found if (f[0], f[1]) == (image, label)), key=lambda f: -f[2])
        boxes = [t for t in truth if (t[0], t[1]) == (image, label)]
        taken = set()
        for row in mine:
            best, at = -1, None
            for j, true in enumerate(boxes):
                overlap = overlap_by_hand(row[3:7], true[3:7], inclusive)
                if overlap > best:
                    best, at = overlap, j
            right = wrong = 0
            if best < threshold:
                wrong = 1
            elif difficult or not boxes[at][7]:
                right, wrong = int(at not in taken), int(at in taken)
                taken.add(at)
            rows.append([image, label, row[2], right, wrong])
    return rows


def net_of(engine, param, *bottoms, dtype="float64"):
    bottoms = [Bottom(x.shape, lambda rng, x=x: x) for x in map(np.asarray, bottoms)]
    text = f'type: "DetectionEvaluate" detection_evaluate_param {{ {param} }}'
    net = make_layer_net(text, bottoms, engine=engine, phase=TEST, dtype=dtype)
    net.forward()
    return net


def random_rows(rng, found, truth, images, classes):
    """Make detections and true boxes (SSD's columns), some of them of no image or label, or difficult."""
    detections = np.column_stack([
        rng.integers(-1, images, found), rng.choice([-1, *range(1, classes)], found), rng.integers(0, 5, found) / 5,
        random_boxes(rng, found),
    ])  # fmt: skip
    boxes = np.column_stack([
        rng.integers(-1, images, truth), rng.integers(1, classes, truth), np.zeros(truth), random_boxes(rng, truth),
        rng.integers(0, 2, truth),
    ])  # fmt: skip
    return detections, boxes


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 99),
    found=st.sampled_from([0, 1, 30, 80]),
    truth=st.sampled_from([0, 1, 20]),
    difficult=st.booleans(),
    threshold=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_rows(seed, found, truth, difficult, threshold, engine) -> None:
    detections, boxes = random_rows(np.random.default_rng(seed), found, truth, 3, 4)
    param = f"num_classes: 4 evaluate_difficult_gt: {str(difficult).lower()} overlap_threshold: {threshold}"
    rows = net_of(engine, param, detections[None, None], boxes[None, None]).blobs["y0"].data
    threshold = float(np.float32(threshold))
    np.testing.assert_allclose(rows[0, 0], evaluated_by_hand(detections, boxes, 4, 0, threshold, difficult))


def test_another_background_and_none(engine) -> None:
    found, truth = [[[[0, 0, 0.5, 0, 0, 1, 1]]]], [[[[0, 0, 0, 0, 0, 1, 1, 0]]]]
    rows = net_of(engine, "num_classes: 2 background_label_id: 1", found, truth).blobs["y0"].data
    assert rows.tolist() == [[[[-1, 0, 1, -1, -1], [0, 0, 0.5, 1, 0]]]]


SIZES = "a 100 100\nb 50 200\nc 10 10\n"


def test_boxes_are_compared_in_the_pixels_of_the_next_images(engine, tmp_path) -> None:
    (tmp_path / "sizes").write_text(SIZES)
    rng = np.random.default_rng(1)
    found, truth = random_rows(rng, 40, 30, 2, 3)
    truth[:, 0] = np.arange(30) % 2
    net = net_of(engine, f'num_classes: 3 name_size_file: "{tmp_path}/sizes"', found[None, None], truth[None, None])
    for first in (0, 2, 1):
        scaled = [rows.copy() for rows in (found, truth)]
        for rows in scaled:
            for row in rows:
                height, width = [(100, 100), (50, 200), (10, 10)][(first + int(row[0])) % 3]
                row[3:7] = np.clip(row[3:7], 0, 1) * [width, height, width, height]
        wanted = evaluated_by_hand(*scaled, 3, inclusive=True)
        np.testing.assert_allclose(net.blobs["y0"].data[0, 0], wanted)
        net.forward()


def test_a_snapshot_holds_the_place_in_the_list(engine, tmp_path) -> None:
    (tmp_path / "sizes").write_text(SIZES)
    found, truth = np.array([0, 1, 0.5, 0, 0, 1, 1]), np.array([1, 1, 0, 0, 0, 1, 1, 0])
    bottoms = found.reshape(1, 1, 1, 7), truth.reshape(1, 1, 1, 8)
    net = net_of(engine, f'num_classes: 2 name_size_file: "{tmp_path}/sizes"', *bottoms)
    layer = net.nodes[-1].layer
    assert layer.state() == 2  # after one batch of two images
    net.forward()
    assert layer.state() == 1
    layer.restore_state(2)
    net.forward()
    assert layer.state() == 1
    with pytest.raises(LayerError, match="the snapshot is that of another net"):
        layer.restore_state(None)


def test_an_image_without_detections_keeps_its_size(engine, tmp_path) -> None:
    """The second image's box of 9 x 9 pixels, found 1 pixel off, would be another one at the first image's size."""
    (tmp_path / "sizes").write_text("a 1000 1000\nb 10 10\n")
    found, truth = [[[[1, 1, 0.5, 0, 0, 0.8, 0.8]]]], [[[[0, 1, 0, 0, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0.9, 0.9, 0]]]]
    param = f'num_classes: 2 overlap_threshold: 0.8 name_size_file: "{tmp_path}/sizes"'
    rows = net_of(engine, param, found, truth).blobs["y0"].data
    np.testing.assert_allclose(rows[0, 0, 1], [1, 1, 0.5, 1, 0])
    assert 9 * 9 / (10 * 10) > 0.8 > 801 * 801 / (901 * 901)


@pytest.mark.parametrize("axes", [2, 4])
def test_cascade(engine, tmp_path, axes) -> None:
    (tmp_path / "sizes").write_text(SIZES)
    rng = np.random.default_rng(2)
    found, truth = random_rows(rng, 40, 30, 2, 3)
    found[:, 3:7] *= 60
    truth[:, 3:7] *= 60
    shown = np.array([[50, 200], [25, 50]])  # so that boxes grow by 2 and 0.5, and by 2 and 4
    bottoms = [
        np.column_stack([found[:, 0], found[:, 3:7], found[:, 1:3]]),
        np.column_stack([truth[:, 0], truth[:, 3:7], truth[:, 1:3], truth[:, 7]]),
        shown,
    ]
    ones = (1,) * (axes - 2)
    param = f'num_classes: 3 evaluate_difficult_gt: false name_size_file: "{tmp_path}/sizes"'
    rows = net_of(engine, param, *(b.reshape(*b.shape, *ones) for b in bottoms)).blobs["y0"].data
    for part in (found, truth):
        part[:, 3:7] *= np.array([[0.5, 2, 0.5, 2], [4, 2, 4, 2], [0] * 4])[part[:, 0].astype(int)]
    wanted = evaluated_by_hand(found, truth, 3, difficult=False, inclusive=True)
    assert rows.shape == (len(wanted), 5, 1, 1)
    np.testing.assert_allclose(rows[:, :, 0, 0], wanted)


def test_float32(engine) -> None:
    found, truth = random_rows(np.random.default_rng(0), 30, 20, 2, 3)
    rows = net_of(engine, "num_classes: 3", found[None, None], truth[None, None], dtype="float32").blobs["y0"].data
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[0, 0], evaluated_by_hand(found, truth, 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("param", "shapes", "what"),
    [
        ("", [(1, 1, 1, 7), (1, 1, 1, 8)], "there is no num_classes"),
        ("num_classes: 2 overlap_threshold: 0", [(1, 1, 1, 7), (1, 1, 1, 8)], "overlap_threshold is 0"),
        ("num_classes: 2", [(1, 1, 1, 8), (1, 1, 1, 8)], "the detections have the shape (1, 1, 1, 8)"),
        ("num_classes: 2", [(1, 1, 1, 7), (2, 1, 1, 8)], "the true boxes have the shape (2, 1, 1, 8)"),
        ("num_classes: 2", [(7,), (8,)], "the detections have the shape (7,)"),
        ("num_classes: 2", [(3, 7), (2, 8), (1, 2)], "as Cascade R-CNN's layer, and no name_size_file"),
        ('num_classes: 2 name_size_file: "nowhere"', [(1, 1, 1, 7), (1, 1, 1, 8)], "there is no file 'nowhere'"),
        ("num_classes: 2", [(1, 1, 1, 7), (1, 1, 1, 8)], "among the detections is one of the background"),
    ],
)
def test_what_is_refused(param, shapes, what, engine) -> None:
    with pytest.raises(CaffeError) as error:
        net_of(engine, param, *map(np.zeros, shapes))
    assert what in str(error.value)


def test_a_true_box_of_the_background(engine) -> None:
    with pytest.raises(LayerError, match=r"among the true boxes is one of the background\. No label may be 0"):
        net_of(engine, "num_classes: 2", np.full((1, 1, 1, 7), -1), np.zeros((1, 1, 2, 8)))


def test_how_many_rows_there_are_is_not_known_beforehand(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("""
        layer { name: "in" type: "Input" top: "found" top: "true"
                input_param { shape { dim: 1 dim: 1 dim: 1 dim: 7 } shape { dim: 1 dim: 1 dim: 1 dim: 8 } } }
        layer { name: "rows" type: "DetectionEvaluate" bottom: "found" bottom: "true" top: "rows"
                detection_evaluate_param { num_classes: 21 name_size_file: "not there yet" } }
        layer { name: "some" type: "Reshape" bottom: "rows" top: "some" reshape_param { shape { dim: 7 dim: 5 } } }""")
    assert check_file(path).problems == []


@pytest.mark.parametrize("axes", [2, 4])
def test_dealt_batches_are_of_their_own_images(engine, tmp_path, monkeypatch, axes) -> None:
    """Of batches of two images, this process has numbers 1, 4, 7, ..."""
    monkeypatch.setattr(ranks, "_tested", ranks.WHOLE)
    (tmp_path / "sizes").write_text("".join(f"{i} {2 + 9 * i} {60 - 9 * i}\n" for i in range(7)))
    rng = np.random.default_rng(3)
    found, truth = random_rows(rng, 400, 90, 2, 3)
    truth[:, 0] = np.arange(90) % 2
    bottoms = [found[None, None], truth[None, None]]
    if axes == 2:
        found[:, 3:7] *= 60
        truth[:, 3:7] *= 60
        shown = np.array([[50, 80], [70, 60]])
        bottoms = [np.column_stack([found[:, 0], found[:, 3:7], found[:, 1:3]])]
        bottoms += [np.column_stack([truth[:, 0], truth[:, 3:7], truth[:, 1:3], truth[:, 7]]), shown]

    def judged(passes: int) -> list[np.ndarray]:
        net = net_of(engine, f'num_classes: 3 name_size_file: "{tmp_path}/sizes"', *bottoms)
        batches = [np.copy(net.blobs["y0"].data)]
        for _ in range(passes - 1):
            net.forward()
            batches.append(np.copy(net.blobs["y0"].data))
        return batches

    whole = judged(11)
    assert len({rows.tobytes() for rows in whole[:7]}) > 3
    ranks.deal_batches(1, 3)
    for mine, same in zip(judged(4), whole[1::3], strict=True):
        np.testing.assert_array_equal(mine, same)

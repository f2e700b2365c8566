from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, Net
from caffe_lite.errors import CaffeError, LayerError
from caffe_lite.inspection.check import check as check_file
from tests.data.test_boxes import nms_by_hand

from .gradient import Bottom
from .gradient import make_net as make_layer_net

SHARED = Path(__file__).parents[3] / "shared" / "corpus" / "models"


def decoded_by_hand(code, numbers, prior, variance):
    numbers = [number * v for number, v in zip(numbers, variance, strict=True)]
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CENTER_SIZE":
        x, y = numbers[0] * width + (prior[0] + prior[2]) / 2, numbers[1] * height + (prior[1] + prior[3]) / 2
        w, h = math.exp(numbers[2]) * width, math.exp(numbers[3]) * height
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    unit = [width, height, width, height] if code == "CORNER_SIZE" else [1] * 4
    return [p + number * u for p, number, u in zip(prior, numbers, unit, strict=True)]


def detected_by_hand(
    locations, scores, priors, *, classes, shared, background, threshold, top_k, eta, keep, code, coded, cut
):
    """SSD's rules, one prior, class and image after the other; rows of image, label, score and corners."""
    images, count = len(locations), priors.shape[2] // 4
    corners, variances = priors[0].reshape(2, count, 4)
    scores = scores.reshape(images, count, classes)
    locations = locations.reshape(images, count, 1 if shared else classes, 4)
    rows = []
    for image in range(images):
        found = []
        for label in range(classes):
            if label == background:
                continue
            order = [i for i in range(count) if scores[image, i, label] > threshold]
            order = sorted(order, key=lambda i: -scores[image, i, label])[:top_k]
            boxes = [
                decoded_by_hand(
                    code,
                    locations[image, i, 0 if shared else label],
                    corners[i],
                    [1] * 4 if coded else variances[i],
                )
                for i in order
            ]
            boxes = [[min(max(x, 0), 1) for x in box] for box in boxes] if cut else boxes
            found += [[image, label, scores[image, order[i], label], *boxes[i]] for i in nms_by_hand(boxes, 0.6, eta)]
        if keep is not None:
            best = sorted(range(len(found)), key=lambda i: -found[i][2])[:keep]
            found = [found[i] for i in sorted(best)]
        rows += found
    return rows or [[image, *[-1] * 6] for image in range(images)]


def net_of(engine, param, locations, scores, priors, layer_type="DetectionOutput", dtype="float64"):
    bottoms = [Bottom(x.shape, lambda rng, x=x: x) for x in (locations, scores, priors)]
    text = f'type: "{layer_type}" detection_output_param {{ {param} }}'
    net = make_layer_net(text, bottoms, engine=engine, phase=TEST, dtype=dtype)
    net.forward()
    return net


def random_bottoms(rng, images, count, classes, shared):
    start = rng.uniform(0, 0.6, (count, 2))
    corners = np.concatenate([start, start + rng.uniform(0.2, 0.4, (count, 2))], 1)
    variances = rng.uniform(0.1, 0.3, (count, 4))
    locations = rng.normal(0, 0.5, (images, count * 4 * (1 if shared else classes)))
    scores = rng.integers(0, 20, (images, count * classes)) / 20  # many are equal
    return locations, scores, np.stack([corners, variances]).reshape(1, 2, -1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 99),
    images=st.integers(1, 3),
    count=st.sampled_from([1, 7, 40]),
    classes=st.integers(2, 4),
    shared=st.booleans(),
    background=st.sampled_from([0, 1, -1]),
    threshold=st.sampled_from([None, 0.3, 0.9, 1.0]),
    top_k=st.sampled_from([None, -1, 0, 3, 100]),
    eta=st.sampled_from([1, 0.8]),
    keep=st.sampled_from([None, -1, 0, 1, 5, 100]),
    code=st.sampled_from(["CORNER", "CENTER_SIZE", "CORNER_SIZE"]),
    coded=st.booleans(),
    cut=st.booleans(),
)
def test_detections(
    engine, seed, images, count, classes, shared, background, threshold, top_k, eta, keep, code, coded, cut
) -> None:
    bottoms = random_bottoms(np.random.default_rng(seed), images, count, classes, shared)
    param = f"num_classes: {classes} share_location: {str(shared).lower()} background_label_id: {background}"
    param += f" code_type: {code} variance_encoded_in_target: {str(coded).lower()} nms_param {{ nms_threshold: 0.6"
    param += f" eta: {eta}{'' if top_k is None else f' top_k: {top_k}'} }}"
    param += "" if threshold is None else f" confidence_threshold: {threshold}"
    param += "" if keep is None else f" keep_top_k: {keep}"
    param += " clip: true" if cut else ""
    found = net_of(engine, param, *bottoms).blobs["y0"].data
    wanted = detected_by_hand(
        *bottoms,
        classes=classes,
        shared=shared,
        background=background,
        threshold=-math.inf if threshold is None else float(np.float32(threshold)),
        top_k=None if top_k == -1 else top_k,
        eta=eta,
        keep=None if keep == -1 else keep,
        code=code,
        coded=coded,
        cut=cut,
    )
    assert found.shape == (1, 1, len(wanted), 7)
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-6, atol=1e-9)


def test_more_candidates_are_taken_until_enough_are_kept(engine) -> None:
    """The best scores are those of one place; only far down the list is there another."""
    scores = np.zeros((1, 300, 2))
    scores[0, :, 1] = np.linspace(1, 0.5, 300)
    corners = np.tile([0, 0, 0.5, 0.5], (300, 1))
    corners[-2:] = [[0.5, 0.5, 0.7, 0.7], [0.8, 0.8, 1, 1]]
    priors = np.stack([corners, np.full((300, 4), 0.1)]).reshape(1, 2, -1)
    bottoms = np.zeros((1, 1200)), scores.reshape(1, -1), priors
    found = net_of(engine, "num_classes: 2 keep_top_k: 2", *bottoms, dtype="float32").blobs["y0"].data
    np.testing.assert_array_equal(found[0, 0, :, 3:], np.float32(corners[[0, -2]]))


def test_shapes_follow_the_number_of_boxes(engine, caplog) -> None:
    locations, scores, priors = random_bottoms(np.random.default_rng(0), 2, 5, 2, True)
    net = net_of(engine, "num_classes: 2 confidence_threshold: 0.5", locations, scores, priors)
    assert net.blobs["y0"].shape[2] > 2
    with caplog.at_level(logging.INFO, "caffe_lite"):
        net.blobs["x1"].data[...] = 0
        net.forward()
    assert "Couldn't find any detections" in caplog.text
    assert net.blobs["y0"].data.tolist() == [[[[0, *[-1] * 6], [1, *[-1] * 6]]]]
    net.blobs["x0"].reshape(0, 20)
    net.blobs["x1"].reshape(0, 10)
    net.forward()
    assert net.blobs["y0"].data.shape == (1, 1, 0, 7)


BOTTOMS = random_bottoms(np.random.default_rng(0), 2, 5, 3, True)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("", "there is no num_classes"),
        ("num_classes: 3 nms_param { nms_threshold: -1 }", "nms_threshold is -1"),
        ("num_classes: 3 nms_param { eta: 0 }", "eta is 0"),
        ("num_classes: 3 nms_param { eta: 1.5 }", "eta is 1.5"),
        ("num_classes: 3 ratio_permute: true", "ratio_permute is set, a field of synopsys' Caffe"),
        ("num_classes: 3 scale_xywh: 2", "scale_xywh is set, a field of synopsys' Caffe"),
        ("num_classes: 2", "5 priors need 10 numbers for each image, and the scores have the shape (2, 15)"),
        ("num_classes: 3 share_location: false", "5 priors need 60 numbers for each image, and the locations have"),
    ],
)
def test_what_is_refused(engine, param, what) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, param, *BOTTOMS)
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ([(2, 20), (2, 15), (1, 2, 21)], "the priors have the shape (1, 2, 21)"),
        ([(2, 20), (2, 15), (2, 20)], "the priors have the shape (2, 20)"),
        ([(2, 20), (3, 15), (1, 2, 20)], "the locations are of 2 images, the scores of 3"),
        ([(2, 20), (2, 15), (1, 2, 20), (2, 15), (2, 20)], "it has five bottoms, as RefineDet's layer of this name"),
    ],
)
def test_bottoms_that_do_not_fit(engine, shapes, what) -> None:
    text = 'type: "DetectionOutput" detection_output_param { num_classes: 3 }'
    with pytest.raises(LayerError) as error:
        make_layer_net(text, list(map(Bottom, shapes)), engine=engine)
    assert what in str(error.value)


def test_a_prior_without_a_size_is_an_error(engine) -> None:
    locations, scores, priors = BOTTOMS
    priors = priors.copy()
    priors[0, 0, 8:12] = [0.5, 0.5, 0.5, 0.75]
    net_of(engine, "num_classes: 3", locations, scores, priors)
    with pytest.raises(LayerError, match=r"prior 2 is \[0.5, 0.5, 0.5, 0.75\]"):
        net_of(engine, "num_classes: 3 code_type: CENTER_SIZE", locations, scores, priors)


NET = """
layer { name: "in" type: "Input" top: "loc" top: "conf" top: "priors"
        input_param { shape { dim: 1 dim: 8 } shape { dim: 1 dim: 6 } shape { dim: 1 dim: 2 dim: 8 } } }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"
        detection_output_param { num_classes: 3 confidence_threshold: 0.1 %s } }
"""
PRIORS = np.array([[[0, 0, 0.5, 0.5, 0.25, 0.5, 1.5, 0.75], [0.1] * 8]])
SCORES = [[0, 0.875, 0, 0, 0.25, 0.5], [0, 0, 0, 0, 0, 0], [0, 0, 0.125, 0, 0, 0]]


def test_how_many_boxes_there_are_is_not_known_beforehand(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        NET % ""
        + """
        layer { name: "far" type: "Reshape" bottom: "found" top: "far" reshape_param { shape { dim: 3 dim: 7 } } }"""
    )
    assert check_file(path).problems == []


def test_a_compiled_net_says_why_it_is_none(tmp_path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "net.prototxt"
    path.write_text(NET % "")
    net = Net(path, TEST, engine="torch", compile=True)
    with pytest.raises(CaffeError, match=r"\"found\" \(DetectionOutput\): it cannot be compiled: how many boxes it"):
        net.forward()


def saving_net(make_net, tmp_path, form, more="", **changed):
    """Make a net that writes files for three test images; ``changed`` has other values for fields."""
    (tmp_path / "labels.prototxt").write_text(
        'item { name: "none" label: 0 display_name: "background" } item { name: "7" label: 1 } '
        'item { name: "bird" label: 2 }'
    )
    (tmp_path / "sizes.txt").write_text("a 100 200\n000012 50 50\nc/d 10 30\nunused 1 1\n")
    fields = {
        "output_directory": f'"{tmp_path}/out/deep"',
        "output_name_prefix": '"run_"',
        "output_format": f'"{form}"',
        "label_map_file": f'"{tmp_path}/labels.prototxt"',
        "name_size_file": f'"{tmp_path}/sizes.txt"',
        "num_test_image": 3,
    }
    saving = " ".join(f"{name}: {value}" for name, value in (fields | changed).items())
    return make_net(NET % f"save_output_param {{ {saving} {more} }}", TEST)


def run_test_set(net) -> None:
    for scores in SCORES:
        net.forward(loc=np.zeros((1, 8)), conf=np.array([scores]), priors=PRIORS)


def files_of(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_of_voc(make_net, tmp_path) -> None:
    net, out = saving_net(make_net, tmp_path, "VOC"), tmp_path / "out" / "deep"
    for scores in SCORES[:2]:
        net.forward(loc=np.zeros((1, 8)), conf=np.array([scores]), priors=PRIORS)
    assert files_of(out) == {}
    net.forward(loc=np.zeros((1, 8)), conf=np.array(SCORES[2:]), priors=PRIORS)
    wanted = {
        "run_7.txt": "a 0.875 0 0 100 50\na 0.25 50 50 200 75\n",
        "run_bird.txt": "a 0.5 50 50 200 75\nc/d 0.125 0 0 15 5\n",
    }
    assert files_of(out) == wanted
    run_test_set(net)  # another test begins anew
    assert files_of(out) == wanted


def test_files_of_ilsvrc(make_net, tmp_path) -> None:
    run_test_set(saving_net(make_net, tmp_path, "ILSVRC"))
    assert files_of(tmp_path / "out" / "deep") == {
        "run_.txt": "a 1 0.875 0 0 100 50\na 1 0.25 50 50 200 75\na 2 0.5 50 50 200 75\nc/d 2 0.125 0 0 15 5\n"
    }


def test_files_of_coco(make_net, tmp_path) -> None:
    net = saving_net(make_net, tmp_path, "COCO")
    scores = [SCORES[0], [0, 0.3, 0, 0, 0, 0], SCORES[1]]
    for each in scores:
        net.forward(loc=np.zeros((1, 8)), conf=np.array([each]), priors=PRIORS)
    ((name, text),) = files_of(tmp_path / "out" / "deep").items()
    assert name == "run_.json"
    assert json.loads(text) == [
        {"image_id": "a", "category_id": 7, "bbox": [0, 0, 100, 50], "score": 0.875},
        {"image_id": "a", "category_id": 7, "bbox": [50, 50, 150, 25], "score": 0.25},
        {"image_id": "a", "category_id": "bird", "bbox": [50, 50, 150, 25], "score": 0.5},
        {"image_id": 12, "category_id": 7, "bbox": [0, 0, 25, 25], "score": 0.3},
    ]


@pytest.mark.parametrize(
    ("form", "changed", "what"),
    [
        ("PNG", {}, "output_format is 'PNG'. Use VOC, COCO or ILSVRC"),
        ("VOC", {"num_test_image": 5}, "num_test_image is 5, and "),
        ("VOC", {"num_test_image": 0}, "num_test_image is 0, and "),
        ("VOC", {"label_map_file": '"nowhere"'}, "nowhere"),
        ("VOC", {"name_size_file": '"nowhere"'}, "there is no file 'nowhere'"),
        ("VOC", {"more": "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD }"}, "resize_param has no height and"),
    ],
)
def test_what_is_refused_of_files(make_net, tmp_path, form, changed, what) -> None:
    with pytest.raises(CaffeError) as error:
        saving_net(make_net, tmp_path, form, **changed)
    assert what in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_class_without_a_name(make_net, tmp_path) -> None:
    (tmp_path / "two").write_text('item { name: "a" label: 1 }')
    with pytest.raises(LayerError, match=r"two' has no name for label 2"):
        saving_net(make_net, tmp_path, "VOC", label_map_file=f'"{tmp_path}/two"')


def test_without_the_files_that_name_things_nothing_is_written(make_net, tmp_path, caplog) -> None:
    net = make_net(NET % f'save_output_param {{ output_directory: "{tmp_path}/out" output_format: "VOC" }}', TEST)
    assert "Provide label_map_file and name_size_file if output results to files." in caplog.text
    run_test_set(net)
    assert not (tmp_path / "out").exists()


def test_files_are_not_read_unless_results_are_written(make_net) -> None:
    net = make_net(
        NET % 'save_output_param { label_map_file: "nowhere" name_size_file: "nowhere" } visualize: true', TEST
    )
    run_test_set(net)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published models are not there")
@pytest.mark.parametrize(
    ("model", "found", "within"),
    [
        ("yufacedetect_v1", 50, 1e-5),
        ("openvino_face-detection-retail-0044", 114, 1e-5),
        ("wechat_qrcode_detect", 1, 1e-5),
        ("hyperlpr_mininet_ssd_v1", 22, 1e-3),  # OpenCV keeps the fractions of min_size
    ],
)
def test_published_models_find_what_they_find_with_opencv(model, found, within, engine) -> None:
    (weights,) = (SHARED / model).glob("weights.*")
    net = Net(SHARED / model / "deploy.prototxt", TEST, weights=weights, engine=engine)
    with np.load(SHARED / model / "cv2_reference.npz") as record:
        (name,) = (key for key in record.files if key.startswith("out:"))
        values, wanted = record["input"], record[name]
    net.blobs[net.inputs[0]].reshape(*values.shape)
    net.forward(**{net.inputs[0]: values})
    rows = net.blobs[name.removeprefix("out:")].data
    assert rows.shape == (1, 1, found, 7)
    np.testing.assert_allclose(rows, wanted[:, :, :found], atol=within)
    assert not wanted[:, :, found:].any()  # OpenCV's rows up to keep_top_k

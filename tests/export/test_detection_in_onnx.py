"""Layers that find objects, and that read regions, in ONNX: the same rows in the same order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, Net
from caffe_lite.errors import CaffeError
from caffe_lite.proto import caffe_pb2
from caffe_lite.pycaffe.layer import UserLayer

from ..layers import test_box_group_output as of_groups
from ..layers import test_frcnn_output as of_frcnn
from ..layers.gradient import Bottom, make_net

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from caffe_lite.agreement.comparing import gap
from caffe_lite.export import to_onnx
from caffe_lite.export.onnx_export import runner
from caffe_lite.export.writing import write


def agrees(layer: str, bottoms: list[Bottom], tops: int = 1, trials: int = 3, opset: int = 17) -> list[np.ndarray]:
    """Assert that a layer's graph computes what the layer does; return the first top of each trial."""
    net = make_net(layer, bottoms, tops, engine="numpy", phase=TEST, dtype="float32")
    run = runner(write(net, opset, free_batch=False))
    found = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        for index, bottom in enumerate(bottoms):
            net.blobs[f"x{index}"].data[...] = bottom.fill(rng, index, len(bottoms))
        net.forward()
        got = run({name: net.blobs[name].data for name in net.inputs})
        for index in range(tops):
            wanted = net.blobs[f"y{index}"].data
            assert got[f"y{index}"].shape == wanted.shape
            if wanted.size:
                assert gap("y", wanted.astype(np.float64), got[f"y{index}"]).size < 1e-5
        found.append(net.blobs["y0"].data.copy())
    return found


def drawn(shape, values) -> Bottom:
    return Bottom(shape, lambda rng: values(rng))


PRIORS, CLASSES = 40, 4
CODES = ("CORNER", "CENTER_SIZE", "CORNER_SIZE")


def priors(rng: np.random.Generator) -> np.ndarray:
    near = rng.uniform(0, 0.7, (PRIORS, 2))
    boxes = np.concatenate([near, near + rng.uniform(0.1, 0.3, near.shape)], 1)
    return np.stack([boxes.ravel(), np.tile([0.1, 0.1, 0.2, 0.2], PRIORS)])[None]


def detector(images: int, places: int, spread: float) -> list[Bottom]:
    """Return locations, scores with many equal ones, and priors."""
    return [
        drawn((images, PRIORS * 4 * places), lambda rng: spread * rng.standard_normal((images, PRIORS * 4 * places))),
        drawn((images, PRIORS * CLASSES), lambda rng: rng.integers(0, 50, (images, PRIORS * CLASSES)) / 50),
        drawn((1, 2, PRIORS * 4), priors),
    ]


WAYS = list(itertools.product(CODES, ("true", "false"), (0, 2, -1), ("", "top_k: 9"), ("", "keep_top_k: 7")))


@pytest.mark.parametrize(("code", "shared", "background", "top_k", "keep_top_k"), WAYS[::3])
def test_detection_output(code: str, shared: str, background: int, top_k: str, keep_top_k: str) -> None:
    layer = f"""type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} code_type: {code}
        share_location: {shared} background_label_id: {background} {keep_top_k} confidence_threshold: 0.5
        nms_param {{ nms_threshold: 0.4 {top_k} }} }}"""
    found = agrees(layer, detector(2, 1 if shared == "true" else CLASSES, 3 if code == "CENTER_SIZE" else 0.3))
    assert all(rows.shape[2] > 8 for rows in found)


def test_detection_output_within_the_image() -> None:
    layer = f'type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} clip: true }}'
    found = agrees(layer, detector(2, 1, 3))
    assert all(rows[..., 3:].min() == 0 and rows[..., 3:].max() == 1 for rows in found)


@pytest.mark.parametrize("opset", [13, 21])
def test_detection_output_without_any(opset: int) -> None:
    layer = f'type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} confidence_threshold: 2 }}'
    for rows in agrees(layer, detector(3, 1, 1), opset=opset):
        assert rows[0, 0].tolist() == [[image, *[-1] * 6] for image in range(3)]


def test_boxes_without_an_area_and_huge_ones() -> None:
    layer = f'type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} code_type: CENTER_SIZE }}'
    for spread in (0, 300):
        agrees(layer, detector(1, 1, spread))
    agrees(layer.replace("CENTER_SIZE", "CORNER"), detector(1, 1, 10))  # most are inverted


def test_detection_output_extended() -> None:
    layer = """type: "DetectionOutputExtended" detection_output_param { num_classes: 2 keep_top_k: 5
        nms_param { top_k: 20 } }"""
    scores = drawn((2, PRIORS * 2), lambda rng: rng.random((2, PRIORS * 2)))
    locations = drawn((2, 5, 4, 8), lambda rng: rng.standard_normal((2, 5, 4, 8)) / 10)
    assert agrees(layer, [locations, scores, drawn((1, 2, PRIORS * 4), priors)])[0].shape == (1, 1, 10, 10)


def test_a_threshold_that_adapts_is_refused() -> None:
    layer = f'type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} nms_param {{ eta: 0.9 }} }}'
    with pytest.raises(CaffeError, match=r"eta is 0\.9"):
        agrees(layer, detector(1, 1, 1))


SSD = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }
layer { name: "l" type: "Convolution" bottom: "x" top: "l"
        convolution_param { num_output: 12 kernel_size: 1 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "p" type: "PriorBox" bottom: "l" bottom: "x" top: "p"
        prior_box_param { min_size: 2 max_size: 4 aspect_ratio: 2 flip: false clip: true } }
layer { name: "y" type: "DetectionOutput" bottom: "l" bottom: "c" bottom: "p" top: "y"
        detection_output_param { num_classes: 2 confidence_threshold: 0.6 nms_param { top_k: 20 } keep_top_k: 6
                                 code_type: CENTER_SIZE } }
"""


def net_of(text: str) -> Net:
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), TEST, engine="numpy", seed=0)


def test_a_detector_for_any_number_of_images(tmp_path) -> None:
    net = net_of(SSD)
    export = to_onnx(net, tmp_path / "net.onnx")
    assert export.free_batch
    assert export.written.free["x", 0] == "N" and export.written.free["y", 2] == "y_2"
    run, rng = runner(export.written), np.random.default_rng(0)
    for images, scale in itertools.product((1, 2, 5), (0, 0.2, 1)):
        net.blobs["x"].reshape(images, 3, 6, 5)
        net.blobs["x"].data[...] = scale * rng.standard_normal((images, 3, 6, 5))
        wanted = net.forward()["y"]
        assert gap("y", wanted.astype(float), run({"x": net.blobs["x"].data})["y"]).size < 1e-5


def test_a_detector_for_one_number_of_images_finds_any_number_of_objects(tmp_path) -> None:
    export = to_onnx(net_of(SSD), tmp_path / "net.onnx", batch=1)
    assert not export.free_batch
    assert [value.shape for value in export.written.graph.outputs] == [(1, 1, None, 7)]


REGIONS = 12


def regions(rng: np.random.Generator) -> np.ndarray:
    """Return regions of two images: some partly or wholly outside, without a size, or whose corners are halves."""
    corners = np.sort(rng.uniform(-6, 26, (REGIONS, 2, 2)), 1)
    corners[::3] = np.round(corners[::3] * 2) / 2
    corners[:3] = [[[3, 3], [3, 3]], [[90, 90], [95, 99]], [[9, 9], [5, 4]]]
    return np.concatenate([rng.integers(0, 2, (REGIONS, 1)), corners.reshape(REGIONS, 4)], 1)


@pytest.mark.parametrize(
    "layer",
    [
        'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }',
        'type: "ROIPooling" roi_pooling_param { pooled_size: 7 spatial_scale: 0.3 pad_ratio: 0.3 }',
        'type: "PSROIPooling" psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 2 }',
        'type: "ROIAlign" roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.5 }',
        'type: "ROIAlign" roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.3 pad_ratio: 0.2 }',
        'type: "ROIAlign" roi_align_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }',
        'type: "ROIWarping" roi_warping_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.5 }',
    ],
)
def test_regions(layer: str) -> None:
    def images(*shape: int) -> Bottom:
        return drawn(shape, lambda rng: rng.standard_normal(shape))

    agrees(layer, [images(2, 8, 9, 11), drawn((REGIONS, 5), regions)])
    agrees(layer, [images(2, 8, 1, 1), drawn((REGIONS, 5, 1, 1), lambda rng: regions(rng)[:, :, None, None])], opset=13)


def test_examples_of_regions_lie_in_the_images() -> None:
    layer = 'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }'
    net = make_net(layer, [Bottom((2, 1, 9, 11)), Bottom((50, 5))], engine="numpy", phase=TEST)
    rows = net.nodes[-1].layer.example(1, (50, 5), np.random.default_rng(0))
    assert set(rows[:, 0]) == {0, 1}
    assert (rows[:, 1:3] < rows[:, 3:]).all()
    assert (rows[:, 1:] >= 0).all() and (rows[:, 3:] <= [22, 18]).all() and rows[:, 3].max() > 15


ANCHORS = """anchor { left: -20 top: -10 right: 40 bottom: 30 } anchor { left: 1 top: 1 right: 20 bottom: 60 }
    min_width: 30 min_height: 20 stride_h: 16 stride_w: 15 nms_input_num: 50 nms_output_num: 10 nms_iou_th: 0.5"""
PROPOSALS = {
    "mini-caffe": (4, "ratio: 0.5 ratio: 1 scale: 2 scale: 4 min_size: 20 pre_nms_topn: 60 post_nms_topn: 20"),
    "synopsys": (9, "feat_stride: 16 anchor_scale: 3 anchor_ratio: 3 max_rois: 30 rpn_min_size: 40"),
    "xilinx": (2, ANCHORS),
}


def maps(images: int, anchors: int, rows: int = 1) -> list[Bottom]:
    """Return scores with many equal ones, deltas, and what is told about images."""
    scores, deltas = (images, 2 * anchors, 6, 7), (images, 4 * anchors, 6, 7)
    return [
        drawn(scores, lambda rng: rng.integers(0, 50, scores) / 50),
        drawn(deltas, lambda rng: rng.standard_normal(deltas) / 2),
        drawn((rows, 3), lambda rng: np.tile([91, 107, 1.25], (rows, 1))),
    ]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("fork", PROPOSALS)
def test_proposal(fork: str, rows: int) -> None:
    anchors, settings = PROPOSALS[fork]
    found = agrees(f'type: "Proposal" proposal_param {{ {settings} }}', maps(3, anchors, rows), tops=2)
    assert all(len(regions) > 8 and set(regions[:, 0]) == {0, 1, 2} for regions in found)


def test_proposal_of_nothing() -> None:
    for fork, field, rows in (("synopsys", "rpn_min_size", 0), ("xilinx", "min_width", 1)):
        anchors, settings = PROPOSALS[fork]
        layer = f'type: "Proposal" proposal_param {{ {settings} }}'.replace(f"{field}: ", f"{field}: 9")
        assert [len(regions) for regions in agrees(layer, maps(2, anchors), tops=2)] == [rows] * 3


PYTHON = """type: "Python" python_param { module: "rpn.proposal_layer" layer: "ProposalLayer"
    param_str: "{'feat_stride': 16, 'scales': [1, 2]}" }"""


def test_the_python_layer_of_py_faster_rcnn() -> None:
    assert all(len(regions) > 8 for regions in agrees(PYTHON, maps(1, 6), tops=2))


def test_it_takes_one_image() -> None:
    net = make_net(PYTHON, maps(1, 6), engine="numpy", phase=TEST)
    with pytest.raises(CaffeError, match="it takes one image at a time"):
        write(net)


FASTER_RCNN = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 7 } } }
layer { name: "info" type: "Input" top: "info" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "scores" type: "Convolution" bottom: "x" top: "scores"
        convolution_param { num_output: 12 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "deltas" type: "Convolution" bottom: "x" top: "deltas"
        convolution_param { num_output: 24 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "proposal" bottom: "scores" bottom: "deltas" bottom: "info" top: "rois" %s }
layer { name: "pool" type: "ROIPooling" bottom: "x" bottom: "rois" top: "pool"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }
layer { name: "y" type: "InnerProduct" bottom: "pool" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
"""


def test_as_many_regions_as_there_are(tmp_path) -> None:
    net = net_of(FASTER_RCNN % PYTHON)
    export = to_onnx(net, tmp_path / "net.onnx")
    assert [value.shape for value in export.written.graph.outputs] == [(None, 4)]
    run, rng, counts = runner(export.written), np.random.default_rng(0), set()
    for scale in (0.1, 1, 3):
        net.blobs["x"].data[...] = scale * rng.standard_normal((1, 3, 6, 7))
        net.blobs["info"].data[...] = 96, 112, 1
        fed = {name: net.blobs[name].data.copy() for name in net.inputs}
        wanted = net.forward()["y"]
        assert gap("y", wanted.astype(float), run(fed)["y"]).size < 1e-5
        counts.add(len(wanted))
    assert len(counts) == 3


class Doubling(UserLayer):
    """A user's layer that can be written."""

    def reshape(self, bottom, top) -> None:
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top) -> None:
        top[0].data[...] = 2 * bottom[0].data

    def to_onnx(self, g, bottom, top):
        return [g.Mul(bottom[0], 2.0)]


class Silent(Doubling):
    """One that cannot."""

    to_onnx = UserLayer.to_onnx


def test_layers_of_users() -> None:
    layer = f'type: "Python" python_param {{ module: "{__name__}" layer: "%s" }}'
    agrees(layer % "Doubling", [Bottom((2, 3))])
    with pytest.raises(CaffeError, match=r"Silent cannot be written in ONNX\. Define its method to_onnx"):
        agrees(layer % "Silent", [Bottom((2, 3))])


YOLO3 = "num_classes: 3 num_box: 2 biases: [10, 14, 23, 27, 37, 58, 81, 82] anchors_scale: 32 anchors_scale: 16"
YOLO2 = "num_classes: 4 num_box: 2 biases: [1, 2, 3, 1.5] confidence_threshold: 0.2"


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (
            f"""type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {YOLO3} mask: [2, 3, 0, 1]
                mask_group_num: 2 confidence_threshold: 0.6 nms_threshold: 0.3 }}""",
            [(2, 16, 3, 4), (2, 16, 6, 8)],
        ),
        (
            f"""type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {YOLO3} mask: [2, 3]
                gaussian_box: true mask_group_num: 1 nms_threshold: 2 }}""",
            [(3, 24, 5, 4)],
        ),
        (f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {YOLO2} }}', [(2, 18, 5, 6)]),
        (f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {YOLO2} }}', [(2, 18, 5, 6), (2, 18, 3, 3)]),
    ],
)
def test_yolo(layer: str, shapes: list[tuple[int, ...]]) -> None:
    bottoms = [drawn(shape, lambda rng, shape=shape: rng.integers(-20, 20, shape) / 8) for shape in shapes]
    assert all(rows.shape[2] > 8 for rows in agrees(layer, bottoms))
    low = [drawn(shape, lambda rng, shape=shape: np.full(shape, -9)) for shape in shapes]
    for rows in agrees(layer, low):
        assert rows[0, 0, :, 1:].max() == -1


def made(scene, seed: int = 0) -> list[Bottom]:
    """Return bottoms that a function makes together from random numbers."""
    shapes = [array.shape for array in scene(np.random.default_rng(seed))]
    return [
        drawn(shape, lambda rng, index=index: scene(np.random.default_rng(rng.bit_generator.seed_seq.entropy))[index])
        for index, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("cls_aware", [True, False])
@pytest.mark.parametrize("param", ["", "max_det_num: 12"])
def test_frcnn_output(param: str, cls_aware: bool) -> None:
    bottoms = made(lambda rng: of_frcnn.scene(rng, cls_aware=cls_aware))
    for opset in (13, 18):
        found = agrees(of_frcnn.text(param, cls_aware), bottoms, opset=opset)
        assert all(len(rows) > 10 and rows[-1, 1] == -1 for rows in found)


def test_examples_for_frcnn_output(tmp_path) -> None:
    shapes = [(60, 4), (60, 16), (60, 6), (2, 2)]
    net = make_net(of_frcnn.text(), [Bottom(shape) for shape in shapes], engine="numpy", phase=TEST, dtype="float32")
    to_onnx(net, tmp_path / "net.onnx")
    assert len(net.blobs["y0"].data) > 10


def test_frcnn_output_of_nothing() -> None:
    found = agrees(of_frcnn.text().replace("conf_thr: 0.2", "conf_thr: 2"), made(of_frcnn.scene))
    assert all(len(rows) == 3 for rows in found)


@pytest.mark.parametrize(("most", "post"), [(0, 0), (30, 0), (0, 7), (30, 7)])
def test_box_group_output(most: int, post: int) -> None:
    text = of_groups.text(most=most, post=post)
    found = agrees(text, made(lambda rng: of_groups.random_maps(rng, 2)), tops=2)
    assert all(len(rows) > 8 and set(rows[:, 0, 0, 0]) == {0, 1} for rows in found)


def test_box_group_output_of_nothing() -> None:
    maps = made(lambda rng: of_groups.random_maps(rng, 2))
    for rows in agrees(of_groups.text(min_size=9999), maps, tops=2):
        assert rows[:, :, 0, 0].tolist() == [[0, 1, 1, 10, 10]]


@pytest.mark.parametrize("measure", ["IOMU", "IOFU"])
def test_other_measures_are_refused(measure: str) -> None:
    maps = made(lambda rng: of_groups.random_maps(rng, 2))
    with pytest.raises(CaffeError, match=f"nms_type is {measure}"):
        agrees(of_groups.text(nms_type=measure), maps)


@pytest.mark.parametrize("more", ["", "bbox_reg_param { bbox_mean: [0, 0.1, 0, -0.1] bbox_std: [0.1, 0.1, 0.2, 0.2] }"])
def test_decode_bbox(more: str) -> None:
    bottoms = [Bottom((REGIONS, 8, 1, 1)), drawn((REGIONS, 5), regions)]
    assert agrees(f'type: "DecodeBBox" {more}', bottoms)[0].shape == (REGIONS, 5, 1, 1)


def records(rng: np.random.Generator) -> np.ndarray:
    """Return detections, of which some do not count."""
    rows = np.column_stack([rng.integers(0, size, 20) for size in (2, 3, 1, 1, 1, 1, 2, 2, 4, 4, 5)]).astype(float)
    rows[:, 2:6] = rng.random((20, 4))
    rows[::5, 0] = -1
    return rows.reshape(1, 1, 20, 11)


@pytest.mark.parametrize("more", ["", "output_instance_weights: true", "output_proposals: true"])
@pytest.mark.parametrize("actions", [-1, 2, 0])
def test_anchor_embedding_extractor(more: str, actions: int) -> None:
    layer = f"""type: "AnchorEmbeddingExtractor" embedding_extractor_param {{ num_anchors: 2 label_src_pos: 8
        num_valid_actions: {actions} {more} }}"""
    bottoms = [drawn((1, 1, 20, 11), records), Bottom((2, 3, 5, 4)), Bottom((2, 3, 5, 4))]
    found = agrees(layer, bottoms, tops=3 if more else 2)
    assert all(len(rows) > 4 if actions else len(rows) == 1 for rows in found)


def test_connected_components_have_no_form() -> None:
    with pytest.raises(CaffeError, match="ONNX has no operation that finds connected regions"):
        agrees('type: "ConnectedComponent"', [Bottom((1, 1, 3, 3))])

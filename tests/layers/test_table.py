"""Tests of every layer on every engine: the original's numbers, and correct gradients, also in place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError
from caffe_lite.layer import layer_class, layer_type_list

from .gradient import Bottom, check, labels, make_net, positive

GOLDEN = Path(__file__).parents[1] / "golden" / "layers"
CASES = sorted(GOLDEN.glob("*/*.prototxt"))


@pytest.mark.parametrize("path", CASES, ids=[str(path.relative_to(GOLDEN).with_suffix("")) for path in CASES])
def test_agrees_with_the_original(path: Path, engine: str) -> None:
    """Tops, diffs and parameter diffs are those of the original for the same bottoms, parameters and top diffs."""
    net = Net(path, TEST if "test" in path.name else TRAIN, engine=engine)
    params = net.params.get("under_test", [])
    with np.load(path.with_suffix(".npz")) as record:
        values = {
            kind: {} for kind in ("bottom", "param", "top", "param_after", "top_diff", "bottom_diff", "param_diff")
        }
        for key in record.files:
            kind, name = key.split("/")
            values[kind][name] = record[key]
    for name, value in values["bottom"].items():
        net.blobs[name].data[...] = value
    for index, value in values["param"].items():
        assert params[int(index)].shape == value.shape
        params[int(index)].data[...] = value
    net.forward()
    for name, value in values["top"].items():
        assert_close(net.blobs[name].data, value, f"top {name}")
    for index, value in values["param_after"].items():
        assert_close(params[int(index)].data, value, f"param {index} after the pass")
    if not values["bottom_diff"] and not values["param_diff"]:
        return
    for name, value in values["top_diff"].items():
        net.blobs[name].diff[...] = value
    for param in params:
        param.diff[...] = 0
    net.backward()
    for name, value in values["bottom_diff"].items():
        assert_close(net.blobs[name].diff, value, f"diff of {name}")
    for index, value in values["param_diff"].items():
        assert_close(params[int(index)].diff, value, f"diff of param {index}")


def assert_close(got: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert got.dtype == np.float32
    assert got.size == wanted.size, f"{what} has shape {got.shape}, not {wanted.shape}"
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=2e-4, atol=2e-5, err_msg=what)


@dataclass(frozen=True)
class Entry:
    """A layer whose gradients are checked: its name, prototxt, bottoms, number of tops, and phase.

    ``in_place``: its only top has the shape of its only bottom, so it must work in place. ``own_gradient``: what it
    passes down is not the derivative of its top, as in the original; its own tests check it. ``batch``: the axis of the
    samples in each bottom, the first by default, or None. ``batch_in_blobs``: its parameters have such an axis, too.
    """

    name: str
    layer: str
    bottoms: Sequence[Bottom]
    tops: int = 1
    phase: int = TRAIN
    in_place: bool = False
    own_gradient: bool = False
    batch: Sequence[int | None] = ()
    batch_in_blobs: bool = False

    def of_batch(self, size: int) -> list[Bottom]:
        """Return the bottoms for so many samples, filled with zeros if there are none."""
        bottoms = []
        for bottom, axis in zip(self.bottoms, self.batch or [0] * len(self.bottoms), strict=True):
            if axis is not None:
                shape = (*bottom.shape[:axis], size, *bottom.shape[axis + 1 :])
                bottom = Bottom(shape, lambda rng, shape=shape: np.zeros(shape))
            bottoms.append(bottom)
        return bottoms

    @property
    def type(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def text(self) -> str:
        return f'type: "{self.type}" {self.layer}'


IMAGES = Bottom((2, 3, 5, 4))
ROWS = Bottom((4, 6))
WIDE = Bottom((2, 3, 4), lambda rng: rng.permutation(24).reshape(2, 3, 4) - 11.5)
SIMILAR = labels(2, 4)
APART = Bottom((4, 6), lambda rng: rng.uniform(-2000, 2000, (4, 6)))  # so far that adding 1e-4 changes no distance
SCORES, LABELS = Bottom((4, 5)), labels(5, 4)
STEPS, CONT = Bottom((3, 2, 4)), Bottom((3, 2), lambda rng: np.array([[0, 0], [1, 0.5], [0, 1]]))
MAPS, MAP_LABELS = Bottom((2, 5, 3, 2)), labels(5, 2, 1, 3, 2)
STREAMS = [1, 1, 0]
FLOWS = Bottom((2, 2, 5, 4), lambda rng: rng.integers(-2, 3, (2, 2, 5, 4)) + rng.uniform(0.2, 0.8, (2, 2, 5, 4)))
FRAMES = Bottom((5, 2), lambda rng: np.array([[0, 0], [1, 1], [1, 1], [1, 0], [1, 1]]))
SPELT = Bottom((5, 2), lambda rng: np.array([[1, 0], [1, 2], [-1, -1], [0, 0], [0, 0]]))
FIXED = "param { lr_mult: 0 }"  # for weights whose diff is not the gradient
# Without the boxes' part, because the gradient is that of the first number, which holds both, alone.
DETECTION_GROUP = """detection_group_loss_param { cls_num: 2 lambda: 0 bg_multiple: 100
    field_w: 9 field_h: 8 stride: 4 }"""
TRUTH = Bottom((4, 6, 3, 2), lambda rng: rng.integers(0, 2, (4, 6, 3, 2)))
BESIDE_A_MATRIX = [0, 0, None]
REGIONS = Bottom((3, 5), lambda rng: np.array([[1, 0.2, 1, 3, 3.7], [0, 2, 2, 2, 2], [1, -3, 1, 9, 2.4]]))
BESIDE_IMAGES = [None, 0]
# A single pixel, over which a region may move: otherwise the gradient of rounded corners is not that of their steps.
PIXEL, INSIDE = Bottom((1, 3, 1, 1)), Bottom((2, 5), lambda rng: np.array([[0, 0, 0, 0, 0], [0, 0, -1, 0, 1]]))
BINS = "pooled_h: 2 pooled_w: 3"
PSROI = "psroi_pooling_param { spatial_scale: 1 output_dim: 3 group_size: 2 }"
CORNERS = [
    [0, 0, 0.5, 0.5],
    [0.1, 0, 0.6, 0.5],
    [0.4, 0.4, 0.9, 1],
    [0, 0.5, 0.4, 1],
    [0.5, 0, 1, 0.4],
    [0.6, 0.6, 1, 1],
]
PRIORS = Bottom((1, 2, 24), lambda rng: np.stack([np.ravel(CORNERS), np.tile([0.1, 0.1, 0.2, 0.2], 6)])[None])
OBJECT_ROWS = Bottom(
    (1, 1, 3, 8),
    lambda rng: np.array(
        [[0, 1, 0, 0.1, 0.1, 0.6, 0.5, 0], [0, 2, 1, 0.4, 0.5, 1, 1, 0], [1, 1, 0, 0.5, 0, 1, 0.5, 0]]
    ),
)
MULTIBOX = [Bottom((2, 24)), Bottom((2, 18)), PRIORS, OBJECT_ROWS]
OBJECTS = [0, 0, None, 2]
YOLO = "num_class: 2 biases: 9 biases: 5 biases: 4 biases: 6"
YOLO_LISTS = Bottom((2, 1, 2, 5), lambda rng: np.array([[[[1, 0.3, 0.6, 0.2, 0.4], [0] * 5]]] * 2))
MASK = Bottom(
    (2, 3, 5, 4), lambda rng: rng.permuted(np.tile(np.arange(35), (6, 1)), axis=1)[:, :20].reshape(2, 3, 5, 4)
)

DETECTIONS = Bottom(
    (1, 1, 3, 11),
    lambda rng: np.array(
        [[1, 0, 0, 0, 1, 1, 1, 7, 2, 3, 4], [0, 0, 0, 0, 1, 1, 0, 7, 0, 0, 1], [-1, *[0] * 10]]
    ).reshape(1, 1, 3, 11),
)

TABLE = [
    Entry("AbsVal", "", [IMAGES], in_place=True),
    Entry("AssistedExcitation", "", [IMAGES, YOLO_LISTS, Bottom((2, 5, 4))]),
    Entry("Axpy", "", [Bottom((2, 3)), IMAGES, IMAGES]),
    Entry("Axpy images", "", [Bottom((2, 3, 1, 1)), IMAGES, IMAGES]),
    Entry(
        "AnchorEmbeddingExtractor",
        "embedding_extractor_param { num_anchors: 2 label_src_pos: 8 }",
        [DETECTIONS, IMAGES, IMAGES],
        tops=2,
    ),
    Entry("Affinity", "affinity_param { offset: 2 }", [IMAGES]),
    Entry("Affinity two", "affinity_param { offset: 1 }", [IMAGES, Bottom((1, 4, 2, 3))], tops=2),
    Entry("BNLL", "", [IMAGES], in_place=True),
    Entry("BN", "", [IMAGES], in_place=True),
    Entry("BN statistics", "", [IMAGES], tops=3, phase=TEST),
    Entry("BN inference", "bn_param { bn_mode: INFERENCE }", [IMAGES], phase=TEST, in_place=True),
    Entry("BN averages", "bn_param { momentum: 0.5 }", [IMAGES], in_place=True),
    Entry("BN averages in TEST", "bn_param { eps: 0.1 }", [ROWS], phase=TEST, in_place=True),
    Entry("BN frozen", "bn_param { frozen: true }", [IMAGES], in_place=True),
    Entry("BatchNorm train", "", [IMAGES], in_place=True),
    Entry("BatchNorm rows", "", [ROWS], in_place=True),
    Entry("BatchNorm global", "batch_norm_param { use_global_stats: true }", [IMAGES], in_place=True),
    Entry("BatchNorm test", "", [IMAGES], phase=TEST, in_place=True),
    Entry("BatchNorm scale_bias", "batch_norm_param { scale_bias: true }", [IMAGES], in_place=True),
    Entry("BatchReduction", "batch_reduction_param { reduction_param { axis: 1 } }", [IMAGES]),
    Entry(
        "BatchReduction levels",
        "batch_reduction_param { level: 2 level: 1 reduction_param { operation: MEAN axis: 2 } }",
        [IMAGES],
    ),
    Entry(
        "BatchReduction best", "batch_reduction_param { reduction_param { operation: TOPK k: 2 axis: -1 } }", [IMAGES]
    ),
    Entry(
        "BatchReduction diagonal",
        "batch_reduction_param { level: 2 pos: true reduction_param { axis: 1 } }",
        [Bottom((2, 4, 4, 2))],
    ),
    Entry("BatchReindex", "", [IMAGES, labels(2, 5)]),
    Entry("BatchReindex empty", "", [IMAGES, labels(1, 0)]),
    Entry("Bias channels", "", [IMAGES], in_place=True),
    Entry("Bias all axes", "bias_param { axis: 0 num_axes: -1 }", [IMAGES], in_place=True, batch_in_blobs=True),
    Entry("Bias scalar", "bias_param { num_axes: 0 }", [IMAGES], in_place=True),
    Entry("Bias two bottoms", "bias_param { axis: 1 }", [IMAGES, Bottom((3, 5))], batch=[0, None]),
    Entry("ChannelScale", "", [IMAGES, Bottom((2, 1, 5, 4))]),
    Entry(
        "ChannelScale nothing",
        "channel_scale_param { do_forward: false do_backward_feature: false do_backward_scale: false }",
        [ROWS, labels(2, 4)],
    ),
    Entry("CenterLoss", f"{FIXED} center_loss_param {{ num_output: 5 }}", [IMAGES, labels(4, 2)]),
    Entry("CenterLoss L1", f'{FIXED} center_loss_param {{ num_output: 3 distance_type: "L1" }}', [ROWS, labels(3, 4)]),
    Entry("CTCLoss", "ctc_loss_param { blank_label: 2 }", [Bottom((5, 2, 4)), labels(4, 2, 3)], batch=[1, 0]),
    Entry(
        "CTCLoss of parts",
        "loss_weight: 0.3 ctc_loss_param { output_delay: 1 ctc_merge_repeated: false }",
        [Bottom((5, 2, 4)), FRAMES, SPELT],
        batch=[1, 1, 1],
    ),
    Entry("CtcLoss", "", [Bottom((5, 2, 4)), labels(4, 2, 3)], batch=[1, 0]),
    Entry("Clip", "clip_param { min: -0.51 max: 0.83 }", [IMAGES], in_place=True),
    Entry("Concat channels", "", [Bottom((2, 3, 2, 2)), Bottom((2, 1, 2, 2)), Bottom((2, 2, 2, 2))]),
    Entry("Concat from the end", "concat_param { axis: -1 }", [Bottom((2, 3)), Bottom((2, 4))]),
    Entry("Concat one", "", [IMAGES], in_place=True),
    Entry("ContrastiveLoss", "contrastive_loss_param { margin: 9000 }", [APART, APART, SIMILAR]),
    Entry("ContrastiveLoss near", "contrastive_loss_param { margin: 1e-3 }", [ROWS, ROWS, SIMILAR]),
    Entry(
        "ContrastiveLoss legacy", "contrastive_loss_param { margin: 20 legacy_version: true }", [ROWS, ROWS, SIMILAR]
    ),
    Entry("Convolution plain", "convolution_param { num_output: 4 kernel_size: 3 }", [IMAGES]),
    Entry("Convolution same", "convolution_param { num_output: 3 kernel_size: 3 pad: 1 }", [IMAGES], in_place=True),
    Entry("Convolution group", "convolution_param { num_output: 6 kernel_size: 3 group: 3 }", [IMAGES]),
    Entry("Convolution depthwise", "convolution_param { num_output: 3 kernel_size: 3 group: 3 stride: 2 }", [IMAGES]),
    Entry("Convolution dilated", "convolution_param { num_output: 2 kernel_size: 2 dilation: 2 pad: 1 }", [IMAGES]),
    Entry("Convolution no bias", "convolution_param { num_output: 2 kernel_size: 1 bias_term: false }", [IMAGES]),
    Entry("Convolution 1-D", "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }", [Bottom((2, 3, 7))]),
    Entry("Convolution 3-D", "convolution_param { num_output: 2 kernel_size: 2 }", [Bottom((1, 2, 3, 4, 3))]),
    Entry(
        "Convolution rectified",
        "convolution_param { num_output: 4 kernel_size: 2 relu: true negative_slope: 0.3 }",
        [IMAGES],
    ),
    Entry("Convolution two", "convolution_param { num_output: 2 kernel_size: 2 }", [IMAGES, IMAGES], tops=2),
    Entry("ConvolutionDepthwise", "convolution_param { kernel_size: 3 pad: 1 }", [IMAGES], in_place=True),
    Entry("DepthwiseConvolution", "convolution_param { num_output: 3 group: 3 kernel_size: 3 }", [IMAGES]),
    Entry("Correlation", "correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 }", [IMAGES, IMAGES]),
    Entry(
        "Correlation windows",
        "correlation_param { kernel_size: 3 max_displacement: 3 pad: 4 stride_1: 2 stride_2: 2 "
        "correlation_type: SUBTRACT }",
        [IMAGES, IMAGES],
    ),
    Entry(
        "Correlation1D",
        "correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 single_direction: -1 }",
        [IMAGES, IMAGES],
    ),
    Entry("Crop", "crop_param { offset: 1 offset: 0 }", [IMAGES, Bottom((1, 1, 3, 4))]),
    Entry("Crop one offset", "crop_param { axis: -3 offset: 1 }", [IMAGES, Bottom((9, 2, 3, 3))]),
    Entry("CropCenter", "crop_center_param { crop_size: [0, 1, 2, 1] }", [IMAGES]),
    Entry("Deconvolution plain", "convolution_param { num_output: 4 kernel_size: 3 }", [IMAGES]),
    Entry("Deconvolution same", "convolution_param { num_output: 3 kernel_size: 3 pad: 1 }", [IMAGES], in_place=True),
    Entry(
        "Deconvolution group", "convolution_param { num_output: 6 kernel_size: 4 group: 3 stride: 2 pad: 1 }", [IMAGES]
    ),
    Entry("Deconvolution dilated", "convolution_param { num_output: 2 kernel_size: 2 dilation: 2 pad: 1 }", [IMAGES]),
    Entry("Deconvolution no bias", "convolution_param { num_output: 2 kernel_size: 1 bias_term: false }", [IMAGES]),
    Entry("Deconvolution 1-D", "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }", [Bottom((2, 3, 7))]),
    Entry("Deconvolution 3-D", "convolution_param { num_output: 2 kernel_size: 2 }", [Bottom((1, 2, 3, 4, 3))]),
    Entry("Deconvolution two", "convolution_param { num_output: 2 kernel_size: 2 }", [IMAGES, IMAGES], tops=2),
    Entry("Dropout train", "dropout_param { dropout_ratio: 0.3 }", [IMAGES], in_place=True),
    Entry("Dropout test", "", [IMAGES], phase=TEST, in_place=True),
    Entry("Dropout scaling in TEST", "dropout_param { scale_train: false }", [IMAGES], phase=TEST, in_place=True),
    Entry("DetectionGroupLoss", DETECTION_GROUP, [Bottom((4, 2, 3, 2)), Bottom((4, 4, 3, 2)), TRUTH]),
    Entry("ELU", "", [IMAGES], in_place=True),
    Entry("ELU alpha", "elu_param { alpha: -0.3 }", [IMAGES], in_place=True),
    Entry("ELU lambda", "elu_param { alpha: 0.7 lambda: 1.3 }", [IMAGES], in_place=True),
    Entry("Eltwise sum", "", [ROWS, ROWS]),
    Entry("Eltwise coeff", "eltwise_param { coeff: 1 coeff: -0.5 coeff: 2 }", [ROWS, ROWS, ROWS]),
    Entry("Eltwise prod", "eltwise_param { operation: PROD }", [ROWS, ROWS, ROWS]),
    Entry("Eltwise prod quotient", "eltwise_param { operation: PROD stable_prod_grad: false }", [ROWS, ROWS, ROWS]),
    Entry("Eltwise max", "eltwise_param { operation: MAX }", [ROWS, ROWS, ROWS]),
    Entry("Eltwise min", "eltwise_param { operation: MIN }", [ROWS, ROWS, ROWS]),
    Entry("Eltwise quotient", "eltwise_param { operation: DIV }", [ROWS, positive(4, 6)]),
    Entry("Eltwise drawn", "eltwise_param { operation: STOCHASTIC_SUM coeff: 1 coeff: 0.5 }", [ROWS, ROWS]),
    Entry("Embed", "embed_param { input_dim: 9 num_output: 3 }", [labels(7, 3, 4)]),
    Entry("Embed no bias", "embed_param { input_dim: 2 num_output: 1 bias_term: false }", [labels(2, 5)]),
    Entry("EuclideanLoss", "", [ROWS, ROWS]),
    Entry("EuclideanLoss mask", "", [ROWS, ROWS, labels(2, 4, 6)]),
    Entry("EuclideanLoss weighted", "loss_weight: 0.3", [ROWS, ROWS]),
    Entry("Exp", "", [IMAGES], in_place=True),
    Entry("Exp base", "exp_param { base: 0.3 scale: -0.5 shift: 1 }", [IMAGES], in_place=True),
    Entry("Filter", "", [Bottom((5, 2)), Bottom((5, 3, 1, 2)), labels(2, 5, 1)], tops=2),
    Entry("Filter none", "", [ROWS, labels(1, 4)]),
    Entry("Filter all", "", [ROWS, positive(4)]),
    Entry("Flatten", "", [IMAGES]),
    Entry("Flatten axes", "flatten_param { axis: 0 end_axis: -2 }", [IMAGES]),
    Entry("Flip", "", [IMAGES], in_place=True),
    Entry("Flip both", "flip_param { flip_height: true }", [IMAGES], in_place=True),
    Entry("GRN", "grn_param { bias: 0.1 }", [IMAGES], in_place=True),
    Entry("Gather", "", [IMAGES, ROWS], tops=2),
    Entry("Gather indices", "gather_param { indices: [2, 0, 2, 1] shape: [2, 2] axis: 1 }", [IMAGES]),
    Entry("Gather one", "gather_param { indices: 1 axis: -2 }", [IMAGES]),
    Entry("HardSigmoid", "hard_sigmoid_param { alpha: 0.3 beta: 0.6 }", [IMAGES], in_place=True),
    Entry("HardSwish", "", [WIDE], in_place=True),
    Entry("HardTanH", "", [IMAGES], in_place=True),
    Entry("FlowWarp", "", [IMAGES, FLOWS]),
    Entry("Im2col", "convolution_param { kernel_size: 3 stride: 2 pad: 1 }", [IMAGES]),
    Entry("Im2col 1-D", "convolution_param { kernel_size: 2 dilation: 2 axis: -2 }", [Bottom((2, 3, 2, 7))]),
    Entry("Im2col pixels", "convolution_param { kernel_size: 1 }", [IMAGES], in_place=True),
    Entry(
        "GaussianYolov3",
        f"yolov3_param {{ num: 1 mask: 1 {YOLO} }}",
        [Bottom((2, 11, 3, 2)), YOLO_LISTS],
        own_gradient=True,
    ),
    Entry("HingeLoss", "", [SCORES, LABELS]),
    Entry("HingeLoss L2", "loss_weight: 0.3 hinge_loss_param { norm: L2 }", [MAPS, labels(30, 2)]),
    Entry("InfogainLoss", "", [SCORES, LABELS, Bottom((1, 1, 5, 5))], batch=BESIDE_A_MATRIX),
    Entry(
        "InfogainLoss maps",
        "loss_weight: 0.3 loss_param { ignore_label: 2 }",
        [MAPS, MAP_LABELS, Bottom((5, 5))],
        batch=BESIDE_A_MATRIX,
    ),
    Entry(
        "InfogainLoss last axis",
        "infogain_loss_param { axis: -1 }",
        [MAPS, labels(2, 2, 5, 3), Bottom((2, 2))],
        batch=BESIDE_A_MATRIX,
    ),
    Entry("InnerProduct", "inner_product_param { num_output: 3 }", [IMAGES]),
    Entry("InnerProduct rectified", "inner_product_param { num_output: 5 relu: true }", [ROWS]),
    Entry("InnerProduct same", "inner_product_param { num_output: 6 }", [ROWS], in_place=True),
    Entry("InnerProduct axis", "inner_product_param { num_output: 3 axis: -1 bias_term: false }", [IMAGES]),
    Entry("InnerProduct transpose", "inner_product_param { num_output: 3 transpose: true }", [ROWS]),
    Entry("InnerProduct of weights", "", [IMAGES, Bottom((4, 60))], batch=[0, None]),
    Entry(
        "InnerProduct of weights and biases",
        "inner_product_param { transpose: true }",
        [ROWS, Bottom((6, 3)), Bottom((3,))],
        batch=[0, None, None],
    ),
    Entry("InnerProduct normalized", f"{FIXED} inner_product_param {{ num_output: 3 normalize: true }}", [ROWS]),
    Entry("InnerDistance", "inner_distance_param { num_output: 3 transpose: true }", [IMAGES]),
    Entry("InnerDistance L1", 'inner_distance_param { distance_type: "L1" }', [ROWS, Bottom((3, 6))], batch=[0, None]),
    Entry(
        "InnerDistance labels",
        f"{FIXED} inner_distance_param {{ num_output: 3 update_center_only: true normalize: true }}",
        [ROWS, labels(3, 4)],
    ),
    Entry("L1Loss", "", [ROWS, ROWS]),
    Entry("L1Loss FlowNet", "l1_loss_param { plateau: 0.7 normalize_by_num_entries: true }", [IMAGES, IMAGES]),
    Entry(
        "L1Loss lengths",
        "loss_weight: 0.3 l1_loss_param { l2_per_location: true plateau: 1.5 l2_prescale_by_channels: true }",
        [IMAGES],
    ),
    Entry("LabelSpecificAdd", "label_specific_add_param { bias: 0.5 }", [SCORES, LABELS]),
    Entry(
        "LabelSpecificAdd annealed",
        "label_specific_add_param { bias_base: -0.5 bias_min: -2 }",
        [SCORES, LABELS],
    ),
    Entry("Interp", "interp_param { height: 3 width: 9 }", [IMAGES]),
    Entry("Interp crop", "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }", [Bottom((2, 3, 5, 6))]),
    Entry("Interp same", "interp_param { shrink_factor: 1 }", [IMAGES], in_place=True),
    Entry("Interp blob", "interp_param { use_blob_size: true }", [IMAGES, Bottom((2, 1, 1, 6))]),
    Entry("LRN across", "lrn_param { local_size: 3 alpha: 0.7 }", [Bottom((2, 5, 2, 3))], in_place=True),
    Entry("LRN across few", "lrn_param { local_size: 5 alpha: 0.7 k: 2 }", [IMAGES], in_place=True),
    Entry(
        "LRN pooled",
        "lrn_param { local_size: 3 fuse_type: FUSED_POOL_MAX pooling_param { kernel_size: 2 stride: 2 } }",
        [IMAGES],
    ),
    Entry("LRN within", "lrn_param { local_size: 3 alpha: 0.7 norm_region: WITHIN_CHANNEL }", [IMAGES], in_place=True),
    Entry("Log", "", [positive(2, 3, 5, 4)], in_place=True),
    Entry("Log base", "log_param { base: 10 scale: 0.4 shift: 1 }", [IMAGES], in_place=True),
    Entry("LSTM", "recurrent_param { num_output: 2 }", [STEPS, CONT], batch=STREAMS[:2]),
    Entry("LSTM no steps", "recurrent_param { num_output: 2 }", [STEPS, CONT]),
    Entry("LSTM static", "recurrent_param { num_output: 2 }", [STEPS, CONT, Bottom((2, 3))], batch=STREAMS),
    Entry(
        "LSTMUnit",
        "",
        [Bottom((1, 2, 3)), Bottom((1, 2, 12)), Bottom((1, 2), lambda rng: np.array([[1, 0.5]]))],
        2,
        batch=[1, 1, 1],
    ),
    Entry(
        "Lstm", "lstm_param { num_output: 2 }", [Bottom((3, 4)), Bottom((3, 1), lambda rng: np.array([[0], [2], [0]]))]
    ),
    Entry("Lstm whole", "lstm_param { num_output: 2 }", [Bottom((3, 2, 2))]),
    Entry("MergeCrop", "", [IMAGES, Bottom((2, 1, 8, 5))]),
    Entry("MergeCrop both", "mergecrop_param { backward: true backward: true }", [IMAGES, Bottom((2, 2, 5, 7))]),
    Entry(
        "MergeCrop add",
        "mergecrop_param { operation: ADD backward: true backward: true }",
        [Bottom((2, 3, 4)), Bottom((2, 3, 6))],
    ),
    Entry("Mish", "", [WIDE], in_place=True),
    Entry("Local", "local_param { num_output: 2 kernel_size: 2 stride: 2 pad: 1 }", [IMAGES]),
    Entry("MatMul", "", [Bottom((2, 3, 2, 4)), Bottom((2, 3, 4, 3))]),
    Entry("MatMul blob", "matmul_param { blob_shape: [4, 2] }", [IMAGES]),
    Entry(
        "MatMul transposed",
        "matmul_param { transpose_a: true transpose_b: true }",
        [Bottom((2, 4, 2)), Bottom((2, 3, 4))],
    ),
    Entry("MVN", "", [IMAGES], in_place=True),
    Entry("MVN across", "mvn_param { across_channels: true eps: 1e-8 }", [IMAGES], in_place=True),
    Entry("MVN mean", "mvn_param { normalize_variance: false }", [IMAGES], in_place=True),
    Entry("MVN rows", "mvn_param { across_channels: true }", [ROWS]),
    Entry("MarginInnerProduct", f"{FIXED} margin_inner_product_param {{ num_output: 5 }}", [IMAGES, labels(5, 2)]),
    Entry("MaskPooling", "", [IMAGES, Bottom((2, 1, 5, 4))]),
    Entry("MaskResize", "mask_resize_param { output_height: 3 output_width: 9 }", [IMAGES]),
    Entry("MultiBoxLoss", "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE }", MULTIBOX, batch=OBJECTS),
    Entry(
        "MultiBoxLoss hard",
        "loss_weight: 0.3 loss_param { normalization: FULL } multibox_loss_param { num_classes: 3 sample_size: 3 "
        "mining_type: HARD_EXAMPLE conf_loss_type: LOGISTIC encode_variance_in_target: true bp_inside: true }",
        MULTIBOX,
        batch=OBJECTS,
    ),
    Entry(
        "MultiBoxLoss of classes",
        "multibox_loss_param { num_classes: 3 share_location: false mining_type: NONE loc_loss_type: L2 }",
        [Bottom((2, 72)), *MULTIBOX[1:]],
        batch=OBJECTS,
    ),
    Entry("MultinomialLogisticLoss", "", [positive(4, 5), LABELS]),
    Entry("Normalize", "", [IMAGES], in_place=True),
    Entry("Normalize L1", 'normalize_param { normalize_type: "L1" bp_norm: true }', [IMAGES], tops=2),
    Entry("Normalize L2", "normalize_param { bp_norm: true }", [IMAGES], tops=2),
    Entry("Normalize sample", "norm_param { eps: 0.1 }", [IMAGES], in_place=True),
    Entry(
        "Normalize channels",
        "norm_param { across_spatial: false channel_shared: false eps: 0.2 add_eps_before_sqrt: false }",
        [IMAGES],
        in_place=True,
    ),
    Entry("Noise added", "noise_param { uniform_range: 1 bias: 2 }", [IMAGES], in_place=True),
    Entry("Noise multiplied", "noise_param { mu: 1 }", [IMAGES], in_place=True),
    Entry("Pad", "pad_param { paddings: [0, 0, 1, 2, 0, 1, 0, 0] constant_values: 3 }", [IMAGES]),
    Entry("PReLU channels", "", [IMAGES], in_place=True),
    Entry("PReLU shared", "prelu_param { channel_shared: true }", [IMAGES], in_place=True),
    Entry("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", []),
    Entry("Parameter weighted", "loss_weight: 0.3 parameter_param { shape { dim: 1 } }", []),
    Entry("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", [IMAGES]),
    Entry("Permute nothing", "", [IMAGES], in_place=True),
    Entry("Permute batch", "permute_param { order: 3 }", [IMAGES]),
    Entry("PSROIPooling", PSROI, [Bottom((2, 12, 5, 4)), REGIONS], batch=BESIDE_IMAGES),
    Entry("Pooling max", "pooling_param { kernel_size: 3 stride: 2 }", [IMAGES]),
    Entry("Pooling max pad", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", [IMAGES]),
    Entry("Pooling max same", "pooling_param { kernel_size: 3 pad: 1 }", [IMAGES], in_place=True),
    Entry("Pooling max mask", "pooling_param { kernel_size: 2 stride: 2 }", [IMAGES], tops=2),
    Entry("Pooling ave", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }", [IMAGES]),
    Entry("Pooling ave pad", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", [IMAGES]),
    Entry("Pooling max dilated", "pooling_param { kernel_size: 2 dilation: 2 }", [IMAGES]),
    Entry("Pooling ave of volumes", "pooling_param { pool: AVE kernel_size: 2 }", [Bottom((2, 3, 2, 3, 4))]),
    Entry("Pooling ave global", "pooling_param { pool: AVE global_pooling: true }", [IMAGES]),
    Entry("Pooling stochastic", "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }", [positive(2, 3, 5, 4)]),
    Entry("Power fraction", "power_param { power: 2.5 scale: 0.4 shift: 1 }", [IMAGES], in_place=True),
    Entry("Power square", "power_param { power: 2 scale: -0.5 }", [IMAGES], in_place=True),
    Entry("Power inverse", "power_param { power: -1 }", [IMAGES], in_place=True),
    Entry("Power affine", "power_param { scale: -1.5 shift: 0.5 }", [IMAGES], in_place=True),
    Entry("RNN", "recurrent_param { num_output: 2 }", [STEPS, CONT], batch=STREAMS[:2]),
    Entry("RNN no steps", "recurrent_param { num_output: 2 }", [STEPS, CONT]),
    Entry("RNN static", "recurrent_param { num_output: 2 }", [STEPS, CONT, Bottom((2, 3))], batch=STREAMS),
    Entry(
        "RNN no static steps", "recurrent_param { num_output: 2 }", [STEPS, CONT, Bottom((2, 3))], batch=[0, 0, None]
    ),
    Entry("ROIAlign corners", f"roi_pooling_param {{ {BINS} }}", [IMAGES, REGIONS], batch=BESIDE_IMAGES),
    Entry("ROIAlign samples", f"roi_align_param {{ {BINS} }}", [IMAGES, REGIONS], batch=BESIDE_IMAGES),
    Entry("ROIPooling", f"roi_pooling_param {{ {BINS} }}", [IMAGES, REGIONS], batch=BESIDE_IMAGES),
    Entry("ROIWarping", f"roi_warping_param {{ {BINS} }}", [PIXEL, INSIDE], batch=BESIDE_IMAGES),
    Entry("ReLU", "", [IMAGES], in_place=True),
    Entry("ReLU leaky", "relu_param { negative_slope: 0.1 }", [IMAGES], in_place=True),
    Entry("ReLU negative slope", "relu_param { negative_slope: -0.5 }", [IMAGES], in_place=True),
    Entry("ReLU limited", "relu_param { negative_slope: 0.5 minimum: -2 maximum: 5 }", [WIDE], in_place=True),
    Entry("ReLU6", "", [WIDE], in_place=True),
    Entry("ReLU6 leaky", "relu6_param { negative_slope: 0.1 }", [WIDE], in_place=True),
    Entry("ReLU6 negative slope", "relu6_param { negative_slope: -2 }", [WIDE], in_place=True),
    Entry("Reduction sum", "", [IMAGES]),
    Entry("Reduction asum", "reduction_param { operation: ASUM axis: -1 coeff: -2 }", [IMAGES]),
    Entry("Reduction sumsq", "reduction_param { operation: SUMSQ axis: 1 }", [IMAGES]),
    Entry("Reduction mean", "loss_weight: 0.3 reduction_param { operation: MEAN }", [IMAGES]),
    Entry(
        "RegionLoss",
        "region_loss_param { num_class: 2 num: 1 biases: 2 biases: 1 }",
        [Bottom((2, 7, 3, 2)), YOLO_LISTS],
        own_gradient=True,
    ),
    Entry(
        "RegionLoss rows",
        "loss_weight: 0.3 region_loss_param { num_class: 2 num: 1 biases: 2 biases: 1 }",
        [Bottom((2, 7, 3, 2)), OBJECT_ROWS],
        own_gradient=True,
        batch=[0, 2],
    ),
    Entry("Reorg", "reorg_param { stride: 2 }", [Bottom((2, 4, 2, 6))]),
    Entry("Reorg reverse", "reorg_param { stride: 2 reverse: true }", [Bottom((2, 8, 2, 3))]),
    Entry("Reshape pixels", "reshape_param { pixelshuffler: 2 }", [Bottom((2, 8, 2, 3))]),
    Entry("Resize", "resize_param { height: 3 width: 7 }", [IMAGES]),
    Entry("Reshape infer", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }", [IMAGES]),
    Entry("Reshape insert", "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", [ROWS]),
    Entry("Reverse", "reverse_param { axis: -1 axis: 0 }", [IMAGES], in_place=True),
    Entry("SPP max", "spp_param { pyramid_height: 3 }", [Bottom((2, 2, 7, 4))]),
    Entry("SPP ave", "spp_param { pyramid_height: 2 pool: AVE }", [IMAGES]),
    Entry("SPP stochastic", "spp_param { pyramid_height: 2 pool: STOCHASTIC }", [positive(2, 3, 4, 6)]),
    Entry("SPP one level", "spp_param { pyramid_height: 1 }", [IMAGES]),
    Entry("ScaledTanH", "scaled_tanh_param { alpha: 1.7159 beta: 0.66 }", [IMAGES], in_place=True),
    Entry("Scale channels", "scale_param { bias_term: true }", [IMAGES], in_place=True),
    Entry("Scale all axes", "scale_param { axis: 0 num_axes: -1 }", [IMAGES], in_place=True, batch_in_blobs=True),
    Entry("Scale scalar", "scale_param { num_axes: 0 bias_term: true }", [IMAGES], in_place=True),
    Entry(
        "Scale two bottoms", "scale_param { axis: 0 bias_term: true }", [IMAGES, Bottom((2, 3))], batch_in_blobs=True
    ),
    Entry("Scale two of a shape", "scale_param { axis: 0 }", [ROWS, ROWS]),
    Entry("ScaleFilter", "scale_filter_param { min_scale: 0.5 max_scale: 2 }", [IMAGES], in_place=True),
    Entry("Scatter", "", [IMAGES, ROWS], tops=2),
    Entry("SeLU", "", [IMAGES], in_place=True),
    Entry("SeLu", "", [IMAGES], in_place=True),
    Entry("SeLUDropout", "selu_dropout_param { dropout_ratio: 0.3 }", [IMAGES], in_place=True),
    Entry("SeLuDropout", "", [IMAGES], phase=TEST, in_place=True),
    Entry("ShuffleChannel", "shuffle_channel_param { group: 2 }", [Bottom((2, 6, 3, 2))], in_place=True),
    Entry("ShuffleChannel rows", "shuffle_channel_param { group: 3 }", [ROWS], in_place=True),
    Entry("Sigmoid", "", [IMAGES], in_place=True),
    Entry("SigmoidCrossEntropyLoss", "", [ROWS, labels(2, 4, 6)]),
    Entry("SigmoidCrossEntropyLoss ignore", "loss_param { ignore_label: 1 normalize: true }", [ROWS, labels(3, 4, 6)]),
    Entry("SigmoidCrossEntropyLoss weights", "", [ROWS, labels(2, 4, 6), positive(4, 6)]),
    Entry("Slice even", "", [Bottom((2, 6, 2, 2))], tops=3),
    Entry("Slice points", "slice_param { axis: -2 slice_point: 1 slice_point: 4 }", [IMAGES], tops=3),
    Entry("Slice one", "", [IMAGES], in_place=True),
    Entry("Softplus", "", [IMAGES], in_place=True),
    Entry("Softmax channels", "", [IMAGES], in_place=True),
    Entry("Softmax last", "softmax_param { axis: -1 }", [IMAGES], in_place=True),
    Entry("SmoothL1Loss", "", [ROWS, ROWS]),
    Entry("SmoothL1Loss sigma", "smooth_l1_loss_param { sigma: 3 }", [IMAGES, IMAGES], tops=2),
    Entry("SmoothL1Loss SSD", "loss_weight: 0.3", [ROWS, ROWS, positive(4, 6)]),
    Entry(
        "SmoothL1Loss Fast R-CNN",
        "loss_weight: 0.3 loss_weight: 2 smooth_l1_loss_param { sigma: 0.8 }",
        [ROWS, ROWS, positive(4, 6), positive(4, 6)],
        tops=2,
    ),
    Entry("SmoothL1LossOHEM", "loss_param { normalization: BATCH_SIZE }", [IMAGES, IMAGES]),
    Entry(
        "SmoothL1LossOHEM fixed",
        "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 7 }",
        [IMAGES, IMAGES, positive(2, 3, 5, 4)],
        tops=2,
    ),
    Entry("SoftmaxWithLoss", "", [SCORES, LABELS]),
    Entry("SoftmaxWithLoss weighted", "loss_weight: 0.3", [SCORES, LABELS]),
    Entry("SoftmaxWithLoss maps", "loss_param { ignore_label: 2 }", [MAPS, MAP_LABELS]),
    Entry(
        "SoftmaxWithLoss class weights",
        "loss_param { ignore_label: 2 weight_by_label_freqs: true class_weighting: 1 class_weighting: 0.5 "
        "class_weighting: 2 class_weighting: 0 class_weighting: 3 }",
        [MAPS, MAP_LABELS],
    ),
    Entry("SoftmaxWithLoss full", "loss_param { ignore_label: 2 normalization: FULL }", [MAPS, MAP_LABELS]),
    Entry("SoftmaxWithLoss batch", "loss_param { normalization: BATCH_SIZE }", [MAPS, MAP_LABELS]),
    Entry("SoftmaxWithLoss of each", "loss_param { ignore_label: 2 }", [MAPS, MAP_LABELS], tops=3),
    Entry("SoftmaxWithLoss last axis", "softmax_param { axis: -1 }", [Bottom((2, 3, 5)), labels(5, 2, 3)]),
    Entry(
        "SoftmaxWithLoss weights",
        "loss_param { max_entropy_weight: 0.1 adaptive_weighting: true gamma: 1 ignore_label: 2 }",
        [MAPS, MAP_LABELS],
    ),
    Entry(
        "SoftmaxWithLossOHEM",
        "loss_weight: 3 loss_weight: 0 loss_weight: 2 loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2 }",
        [MAPS, MAP_LABELS],
        tops=3,
    ),
    Entry("SpatialDropout", "dropout_param { dropout_ratio: 0.3 }", [IMAGES], in_place=True),
    Entry("Split", "", [ROWS], tops=3),
    Entry("Split one", "", [ROWS], in_place=True),
    Entry("Swish", "", [IMAGES], in_place=True),
    Entry("Swish beta", "swish_param { beta: -1.7 }", [IMAGES], in_place=True),
    Entry("ThresholdedReLU", "thresholded_relu_param { alpha: -0.51 }", [IMAGES], in_place=True),
    Entry("Tile", "tile_param { tiles: 3 }", [IMAGES]),
    Entry("Tile last", "tile_param { tiles: 2 axis: -1 }", [IMAGES]),
    Entry("Tile once", "tile_param { tiles: 1 axis: 0 }", [IMAGES], in_place=True),
    Entry("Upsample", "upsample_param { scale: 2 }", [IMAGES]),
    Entry("Upsample once", "", [IMAGES], in_place=True),
    Entry("Upsample mask", "upsample_param { upsample_h: 5 upsample_w: 7 }", [IMAGES, MASK]),
    Entry("UpsampleDarknet", "upsample_darknet_param { stride: 3 }", [Bottom((2, 3, 2, 3))]),
    Entry("TanH", "", [IMAGES], in_place=True),
    Entry("YoloSeg", "", [IMAGES, IMAGES], own_gradient=True),
    Entry("YoloSeg weighted", "", [IMAGES, IMAGES, Bottom((2, 3, 1))], own_gradient=True),
    Entry(
        "Yolov3",
        f"loss_weight: 0.3 yolov3_param {{ num: 2 mask: 1 mask: 0 {YOLO} }}",
        [Bottom((2, 14, 3, 2)), YOLO_LISTS],
        own_gradient=True,
    ),
    Entry(
        "Yolov3 rows",
        f"yolov3_param {{ num: 1 mask: 1 iou_loss: CIOU use_logic_gradient: true {YOLO} }}",
        [Bottom((2, 7, 2, 2)), OBJECT_ROWS],
        own_gradient=True,
        batch=[0, 2],
    ),
    Entry("TripletLoss", "triplet_loss_param { margin: 3 }", [ROWS, ROWS, ROWS]),
]


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_gradients(entry: Entry, engine: str) -> None:
    net = make_net(entry.text, entry.bottoms, entry.tops, engine=engine, phase=entry.phase)
    if not entry.own_gradient:
        check(net)
    top = net.blobs["y0"]
    keeps_shape = len(entry.bottoms) == entry.tops == 1 and top.shape == entry.bottoms[0].shape
    assert entry.in_place == keeps_shape, "set in_place of this entry as its shapes are"


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_what_forward_keeps_is_in_saved(entry: Entry, engine: str) -> None:
    """So fused or traced passes can exchange it, and removing it leaves the layer unchanged."""
    net = make_net(entry.text, entry.bottoms, entry.tops, engine=engine, phase=entry.phase)
    net.forward()
    (node,) = (node for node in net.nodes if node.name == "under_test")
    before = vars(node.layer) | {"saved": None}
    saved = node.layer.saved
    node.forward()
    node.backward()
    after = vars(node.layer) | {"saved": None}
    assert node.layer.saved is not saved
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] is not before[name]] == []


@pytest.mark.parametrize("entry", [e for e in TABLE if e.in_place], ids=lambda entry: entry.name)
def test_in_place(entry: Entry, engine: str) -> None:
    """Between two other in-place layers, tops and gradients are the same as with a separate blob for each layer."""

    def run(chain: str) -> dict[str, np.ndarray]:
        net = make_net(entry.text, entry.bottoms, engine=engine, phase=entry.phase, chain=chain)
        net.forward()
        (top,) = net.outputs
        net.blobs[top].diff[...] = np.random.default_rng(1).standard_normal(net.blobs[top].shape)
        net.backward()
        params = net.params.get("under_test", [])
        return {
            "top": net.blobs[top].data,
            "gradient": net.blobs["x0"].diff,
            **{f"param {i}": blob.data for i, blob in enumerate(params)},
            **{f"gradient of param {i}": blob.diff for i, blob in enumerate(params)},
        }

    apart, in_place = run("apart"), run("in place")
    assert np.any(apart["gradient"])
    for name, value in apart.items():
        np.testing.assert_array_equal(in_place[name], value, err_msg=name)


ALONE_AND_IN_PLACE = [*((e, False) for e in TABLE), *((e, True) for e in TABLE if e.in_place)]


@pytest.mark.parametrize(("entry", "in_place"), ALONE_AND_IN_PLACE, ids=lambda part: getattr(part, "name", None))
def test_backward_before_forward(entry: Entry, in_place: bool, engine: str) -> None:
    """The gradients are those after a forward pass over the same blobs, and only diffs have changed."""
    text, tops = (f'{entry.text} top: "x0"', 0) if in_place else (entry.text, entry.tops)
    ran, fresh = (make_net(text, entry.bottoms, tops, engine=engine, phase=entry.phase) for _ in range(2))
    names = ran.top_names["under_test"]
    ran.forward()
    rng, written = np.random.default_rng(1), {}
    for name in names:
        blob, values = fresh.blobs[name], rng.standard_normal(ran.blobs[name].shape)
        written[name] = values
        if not in_place:
            blob.reshape(*values.shape)  # a Filter only knows how many samples it selects when it runs
            blob.data[...] = -7
        blob.diff[...] = ran.blobs[name].diff[...] = values
    before = everything(fresh)
    for net in (ran, fresh):
        net.backward()
    for got, wanted in zip(gradients(fresh, entry), gradients(ran, entry), strict=True):
        # A layer that has run as a kernel may have added in another order.
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)
    after = everything(fresh)
    assert before.keys() == after.keys()
    for what, value in before.items():
        np.testing.assert_array_equal(after[what], value, err_msg=what)
    if in_place:
        return
    for name, values in written.items():
        np.testing.assert_array_equal(fresh.blobs[name].diff, values)
    fresh.forward()  # draws what the first forward pass would have drawn
    for name in names:
        np.testing.assert_array_equal(fresh.blobs[name].data, ran.blobs[name].data)


def gradients(net: Net, entry: Entry) -> list[np.ndarray]:
    return [
        *(net.blobs[f"x{i}"].diff for i in range(len(entry.bottoms))),
        *(blob.diff for blob in net.params.get("under_test", [])),
    ]


def everything(net: Net) -> dict[str, object]:
    """Copy everything that a backward pass must not change."""
    return {
        **{f"data of {name}": blob.data.copy() for name, blob in net.blobs.items()},
        **{f"param {i}": blob.data.copy() for i, blob in enumerate(net.params.get("under_test", []))},
        "state": json.dumps(net.state()),
    }


def _losses() -> Iterator[Entry]:
    for mode in ("FULL", "VALID", "BATCH_SIZE", "PRE_FIXED", "NONE"):
        for ignore in ("", " ignore_label: 2"):
            text = f"loss_param {{ normalization: {mode}{ignore} }}"
            yield Entry(f"SoftmaxWithLoss {mode}{ignore}", text, [MAPS, MAP_LABELS], tops=2)
            yield Entry(f"SigmoidCrossEntropyLoss {mode}{ignore}", text, [ROWS, labels(2, 4, 6)])
            matrix = Bottom((5, 5))
            yield Entry(f"InfogainLoss {mode}{ignore}", text, [MAPS, MAP_LABELS, matrix], tops=2, batch=BESIDE_A_MATRIX)


WITHOUT_GRADIENT = [
    Entry("Accuracy", "", [SCORES, LABELS], tops=2),
    Entry("Accuracy ignore", "accuracy_param { top_k: 2 ignore_label: 1 }", [MAPS, MAP_LABELS], tops=2),
    Entry("ArgMax", "argmax_param { top_k: 2 }", [IMAGES]),
    Entry("SegmentationEvaluate", "segmentation_evaluate_param { num_classes: 5 }", [MAPS, MAPS]),
    Entry("ArgMax both", "argmax_param { top_k: 3 out_max_val: true }", [IMAGES]),
    Entry("ArgMax axis", "argmax_param { axis: 2 out_max_val: true }", [IMAGES]),
    Entry(
        "BoxAnnotatorOHEM",
        "box_annotator_ohem_param { roi_per_img: 2 }",
        [Bottom((4, 5), lambda rng: np.eye(4, 5)), Bottom((4, 1)), labels(3, 4), Bottom((4, 8))],
        tops=2,
    ),
    Entry("Threshold", "", [IMAGES]),
    Entry("Silence", "", [IMAGES, ROWS], tops=0),
    Entry("Pooling stochastic test", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", [IMAGES], phase=TEST),
    Entry("LRN across, many", "", [Bottom((2, 32, 6, 6))]),
    Entry("Pooling max, many", "pooling_param { kernel_size: 2 }", [Bottom((2, 32, 6, 6))]),
    Entry("Convolution many", "convolution_param { num_output: 64 kernel_size: 3 pad: 1 }", [Bottom((2, 64, 9, 9))]),
    Entry("Convolution rows", "convolution_param { num_output: 8 kernel_size: 7 stride: 2 }", [Bottom((2, 3, 20, 20))]),
]
# What is in their tops, or how much, does not follow from the batch.
APART_FROM_THE_BATCH = [
    Entry("SegAccuracy", "seg_accuracy_param { ignore_label: 1 ignore_label: 3 }", [MAPS, MAP_LABELS]),
    Entry("PriorBox", "prior_box_param { min_size: 3 }", [IMAGES, IMAGES]),
    Entry("PriorBoxClustered", "prior_box_param { width: 3 height: 2 }", [IMAGES, IMAGES]),
    Entry(
        "DetectionEvaluate",
        "detection_evaluate_param { num_classes: 3 }",
        [labels(3, 1, 1, 4, 7), labels(3, 1, 1, 3, 8)],
        batch=[2, 2],
    ),
    Entry(
        "DetectionOutput",
        "detection_output_param { num_classes: 3 }",
        [Bottom((2, 16)), Bottom((2, 12)), Bottom((1, 2, 16))],
        batch=[0, 0, None],
    ),
    Entry(
        "DetectionOutputExtended",
        "detection_output_param { num_classes: 2 }",
        [Bottom((2, 1, 2, 8)), Bottom((2, 8)), Bottom((1, 2, 16))],
        batch=[0, 0, None],
    ),
    Entry(
        "EvalDetection",
        "eval_detection_param { num_class: 2 num_object: 1 biases: 1 biases: 2 }",
        [Bottom((2, 7, 3, 2)), OBJECT_ROWS],
        batch=[0, 2],
    ),
    Entry(
        "Yolov3DetectionOutput",
        "yolov3_detection_output_param { num_classes: 2 num_box: 1 mask_group_num: 1 anchors_scale: 8 mask: 0 "
        "biases: 9 biases: 5 }",
        [Bottom((2, 7, 3, 2))],
    ),
    Entry(
        "YoloDetectionOutput",
        "yolo_detection_output_param { num_classes: 2 num_box: 1 biases: 2 biases: 5 }",
        [Bottom((2, 7, 3, 2))],
    ),
]
NEVER_EMPTY = {"AnchorEmbeddingExtractor"}  # where it finds nothing, it has a row that says so
EMPTY = [entry for entry in TABLE if entry.bottoms and entry.type not in NEVER_EMPTY] + [*_losses(), *WITHOUT_GRADIENT]


@pytest.mark.parametrize(
    ("made_so", "dtype"),
    [(True, "float32"), (False, "float32"), (False, "float64")],
    ids=["made so", "reshaped", "reshaped in float64"],
)
@pytest.mark.parametrize("entry", EMPTY, ids=lambda entry: entry.name)
def test_a_batch_of_nothing(entry: Entry, made_so: bool, dtype: str, engine: str) -> None:
    """Tops have their shapes, sums and gradients of parameters are 0, and running statistics do not change."""

    def net_of_batch(size: int | None) -> Net:
        bottoms = entry.bottoms if size is None else entry.of_batch(size)
        return make_net(entry.text, bottoms, entry.tops, engine=engine, phase=entry.phase, dtype=dtype)

    net = net_of_batch(0 if made_so or entry.batch_in_blobs else None)
    if not made_so and not entry.batch_in_blobs:
        net.forward()
        net.backward()
        net.clear_param_diffs()
        for i, bottom in enumerate(entry.of_batch(0)):
            net.blobs[f"x{i}"].reshape(*bottom.shape)
    params = net.params.get("under_test", [])
    before = [blob.data.copy() for blob in params]
    net.forward()
    tops = [net.blobs[f"y{i}"] for i in range(entry.tops)]
    one, two = net_of_batch(1), net_of_batch(2)
    for i, top in enumerate(tops):
        shapes = (one.blobs[f"y{i}"].shape, two.blobs[f"y{i}"].shape)
        assert top.shape == top.data.shape == tuple(2 * n - m for n, m in zip(*shapes, strict=True))
        assert not np.any(top.data)  # and not NaN
        top.diff[...] = 1
    net.backward()
    for i in range(len(entry.bottoms)):
        diff = net.blobs[f"x{i}"].diff
        assert diff.shape == net.blobs[f"x{i}"].shape and not np.any(diff)
    for blob, data in zip(params, before, strict=True):
        np.testing.assert_array_equal(blob.data, data)
        assert not np.any(blob.diff)


@pytest.mark.parametrize("entry", [*TABLE, *WITHOUT_GRADIENT, *APART_FROM_THE_BATCH], ids=lambda entry: entry.name)
def test_an_axis_of_nothing(entry: Entry, engine: str) -> None:
    """Wherever the axis is, the layer accepts it or says what is wrong."""
    for i, bottom in enumerate(entry.bottoms):
        for axis in range(len(bottom.shape)):
            for together in (False, True):
                bottoms = [
                    _without(b, axis) if j == i or (together and axis < len(b.shape)) else b
                    for j, b in enumerate(entry.bottoms)
                ]
                try:
                    net = make_net(entry.text, bottoms, entry.tops, engine=engine, phase=entry.phase)
                    net.forward()
                    net.backward()
                except CaffeError:
                    continue
                for name, blob in net.blobs.items():
                    assert np.isfinite(blob.data).all() and np.isfinite(blob.diff).all(), name


def _without(bottom: Bottom, axis: int) -> Bottom:
    shape = (*bottom.shape[:axis], 0, *bottom.shape[axis + 1 :])
    return Bottom(shape, lambda rng: np.zeros(shape))


def test_every_layer_with_a_gradient_is_in_the_table() -> None:
    """A new layer must be added to TABLE. Python layers are defined by users; MalisLoss has a gradient of its own."""
    with_gradient = {
        cls.type
        for cls in map(layer_class, layer_type_list())
        if cls.__module__.startswith("caffe_lite.")
        and cls.tops != (0, 0)
        and cls.bottoms != (0, 0)
        and any(cls.gradient_reaches(cls, i, n) for n in [cls.bottoms[1] or cls.bottoms[0]] for i in range(n))
    }
    of_parameters_only = {"Embed", "Parameter"}
    assert with_gradient - {"Python", "MalisLoss"} | of_parameters_only <= {entry.type for entry in TABLE}


small = st.integers(1, 3)


@pytest.mark.parametrize("type", ["Convolution", "Deconvolution", "Im2col"])
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_filters_of_any_geometry(type: str, data: st.DataObject, engine: str) -> None:
    axes, group = data.draw(st.integers(1, 4), "axes"), data.draw(small, "group")

    def each(values: st.SearchStrategy[int], name: str) -> list[int]:
        return data.draw(st.lists(values, min_size=axes, max_size=axes), name)

    kernel, stride, pad, dilation = (
        each(small, "kernel"),
        each(small, "stride"),
        each(st.integers(0, 2), "pad"),
        each(st.integers(1, 2), "dilation"),
    )
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if type == "Deconvolution":
        least = [-(-max(0, 2 * p - e + 1) // s) + 1 for e, s, p in zip(extent, stride, pad, strict=True)]
    else:
        least = [max(1, e - 2 * p) for e, p in zip(extent, pad, strict=True)]
    size = [n + data.draw(st.integers(0, 3), "more") for n in least]
    fields = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    text = " ".join(f"{name}: {value}" for name, values in fields.items() for value in values)
    if type != "Im2col":
        text += f" group: {group} num_output: {group * data.draw(small, 'outputs per group')}"
    bottom = Bottom((data.draw(small, "n"), group * data.draw(small, "channels per group"), *size))
    check(make_net(f'type: "{type}" convolution_param {{ {text} }}', [bottom], engine=engine))


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_pyramid_over_any_image(data: st.DataObject, engine: str) -> None:
    height, size = data.draw(small, "pyramid_height"), data.draw(st.tuples(st.integers(7, 12), st.integers(7, 12)))
    pool = data.draw(st.sampled_from(["MAX", "AVE"]))
    bottom = Bottom((data.draw(small, "n"), data.draw(small, "channels"), *size))
    net = make_net(f'type: "SPP" spp_param {{ pyramid_height: {height} pool: {pool} }}', [bottom], engine=engine)
    assert net.blobs["y0"].count == bottom.shape[0] * bottom.shape[1] * sum(4**level for level in range(height))
    check(net)


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_crop_along_any_axes(data: st.DataObject, engine: str) -> None:
    sizes = data.draw(st.lists(small, min_size=1, max_size=4), "sizes")
    axis = data.draw(st.integers(-len(sizes), len(sizes) - 1), "axis")
    cropped = range(axis % len(sizes), len(sizes))
    offsets = [data.draw(st.integers(0, 2), "offset") for _ in cropped]
    shape = list(sizes)
    for i, offset in zip(cropped, offsets, strict=True):
        shape[i] += offset + data.draw(st.integers(0, 2), "after")
    text = " ".join(f"offset: {offset}" for offset in offsets)
    bottoms = [Bottom(tuple(shape)), Bottom(tuple(sizes))]
    net = make_net(f'type: "Crop" crop_param {{ axis: {axis} {text} }}', bottoms, engine=engine)
    check(net)
    assert net.blobs["y0"].shape == tuple(sizes)
    part = (..., *(slice(offset, offset + sizes[i]) for i, offset in zip(cropped, offsets, strict=True)))
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data[part])
    assert not net.blobs["x1"].diff.any()


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_pooling_of_any_geometry(data: st.DataObject, engine: str) -> None:
    kernel = data.draw(st.tuples(small, small), "kernel")
    stride = data.draw(st.tuples(st.integers(1, kernel[0]), st.integers(1, kernel[1])), "stride")
    pad = data.draw(st.tuples(st.integers(0, kernel[0] - 1), st.integers(0, kernel[1] - 1)), "pad")
    size = [data.draw(st.integers(max(1, k - 2 * p), k + 4)) for k, p in zip(kernel, pad, strict=True)]
    text = " ".join(
        f"{name}_{axis}: {value}"
        for name, values in {"kernel": kernel, "stride": stride, "pad": pad}.items()
        for axis, value in zip("hw", values, strict=True)
    )
    pool, rounding = data.draw(st.sampled_from(["MAX", "AVE"])), data.draw(st.sampled_from(["CEIL", "FLOOR"]))
    layer = f'type: "Pooling" pooling_param {{ pool: {pool} round_mode: {rounding} {text} }}'
    check(make_net(layer, [Bottom((data.draw(small), data.draw(small), *size))], engine=engine))


shapes = st.lists(small, min_size=1, max_size=5).map(tuple)


@settings(deadline=None, max_examples=20)
@given(data=st.data(), shape=shapes)
def test_concat_and_slice_undo_each_other(data: st.DataObject, shape: tuple[int, ...], engine: str) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis")
    sizes = data.draw(st.lists(small, min_size=2, max_size=4), "sizes")
    pieces = []
    for size in sizes:
        piece = list(shape)
        piece[axis] = size
        pieces.append(Bottom(tuple(piece)))
    joined = make_net(f'type: "Concat" concat_param {{ axis: {axis} }}', pieces, engine=engine)
    check(joined)
    joined.forward()
    whole = joined.blobs["y0"].data
    points = " ".join(f"slice_point: {end}" for end in np.cumsum(sizes)[:-1])
    layer = f'type: "Slice" slice_param {{ axis: {axis} {points} }}'
    cut = make_net(layer, [Bottom(whole.shape)], len(sizes), engine=engine)
    check(cut)
    cut.blobs["x0"].data[...] = whole
    cut.forward()
    for i in range(len(sizes)):
        np.testing.assert_array_equal(cut.blobs[f"y{i}"].data, joined.blobs[f"x{i}"].data)


@settings(deadline=None, max_examples=20)
@given(data=st.data(), shape=shapes)
def test_softmax_along_any_axis(data: st.DataObject, shape: tuple[int, ...], engine: str) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis")
    net = make_net(f'type: "Softmax" softmax_param {{ axis: {axis} }}', [Bottom(shape)], engine=engine)
    check(net)
    np.testing.assert_allclose(net.blobs["y0"].data.sum(axis), 1)


@pytest.mark.parametrize("name", ["AbsVal", "BNLL", "Clip", "ELU", "Exp base", "Log base", "Power fraction", "Swish"])
@settings(deadline=None, max_examples=10)
@given(shape=st.lists(small, max_size=5).map(tuple))
def test_neurons_of_any_shape(name: str, shape: tuple[int, ...], engine: str) -> None:
    entry = next(entry for entry in TABLE if entry.name == name)
    net = make_net(entry.text, [Bottom(shape)], engine=engine)
    check(net)
    assert net.blobs["y0"].shape == shape


def test_the_check_notices_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    def slightly_wrong(self, top, propagate_down, bottom) -> None:
        bottom[0].diff = top[0].diff * self.saved.y * (1.001 - self.saved.y)

    monkeypatch.setattr(layer_class("Sigmoid"), "Backward", slightly_wrong)
    with pytest.raises(AssertionError, match="the gradient of x0"):
        check(make_net('type: "Sigmoid"', [IMAGES], engine=engine))

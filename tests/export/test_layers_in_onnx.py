"""Every layer that can be written in ONNX computes there what it computes here, for its own batch and for others."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError
from caffe_lite.layer import Layer, layer_class, layer_type_list

from ..layers.gradient import Bottom, labels, make_net
from ..layers.test_table import (
    APART_FROM_THE_BATCH,
    CONT,
    FLOWS,
    IMAGES,
    ROWS,
    STEPS,
    TABLE,
    WITHOUT_GRADIENT,
    Entry,
)

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from caffe_lite.agreement.comparing import TOLERANCE, gap
from caffe_lite.export.onnx_export import runner
from caffe_lite.export.writing import write

STATE = Bottom((1, 2, 4))
AROUND = Bottom((9, 2), lambda rng: np.array([(3 * np.cos(a), 3 * np.sin(a)) for a in np.linspace(0, 6, 9)]))
MARGIN = "margin_inner_product_param { num_output: 4 base: 0.5 lambda_min: 2 type: %s }"
# What the table of all layers lacks.
ALSO = [
    *(Entry(f"MarginInnerProduct {m}", MARGIN % m, [AROUND, labels(4, 9)]) for m in ("DOUBLE", "TRIPLE", "QUADRUPLE")),
    Entry("MarginInnerProduct lambda", "margin_inner_product_param { num_output: 4 }", [ROWS, labels(4, 4)], tops=2),
    Entry("InnerDistance normalized", "inner_distance_param { num_output: 3 normalize: true }", [IMAGES]),
    Entry("LSTM hidden", "recurrent_param { num_output: 4 expose_hidden: true }", [STEPS, CONT, STATE, STATE], tops=3),
    Entry("Lstm streams", "lstm_param { num_output: 3 batch_size: 2 }", [Bottom((8, 5))]),
    Entry("RNN hidden", "recurrent_param { num_output: 4 expose_hidden: true }", [STEPS, CONT, STATE], tops=2),
    Entry("Correlation near", "correlation_param { kernel_size: 3 max_displacement: 1 pad: 1 }", [IMAGES, IMAGES]),
    Entry("Correlation1D far", "correlation_param { kernel_size: 1 max_displacement: 3 pad: 3 }", [IMAGES, IMAGES]),
    Entry("BN statistics of rows", "", [ROWS], tops=3),
    Entry("BatchNorm batch", "batch_norm_param { use_global_stats: false filler { type: 'gaussian' } }", [IMAGES]),
    Entry("LRN within much", "lrn_param { local_size: 7 alpha: 2 norm_region: WITHIN_CHANNEL }", [IMAGES]),
]
MOVED = "augmentation_param { mean_per_pixel: false mean: 1 mean: 2 mean: 3 }"
ROWS_OF_BOXES, BOXES = (
    Bottom((6, 2)),
    Bottom((6, 5), lambda rng: np.array([[0, 0, 0, n, 2 * n] for n in (100, 20, 300, 9, 40, 0)])),
)
ARRANGED = [
    *(
        Entry(f"ArgMax {p}", f"argmax_param {{ {p} }}", [labels(4, 2, 3, 5, 4)])
        for p in (
            "",
            "axis: 1",
            "min_first: true",
            "min_first: true axis: -1",
            "min_first: true top_k: 3 out_max_val: true",
            "axis: 0 top_k: 2",
            "axis: 0",
        )
    ),
    Entry("Power constant", "power_param { scale: 0 shift: -2 power: 3 }", [IMAGES]),
    Entry("Power one", "power_param { power: 0 scale: 2 }", [IMAGES]),
    Entry("Eltwise differences", "eltwise_param { coeff: -1 coeff: -1 coeff: 0.5 }", [ROWS, ROWS, ROWS]),
    Entry("Eltwise batches", "eltwise_param { operation: STOCHASTIC_SUM coeff: 1 coeff: -1 }", [ROWS, ROWS]),
    Entry("Concat batches", "concat_param { axis: 0 }", [ROWS, ROWS]),
    Entry("Slice batch", "slice_param { axis: 0 slice_point: 1 }", [IMAGES], tops=2, batch_in_blobs=True),
    Entry("Slice batch even", "slice_param { axis: 0 }", [IMAGES], tops=2),
    Entry("Crop batch", "crop_param { axis: 0 offset: [1, 0, 2, 1] }", [IMAGES, Bottom((1, 3, 3, 2))]),
    Entry("Crop batches alike", "crop_param { axis: 0 offset: [0, 1, 2, 1] }", [IMAGES, Bottom((2, 2, 3, 2))]),
    Entry(
        "CropCenter batch", "crop_center_param { crop_size: [1, 0, 2, 0] }", [Bottom((5, 2, 6, 3))], batch_in_blobs=True
    ),
    Entry("Pad batch", "pad_param { paddings: [1, 0, 0, 0] }", [ROWS]),
    Entry("Pad nothing", "pad_param { paddings: [0, 0, 0, 0] }", [ROWS]),
    Entry("Reduction batch", "reduction_param { operation: MEAN coeff: 3 }", [ROWS]),
    Entry("Reduction axis", "reduction_param { operation: MEAN axis: 2 }", [IMAGES]),
    Entry("BatchReduction mean", "batch_reduction_param { reduction_param { operation: MEAN axis: 0 } }", [IMAGES]),
    Entry("BatchReduction batch", "batch_reduction_param { reduction_param { operation: TOPK k: 1 } }", [IMAGES]),
    Entry("Reshape batch", "reshape_param { shape { dim: -1 dim: 6 } }", [IMAGES]),
    Entry("Reshape one batch", "reshape_param { shape { dim: 1 dim: -1 dim: 6 } }", [IMAGES]),
    Entry("Tile batch", "tile_param { tiles: 2 axis: 0 }", [IMAGES]),
    Entry("Permute images", "permute_param { order: [1, 0] }", [IMAGES]),
    Entry("Reverse batch", "reverse_param { axis: 0 axis: 2 }", [IMAGES]),
    Entry("Flip nothing", "flip_param { flip_width: false }", [IMAGES]),
    Entry("ChannelScale global", "channel_scale_param { global_scale: true }", [IMAGES, Bottom((2, 1, 5, 4))], tops=2),
    Entry("MergeCrop first", "mergecrop_param { forward: [true, false] }", [IMAGES, Bottom((2, 2, 8, 5))]),
    Entry("FlowWarp holes", "flow_warp_param { fill_value: NOT_A_NUMBER }", [IMAGES, FLOWS]),
    Entry("Interp one", "interp_param { height: 1 width: 1 }", [IMAGES]),
    Entry("Interp of one", "interp_param { height: 4 width: 3 }", [Bottom((2, 3, 1, 5))]),
    Entry("Interp of many", "interp_param { height: 3 width: 700 }", [Bottom((1, 1, 2, 1003))]),
    Entry("Interp much", "interp_param { height: 121 width: 33 }", [Bottom((1, 2, 7, 41))]),
    Entry("Resize smaller", "resize_param { height: 2 width: 3 }", [Bottom((1, 2, 7, 41))]),
    Entry("MaskResize smaller", "mask_resize_param { output_height: 2 output_width: 3 }", [Bottom((1, 2, 7, 41))]),
    Entry("Upsample far", "upsample_param { scale: 7 }", [Bottom((1, 2, 5, 3))]),
    Entry("Upsample scales", "upsample_param { scale_h: 1 scale_w: 7 }", [IMAGES, labels(140, 2, 3, 5, 4)]),
    Entry("Upsample less", "upsample_param { pad_out_h: true }", [IMAGES, labels(72, 2, 3, 5, 4)]),
    Entry("DataAugmentation", "", [IMAGES], tops=2),
    Entry("DataAugmentation mean", MOVED, [IMAGES, Bottom((2, 42, 1, 1))], tops=2),
    Entry("ScaleRoute", "", [BOXES, ROWS_OF_BOXES], tops=2),
    Entry("ScaleRoute range", "scale_route_param { low_scale: 30 high_scale: 200 }", [BOXES]),
    Entry("ScaleRoute none", "scale_route_param { low_scale: 33 high_scale: 34 }", [BOXES]),
]
ARRANGED += [
    Entry(f"{kind} without images", "convolution_param { num_output: 4 group: 2 kernel_size: 1 }", [ROWS])
    for kind in ("Convolution", "Deconvolution")
]
ENTRIES = [*TABLE, *ARRANGED, *WITHOUT_GRADIENT, *APART_FROM_THE_BATCH, *ALSO]
WRITTEN = [entry for entry in ENTRIES if layer_class(entry.type).to_onnx is not Layer.to_onnx]


def of_batch(entry: Entry, size: int) -> list[Bottom]:
    """Return the bottoms with their samples (the steps of sequences) repeated or cut to so many."""
    bottoms = []
    for index, bottom in enumerate(entry.bottoms):
        values = bottom.fill(np.random.default_rng(0), index, len(entry.bottoms))
        if (not entry.batch or entry.batch[index] is not None) and values.ndim and values.size:
            values = np.take(values, np.arange(size) % values.shape[0], 0)
        bottoms.append(Bottom(values.shape, lambda rng, values=values: values))
    return bottoms


def compare(net, run) -> None:
    names = [name for name in net.outputs if name.startswith("y")]
    got = run({name: net.blobs[name].data for name in net.inputs})
    net.forward()
    for name in names:
        wanted = net.blobs[name].data
        if wanted.size and not np.allclose(wanted, got[name], rtol=0, atol=1e-6):  # sums may cancel
            assert gap(name, wanted.astype(np.float64), got[name]).size < TOLERANCE, name
        assert got[name].shape == wanted.shape


@pytest.mark.parametrize("entry", WRITTEN, ids=[entry.name for entry in WRITTEN])
def test_agrees(entry: Entry) -> None:
    agrees(entry, runner)


def agrees(entry: Entry, runner, own_batch: bool = True) -> None:
    """Compare a layer with what ``runner`` makes of its graph: for 1 and for 3 items, if the batch may be free.

    The graph of the entry's own batch is compared, too, with ``own_batch`` or if the batch may not be free.
    """

    def net_of(bottoms):
        return make_net(entry.text, bottoms, entry.tops, engine="numpy", phase=TEST, dtype="float32")

    net = net_of(entry.bottoms)
    try:
        free = None if entry.batch_in_blobs else runner(write(net))
    except CaffeError:
        free = None  # the layer needs to know the batch
    if own_batch or not free:
        compare(net, runner(write(net, free_batch=False)))
    for other in [net_of(of_batch(entry, size)) for size in (1, 3)] if free else []:
        for blob, same in zip(other.params.get("under_test", ()), net.params.get("under_test", ()), strict=True):
            blob.data[...] = same.data
        compare(other, free)


DATA = """AnnotatedData CoSData Data DenseImageData DetectionData EvalData HDF5Data ImageData ImageLabelmapData
    ImageSegData Input LaneData MemoryData SegData VideoData WindowData"""
LOSSES = """CTCLoss CenterLoss ContrastiveLoss CtcLoss DetectionGroupLoss EuclideanLoss GaussianYolov3 HingeLoss
    InfogainLoss L1Loss MalisLoss MultiBoxLoss MultinomialLogisticLoss RegionLoss SigmoidCrossEntropyLoss SmoothL1Loss
    SmoothL1LossOHEM SoftmaxWithLoss SoftmaxWithLossOHEM TripletLoss YoloSeg Yolov3"""
MEASURES = """Accuracy BboxAccuracy DetectionEvaluate DetectionGroupAccuracy EvalDetection LabelsequenceAccuracy
    SegAccuracy SegmentationEvaluate"""
ONLY_FOR_TRAINING = """BoxAnnotatorOHEM DetectNetTransformation FlowAugmentation GenerateAugmentationParameters
    HardMining ProposalTarget"""
BESIDE_THE_GRAPH = "HDF5Output Silence"  # they write files or do nothing
ELSEWHERE = "BoxGroupOutput DecodeBBox FrcnnOutput Proposal Python"  # in test_detection_in_onnx.py
IMPOSSIBLE = "ConnectedComponent"


def test_every_other_layer_can_be_written() -> None:
    """A new layer needs a form in ONNX, an entry here that shows it right, or a place among those that have none."""
    ours = {name for name in layer_type_list() if layer_class(name).__module__.startswith("caffe_lite.")}
    without = {name for name in ours if layer_class(name).to_onnx is Layer.to_onnx}
    assert without == set(f"{DATA} {LOSSES} {MEASURES} {ONLY_FOR_TRAINING} {BESIDE_THE_GRAPH}".split())
    constants = {name for name in ours - without if layer_class(name).bottoms == (0, 0)}  # see test_sources.py
    assert ours - without - constants <= {entry.type for entry in WRITTEN} | set(f"{ELSEWHERE} {IMPOSSIBLE}".split())


@pytest.mark.parametrize("per_pixel", ["true", "false"])
def test_a_mean_that_is_final(per_pixel: str) -> None:
    text = f'type: "DataAugmentation" augmentation_param {{ recompute_mean: 2 mean_per_pixel: {per_pixel} }}'
    net = make_net(text, [IMAGES], 1, engine="numpy", phase=TEST, dtype="float32")
    net.params["under_test"][0].data[...] = 0
    net.forward()
    with pytest.raises(CaffeError, match="its mean is not final yet"):
        write(net)
    net.forward()
    compare(net, runner(write(net)))


def test_crops_of_an_augmentation_have_no_form() -> None:
    text = 'type: "DataAugmentation" augmentation_param { crop_width: 2 crop_height: 2 }'
    with pytest.raises(CaffeError, match="crops have no form in ONNX"):
        write(make_net(text, [IMAGES], 1, engine="numpy", phase=TEST, dtype="float32"))


@pytest.mark.parametrize("opset", [13, 18])
def test_equal_pieces_of_any_batch(make_net, opset: int) -> None:
    net = make_net(
        """
        layer { name: "x" type: "Input" top: "a" top: "b" input_param { shape { dim: [2, 3] } } }
        layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" concat_param { axis: 0 } }
        layer { name: "s" type: "Slice" bottom: "c" top: "y" top: "z" slice_param { axis: 0 } }
        """,
        TEST,
    )
    a, b = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    got = runner(write(net, opset))({"a": a, "b": b})
    np.testing.assert_array_equal(got["y"], a)
    np.testing.assert_array_equal(got["z"], b)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, Net
from caffe_lite.agreement.comparing import Arrays, compare, gap_of_rows, run
from caffe_lite.errors import NetError
from caffe_lite.proto import caffe_pb2

FINDER = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }
layer { name: "maps" type: "Convolution" bottom: "x" top: "maps"
        convolution_param { num_output: 14 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "found" type: "Yolov3DetectionOutput" bottom: "maps" top: "found"
        yolov3_detection_output_param { num_classes: 2 num_box: 2 mask_group_num: 1 anchors_scale: 8 mask: [0, 1]
                                        biases: [9, 5, 4, 6] confidence_threshold: 0.1 nms_threshold: %s } }
layer { name: "y" type: "Power" bottom: "found" top: "y" power_param { scale: %s } }
"""


def finder(threshold: float = 0.4, scale: float = 2, noise: float = 0) -> Net:
    text = FINDER % (threshold, scale)
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), TEST, engine="numpy", seed=0)
    weights = net.params["maps"][0].data
    weights *= 1 + noise * np.random.default_rng(0).standard_normal(weights.shape)
    return net


def differ(other: Net) -> str:
    with pytest.raises(NetError) as info:
        compare(finder(), ["x"], ["y"], lambda fed: run(other, fed))
    return str(info.value)


def in_another_order(least: float) -> Callable[[Arrays], Arrays]:
    """Return a run that finds the same, but in another order for inputs of at least such a size."""
    net = finder()

    def other(fed: Arrays) -> Arrays:
        got = run(net, fed)
        order = slice(None, None, -1 if np.abs(fed["x"]).max() >= least else None)
        return got | {name: got[name][:, :, order] for name in ("found", "y")}

    return other


def test_rounding_may_decide_for_large_inputs() -> None:
    """Most scores are nearly 1 then."""
    comparisons = compare(finder(), ["x"], ["y"], in_another_order(50))
    assert [one.kind for one in comparisons] == ["random", "zero", "large"]
    with pytest.raises(NetError, match="for random inputs by"):
        compare(finder(), ["x"], ["y"], in_another_order(1))


def test_what_a_layer_that_decides_reads_is_compared() -> None:
    assert "The first blob to differ is 'maps'" in differ(finder(noise=0.01))


def test_what_it_finds_is_compared() -> None:
    assert "for random inputs by inf of the spread of 'found'" in differ(finder(threshold=0.8))


def test_what_follows_from_it_is_compared() -> None:
    assert "The first blob to differ is 'y'" in differ(finder(scale=2.01))


ROWS = np.random.default_rng(0).random((1, 1, 30, 7))


@pytest.mark.parametrize("shape", [(1, 1, 30, 7), (30, 7), (30, 7, 1, 1)])
def test_neighbours_may_change_places(shape: tuple[int, ...]) -> None:
    rows = ROWS.reshape(shape)
    order = np.arange(30)
    order[[4, 5, 8, 11]] = order[[5, 4, 11, 8]]
    other = ROWS[:, :, order].reshape(shape)
    assert gap_of_rows("y", rows, other).size == 0
    order[[0, 20]] = order[[20, 0]]
    assert gap_of_rows("y", rows, ROWS[:, :, order].reshape(shape)).size > 0.1


def test_other_rows_are_not_the_same() -> None:
    other = ROWS.copy()
    other[0, 0, 3] = other[0, 0, 4]
    assert gap_of_rows("y", ROWS, other).size > 0.1
    assert gap_of_rows("y", ROWS, ROWS[:, :, :29]).size == np.inf
    assert gap_of_rows("y", ROWS[:, :, :0], ROWS[:, :, :0]).size == 0


def test_data_that_only_losses_read_is_not_needed(make_net) -> None:
    net = make_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } } '
        'layer { name: "d" type: "MemoryData" top: "d" top: "label" '
        "memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } } "
        'layer { name: "l" type: "EuclideanLoss" bottom: "x" bottom: "d" top: "l" } '
        'layer { name: "y" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }'
    )
    blobs = run(net, {"x": np.ones((2, 3))})
    np.testing.assert_array_equal(blobs["y"], 2)

"""Which blobs a written net takes and gives, and by which names."""

from __future__ import annotations

import pytest

from caffe_lite import TEST
from caffe_lite.errors import NetError
from caffe_lite.export.writing import write

INPUT = """
layer { name: "x" type: "Input" top: "x" top: "label" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "p" type: "InnerProduct" bottom: "x" top: "p" inner_product_param { num_output: 4 } }
"""
LOSS = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "p" bottom: "label" top: "l" } '
RELU = 'layer { name: "r" type: "ReLU" bottom: "p" top: "r" } '
ENDS = {
    "in place": ('layer { name: "r" type: "ReLU" bottom: "p" top: "p" }', ["p"]),
    "a loss": (LOSS, ["p"]),
    "a loss of two": (RELU + 'layer { name: "l" type: "EuclideanLoss" bottom: "r" bottom: "p" top: "l" }', ["r", "p"]),
    "an accuracy": ('layer { name: "a" type: "Accuracy" bottom: "p" bottom: "label" top: "a" }', ["p"]),
    "silence": ('layer { name: "s" type: "Silence" bottom: "p" bottom: "label" }', ["p"]),
    "read twice": (RELU + LOSS, ["r", "p"]),
    "nothing": ('layer { name: "d" type: "Dropout" bottom: "p" top: "d" }', ["d"]),
    "nothing, twice": ('layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }', ["p", "a", "b"]),
    "a split in place": ('layer { name: "s" type: "Split" bottom: "p" top: "p" top: "b" }' + LOSS, ["b", "p"]),
    "what follows from a loss": (LOSS + 'layer { name: "h" type: "Power" bottom: "l" top: "h" }', ["p"]),
}


@pytest.mark.parametrize("end", ENDS)
def test_outputs(make_net, end) -> None:
    layers, outputs = ENDS[end]
    written = write(make_net(INPUT + layers, TEST))
    assert written.inputs == ["x"]
    assert written.outputs == outputs
    assert [value.name for value in written.graph.outputs] == outputs
    assert {value.shape[0] for value in written.graph.outputs} == {None}


def test_sizes_that_the_batch_decides(make_net) -> None:
    net = make_net(INPUT + 'layer { name: "f" type: "Flatten" bottom: "p" top: "f" flatten_param { axis: 0 } }')
    assert write(net).free == {("x", 0): "N", ("p", 0): "N", ("f", 0): "f_0"}
    assert not write(net, free_batch=False).free


def test_a_measure_of_detections_is_left_out(make_net) -> None:
    net = make_net(
        """
        layer { name: "d" type: "Input" top: "d" top: "label"
          input_param { shape { dim: [1, 1, 4, 7] } shape { dim: [1, 1, 3, 8] } } }
        layer { name: "p" type: "Power" bottom: "d" top: "p" power_param { power: 1 } }
        layer { name: "e" type: "DetectionEvaluate" bottom: "p" bottom: "label" top: "e"
          detection_evaluate_param { num_classes: 3 } }
        """,
        TEST,
    )
    written = write(net)
    assert (written.inputs, written.outputs) == (["d"], ["p"])


def test_an_output_with_the_name_of_an_input_is_refused(make_net) -> None:
    layers = [
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }',
        'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }',
        'layer { name: "p" type: "Power" bottom: "x" top: "p" }',
    ]
    with pytest.raises(NetError, match="blob 'x' is an input and, computed in place, an output"):
        write(make_net("".join(layers[:2]), TEST))
    assert write(make_net("".join(layers), TEST)).outputs == ["p"]

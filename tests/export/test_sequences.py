"""Nets over sequences in ONNX: what they are tried out with, and where their states begin."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.agreement.comparing import inputs
from caffe_lite.errors import LayerError
from caffe_lite.export import to_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CAPTIONS = """
layer { name: "words" type: "Input" top: "words" input_param { shape { dim: 5 dim: 3 } } }
layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 5 dim: 3 } } }
layer { name: "image" type: "Input" top: "image" input_param { shape { dim: 3 dim: 7 } } }
layer {
  name: "embedding" type: "Embed" bottom: "words" top: "embedded"
  embed_param { input_dim: 20 num_output: 6 weight_filler { type: "gaussian" std: 0.5 } }
}
layer {
  name: "lstm" type: "LSTM" bottom: "embedded" bottom: "cont" bottom: "image" top: "h"
  recurrent_param { num_output: 8 weight_filler { type: "gaussian" std: 0.5 } }
}
layer {
  name: "predict" type: "InnerProduct" bottom: "h" top: "scores"
  inner_product_param { num_output: 20 axis: 2 weight_filler { type: "gaussian" std: 0.5 } }
}
"""


@pytest.fixture
def engine() -> str:
    """Graphs are the same on every engine."""
    return "numpy"


def test_captions(make_net, tmp_path) -> None:
    net = make_net(CAPTIONS, TEST, seed=0)
    export = to_onnx(net, tmp_path / "net.onnx")
    assert not export.free_batch  # steps and streams are told apart by the sizes of the image
    rng = np.random.default_rng(3)
    cont = np.ones((5, 3), np.float32)
    cont[0] = cont[3, 1] = 0
    fed = {
        "words": rng.integers(0, 20, (5, 3)).astype(np.float32),
        "cont": cont,
        "image": rng.standard_normal((3, 7)).astype(np.float32),
    }
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for _ in range(2):
        (scores,) = session.run(None, fed)
        np.testing.assert_allclose(scores, net.forward(**fed)["scores"], rtol=1e-5, atol=1e-5)


def test_without_a_beginning_states_are_0_in_every_run(make_net, tmp_path) -> None:
    net = make_net(CAPTIONS, TEST, seed=0)
    fed = {name: np.ones(net.blobs[name].data.shape, np.float32) for name in net.inputs}
    first = np.array(net.forward(**fed)["scores"])
    export = to_onnx(net, tmp_path / "net.onnx")
    assert "lstm keeps no states from one run to the next: each starts from 0" in export.report()
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for _ in range(2):
        np.testing.assert_allclose(session.run(None, fed)[0], first, rtol=1e-5, atol=1e-5)


def test_states_of_passes_before_do_not_count(make_net, tmp_path) -> None:
    given, computed = 'bottom: "cont" bottom: "image"', 'bottom: "marks" bottom: "image"'
    marks = 'layer { name: "marks" type: "Sigmoid" bottom: "cont" top: "marks" }\n'
    start = CAPTIONS.index('layer {\n  name: "lstm"')
    net = make_net(CAPTIONS[:start] + marks + CAPTIONS[start:].replace(given, computed), TEST, seed=0)
    net.blobs["image"].data[...] = 1
    net.forward()
    export = to_onnx(net, tmp_path / "net.onnx")
    assert max(comparison.gap.size for comparison in export.comparisons) < 1e-5


def test_what_is_tried_out_goes_through_reshapes(make_net) -> None:
    reshaped = CAPTIONS.replace(
        'top: "cont" input_param { shape { dim: 5 dim: 3 } } }',
        'top: "row" input_param { shape { dim: 15 } } }\n'
        'layer { name: "steps" type: "Reshape" bottom: "row" top: "cont" reshape_param { shape { dim: 5 dim: 3 } } }',
    )
    for _, values in inputs(make_net(reshaped, TEST, seed=0), ["words", "row", "image"]):
        assert values["row"].shape == (15,)
        assert not values["row"][:3].any()
        assert set(values["row"]) <= {0, 1}


def test_sequences_that_begin_together(make_net, tmp_path) -> None:
    start = CAPTIONS.index('layer { name: "cont"')
    indicator = """
    layer {
      name: "cont" type: "ContinuationIndicator" top: "cont"
      continuation_indicator_param { time_step: 5 batch_size: 3 }
    }
    """
    lstm = CAPTIONS[CAPTIONS.index('layer {\n  name: "embedding"') :].replace('bottom: "image" ', "")
    net = make_net(CAPTIONS[:start] + indicator + lstm, TEST, seed=0)
    assert not [line for line in to_onnx(net, tmp_path / "net.onnx").report() if "keeps no states" in line]
    ops = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert "LSTM" in ops
    assert "Scan" not in ops
    words = np.random.default_rng(3).integers(0, 20, (5, 3)).astype(np.float32)
    (scores,) = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"words": words})
    np.testing.assert_allclose(scores, net.forward(words=words)["scores"], rtol=1e-5, atol=1e-5)


def test_a_margin_that_changes_with_every_pass(make_net, tmp_path) -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
    layer {
      name: "scores" type: "MarginInnerProduct" bottom: "x" bottom: "label" top: "scores"
      margin_inner_product_param { num_output: 4 type: QUADRUPLE gamma: 0.1 base: 1000 }
    }
    """
    with pytest.raises(LayerError, match="lambda changes with every pass"):
        to_onnx(make_net(text, TEST, seed=0), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()

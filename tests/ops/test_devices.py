"""The torch engine computes only on its own device; tested on torch's device of arrays without values."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe_lite

torch = pytest.importorskip("torch")

from caffe_lite.ops.torch.engine import TorchOps  # noqa: E402

NETS = sorted((Path(__file__).parents[1] / "golden" / "layers").rglob("*.prototxt"))


class NothingDrawnOrChecked:
    """A stand-in for the object in which a traced pass records what happens on the host."""

    constant = False

    def __init__(self, ops):
        self.ops = ops

    def drawn(self, draw):
        return self.ops.asarray(draw())

    def inspect(self, x, check):
        assert x.device.type == "meta"


@pytest.mark.parametrize("path", NETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_layer_makes_an_array_elsewhere(path):
    if path.parent.name == "Filter":
        pytest.skip("its shapes depend on values, which this device has not")
    ops = TorchOps(device="meta")
    ops.tracer = NothingDrawnOrChecked(ops)
    net = caffe_lite.Net(path, caffe_lite.TRAIN, engine=ops)
    net.run_forward()
    net.run_backward()
    for node in net.nodes:
        for blob in (*node.bottom, *node.top, *node.layer.blobs):
            assert blob.data.device.type == blob.diff.device.type == "meta"

"""Every layer that can be written in ONNX computes there what it computes here, for its own batch and for others."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError
from caffe_lite.layer import Layer, layer_class

from ..layers.gradient import Bottom, make_net
from ..layers.test_table import APART_FROM_THE_BATCH, TABLE, WITHOUT_GRADIENT, Entry

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from caffe_lite.agreement.comparing import TOLERANCE, gap
from caffe_lite.export.onnx_export import runner
from caffe_lite.export.writing import write

ENTRIES = [*TABLE, *WITHOUT_GRADIENT, *APART_FROM_THE_BATCH]
WRITTEN = [entry for entry in ENTRIES if layer_class(entry.type).to_onnx is not Layer.to_onnx]


def of_batch(entry: Entry, size: int) -> list[Bottom]:
    """Return the bottoms with their samples repeated or cut to so many."""
    bottoms = []
    for index, bottom in enumerate(entry.bottoms):
        values = bottom.fill(np.random.default_rng(0), index, len(entry.bottoms))
        axis = entry.batch[index] if entry.batch else 0
        if axis is not None and values.ndim:
            values = np.take(values, np.arange(size) % values.shape[axis], axis)
        bottoms.append(Bottom(values.shape, lambda rng, values=values: values))
    return bottoms


def compare(net, run) -> None:
    names = [name for name in net.outputs if name.startswith("y")]
    got = run({name: net.blobs[name].data for name in net.inputs})
    net.forward()
    for name in names:
        wanted = net.blobs[name].data
        if wanted.size:
            assert gap(name, wanted.astype(np.float64), got[name]).size < TOLERANCE, name
        assert got[name].shape == wanted.shape


@pytest.mark.parametrize("entry", WRITTEN, ids=[entry.name for entry in WRITTEN])
def test_agrees(entry: Entry) -> None:
    def net_of(bottoms):
        return make_net(entry.text, bottoms, entry.tops, engine="numpy", phase=TEST, dtype="float32")

    net = net_of(entry.bottoms)
    fixed = runner(write(net, free_batch=False))
    try:
        free = runner(write(net))
    except CaffeError:
        free = None  # the layer needs to know the batch
    others = [net_of(of_batch(entry, size)) for size in (1, 3)] if free and not entry.batch_in_blobs else []
    for other in others:
        for blob, same in zip(other.params.get("under_test", ()), net.params.get("under_test", ()), strict=True):
            blob.data[...] = same.data
    compare(net, fixed)
    for other in others:
        compare(other, free)

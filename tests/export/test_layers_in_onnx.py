"""Every layer that can be written in ONNX computes there what it computes here, for its own batch and for others."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError
from caffe_lite.layer import Layer, layer_class

from ..layers.gradient import Bottom, labels, make_net
from ..layers.test_table import (
    APART_FROM_THE_BATCH,
    CONT,
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
ENTRIES = [*TABLE, *WITHOUT_GRADIENT, *APART_FROM_THE_BATCH, *ALSO]
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

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net


def unit(engine: str, *shapes: tuple[int, ...]):
    return make_net('type: "LSTMUnit"', [Bottom(shape) for shape in shapes], 2, engine=engine)


def test_against_the_definition(engine) -> None:
    net = unit(engine, (1, 3, 2), (1, 3, 8), (1, 3))
    c, gates, cont = (net.blobs[name].data for name in net.inputs)
    cont[...] = [[0, 1, 0.5]]
    net.forward()
    i, f, o = 1 / (1 + np.exp(-gates[0, :, :6].reshape(3, 3, 2).swapaxes(0, 1)))
    g = np.tanh(gates[0, :, 6:])
    expected = cont.T * f * c[0] + i * g
    np.testing.assert_allclose(net.blobs["y0"].data, [expected])
    np.testing.assert_allclose(net.blobs["y1"].data, [o * np.tanh(expected)])
    check(net)
    assert not net.blobs["x2"].diff.any()


def test_the_cell_may_run_in_place(make_net) -> None:
    text = (
        'force_backward: true layer {{ name: "in" type: "Input" top: "c" top: "gates" top: "cont" input_param {{\n'
        "  shape {{ dim: 1 dim: 2 dim: 3 }} shape {{ dim: 1 dim: 2 dim: 12 }} shape {{ dim: 1 dim: 2 }} }} }}\n"
        'layer {{ name: "a" type: "Sigmoid" bottom: "c" top: "a" }}\n'
        'layer {{ name: "unit" type: "LSTMUnit" bottom: "a" bottom: "gates" bottom: "cont" top: "{0}" top: "h" }}\n'
        'layer {{ name: "out" type: "TanH" bottom: "{0}" top: "{0}" }}\n'
    )
    results = []
    for name in ("a", "b"):
        net = make_net(text.format(name))
        rng = np.random.default_rng(0)
        for blob in ("c", "gates", "cont"):
            net.blobs[blob].data[...] = rng.standard_normal(net.blobs[blob].shape)
        net.forward()
        for blob in (name, "h"):
            net.blobs[blob].diff[...] = rng.standard_normal((1, 2, 3))
        net.backward()
        results.append([net.blobs[name].data, net.blobs["h"].data, net.blobs["c"].diff, net.blobs["gates"].diff])
    for in_place, apart in zip(*results, strict=True):
        assert apart.any()
        np.testing.assert_array_equal(in_place, apart)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (1, 3, 8), (1, 3)), "the first bottom's shape is (2, 3). It is the cell of one step: (1, N, D)"),
        (((2, 3, 2), (2, 3, 8), (2, 3)), "the first bottom's shape is (2, 3, 2)"),
        (((1, 3, 2), (1, 3, 6), (1, 3)),
         "the gates' shape is (1, 3, 6). For a cell of (1, 3, 2) it must be (1, 3, 8)"),
        (((1, 3, 2), (1, 3, 8), (3, 1)), "the shape of cont is (3, 1). For a cell of (1, 3, 2) it must be (1, 3)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, shapes, message) -> None:
    with pytest.raises(LayerError) as caught:
        unit(engine, *shapes)
    assert str(caught.value).startswith(f'layer "under_test" (LSTMUnit): {message}')


def test_cont_cannot_be_learned(make_net) -> None:
    net = make_net(
        'layer { name: "in" type: "Input" top: "c" top: "gates" top: "cont" input_param {\n'
        "  shape { dim: 1 dim: 2 dim: 3 } shape { dim: 1 dim: 2 dim: 12 } shape { dim: 1 dim: 2 } } }\n"
        'layer { name: "learned" type: "Scale" bottom: "cont" top: "learned" }\n'
        'layer { name: "unit" type: "LSTMUnit" bottom: "c" bottom: "gates" bottom: "learned" top: "c1" top: "h" }\n'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "c" top: "loss" propagate_down: true\n'
        "  propagate_down: false }\n"
    )
    net.forward()
    with pytest.raises(LayerError, match=r'layer "unit" \(LSTMUnit\): a gradient is asked for cont, and there is none'):
        net.backward()

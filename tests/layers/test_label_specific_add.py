from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

SCORES = Bottom((4, 3), lambda rng: np.array([[0.9, 0.2, 0.1], [0.3, 0.2, 0.9], [0.1, 0.7, 0.6], [0.8, 0.8, 0.8]]))
LABELS = Bottom((4,), lambda rng: np.array([0, 1, 2, -1]))


def net_of(engine, param, tops=1, labels=LABELS, **kw):
    layer = f'type: "LabelSpecificAdd" label_specific_add_param {{ {param} }}'
    return make_layer_net(layer, [SCORES, labels], tops, engine=engine, **kw)


@pytest.mark.parametrize("bias", [0.35, -0.35])
def test_a_margin_for_the_own_class(bias, engine) -> None:
    net = net_of(engine, f"bias: {bias}")
    net.forward()
    changed = net.blobs["y0"].data - net.blobs["x0"].data
    np.testing.assert_allclose(changed, [[-0.35, 0, 0], [0, 0, 0], [0, 0, -0.35], [0, 0, 0]], atol=1e-7)
    net.blobs["y0"].diff[...] = gradient = np.arange(12).reshape(4, 3)
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, gradient)


def test_nothing_changes_in_test(engine) -> None:
    net = net_of(engine, "bias: 0.35 transform_test: true", 2, phase=TEST)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data)
    assert net.blobs["y1"].data.tolist() == [0]


def test_the_bias_changes_with_the_passes_and_goes_on_where_it_stopped(engine) -> None:
    param = "bias_base: -0.25 bias_gamma: 0.5 bias_power: -1 bias_min: -0.7 bias_max: 1 iteration: 1"
    wanted = [max(-0.7, -1.25 + 1 / (1 + 0.5 * i)) for i in range(1, 6)]
    net, seen = net_of(engine, param, 2), []
    for _ in range(3):
        net.forward()
        seen.append(net.blobs["y1"].data[0])
    resumed = net_of(engine, param, 2)
    resumed.restore_state(net.state())
    for _ in range(2):
        resumed.forward()
        seen.append(resumed.blobs["y1"].data[0])
    np.testing.assert_allclose(seen, wanted, rtol=1e-6)
    np.testing.assert_allclose((resumed.blobs["y0"].data - resumed.blobs["x0"].data)[0, 0], -0.7, rtol=1e-6)


def test_what_is_refused(engine) -> None:
    with pytest.raises(LayerError, match="label 3 of sample 1 is none of the classes 0 to 2"):
        net_of(engine, "bias: 1", labels=Bottom((4,), lambda rng: np.array([0, 3, 1, 1]))).forward()
    with pytest.raises(LayerError, match=r"need 4 labels, and the labels \(3,\) are 3"):
        net_of(engine, "bias: 1", labels=Bottom((3,)))

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError


def dropout(make_net, param="", phase=TRAIN):
    return make_net(
        f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 100 dim: 200 }} }} }}
        layer {{ name: "drop" type: "SeLUDropout" bottom: "x" top: "y" {param} }}""",
        phase,
        seed=1,
    )


def test_mean_and_variance_stay(make_net) -> None:
    net = dropout(make_net, "selu_dropout_param { dropout_ratio: 0.3 }")
    x = np.random.default_rng(0).standard_normal((100, 200))
    y = net.forward(x=x)["y"]
    values, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / y.size - 0.3) < 0.02
    assert abs(y.mean()) < 0.03 and abs(y.var() - 1) < 0.05
    a = (0.7 * (1 + 1.7580993**2 * 0.3)) ** -0.5
    b = 1.7580993 * 0.3 * a
    dropped = y == values[counts.argmax()]
    np.testing.assert_allclose(y, np.where(dropped, b - 1.7580993 * a, a * x + b), rtol=1e-4, atol=1e-5)
    net.blobs["y"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, np.where(dropped, 0, a), rtol=1e-5)


@pytest.mark.parametrize(("param", "phase"), [("", TEST), ("selu_dropout_param { dropout_ratio: 0 }", TRAIN)])
def test_it_passes_on_what_it_does_not_forget(make_net, param, phase) -> None:
    net = dropout(make_net, param, phase)
    assert np.all(net.forward(x=np.full((100, 200), 3.0))["y"] == 3)


def test_a_ratio_of_one_is_refused(make_net) -> None:
    with pytest.raises(LayerError, match="dropout_ratio is 1"):
        dropout(make_net, "selu_dropout_param { dropout_ratio: 1 }")

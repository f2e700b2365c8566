import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def test_vectors_get_length_one(engine) -> None:
    net = make_layer_net('type: "GRN"', [Bottom((2, 3, 2, 2))], engine=engine)
    net.forward()
    np.testing.assert_allclose(np.linalg.norm(net.blobs["y0"].data, axis=1), 1, rtol=1e-5)


def test_the_gradient_may_pass_unchanged(engine) -> None:
    layer = 'type: "GRN" grn_param { bias: 7 dummy_backward: true }'
    net = make_layer_net(layer, [Bottom((2, 3))], engine=engine)
    net.forward()
    x = net.blobs["x0"].data
    np.testing.assert_allclose(net.blobs["y0"].data, x / np.sqrt(7 + np.sum(x * x, 1, keepdims=True)))
    net.blobs["y0"].diff[...] = x
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, x)


@pytest.mark.parametrize(
    ("bias", "shape", "what"), [(-1, (2, 3), "bias is -1"), (0, (2,), "has 1 axes. GRN needs 2 or more")]
)
def test_what_is_refused(engine, bias, shape, what) -> None:
    with pytest.raises(LayerError, match=what):
        make_layer_net(f'type: "GRN" grn_param {{ bias: {bias} }}', [Bottom(shape)], engine=engine)

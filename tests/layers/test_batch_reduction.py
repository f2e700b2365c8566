import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def reduced(engine, param, shape):
    layer = f'type: "BatchReduction" batch_reduction_param {{ {param} }}'
    net = make_layer_net(layer, [Bottom(shape)], engine=engine)
    net.forward()
    return net.blobs["x0"].data, net.blobs["y0"].data


def test_a_whole_axis(engine) -> None:
    x, y = reduced(engine, "reduction_param { axis: 1 operation: MEAN }", (2, 3, 4))
    np.testing.assert_allclose(y, x.mean(1))


def test_levels(engine) -> None:
    x, y = reduced(engine, "level: 1 level: 2 reduction_param { axis: 1 }", (2, 5, 3))
    np.testing.assert_allclose(y, np.stack([x[:, 0], x[:, 1:].sum(1)], 1))


def test_the_diagonal(engine) -> None:
    x, y = reduced(engine, "pos: true reduction_param { axis: 1 operation: MEAN }", (2, 3, 3, 4))
    np.testing.assert_allclose(y, np.einsum("nttc->nc", x) / 3)


def test_the_largest(engine) -> None:
    x, y = reduced(engine, "reduction_param { operation: TOPK k: 2 }", (5, 3))
    np.testing.assert_allclose(y, np.sort(x, 0)[-2:].mean(0))


@pytest.mark.parametrize(
    ("param", "shape", "what"),
    [
        ("reduction_param { operation: SUMSQ }", (2, 3), "operation is SUMSQ"),
        ("level: 0", (2, 3), "a level is 0"),
        ("level: 1 level: 2 pos: true", (5, 5), "for 2 levels"),
        ("level: 2", (3, 3), "take 4 elements, axis 0"),
        ("pos: true", (3, 2), "no second axis of 3"),
        ("reduction_param { operation: TOPK k: 3 }", (2, 3), "k is 3, and there are 2"),
    ],
)
def test_what_is_refused(engine, param, shape, what) -> None:
    with pytest.raises(LayerError, match=what):
        reduced(engine, param, shape)

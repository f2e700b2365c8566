from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net


def affinity(values, param: str, engine):
    net = make_net(
        f'type: "Affinity" affinity_param {{ {param} }}', [Bottom(values.shape, lambda rng: values)], engine=engine
    )
    net.forward()
    return net


def test_the_smaller_of_two_neighbours(engine) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    y = affinity(x, "offset: 1", engine).blobs["y0"].data
    for n, i, j in np.ndindex(2, 4, 5):
        inside = i < 3 and j < 4
        assert y[n, 0, i, j] == (min(x[n, 1, i, j], x[n, 1, i + 1, j]) if inside else 0)
        assert y[n, 1, i, j] == (min(x[n, 1, i, j], x[n, 1, i, j + 1]) if inside else 0)


def test_of_two_channels_the_other_one_gets_the_negative_gradient(engine) -> None:
    x = np.array([[[[0, 0], [0, 0]], [[3, 4], [3, 1]]]])
    net = affinity(x, "offset: 1", engine)
    net.blobs["y0"].diff[...] = [[[[10, 1], [1, 1]], [[20, 1], [1, 1]]]]
    net.backward()
    own = [[20, 0], [10, 0]]  # the neighbour below is as small as the pixel
    assert net.blobs["x0"].diff.tolist() == [[(-np.array(own)).tolist(), own]]


@pytest.mark.parametrize(
    ("shape", "param", "message"),
    [((2, 3), "", "has 2 axes"), ((1, 2, 3, 3), "offset: 2", r"offset is 2.*\(1, 2, 3, 3\): 0 to 1")],
)
def test_errors(shape, param, message, engine) -> None:
    with pytest.raises(LayerError, match=message):
        affinity(np.zeros(shape), param, engine)

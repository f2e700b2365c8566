from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net


def components(labels, engine) -> list:
    labels = np.array(labels)
    net = make_net('type: "ConnectedComponent"', [Bottom(labels.shape, lambda rng: labels)], engine=engine)
    net.forward()
    return net.blobs["y0"].data.tolist()


def test_each_plane_counts_from_its_largest_label_on(engine) -> None:
    first = [[1, 0, 1, 1], [1, 1, 0, 2], [0, 2, 1, 1], [1, 2, 2, 1]]
    second = [[300, 0, 0, 300], [0, -1, -1, 0], [0.9, 0, -1, 0], [0, 0, 0, 0]]
    # The diagonal does not connect; 0.9 is 0.
    wanted_first = [[3, 0, 4, 4], [3, 3, 0, 5], [0, 6, 7, 7], [8, 6, 6, 7]]
    wanted_second = [[301, 0, 0, 302], [0, 303, 303, 0], [0, 0, 303, 0], [0, 0, 0, 0]]
    assert components([[first, second]], engine) == [[wanted_first, wanted_second]]


def test_a_spiral_is_one_component(engine) -> None:
    plane = np.zeros((9, 9))
    plane[0], plane[:, 8], plane[8], plane[2:, 0], plane[2, :7], plane[2:7, 6], plane[6, 2:7] = (1,) * 7
    assert set(np.ravel(components(plane[None, None], engine))) == {0, 2}


def test_errors(engine) -> None:
    with pytest.raises(LayerError, match=r"shape \(2, 3\) has 2 axes"):
        components(np.zeros((2, 3)), engine)

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net


def merged(param: str, engine, *shapes):
    net = make_net(f'type: "MergeCrop" mergecrop_param {{ {param} }}', [Bottom(s) for s in shapes], engine=engine)
    net.forward()
    return net, *(net.blobs[name].data for name in ("x0", "x1", "y0"))


def test_the_middle_of_the_second_bottom_is_stacked(engine) -> None:
    _, a, b, y = merged("", engine, (2, 3, 2, 3), (2, 1, 5, 4))
    np.testing.assert_array_equal(y, np.concatenate([a, b[:, :, 1:3, :3]], 1))


@pytest.mark.parametrize(("forward", "counts"), [("true", 1), ("false", 0)])
def test_the_middle_of_the_second_bottom_is_added(forward, counts, engine) -> None:
    param = f"operation: ADD forward: true forward: {forward}"
    _, a, b, y = merged(param, engine, (1, 2, 2, 2, 3), (1, 2, 4, 2, 6))
    np.testing.assert_array_equal(y, a + counts * b[:, :, 1:3, :, 1:4])


def test_a_bottom_that_does_not_count_is_stacked_as_zeros(engine) -> None:
    _, a, _, y = merged("forward: false", engine, (1, 2, 2), (1, 2, 2))
    assert not y[:, :2].any() and y[:, 2:].all() and a.any()


@pytest.mark.parametrize(("param", "backward"), [("", (1, 0)), ("backward: false backward: true", (0, 1))])
def test_which_bottoms_get_a_gradient(param, backward, engine) -> None:
    net, *_ = merged(param, engine, (1, 1, 2), (1, 1, 4))
    net.blobs["y0"].diff[...] = [[[1, 2], [3, 4]]]
    net.backward()
    assert net.blobs["x0"].diff.tolist() == [[[backward[0], 2 * backward[0]]]]
    assert net.blobs["x1"].diff.tolist() == [[[0, 3 * backward[1], 4 * backward[1], 0]]]


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("", [(2, 1, 3), (1, 1, 3)], "do not fit together"),
        ("", [(1, 1, 3), (1, 1, 3, 3)], "do not fit together"),
        ("", [(1, 1, 3, 3), (1, 1, 4, 2)], r"smaller than the first, \(1, 1, 3, 3\), along axis 3"),
        ("operation: ADD", [(1, 1, 3), (1, 2, 3)], "differ in their channels"),
        ("backward: true backward: true backward: true", [(1, 1, 3)] * 2, "backward is given 3 times"),
    ],
)
def test_errors(param, shapes, message, engine) -> None:
    with pytest.raises(LayerError, match=message):
        merged(param, engine, *shapes)

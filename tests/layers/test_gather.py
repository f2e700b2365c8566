import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


@pytest.mark.parametrize(
    ("param", "shape", "index", "axis"),
    [
        ("indices: [2, 0, 2] shape: 3", (3, 4), [2, 0, 2], 0),
        ("indices: [1, 0, 3, 3] shape: [2, 2] axis: 1", (2, 4, 3, 2), [[1, 0], [3, 3]], 1),
        ("indices: 2 shape: 0 axis: -1", (2, 3), 2, 1),
        ("indices: 1", (2, 3), 1, 0),
    ],
)
def test_slices_are_picked(engine, param, shape, index, axis) -> None:
    net = make_layer_net(f'type: "Gather" gather_param {{ {param} }}', [Bottom(shape)], engine=engine)
    net.forward()
    x = net.blobs["x0"].data
    np.testing.assert_array_equal(net.blobs["y0"].data, np.take(x, index, axis))
    net.blobs["y0"].diff[...] = 1
    net.backward()
    counts = np.bincount(np.ravel(index), minlength=shape[axis])
    expected = np.broadcast_to(counts.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)
    np.testing.assert_array_equal(net.blobs["x0"].diff, expected)


@pytest.mark.parametrize("type", ["Gather", "Scatter"])
def test_one_process_has_the_whole_batch(engine, type) -> None:
    net = make_layer_net(f'type: "{type}"', [Bottom((2, 3)), Bottom((4,))], 2, engine=engine)
    net.forward()
    net.blobs["y1"].diff[...] = 3
    net.backward()
    for i in range(2):
        np.testing.assert_array_equal(net.blobs[f"y{i}"].data, net.blobs[f"x{i}"].data)
    assert np.all(net.blobs["x1"].diff == 3)


@pytest.mark.parametrize(
    ("param", "bottoms", "what"),
    [
        ("indices: 3 shape: 1", 1, "index 3 is out of range for axis 0"),
        ("indices: [0, 1]", 1, r"2 indices do not have the shape \(\)"),
        ("indices: 0", 2, "gather_param is given for 2 bottoms"),
    ],
)
def test_what_is_refused(engine, param, bottoms, what) -> None:
    with pytest.raises(LayerError, match=what):
        make_layer_net(f'type: "Gather" gather_param {{ {param} }}', [Bottom((3, 2))] * bottoms, bottoms, engine=engine)

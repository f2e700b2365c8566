import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def shuffle(engine, group, shape):
    layer = f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}'
    net = make_layer_net(layer, [Bottom(shape)], engine=engine)
    net.forward()
    return net.blobs["x0"].data, net.blobs["y0"].data


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 3), (1, 6, 2, 3), (2, 6, 1, 2, 2)])
@pytest.mark.parametrize(
    ("group", "order"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 3, 1, 4, 2, 5]), (3, [0, 2, 4, 1, 3, 5])]
)
def test_groups_take_turns(engine, group, order, shape) -> None:
    x, y = shuffle(engine, group, shape)
    np.testing.assert_array_equal(y, np.stack([x[:, channel] for channel in order], 1))


@pytest.mark.parametrize(
    ("group", "shape", "what"),
    [
        (4, (2, 6), r"the bottom's channels \(6\) cannot be shared out among 4 groups"),
        (0, (2, 6), "group is 0"),
        (1, (6,), "has 1 axes"),
    ],
)
def test_what_is_refused(engine, group, shape, what) -> None:
    with pytest.raises(LayerError, match=what):
        shuffle(engine, group, shape)

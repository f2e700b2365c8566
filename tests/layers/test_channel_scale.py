import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def scaled(engine, param="", shapes=((2, 3, 2), (2, 2)), **kw):
    layer = f'type: "ChannelScale" {param}'
    return make_layer_net(layer, [Bottom(shape) for shape in shapes], engine=engine, **kw)


def test_every_place_has_its_scale(engine) -> None:
    net = scaled(engine)
    net.forward()
    x, s = net.blobs["x0"].data, net.blobs["x1"].data
    np.testing.assert_allclose(net.blobs["y0"].data, np.einsum("nci,ni->nci", x, s))


def test_the_global_scale_follows_the_mean(engine) -> None:
    net = scaled(engine, "channel_scale_param { global_scale: true max_global_scale: 2.5 }", tops=2)
    running = net.params["under_test"][0].data
    running[...] = -1
    x, s = net.blobs["x0"].data, net.blobs["x1"].data
    s[...] = [[1, -2], [3, -2]]
    net.forward()
    np.testing.assert_allclose([running[0], net.blobs["y1"].data[0]], 2)
    np.testing.assert_allclose(net.blobs["y0"].data, 2 * x)
    s[...] = 4
    net.forward()
    np.testing.assert_allclose(running, 0.99 * 2 + 0.01 * 4)
    s[...] = 400
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data, 2.5 * x)
    net.blobs["y0"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.blobs["x0"].diff, 400)
    np.testing.assert_allclose(net.blobs["x1"].diff, x.sum(1))


def test_the_global_scale_rests_in_test(engine) -> None:
    net = scaled(engine, "channel_scale_param { global_scale: true }", phase=TEST)
    net.params["under_test"][0].data[...] = 7
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data, 7 * net.blobs["x0"].data)


def test_parts_can_be_left_out(engine) -> None:
    fields = "do_forward: false do_backward_feature: false do_backward_scale: false"
    net = scaled(engine, f"channel_scale_param {{ {fields} }}")
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data)
    net.blobs["y0"].diff[...] = 3
    net.backward()
    assert np.all(net.blobs["x0"].diff == 3) and not net.blobs["x1"].diff.any()


@pytest.mark.parametrize(
    ("param", "shapes", "tops", "what"),
    [
        ("", [(2, 3, 2), (2, 3)], 1, "one number for each place of the first"),
        ("", [(2, 3, 2), (1, 4)], 1, "one number for each place of the first"),
        ("", [(2,), (2,)], 1, "has 1 axes"),
        ("", [(2, 3), (2,)], 2, "a second top and no global_scale"),
        ("param { lr_mult: 1 } channel_scale_param { global_scale: true }", [(2, 3), (2,)], 1, "lr_mult of blob 0"),
    ],
)
def test_what_is_refused(engine, param, shapes, tops, what) -> None:
    with pytest.raises(LayerError, match=what):
        scaled(engine, param, shapes, tops=tops)

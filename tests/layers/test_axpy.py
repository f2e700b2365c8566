import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def test_channels_are_weighed(engine) -> None:
    net = make_layer_net('type: "Axpy"', [Bottom((2, 3, 1)), Bottom((2, 3, 4)), Bottom((2, 3, 4))], engine=engine)
    net.forward()
    a, x, b = (net.blobs[name].data for name in ("x0", "x1", "x2"))
    np.testing.assert_allclose(net.blobs["y0"].data, np.einsum("nci,ncj->ncj", a, x) + b)


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ([(2, 4), (2, 3, 5), (2, 3, 5)], "no factor for each channel"),
        ([(2, 3, 5), (2, 3, 5), (2, 3, 5)], "no factor for each channel"),
        ([(2,), (2,), (2,)], "no factor for each channel"),
        ([(2, 3), (2, 3, 5), (2, 3, 1)], "have different shapes"),
    ],
)
def test_what_is_refused(engine, shapes, what) -> None:
    with pytest.raises(LayerError, match=what):
        make_layer_net('type: "Axpy"', [Bottom(shape) for shape in shapes], engine=engine)

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError
from caffe_lite.layers import inner_distance

from .gradient import Bottom, labels
from .gradient import make_net as make_layer_net

VECTORS, LABELS = Bottom((4, 2, 3)), labels(5, 4)


def net_of(engine, param, *more, vectors=VECTORS, **kw):
    return make_layer_net(
        f'type: "InnerDistance" inner_distance_param {{ {param} }}', [vectors, *more], engine=engine, **kw
    )


@pytest.mark.parametrize("own_only", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_each_distance(kind, given, own_only, engine, monkeypatch) -> None:
    monkeypatch.setattr(inner_distance, "_AT_ONCE", 60)  # two centres at a time
    more = [*[Bottom((5, 6))][:given], *[LABELS][:own_only]]
    param = f'num_output: 5 distance_type: "{kind}" update_center_only: {str(own_only).lower()}'
    net = net_of(engine, param, *more)
    net.forward()
    net.blobs["y0"].diff[...] = dy = np.random.default_rng(0).standard_normal((4, 5))
    net.backward()
    centres = net.blobs["x1"] if given else net.params["under_test"][0]
    x, w = net.blobs["x0"].data.reshape(4, 6), centres.data
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for m, n in np.ndindex(4, 5):
        d = x[m] - w[n]
        distance, slope = (abs(d).sum(), np.sign(d)) if kind == "L1" else ((d**2).sum(), 2 * d)
        assert net.blobs["y0"].data[m, n] == pytest.approx(distance)
        dx[m] += dy[m, n] * slope
        if not own_only or net.blobs[f"x{len(more)}"].data[m] == n:
            dw[n] -= dy[m, n] * slope
    np.testing.assert_allclose(net.blobs["x0"].diff.reshape(4, 6), dx, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(centres.diff, dw, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("phase", [0, TEST])
@pytest.mark.parametrize("transpose", ["", "transpose: true"])
def test_centres_of_length_1(transpose, phase, engine) -> None:
    net = net_of(engine, f"num_output: 2 normalize: true {transpose}", phase=phase)
    (blob,) = net.params["under_test"]
    before = blob.data.copy()
    net.forward()
    w = before.T if transpose else before
    w = w / np.sqrt((w**2).sum(1, keepdims=True) + 1e-6)
    wanted = ((net.blobs["x0"].data.reshape(4, 1, 6) - w) ** 2).sum(2)
    np.testing.assert_allclose(net.blobs["y0"].data, wanted, rtol=1e-12)
    np.testing.assert_allclose(blob.data, before if phase == TEST else w.T if transpose else w, rtol=1e-12)


@pytest.mark.parametrize(
    ("param", "more", "what"),
    [
        ("", [], "num_output is 0"),
        ('num_output: 2 distance_type: "cosine"', [], "distance_type is 'cosine'"),
        ("", [Bottom((5, 7))], "gives vectors of 6 values, 5 centres (5, 7) have 7"),
        ("", [Bottom((5, 6)), LABELS], "3 bottoms without update_center_only"),
        ("update_center_only: true", [], "1 bottoms with update_center_only"),
        ("num_output: 2 update_center_only: true", [labels(2, 3)], "4 vectors, and the labels (3,)"),
        ("num_output: 2 update_center_only: true", [LABELS], "is none of the classes 0 to 1"),
    ],
)
def test_what_is_refused(param, more, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, param, *more).forward()
    assert what in str(error.value)

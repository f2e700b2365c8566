from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError
from caffe_lite.inspection.check import check as check_file

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net


@settings(deadline=None, max_examples=20)
@given(
    selector=st.lists(st.sampled_from([0, 1, -1, 0.25]), min_size=1, max_size=5),
    behind=st.lists(st.lists(st.integers(1, 3), max_size=3).map(tuple), min_size=1, max_size=3),
    ones=st.integers(0, 2),
)
def test_any_shape(selector, behind, ones, engine) -> None:
    batch = len(selector)
    shape = (batch, *[1] * ones)
    bottoms = [*(Bottom((batch, *rest)) for rest in behind), Bottom(shape, lambda rng: np.reshape(selector, shape))]
    net = make_layer_net('type: "Filter"', bottoms, len(behind), engine=engine)
    check(net)
    net.forward()
    for i in range(len(behind)):
        np.testing.assert_array_equal(net.blobs[f"y{i}"].data, net.blobs[f"x{i}"].data[np.array(selector) != 0])


NET = """force_backward: true
layer { name: "in" type: "Input" top: "x" top: "s" input_param { shape { dim: 3 dim: 2 } shape { dim: 3 } } }
layer { name: "some" type: "Filter" bottom: "x" bottom: "s" top: "some" }
layer { name: "ip" type: "InnerProduct" bottom: "some" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "constant" value: 1 } } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }
"""


def test_the_number_of_samples_changes_from_pass_to_pass(make_net) -> None:
    net = make_net(NET)
    assert net.blobs["some"].shape == net.blobs["y"].shape == (3, 2)
    x = np.arange(6).reshape(3, 2)
    for selector in ([1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]):
        chosen = np.array(selector, bool)
        net.forward(x=x, s=np.array(selector))
        assert net.blobs["y"].shape == (chosen.sum(), 2)
        assert net.blobs["loss"].data == 2 * x[chosen].sum()
        net.reshape()
        assert net.blobs["some"].shape == (chosen.sum(), 2)
        net.backward()
        np.testing.assert_array_equal(net.blobs["x"].diff, 2.0 * chosen[:, None] * np.ones((1, 2)))


def test_another_batch_size(make_net) -> None:
    net = make_net(NET)
    net.forward(x=np.zeros((3, 2)), s=np.array([1, 0, 0]))
    net.blobs["x"].reshape(5, 2)
    net.blobs["s"].reshape(5)
    net.reshape()
    assert net.blobs["some"].shape == (5, 2)
    net.forward(x=np.zeros((5, 2)), s=np.array([1, 0, 0, 1, 1]))
    assert net.blobs["y"].shape == (3, 2)


@pytest.mark.parametrize(
    ("shapes", "layer", "what"),
    [
        ([(3, 2), (3, 2)], 'bottom: "x0" bottom: "x1" top: "y"', "the selector has the shape (3, 2)"),
        ([(3, 2), ()], 'bottom: "x0" bottom: "x1" top: "y"', "the selector has the shape ()"),
        ([(3, 2), (4,)], 'bottom: "x0" bottom: "x1" top: "y"', "(4,) and the bottom (3, 2) differ in their first"),
        ([(3, 2), (3,)], 'bottom: "x0" bottom: "x1" top: "y" top: "z"', "2 bottoms and 2 tops"),
        ([(3, 2), (3,)], 'bottom: "x0" bottom: "x1" top: "x0"', "Filter cannot run in place"),
        ([(3, 2), (3,)], 'bottom: "x0" bottom: "x1" top: "y" loss_weight: 1', "a loss_weight is given"),
    ],
)
def test_what_is_refused(make_net, shapes, layer, what) -> None:
    text = ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    with pytest.raises(LayerError) as error:
        make_net(f'{text} layer {{ name: "some" type: "Filter" {layer} }}')
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("target", "problems"), [("dim: 3 dim: 2", []), ("dim: 1 dim: 2", []), ("dim: 1 dim: 3", ["far"])]
)
def test_the_number_of_samples_is_not_known_beforehand(tmp_path, target, problems) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(f"""{NET}
        layer {{ name: "target" type: "Input" top: "target" input_param {{ shape {{ {target} }} }} }}
        layer {{ name: "far" type: "EuclideanLoss" bottom: "some" bottom: "target" top: "far" }}""")
    assert [problem.layer for problem in check_file(path).problems] == problems

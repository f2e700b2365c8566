import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def eltwise(make_net, param, bottoms=2, shape="dim: 4", last_shape="dim: 4"):
    text = "force_backward: true\n"
    for i in range(bottoms):
        dims = last_shape if i == bottoms - 1 else shape
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    names = " ".join(f'bottom: "x{i}"' for i in range(bottoms))
    return make_net(text + f'layer {{ name: "elt" type: "Eltwise" {names} top: "y" eltwise_param {{ {param} }} }}')


def gradients(net, *values):
    for i, value in enumerate(values):
        net.blobs[f"x{i}"].data[...] = value
    net.forward()
    net.blobs["y"].diff[...] = 1
    net.backward()
    return [net.blobs[f"x{i}"].diff.tolist() for i in range(len(values))]


def test_max_gives_ties_to_the_bottoms_that_the_original_does(make_net):
    net = eltwise(make_net, "operation: MAX", 3)
    assert gradients(net, [1, 1, 0, 2], [1, 0, 1, 2], [1, 1, 1, 2]) == [[0, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]]
    assert net.blobs["y"].data.tolist() == [1, 1, 1, 2]


def test_a_product_with_zeros_has_gradients(make_net):
    net = eltwise(make_net, "operation: PROD", 3)
    assert gradients(net, [0, 0, 2, 1], [3, 0, 0, 1], [5, 5, 5, 5]) == [[15, 0, 0, 5], [0, 0, 10, 5], [0, 0, 0, 1]]


def test_coefficients_have_no_effect_on_max(make_net):
    net = eltwise(make_net, "operation: MAX coeff: 1 coeff: 100")
    gradients(net, [1, 2, 3, 4], [4, 3, 2, 1])
    assert net.blobs["y"].data.tolist() == [4, 3, 3, 4]


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("coeff: 1 coeff: 2", "2 coefficients for 3 bottoms. Give coeff once per bottom, or never"),
        (
            "operation: PROD coeff: 1 coeff: 2 coeff: 3",
            "coeff is given for operation PROD. Only SUM takes coefficients",
        ),
    ],
)
def test_coefficients_that_are_refused(make_net, param, what):
    with pytest.raises(LayerError) as error:
        eltwise(make_net, param, 3)
    assert what in str(error.value)


def test_different_shapes_are_refused(make_net):
    with pytest.raises(LayerError, match=r"different shapes: \(4,\), \(4, 1\)\. Eltwise does not broadcast"):
        eltwise(make_net, "", last_shape="dim: 4 dim: 1")


def test_min_gives_ties_as_max_does(make_net):
    net = eltwise(make_net, "operation: MIN", 3)
    assert gradients(net, [1, 1, 0, 2], [1, 0, 1, 2], [1, 1, 1, 2]) == [[0, 0, 1, 0], [1, 1, 0, 1], [0, 0, 0, 0]]
    assert net.blobs["y"].data.tolist() == [1, 0, 0, 2]


def test_quotient(make_net):
    net = eltwise(make_net, "operation: DIV")
    assert gradients(net, [1, -3, 0, 8], [2, 4, 5, -2]) == [
        pytest.approx([0.5, 0.25, 0.2, -0.5]),
        pytest.approx([-0.25, 0.1875, 0, -2]),
    ]
    assert net.blobs["y"].data.tolist() == pytest.approx([0.5, -0.75, 0, -4])
    with pytest.raises(LayerError, match="operation DIV has 3 bottoms"):
        eltwise(make_net, "operation: DIV", 3)


def test_bottoms_are_drawn_by_their_coefficients(make_net):
    net = eltwise(make_net, "operation: STOCHASTIC_SUM coeff: 1 coeff: 0.25 coeff: 0", 3)
    drawn = 0
    for _ in range(200):
        first, second, third = gradients(net, [1] * 4, [10] * 4, [100] * 4)
        assert first == [1] * 4 and second in ([0] * 4, [1] * 4) and third == [0] * 4
        assert net.blobs["y"].data.tolist() == [1 + 10 * second[0]] * 4
        drawn += second[0]
    assert 25 < drawn < 75


def test_in_test_the_drawn_sum_is_its_mean(engine):
    layer = 'type: "Eltwise" eltwise_param { operation: STOCHASTIC_SUM coeff: 0.5 coeff: 0.25 }'
    net = make_layer_net(layer, [Bottom((3,)), Bottom((3,))], engine=engine, phase=TEST)
    net.forward()
    expected = 0.5 * net.blobs["x0"].data + 0.25 * net.blobs["x1"].data
    assert net.blobs["y0"].data.tolist() == pytest.approx(expected.tolist())

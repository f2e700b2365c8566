import pytest

from caffe_lite.errors import LayerError


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

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def product(engine, param, *shapes):
    layer = f'type: "MatMul" matmul_param {{ {param} }}'
    net = make_layer_net(layer, [Bottom(shape) for shape in shapes], engine=engine)
    net.forward()
    return net


@pytest.mark.parametrize(
    ("param", "shapes", "formula"),
    [
        ("", [(2, 3, 4), (2, 4, 5)], "nij,njk->nik"),
        ("transpose_a: true", [(2, 4, 3), (2, 4, 5)], "nji,njk->nik"),
        ("transpose_b: true", [(3, 4), (5, 4)], "ij,kj->ik"),
        ("", [(2, 2, 3, 4), (4, 5)], "nmij,jk->nmik"),
    ],
)
def test_matrices_are_multiplied(engine, param, shapes, formula) -> None:
    net = product(engine, param, *shapes)
    np.testing.assert_allclose(
        net.blobs["y0"].data, np.einsum(formula, net.blobs["x0"].data, net.blobs["x1"].data), atol=1e-12
    )


def test_the_second_matrix_may_be_a_blob(engine) -> None:
    net = product(engine, "blob_shape: 4 blob_shape: 2", (3, 4))
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data @ net.params["under_test"][0].data)


@pytest.mark.parametrize(
    ("param", "shapes", "what"),
    [
        ("", [(2, 3, 4), (3, 4, 5)], "B needs 4 rows for A's 4 columns"),
        ("", [(3, 4), (5, 4)], "B needs 4 rows"),
        ("", [(2, 2, 3, 4), (2, 4, 5)], "Give B as many axes as A, or two"),
        ("", [(4,), (4,)], "Give B as many axes as A, or two"),
        ("transpose_a: true", [(2, 4, 3), (4, 5)], "one is to be transposed"),
        ("", [(3, 4)], "one bottom and no blob_shape"),
    ],
)
def test_what_is_refused(engine, param, shapes, what) -> None:
    with pytest.raises(LayerError, match=what):
        product(engine, param, *shapes)

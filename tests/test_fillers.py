import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.blob import Blob
from caffe_lite.errors import CaffeError
from caffe_lite.fillers import FILLERS, fill
from caffe_lite.proto.caffe_pb2 import FillerParameter


def filled(ops, text, shape, seed=0):
    blob = Blob(ops, shape)
    fill(blob, text_format.Parse(text, FillerParameter()), np.random.default_rng(seed))
    assert isinstance(blob.data, ops.array_type) and blob.data.dtype == ops.dtype
    return ops.host_view(blob.data)


def test_without_a_type_it_is_constant_zero(ops):
    np.testing.assert_array_equal(filled(ops, "", (2, 3)), np.zeros((2, 3)))


def test_constant(ops):
    np.testing.assert_array_equal(filled(ops, "value: 0.25", (2, 3)), np.full((2, 3), 0.25))


def test_uniform(ops):
    x = filled(ops, 'type: "uniform" min: -3 max: 1', (100, 100))
    assert -3 <= x.min() < -2.99 and 0.99 < x.max() <= 1
    assert abs(x.mean() + 1) < 0.05


def test_gaussian(ops):
    x = filled(ops, 'type: "gaussian" mean: 2 std: 0.5', (100, 100))
    assert abs(x.mean() - 2) < 0.03 and abs(x.std() - 0.5) < 0.02


def test_sparse_leaves_about_so_many_inputs_of_each_output(ops):
    x = filled(ops, 'type: "gaussian" sparse: 5', (50, 400))
    assert abs(np.count_nonzero(x) / x.size - 0.1) < 0.01


FAN = [("", 36), ("variance_norm: FAN_IN", 36), ("variance_norm: FAN_OUT", 90), ("variance_norm: AVERAGE", 63)]


@pytest.mark.parametrize(("norm", "n"), FAN)
def test_xavier(ops, norm, n):
    x = filled(ops, f'type: "xavier" {norm}', (10, 4, 3, 3))
    bound = np.float32((3 / n) ** 0.5)
    assert 0.97 * bound < abs(x).max() <= bound
    assert abs(x.mean()) < 0.1 * bound


@pytest.mark.parametrize(("norm", "n"), FAN)
def test_msra(ops, norm, n):
    x = filled(ops, f'type: "msra" {norm}', (10, 4, 3, 3))
    assert abs(x.std() / (2 / n) ** 0.5 - 1) < 0.15


def test_positive_unitball(ops):
    x = filled(ops, 'type: "positive_unitball"', (5, 2, 3))
    assert np.all(x >= 0)
    np.testing.assert_allclose(x.reshape(5, -1).sum(1), np.ones(5), rtol=1e-6)


def test_bilinear(ops):
    x = filled(ops, 'type: "bilinear"', (2, 1, 4, 4))
    line = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(x, np.broadcast_to(np.outer(line, line), x.shape))


def test_bilinear_of_odd_size_has_its_peak_in_the_middle(ops):
    x = filled(ops, 'type: "bilinear"', (1, 1, 3, 3))
    line = np.array([0.5, 1, 0.5])
    np.testing.assert_allclose(x[0, 0], np.outer(line, line))


@pytest.mark.parametrize("name", sorted(FILLERS))
def test_equal_seeds_fill_equally(ops, name):
    first, second = (filled(ops, f'type: "{name}"', (3, 2, 4, 4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", sorted(set(FILLERS) - {"bilinear"}))
def test_blobs_of_any_shape(ops, name):
    for shape in [(), (3,), (2, 3), (2, 3, 2, 2, 2)]:
        assert np.all(np.isfinite(filled(ops, f'type: "{name}"', shape)))


@pytest.mark.parametrize("name", sorted(FILLERS))
def test_blobs_of_nothing(ops, name):
    for shape in [(0, 3, 2, 2), (3, 0, 2, 2), (3, 3, 0, 0), *([(0,)] if name != "bilinear" else [])]:
        assert filled(ops, f'type: "{name}"', shape).shape == shape


@pytest.mark.parametrize(
    ("text", "shape", "what"),
    [
        ('type: "xaveir"', (2, 3), "unknown filler type 'xaveir'. Use xavier"),
        ('type: "?"', (2, 3), "Use bilinear or constant or gaussian or msra or positive_unitball or uniform or xavier"),
        (
            'type: "xavier" sparse: 3',
            (2, 3),
            "sparse is set for a xavier filler. Only the gaussian filler can be sparse",
        ),
        ('type: "gaussian" sparse: 3', (2, 3), "sparse 3 exceeds the 2 outputs"),
        ('type: "bilinear"', (2, 3), "the bilinear filler needs a blob (M, C, K, K), not (2, 3)"),
        ('type: "bilinear"', (2, 3, 4, 5), "the bilinear filler needs a blob (M, C, K, K), not (2, 3, 4, 5)"),
    ],
)
def test_what_is_refused(ops, text, shape, what):
    with pytest.raises(CaffeError) as error:
        filled(ops, text, shape)
    assert what in str(error.value)

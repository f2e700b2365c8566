import subprocess
import sys
from math import prod

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.blobs import Blob
from caffe_lite.errors import CaffeError
from caffe_lite.layers.common.fillers import FILLERS, fill
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


@pytest.mark.parametrize(
    ("text", "factor"), [("scale: 0.25", 0.25), ("alpha: 2", 5**-0.5), ("scale: 3 alpha: 1", 4.5**0.5)]
)
def test_msra_of_forks(ops, text, factor):
    plain, other = (filled(ops, f'type: "msra" {more}', (10, 4, 3, 3)) for more in ("", text))
    np.testing.assert_allclose(other, factor * plain, 1e-6)


@pytest.mark.parametrize("name", sorted(set(FILLERS) - {"constant"}))
def test_static_fillers_are_those_without_the_word(ops, name):
    plain, static = (filled(ops, f'type: "{name}{end}" std: 0.5', (3, 2, 4, 4)) for end in ("", "static"))
    np.testing.assert_array_equal(static, plain)


def test_gaussian_unitball(ops):
    x = filled(ops, 'type: "gaussian_unitball"', (50, 20, 3)).reshape(50, -1)
    np.testing.assert_allclose((x * x).sum(1), np.ones(50), 1e-5)
    assert abs(x.mean()) < 0.01


def test_diagonal(ops):
    x = filled(ops, 'type: "diagonal" diag_val: 3 diag_val: -6', (3, 4, 1, 3))
    wanted = np.zeros((3, 4, 1, 3))
    wanted[0, 0], wanted[1, 1], wanted[2, 2] = 1, -2, 1 / 3
    np.testing.assert_allclose(x, wanted, 1e-6)


def test_identity(ops):
    np.testing.assert_array_equal(filled(ops, 'type: "identity"', (3, 3, 1, 1))[..., 0, 0], np.eye(3))


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
def test_a_seed_fills_as_in_one_draw(ops, name):
    """The values are the same, however many are drawn at once."""
    shapes = [(), (7,), (300, 500), (3, 70_000), (1, 200_000), (200_000, 1)]
    for shape in [(2, 3, 300, 300)] if name == "bilinear" else shapes:
        rng, sparse = np.random.default_rng(4), "sparse: 1" if name == "gaussian" and shape else ""
        fan = prod(shape) / shape[0] if shape else 1
        if name == "constant":
            wanted = np.full(shape, 0.5)
        elif name == "uniform":
            wanted = rng.uniform(0, 1, shape)
        elif name == "gaussian":
            wanted = rng.normal(0, 1, shape)
            wanted = wanted * (rng.random(shape) < 1 / shape[0]) if sparse else wanted
        elif name == "xavier":
            wanted = rng.uniform(-((3 / fan) ** 0.5), (3 / fan) ** 0.5, shape)
        elif name == "msra":
            wanted = rng.normal(0, (2 / fan) ** 0.5, shape)
        elif name == "positive_unitball":
            values = rng.random((shape[0] if shape else 1, prod(shape[1:])))
            wanted = (values / values.sum(1, keepdims=True)).reshape(shape)
        else:
            slope = 1 - abs(np.arange(300) / 150 - 299 / 300)
            wanted = np.broadcast_to(np.outer(slope, slope), shape)
        got = filled(ops, f'type: "{name}" value: 0.5 {sparse}', shape, seed=4)
        np.testing.assert_array_equal(got, np.asarray(wanted, np.float32))


@pytest.mark.parametrize("name", sorted(FILLERS))
def test_blobs_without_values(ops, name):
    for shape in [(0, 3, 2, 2), (2, 0, 4, 4)]:
        assert filled(ops, f'type: "{name}"', shape).shape == shape


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit a process's memory")
@pytest.mark.parametrize("kind", ["gaussian", "positive_unitball"])
def test_sizes_beyond_the_memory_are_told_before_a_value_is_drawn(kind, tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 40000 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 50000'
        f' weight_filler {{ type: "{kind}" }} }} }}'
    )
    program = """import resource, time
from caffe_lite.errors import NetError
from caffe_lite import Net
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
start = time.process_time()
try:
    Net("net.prototxt", engine="numpy")
except NetError as error:
    print(time.process_time() - start < 1, error)"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith('True net.prototxt:2:1, layer "ip" (InnerProduct): there is not enough memory'), done
    assert "(50000, 40000)" in done.stdout


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
        ('type: "identity"', (3, 3, 3, 3), "the identity filler needs a blob (N, N) or (N, N, 1, 1), not (3, 3, 3, 3)"),
        ('type: "diagonal"', (3,), "the diagonal filler needs a blob of at least 2 axes"),
        (
            'type: "gabor"',
            (96, 1, 11, 11),
            "the gabor filler has no filters of the shape (96, 1, 11, 11). There are some for [(32",
        ),
        ('type: "xavier" scale: 2', (2, 3), "scale is set for a xavier filler. Only the msra filler reads it"),
        ('type: "gaborr"', (2, 3), "unknown filler type 'gaborr'. Use gabor"),
        ('type: "xaveir"', (2, 3), "unknown filler type 'xaveir'. Use xavier"),
        ('type: "?"', (2, 3), "Use bilinear or constant or gaussian or msra or positive_unitball or uniform or xavier"),
        (
            'type: "xavier" sparse: 3',
            (2, 3),
            "sparse is set for a xavier filler. Only the gaussian filler can be sparse",
        ),
        ('type: "gaussian" sparse: 3', (2, 3), "sparse 3 exceeds the 2 outputs"),
        ('type: "uniform" min: 2 max: 1', (2, 3), "min of a uniform filler is 2, more than its max 1"),
        ('type: "uniform" min: 2', (2, 3), "min of a uniform filler is 2, more than its max 1"),
        ('type: "gaussian" std: 0', (2, 3), "std of a gaussian filler is 0. Give more than 0"),
        ('type: "gaussian" std: -1', (2, 3), "std of a gaussian filler is -1"),
        ('type: "gaussian" sparse: -2', (2, 3), "sparse of a gaussian filler is -2"),
        ('type: "msra" sparse: -2', (2, 3), "sparse is set for a msra filler"),
        *(
            (f"type: '{kind}' {name}: {value}", (2, 3), f"{name} of a {kind} filler is {value}. Give a number")
            for value in ("nan", "inf", "-inf")
            for kind, name in (
                *(("constant", "value"), ("uniform", "min"), ("uniform", "max"), ("gaussian", "mean")),
                *(("gaussian", "std"), ("xavier", "value")),
            )
        ),
        ('type: "bilinear"', (2, 3), "the bilinear filler needs a blob (M, C, K, K), not (2, 3)"),
        ('type: "bilinear"', (2, 3, 4, 5), "the bilinear filler needs a blob (M, C, K, K), not (2, 3, 4, 5)"),
    ],
)
def test_what_is_refused(ops, text, shape, what):
    with pytest.raises(CaffeError) as error:
        filled(ops, text, shape)
    assert what in str(error.value)

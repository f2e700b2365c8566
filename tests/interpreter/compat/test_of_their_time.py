"""Images as scikit-image 0.13.1 and SciPy 1.1.0 (NumPy 1.14.6, Pillow 5.4.1, Python 3.6) computed them.

`of_their_time.npz` holds expressions and their values in those versions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

RECORDED = Path(__file__).parent / "of_their_time.npz"

SCRIPT = f"""\
import warnings
import numpy as np
import scipy.misc
import skimage.transform

rng = np.random.RandomState(0)
grey = rng.randint(0, 256, (5, 7)).astype(np.uint8)
colour = rng.randint(0, 256, (5, 7, 3)).astype(np.uint8)
floats = rng.rand(6, 5, 3).astype(np.float32)
wide = rng.rand(4, 9)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    values = {{expression: eval(expression) for expression in np.load({str(RECORDED)!r}).files}}
np.savez("now.npz", **values)
"""


def test_every_value(run, tmp_path):
    pytest.importorskip("skimage")
    done = run(SCRIPT, "--compat")
    assert done.returncode == 0, done.stderr
    with np.load(RECORDED) as then, np.load(tmp_path / "now.npz") as now:
        assert len(then.files) > 30
        for expression in then.files:
            old, new = then[expression], now[expression]
            assert (new.shape, new.dtype) == (old.shape, old.dtype), expression
            # Versions of Pillow round differently.
            np.testing.assert_allclose(
                new.astype(float), old.astype(float), atol=1 if old.dtype == np.uint8 else 1e-6, err_msg=expression
            )


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("imresize(np.zeros((2, 2, 5)), 2.0)", "ValueError: 'arr' does not have a suitable array shape for any mode."),
        ("toimage(np.zeros((2, 2), complex))", "ValueError: Cannot convert a complex-valued array."),
        ("toimage(np.zeros((2, 2)), mode='RGB')", "ValueError: An array of two axes is no image of mode RGB."),
        (
            "toimage(np.zeros((2, 2, 3)), mode='CMYK')",
            "ValueError: An array of shape (2, 2, 3) is no image",
        ),
        ("bytescale(np.eye(2), high=300)", "ValueError: `low` and `high` must be in 0..255"),
        ("imfilter(np.eye(3), 'nothing')", "ValueError: Unknown filter type."),
        ("lena()", "AttributeError: module 'scipy.misc' has no attribute 'lena'"),
    ],
)
def test_errors(run, expression, error):
    pytest.importorskip("scipy")
    pytest.importorskip("PIL")
    done = run(f"import numpy as np\nfrom scipy import misc\nmisc.{expression}", "--compat")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(error)

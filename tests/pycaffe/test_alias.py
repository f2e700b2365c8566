"""`import caffe` in a script; each case runs in its own process, because it changes the result of imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, folder: Path, *options: str) -> str:
    """Return the output of the code, or the last line of its error."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *options, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return result.stdout if result.returncode == 0 else result.stderr.splitlines()[-1]


INSTALL = "import caffe_lite; caffe_lite.install_as_caffe()\n"


@pytest.mark.parametrize(
    "code",
    [
        "import caffe; print(caffe.Net is caffe_lite.Net and vars(caffe_lite).keys() <= set(dir(caffe)))",
        "import caffe; print(caffe.__version__ >= '1.0.0' and caffe_lite.__version__ < '1.0.0')",
        "import caffe; print(caffe.__version__.split('.') >= ['1', '0', '0'] and caffe.__name__ == 'caffe')",
        "import caffe; caffe.mine = 3; a = caffe_lite.mine; del caffe.mine; print(a == 3 and 'mine' not in dir(caffe))",
        "import caffe, importlib; importlib.reload(caffe); print(caffe.Net is caffe_lite.Net)",
        "from caffe import *; print(Net is caffe_lite.Net and TEST == 1)",
        "from caffe._caffe import Blob, __version__ as v; print(Blob is caffe_lite._caffe.Blob and v >= '1')",
        "from caffe.model_libs import *; print(L is caffe_lite.layers and VGGNetBody and True)",
        "from caffe.proto import caffe_pb2; print(caffe_pb2 is caffe_lite.proto.caffe_pb2)",
        "import caffe.io; print(caffe.io is caffe_lite.io)",
        "from caffe.io import array_to_datum; print(array_to_datum is caffe_lite.io.array_to_datum)",
        "import caffe.proto.caffe_pb2 as pb; import caffe_lite.proto.caffe_pb2 as own; print(pb is own)",
        "from caffe import layers as L, params as P; print(L.ReLU and P is caffe_lite.params)",
        # Not imported before under its own name, and a whole package with relative imports.
        "import caffe.inspection.gradient_check as a; import caffe_lite.inspection.gradient_check as b; print(a is b)",
        "import caffe.cli.check as a; a.run; import caffe_lite.cli.check as b; print(a is b)",
        "import caffe.files.hdf5, caffe_lite.files.hdf5 as b; print(b.__spec__.name == 'caffe_lite.files.hdf5')",
        "import caffe; caffe_lite.install_as_caffe(); import caffe as again; print(caffe is again)",
        "import importlib, caffe; print(importlib.import_module('caffe.errors').CaffeError is caffe.CaffeError)",
        "import importlib.util as u; print(u.find_spec('caffe.nothing') is None)",
    ],
)
def test_its_modules_are_ours(tmp_path, code):
    assert python(INSTALL + code, tmp_path, "-W", "error") == "True\n"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import caffe.nothing", "ModuleNotFoundError: No module named 'caffe.nothing'"),
        ("from caffe import nothing", "ImportError: cannot import name 'nothing'"),
        ("import caffe2", "ModuleNotFoundError: No module named 'caffe2'"),
        ("import caffeine.io", "ModuleNotFoundError: No module named 'caffeine'"),
    ],
)
def test_what_is_not_there(tmp_path, code, complaint):
    assert python(INSTALL + code, tmp_path).startswith(complaint)


def test_it_goes_before_another_caffe_that_is_not_imported_yet(tmp_path):
    (tmp_path / "caffe.py").write_text("other = True\n")
    assert python(INSTALL + "import caffe; print(caffe.Net is caffe_lite.Net)", tmp_path) == "True\n"


def test_another_caffe_that_is_imported_stays(tmp_path):
    (tmp_path / "caffe.py").write_text("")
    complaint = python("import caffe\n" + INSTALL, tmp_path)
    assert complaint.startswith("caffe_lite.errors.CaffeError: another caffe is imported already, from ")
    assert "caffe.py. Call caffe_lite.install_as_caffe() before anything imports caffe" in complaint

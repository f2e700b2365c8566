"""The layout of the package: imports point one way (see pyproject.toml), and its root stays small."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_point_one_way_and_in_no_circle():
    pytest.importorskip("importlinter")
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_few_modules_lie_outside_of_rooms():
    assert len(list((ROOT / "caffe_lite").glob("*.py"))) <= 16

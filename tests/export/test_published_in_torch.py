"""Nets of ``configs`` and published models as modules of PyTorch, verified by the export."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from caffe_lite.export import to_source

from .test_published import CONFIGS, MODELS, config, model

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.slow

LARGE = {"fcn8s", "vgg16"}  # whose layers others have, too


def check(net, tmp_path) -> None:
    to_source(net, tmp_path / "net.py")
    ruff = shutil.which("ruff", path=os.path.dirname(sys.executable))
    if ruff:
        for command in (["check", "-q"], ["format", "-q", "--check"]):
            subprocess.run([ruff, *command, "--isolated", "--line-length", "120", "net.py"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in LARGE])
def test_a_net_of_configs(name, tmp_path) -> None:
    check(config(name), tmp_path)


@pytest.mark.parametrize("folder", MODELS, ids=[folder.name for folder in MODELS])
def test_a_published_model(folder, tmp_path) -> None:
    check(model(folder), tmp_path)

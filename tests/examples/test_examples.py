"""The scripts of docs/examples, run as users run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net

from ..cli.conftest import ROOT, command, environment

EXAMPLES = ROOT / "docs" / "examples"

DEPLOY = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {channels} dim: 12 dim: 12 }} }} }}
layer {{
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} }}
}}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
"""


def run(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("run", str(EXAMPLES / script), *words),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_net_surgery(tmp_path):
    result = run(tmp_path, "net_surgery.py", ".")
    assert result.returncode == 0, result.stderr
    assert "fc1 weights (20, 392) become (20, 8, 7, 7)\n" in result.stdout
    assert "gives a map of 9 x 9 for each of 5 classes" in result.stdout
    assert "The classifier on its 81 windows, one by one, differs by " in result.stdout
    convolutional = tmp_path / "convolutional"
    net = Net(convolutional.with_suffix(".prototxt"), TEST, weights=convolutional.with_suffix(".caffemodel"))
    assert np.ptp(net.params["fc1_conv"][0].data) > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_filters(tmp_path, channels):
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("matplotlib")
    (tmp_path / "deploy.prototxt").write_text(DEPLOY.format(channels=channels))
    Net(tmp_path / "deploy.prototxt", TEST, engine="numpy").save(tmp_path / "deploy.caffemodel")
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    result = run(tmp_path, "filters.py", "deploy.prototxt", "deploy.caffemodel", "image.png", "filters.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "6 filters of 3 x 3, 6 maps: filters.png\n"
    picture = cv2.imread(str(tmp_path / "filters.png"))
    assert np.ptp(picture, axis=2).any() == (channels == 3), "color only where the filters have some"


def test_filters_says_what_it_takes(tmp_path):
    pytest.importorskip("matplotlib")
    result = run(tmp_path, "filters.py")
    assert result.returncode == 1
    assert "caffe-lite run docs/examples/filters.py NET WEIGHTS IMAGE PICTURE" in result.stderr

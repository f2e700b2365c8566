"""Published models: what OpenCV computes, from the records beside them and, if there is one, from an OpenCV 4.

An OpenCV that reads nets of Caffe is looked for in the folder that OPENCV4 names, as of `pip install --target`, and in
the environment of `make bench`.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import dnn

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "corpus" / "models"
RECORDED = sorted(path.parent.name for path in MODELS.glob("*/cv2_reference.npz"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not RECORDED, reason="the published models are not there")]

THEIRS = """
import sys, cv2, numpy as np
prototxt, model, inputs, out = sys.argv[1:]
net = cv2.dnn.readNetFromCaffe(prototxt, model)
found = {"names": net.getLayerNames(), "unread": net.getUnconnectedOutLayers()}
net.setInput(np.load(inputs)["input"])
names = net.getUnconnectedOutLayersNames()
try:
    found["last"] = net.forward()
    found.update(("out:" + name, values) for name, values in zip(names, net.forward(names)))
except cv2.error:  # it has layers that OpenCV lacks
    pass
np.savez(out, **found)
"""


@pytest.fixture(autouse=True)
def numpy_engine(monkeypatch):
    """Compute with NumPy, which is the fastest for one pass of each net."""
    monkeypatch.setenv("CAFFE_LITE_ENGINE", "numpy")


def files(model):
    (weights,) = (MODELS / model).glob("weights.*")
    return str(MODELS / model / "deploy.prototxt"), str(weights), str(MODELS / model / "cv2_reference.npz")


def agree(found, wanted):
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.ptp(wanted))


@pytest.mark.parametrize("model", RECORDED)
def test_the_outputs_are_those_that_were_recorded(model):
    prototxt, weights, record = files(model)
    net = dnn.readNetFromCaffe(prototxt, weights)
    with np.load(record) as recorded:
        net.setInput(recorded["input"])
        wanted = {name.removeprefix("out:"): recorded[name] for name in recorded if name != "input"}
    for found, values in zip(net.forward(list(wanted)), wanted.values(), strict=True):
        agree(found, values)


@pytest.fixture(scope="module")
def opencv():
    """Return a function that runs code with an OpenCV that reads nets of Caffe."""
    bench = ROOT / "build" / "bench" / "bin" / "python"
    python = sys.executable if "OPENCV4" in os.environ else bench
    environ = os.environ | {"PYTHONPATH": os.environ.get("OPENCV4", "")}

    def run(code, *arguments):
        command = [str(python), "-c", code, *map(str, arguments)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)

    if not Path(python).exists() or run("import cv2; cv2.dnn.readNetFromCaffe").returncode:
        pytest.skip("there is no OpenCV that reads nets of Caffe")
    return run


@pytest.mark.parametrize("model", RECORDED)
def test_names_shapes_and_values_are_those_of_opencv_4(model, opencv, tmp_path):
    prototxt, weights, record = files(model)
    done = opencv(THEIRS, prototxt, weights, record, tmp_path / "theirs.npz")
    if done.returncode:
        assert "cv2.error" in done.stderr
        pytest.skip("OpenCV cannot read it")
    with np.load(tmp_path / "theirs.npz") as file:
        theirs = dict(file)
    net = dnn.readNetFromCaffe(prototxt, weights)
    assert net.getLayerNames() == tuple(theirs["names"])
    np.testing.assert_array_equal(net.getUnconnectedOutLayers(), theirs["unread"])
    if "last" not in theirs:
        pytest.skip("OpenCV lacks one of its layers")
    with np.load(record) as recorded:
        net.setInput(recorded["input"])
    agree(net.forward(), theirs["last"])
    names = net.getUnconnectedOutLayersNames()
    for name, values in zip(names, net.forward(names), strict=True):
        agree(values, theirs[f"out:{name}"])

"""What cv2 has after ``install``: here a module that stands for it, and cv2 itself under ``caffe-lite run``."""

import os
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from caffe_lite import dnn
from caffe_lite.errors import MissingExtra

NET = b'input: "x" layer { name: "y" type: "ReLU" bottom: "x" top: "y" }'


class Theirs:
    """Remember what OpenCV's own functions are called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, *args, **kw):
        self.calls.append((args, kw))
        return "theirs"


@pytest.fixture
def cv2() -> ModuleType:
    """Return a module with the names of OpenCV 5 that matter."""
    module = ModuleType("cv2")
    module.dnn = ModuleType("cv2.dnn")
    module.dnn.readNet, module.dnn.DetectionModel = Theirs(), Theirs()
    module.dnn_registerLayer, module.dnn_unregisterLayer = Theirs(), Theirs()
    return module


def test_nets_of_caffe_are_ours_and_others_opencvs(cv2, tmp_path):
    read, detection = cv2.dnn.readNet, cv2.dnn.DetectionModel
    dnn.install(cv2)
    net = cv2.dnn.readNetFromCaffe(NET)
    net.setInput(np.full((1, 1, 2, 2), -1.0))
    assert not net.forward().any()
    path = tmp_path / "net.prototxt"
    path.write_bytes(NET)
    assert cv2.dnn.readNet(str(path)).getLayerNames() == ("y",)
    assert cv2.dnn.readNet("net.onnx") == cv2.dnn.DetectionModel("net.onnx") == "theirs"
    assert read.calls == detection.calls == [(("net.onnx",), {})]


def test_layers_are_registered_with_both(cv2):
    register, unregister = cv2.dnn_registerLayer, cv2.dnn_unregisterLayer
    dnn.install(cv2)
    cv2.dnn_registerLayer("My", dict)
    cv2.dnn_unregisterLayer("My")
    assert register.calls == [(("My", dict), {})]
    assert unregister.calls == [(("My",), {})]


def test_an_opencv_that_reads_them_is_left_alone(cv2):
    cv2.dnn.readNetFromCaffe = theirs = Theirs()
    before = dict(vars(cv2.dnn)), dict(vars(cv2))
    dnn.install(cv2)
    assert cv2.dnn.readNetFromCaffe is theirs
    assert before == (vars(cv2.dnn), vars(cv2))


def test_without_opencv_there_is_nothing_to_add_to(monkeypatch):
    monkeypatch.setattr("caffe_lite.plugins.is_installed", lambda package: False)
    with pytest.raises(MissingExtra, match="needed to give its cv2"):
        dnn.install()


SCRIPT = """
import sys, cv2
assert not {"caffe_lite.dnn.net", "caffe_lite.proto", "torch"} & set(sys.modules)
net = cv2.dnn.readNetFromCaffe("net.prototxt")
net.setInput(cv2.dnn.blobFromImage(cv2.UMat(2, 2, cv2.CV_8UC1, (7,)).get()))
print(net.forward().ravel())
try:
    net.forward("z")
except cv2.error as error:
    print(error)
"""


def test_a_script_for_opencv_runs_as_it_is(tmp_path):
    if hasattr(pytest.importorskip("cv2").dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV reads nets of Caffe itself")
    (tmp_path / "net.prototxt").write_bytes(NET)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "caffe_lite", "run", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "[7. 7. 7. 7.]",
        "the net has no layer 'z'. Names are those of layers, as in net.getLayerNames().",
    ]

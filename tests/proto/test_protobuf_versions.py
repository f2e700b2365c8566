"""The messages work with every promised version of protobuf, with both its runtimes, and beside another caffe.proto."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST = re.search(r'"protobuf>=([\d.]+)', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
VERSIONS = {OLDEST: f"protobuf=={OLDEST}.*", "6": "protobuf>=6,<7", "7": "protobuf>=7,<8"}

pytestmark = pytest.mark.slow


def run(code: str, folder: Path, runtime: str, *paths: Path) -> str:
    """Run code in a separate process that searches `paths` for packages before ours."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))),
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": runtime,
    }
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=VERSIONS)
def protobuf(request, tmp_path_factory):
    """Return a folder with one version of protobuf, and the start of its version number."""
    folder = tmp_path_factory.mktemp("protobuf")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, "--target", str(folder), VERSIONS[request.param]], check=True)
    return request.param, folder


MESSAGES = """
import copy, pickle
import google.protobuf
from google.protobuf import text_format
from google.protobuf.internal import api_implementation
from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import to_text

text = 'layer { name: "a" type: "Clip" clip_param { min: 1 max: 2 } phase: TEST } input_dim: [1, 2]'
net = parse_text(text, caffe_pb2.NetParameter).message
assert net == text_format.Merge(text, caffe_pb2.NetParameter())
assert net == caffe_pb2.NetParameter.FromString(net.SerializeToString())
assert net == copy.deepcopy(net) == pickle.loads(pickle.dumps(net))
assert net == parse_text(to_text(net), caffe_pb2.NetParameter).message
assert caffe_pb2.Phase.Name(net.layer[0].phase) == "TEST"
assert parse_text("layer { clip_param { min: 1 } }", caffe_pb2.NetParameter, collect=True).problems
print(api_implementation.Type(), google.protobuf.__version__)
"""


@pytest.mark.parametrize("runtime", ["upb", "python"])
def test_messages(protobuf, runtime, tmp_path):
    version, folder = protobuf
    used, found = run(MESSAGES, tmp_path, runtime, folder).split()
    assert used == runtime
    assert found.startswith(f"{version}.")


TRAINING = """
import numpy as np
import caffe_lite

solver = caffe_lite.get_solver("solver.prototxt")
before = solver.net.params["ip"][0].data.copy()
solver.step(1)
assert solver.iter == 1
assert not np.array_equal(before, solver.net.params["ip"][0].data)
solver.net.save("net.caffemodel")
solver.net.copy_from("net.caffemodel")
"""

NET = """
layer {
  name: "data" type: "DummyData" top: "data" top: "target"
  dummy_data_param {
    shape { dim: [4, 3] } shape { dim: [4, 2] }
    data_filler { type: "gaussian" } data_filler { value: 1 }
  }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }
"""


@pytest.mark.parametrize("runtime", ["upb", "python"])
def test_training(protobuf, runtime, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 solver_mode: CPU random_seed: 1'
    )
    run(TRAINING, tmp_path, runtime, protobuf[1])


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Make a folder with the generated module of another caffe.proto: same file name, same package, other fields."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "caffe.proto").write_text(
        'syntax = "proto2"; package caffe;'
        "message NetParameter { optional int32 name = 7; repeated LayerParameter layer = 8; }"
        "message LayerParameter { optional bytes type = 1; } enum Phase { OTHER = 0; }"
    )
    assert protoc.main(["protoc", f"-I{folder}", f"--python_out={folder}", "caffe.proto"]) == 0
    return folder


OURS = "from caffe_lite.proto import caffe_pb2 as ours, parser\n"
THEIRS = "import caffe_pb2 as theirs\n"
BESIDE = """
net = parser.parse_text('name: "n" layer { name: "a" type: "ReLU" }', ours.NetParameter).message
assert ours.NetParameter.FromString(net.SerializeToString()) == net and net.layer[0].type == "ReLU"
other = theirs.NetParameter(name=3, layer=[theirs.LayerParameter(type=b"x")])
assert theirs.NetParameter.FromString(other.SerializeToString()).layer[0].type == b"x"
assert type(net) is not type(other)
assert (ours.TEST, theirs.OTHER) == (1, 0)
"""


@pytest.mark.parametrize("runtime", ["upb", "python"])
@pytest.mark.parametrize("imports", [OURS + THEIRS, THEIRS + OURS], ids=["ours first", "theirs first"])
def test_beside_another_schema(foreign, imports, runtime, tmp_path):
    run(imports + BESIDE, tmp_path, runtime, foreign)

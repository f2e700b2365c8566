"""tools/bench.py: PyTorch's nets equal ours, and the tables and the JSON show the measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import Net

torch = pytest.importorskip("torch")

TOOLS = Path(__file__).parents[1] / "tools"
LIGHT = ("lenet", "cifar10_quick")
HEAVY = ("caffenet", "googlenet", "resnet50", "mobilenet_ssd", "resnet50-test", "squeezenet-test")


@pytest.fixture
def tools(monkeypatch):
    """Import the modules bench and pytorch_nets."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench
    import pytorch_nets

    return bench, pytorch_nets


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOLS / "bench.py"), *options], capture_output=True, text=True)


@pytest.mark.parametrize("name", [*LIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)])
def test_both_sides_compute_the_same(tools, name):
    """With the same weights and without dropout, both have the same loss and gradients, or the same scores in TEST."""
    bench, pytorch_nets = tools
    case = bench.CASES[name]
    case = case._replace(shape=(2, *case.shape[1:]))
    param = bench.network(case)
    # Dropout runs in place, so the net is complete without it.
    layers = [layer for layer in param.layer if layer.type != "Dropout"]
    del param.layer[:]
    param.layer.extend(layers)
    ours = bench.ready(Net(param, param.state.phase, engine="torch", dtype="float64", seed=1))
    theirs = pytorch_nets.NETS[case.net]().double().train(case.train)
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    blobs = [param.blob for param in ours.learnable_params if param.lr_mult]
    parameters = list(theirs.parameters())
    assert sum(parameter.numel() for parameter in parameters) == sum(blob.count for blob in blobs)
    for parameter, blob in zip(parameters, blobs, strict=True):
        parameter.data = torch.tensor(ours.ops.host_view(blob.data))

    images, *labels = bench.batch(case).values()
    ours.blobs["data"].data[...] = images
    outputs = theirs(torch.tensor(images, dtype=torch.float64))
    if not case.train:
        ours.forward()
        # The scores before the softmax: they are so far apart that its own values would show little.
        scores = ours.ops.host_view(ours.nodes[-1].bottom[0].data).reshape(2, -1)
        np.testing.assert_allclose(scores, outputs.detach().numpy(), rtol=1e-9, atol=1e-9 * abs(scores).max())
        return
    for name, values in zip(("label", "target"), labels, strict=False):
        ours.blobs[name].data[...] = values
    loss = pytorch_nets.loss(outputs, *map(torch.tensor, labels))
    loss.backward()
    # A prototxt's loss_weight of 0.3 is a float32.
    assert float(ours.forward_pass()) == pytest.approx(loss.item(), rel=1e-7)
    ours.backward_pass()
    for parameter, blob in zip(parameters, blobs, strict=True):
        gradient = parameter.grad.numpy()
        error = np.linalg.norm(ours.ops.host_view(blob.diff) - gradient)
        size = np.linalg.norm(gradient)
        assert size > 0 and error < 1e-6 * size


@pytest.mark.slow
def test_the_tables(tmp_path):
    file = tmp_path / "times.json"
    done = run("--nets", "lenet", "--rounds", "1", "--iterations", "2", "--roofline", "--json", str(file))
    assert done.returncode == 0, done.stderr
    _, times, measured, roofline = done.stdout.split("\n\n")
    sides = [[cell.strip() for cell in row.split("|")[1:-1]] for row in times.splitlines()[2:]]
    assert [row[:2] for row in sides] == [["lenet b64 train", side] for side in ("numpy", "torch", "pytorch")]
    results = json.loads(file.read_text(encoding="utf-8"))
    medians = {side: np.median(seconds) for side, (seconds,) in results["seconds"]["lenet"].items()}
    for _, side, *cells in sides:
        assert cells[:3] == [f"{1000 * medians[side]:.2f}"] * 3
        if side != "pytorch":
            assert cells[3:5] == [f"{medians[side] / medians['pytorch']:.2f}"] * 2
    assert [row[-1] for row in sides] == ["", "0.75", ""]
    # Per image, 20 maps of 24 x 24 with 25 weights each, and so on; the gradient of the image is not needed.
    first, others = 20 * 24**2 * 25, 50 * 8**2 * 500 + 800 * 500 + 500 * 10
    assert results["operations"] == {"lenet": 2 * 64 * (2 * first + 3 * others)}
    assert set(results["peaks"]) == {"matrix product", "3x3 convolution"}
    assert all(name in measured for name in results["peaks"])
    assert "lenet b64 train" in roofline


@pytest.mark.slow
def test_onnxruntime_beside_its_own_file():
    pytest.importorskip("onnxruntime")
    options = ("--nets", "squeezenet-test,lenet", "--sides", "onnxruntime,exported")
    done = run(*options, "--rounds", "1", "--iterations", "1")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.split("\n\n")[1].splitlines()[2:]]
    sides = ["onnxruntime", "exported", "/ exported"]
    assert [row[:2] for row in rows] == [["squeezenet b10 TEST", side] for side in sides], "they do not train"
    (engine, alone), ratio = (float(row[2]) for row in rows[:2]), float(rows[2][5])
    assert ratio == pytest.approx(engine / alone, abs=0.01) and rows[2][-1] == "1.03"


def test_json_alone():
    done = run("--nets", "lenet", "--sides", "torch", "--rounds", "1", "--iterations", "2", "--json")
    assert done.returncode == 0, done.stderr
    seconds = json.loads(done.stdout)["seconds"]["lenet"]["torch"]
    assert [len(process) for process in seconds] == [2] and min(map(min, seconds)) > 0


def test_unknown_names():
    for option, known in (("--nets", "lenet"), ("--sides", "numpy, torch")):
        done = run(option, "lenett")
        assert done.returncode == 2 and "'lenett'" in done.stderr and known in done.stderr

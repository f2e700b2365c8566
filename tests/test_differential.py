"""tools/differential.py: random nets agree on every engine, and differences are found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TRAIN
from caffe_lite.layer import layer_class

pytest.importorskip("torch")

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def differential(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import differential

    return differential


@pytest.fixture
def random_net(differential):
    return differential.random_net


def agree(*arguments: str) -> None:
    command = [sys.executable, str(TOOLS / "differential.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " agree" in done.stdout


@pytest.mark.parametrize("shapes", [[], ["--empty"]], ids=["", "empty"])
def test_engines_agree(shapes):
    agree("--nets", "40", "--seed", "1000", *shapes)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_engines_agree_in_many_nets(threads):
    agree("--nets", "400", "--seed", "2000", "--threads", threads)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_passes_agree():
    agree("--nets", "4", "--seed", "3000", "--compiled")


def test_every_layer_that_has_a_proposal_is_drawn(random_net):
    from random_nets import PROPOSALS

    drawn = {node.layer.type for seed in range(300) for node in random_net(seed).make("numpy").nodes}
    assert set(PROPOSALS) <= drawn


def test_a_seed_is_a_net(random_net):
    mine, again, other = random_net(7), random_net(7), random_net(8)
    assert mine.text == again.text != other.text
    for name, values in mine.inputs.items():
        np.testing.assert_array_equal(values, again.inputs[name])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_slightly_wrong_gradient_is_found(differential, engine, monkeypatch):
    from random_nets import RandomNet

    tanh = layer_class("TanH")
    right = tanh.Backward

    def wrong(self, top, propagate_down, bottom):
        right(self, top, propagate_down, bottom)
        if propagate_down[0] and self.ops.name == engine and self.ops.dtype != np.float64:
            bottom[0].diff = bottom[0].diff * 1.0001

    text = """force_backward: true
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "y" type: "TanH" bottom: "x" top: "y" }"""
    net = RandomNet(0, text, TRAIN, {"x": np.linspace(-2, 2, 6, dtype="f").reshape(2, 3)}, set())
    assert differential.compare(net).kind == "agree"
    monkeypatch.setattr(tanh, "Backward", wrong)
    found = differential.compare(net)
    assert found.kind == "differs"
    assert found.what.startswith(f"{engine} float32: diff of ")


def test_an_error_of_one_engine_is_found(differential, random_net, monkeypatch):
    from caffe_lite.ops.torch.engine import TorchOps

    def fails(self, x):
        raise ValueError("no such thing")

    seed = next(seed for seed in range(100) if 'type: "Sigmoid"' in random_net(seed).text)
    monkeypatch.setattr(TorchOps, "sigmoid", fails)
    found = differential.compare(random_net(seed))
    assert found.kind == "error"
    assert "ValueError: no such thing" in found.what


CRASHING = """
import os, sys, time

sys.path[:0] = {paths!r}
import differential

def compare(net, compiled):
    if net.seed == 3:
        os.abort()
    if net.seed == 5:
        time.sleep(600)
    return differential.Result("agree")

differential.compare = compare
differential.child(differential.arguments())
"""


def test_a_crash_and_a_net_without_end_are_found(differential, tmp_path, monkeypatch, capsys):
    """They are reported with their seeds and nets, and the nets after them still run."""
    script = tmp_path / "crashing.py"
    script.write_text(CRASHING.format(paths=[str(TOOLS), str(TOOLS.parent)]))
    monkeypatch.setattr(differential, "__file__", str(script))
    runner = differential.Runner(differential.arguments(["--timeout", "8", "--batch", "5"]))
    runner.run(range(8))
    assert runner.counts == {"agree": 6, "crash": 1, "no end": 1}
    crash, endless = sorted(runner.findings)
    assert (crash.seed, endless.seed) == (3, 5)
    assert "; alone: " in crash.what
    assert 'name: "net 3"' in crash.net
    assert 'name: "net 5"' in capsys.readouterr().out

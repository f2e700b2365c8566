from __future__ import annotations

import re

import pytest

from .test_test import messages


def test_every_layer_forward_and_backward(caffe):
    result = caffe("time", "-model", "net.prototxt", "-iterations", "3")
    assert result.returncode == 0, result.stderr
    # The thread that reads ahead may log a line anywhere.
    lines = [line for line in messages(result.stderr) if not line.startswith("Restarting data")]
    begin = lines.index("*** Benchmark begins ***")
    assert lines[begin + 1] == "Testing for 3 iterations."
    for iteration in (1, 2, 3):
        assert re.fullmatch(rf"Iteration: {iteration} forward-backward time: \S+ ms\.", lines[begin + 1 + iteration])
    table = [line for line in lines[begin:] if "\t" in line]
    assert lines[lines.index(table[0]) - 1] == "Average time per layer: "
    times = [re.fullmatch(r" *(\w+)\t(forward|backward): (\S+) ms\.", line).groups() for line in table]
    assert [time[:2] for time in times] == [
        (layer, direction)
        for layer in ("images", "ip1", "relu1", "ip2", "loss")
        for direction in ("forward", "backward")
    ]
    assert table[2].startswith("       ip1\t")
    total = {match[1]: float(match[2]) for line in lines if (match := re.fullmatch(r"(\w[\w -]+): (\S+) ms\.", line))}
    for direction, name in (("forward", "Forward pass"), ("backward", "Backward pass")):
        layers = sum(float(time) for _, d, time in times if d == direction)
        assert total[f"Average {name}"] == pytest.approx(layers, rel=1e-3)
    assert total["Average Forward-Backward"] * 3 == pytest.approx(total["Total Time"], rel=1e-3)
    assert lines[-1] == "*** Benchmark ends ***"


def test_the_phase_chooses_the_net(caffe):
    result = caffe("time", "-model", "net.prototxt", "-iterations", "1", "-phase", "TEST")
    assert any("  accuracy\tforward" in line for line in messages(result.stderr))

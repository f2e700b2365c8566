from __future__ import annotations

import re

import pytest

NUMBER = r"(-?[\d.]+(?:e[+-]\d+)?)"


def messages(stderr: str) -> list[str]:
    return [line.partition("] ")[2] for line in stderr.splitlines() if re.match(r"[IWEF](\d{4}){1,2} ", line)]


def test_scores_each_batch_and_their_means(caffe):
    assert caffe("train", "solver.prototxt").returncode == 0
    result = caffe("test", "-model", "net.prototxt", "-weights", "stripes_iter_20.caffemodel", "-iterations", "2")
    assert result.returncode == 0, result.stderr
    lines = messages(result.stderr)
    assert lines[0] == "Use CPU."
    scored = lines[lines.index("Running for 2 iterations.") + 1 :]
    forms = [
        f"Batch 0, accuracy = {NUMBER}",
        f"Batch 0, loss = {NUMBER}",
        r"Restarting data prefetching from start\.",
        f"Batch 1, accuracy = {NUMBER}",
        f"Batch 1, loss = {NUMBER}",
        f"Loss: {NUMBER}",
        f"accuracy = {NUMBER}",
        rf"loss = {NUMBER} \(\* 1 = {NUMBER} loss\)",
    ]
    found = {form: match for form in forms for line in scored if (match := re.fullmatch(form, line))}
    assert all(any(re.fullmatch(form, line) for form in forms) for line in scored), scored
    value = {form: float(found[form][1]) for form in forms if "Restarting" not in form}
    assert value[forms[5]] == pytest.approx((value[forms[1]] + value[forms[4]]) / 2, rel=1e-4)
    assert value[forms[6]] == pytest.approx((value[forms[0]] + value[forms[3]]) / 2, rel=1e-4)
    assert value[forms[6]] > 0.9


def test_an_output_of_several_shapes_has_no_mean(caffe, folder):
    (folder / "chosen.prototxt").write_text(
        """layer { name: "noise" type: "DummyData" top: "noise"
                   dummy_data_param { shape { dim: 64 } data_filler { type: "uniform" } } }
           layer { name: "choice" type: "Threshold" bottom: "noise" top: "choice" threshold_param { threshold: 0.5 } }
           layer { name: "some" type: "Filter" bottom: "noise" bottom: "choice" top: "chosen" }"""
    )
    assert caffe("train", "solver.prototxt").returncode == 0
    result = caffe("test", "-model", "chosen.prototxt", "-weights", "stripes_iter_20.caffemodel", "-iterations", "4")
    assert result.returncode == 1
    assert "chosen.prototxt:4:12, layer \"some\" (Filter): output 'chosen' has shape (" in result.stderr

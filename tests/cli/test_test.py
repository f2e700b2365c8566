from __future__ import annotations

import re

import pytest

from caffe_lite import TEST, Net

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


def test_the_average_precision_of_each_class_and_their_mean(caffe, folder):
    rows = "".join(
        f'layer {{ name: "{name}" type: "Parameter" top: "{name}" '
        f"parameter_param {{ shape {{ dim: [1, 1, {count}, {columns}] }} }} }}\n"
        for name, count, columns in (("found", 4, 7), ("true", 3, 8))
    )
    (folder / "judge.prototxt").write_text(
        f"""{rows} layer {{ name: "map" type: "DetectionEvaluate" bottom: "found" bottom: "true" top: "map"
                    detection_evaluate_param {{ num_classes: 3 }} }}"""
    )
    net = Net(folder / "judge.prototxt", TEST, engine="numpy")
    left, right = (0, 0, 0.4, 0.4), (0.6, 0.6, 1, 1)
    net.params["true"][0].data[0, 0] = [(0, 1, 0, *left, 0), (0, 1, 1, *right, 0), (0, 2, 0, *right, 0)]
    # In each of two batches, the best and the last of class 1 are right, and the only one of class 2 is.
    scored = [(0, 1, 0.9, *left), (0, 1, 0.8, 0.2, 0.6, 0.4, 0.9), (0, 1, 0.7, *right), (0, 2, 0.6, *right)]
    net.params["found"][0].data[0, 0] = scored
    net.save(folder / "judge.caffemodel")
    command = ("test", "-model", "judge.prototxt", "-weights", "judge.caffemodel", "-iterations", "2")
    eleven = (6 + 5 * 2 / 3) / 11
    for words, precision in (((), (1 + 1 + 3 / 5 + 4 / 6) / 4), (("--ap-version", "11point"), eleven)):
        result = caffe(*command, *words)
        assert result.returncode == 0, result.stderr
        lines = messages(result.stderr)
        scores = [f"class1: {precision:g}", "class2: 1", f"map = {(precision + 1) / 2:g}"]
        assert lines[lines.index("Loss: 0") - len(lines) :] == ["Loss: 0", *scores], lines
    assert "'VOC' is none of 11point, " in caffe(*command, "--ap-version", "VOC").stderr

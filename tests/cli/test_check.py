"""``caffe-lite check``, as a process."""

from __future__ import annotations

import json

BROKEN = 'layer { name: "x" type: "Input" top: "x" }\nlayer { name: "y" type: "Relu" bottom: "x" top: "y" }\n'


def test_what_it_prints(caffe, folder):
    (folder / "broken.prototxt").write_text(BROKEN)
    (folder / "old.prototxt").write_text('input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1')
    result = caffe("check", "broken.prototxt", "old.prototxt", "sovler.prototxt")
    assert result.returncode == 1 and result.stderr == ""
    assert result.stdout.splitlines() == [
        "broken.prototxt:2:1, layer \"y\" (Relu): unknown layer type 'Relu'. Did you mean ReLU?",
        "old.prototxt:1:1: note: input is deprecated. Write a layer of type Input in its place.",
        "old.prototxt:1:12: note: input_dim is deprecated. Write a layer of type Input in its place.",
        "old.prototxt: ok",
        "sovler.prototxt: there is no such file. Did you mean solver.prototxt?",
    ]


def test_names_that_the_terminal_cannot_show(caffe, folder, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (folder / "café.prototxt").write_text('layer { name: "→" type: "Relu" top: "y" }\n', encoding="utf-8")
    for command in ("check", "summary"):
        result = caffe(command, "café.prototxt")
        assert result.returncode == 1 and "Traceback" not in result.stderr
        assert r'layer "\u2192" (Relu)' in result.stdout + result.stderr


def test_a_solver_brings_its_net(caffe, folder):
    result = caffe("check", "solver.prototxt")
    assert result.stdout == "solver.prototxt: ok\nnet.prototxt: ok\n" and result.returncode == 0
    with (folder / "net.prototxt").open("a") as net:
        net.write('layer { name: "late" type: "ReLU" bottom: "nobody" top: "late" }\n')
    result = caffe("check", "solver.prototxt")
    assert result.returncode == 1 and "unknown bottom blob 'nobody'" in result.stdout


def test_json(caffe, folder):
    (folder / "broken.prototxt").write_text(BROKEN)
    result = caffe("check", "--json", "broken.prototxt", "solver.prototxt")
    assert result.returncode == 1
    broken, solver, net = json.loads(result.stdout)
    message = "unknown layer type 'Relu'. Did you mean ReLU?"
    assert broken == {
        "file": "broken.prototxt",
        "kind": "net",
        "status": "unknown_layer",
        "problems": [{"line": 2, "column": 1, "layer": "y", "message": message}],
        "notes": [],
    }
    assert (solver["kind"], solver["status"], net["kind"], net["status"]) == ("solver", "ok", "net", "ok")


def test_the_meaning_of_a_layer_is_a_note(caffe, folder):
    (folder / "bn.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }\n'
        'layer { name: "bn" type: "BN" bottom: "x" top: "y" bn_param { frozen: true } }\n'
    )
    message = "taken for yjxiong's BN, because frozen is given."
    result = caffe("check", "bn.prototxt")
    place = 'bn.prototxt:2:1, layer "bn" (BN)'
    assert result.returncode == 0 and result.stdout == f"{place}: note: {message}\nbn.prototxt: ok\n"
    (found,) = json.loads(caffe("check", "--json", "bn.prototxt").stdout)
    assert found["status"] == "ok"
    assert found["notes"] == [{"line": 2, "column": 1, "layer": "bn", "message": message}]

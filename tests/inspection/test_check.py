"""Checking files: every problem at its place, in the states that a net is made for, and no false alarms."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe_lite.inspection.check import Checked, check

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared/corpus/prototxt"

TRAIN_DATA = """layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 8 } data_param { source: "train" batch_size: 4 } }
"""
DATA = TRAIN_DATA + TRAIN_DATA.replace("TRAIN", "TEST").replace("4", "2")
SCORES = 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
SOLVER = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 10 snapshot_prefix: "s"\n'


def checked(folder: Path, text: str, name: str = "it.prototxt") -> Checked:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return check(path)


def told(found: Checked) -> list[tuple[int, int, str | None, str]]:
    return [(p.where.line, p.where.column, p.layer, p.message) for p in found.problems if p.where]


def test_a_net_whose_data_are_absent_is_ok(tmp_path: Path) -> None:
    found = checked(tmp_path, DATA + SCORES + LOSS)
    assert (found.kind, found.status, found.problems, found.notes) == ("net", "ok", [], [])


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*/*.prototxt")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_our_own_files_are_ok(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = check(path)
    assert found.status == "ok", found.problems
    kinds = {"net": "net", "solver": "solver", "labelmap": "other"}
    assert found.kind == kinds[path.stem.split("_")[-1]]


@pytest.mark.parametrize(
    ("text", "status", "place"),
    [
        ("layer { name: 'a' type: 'Input' top: 'a' \n input_param { shpae {} } }", "unknown_field", (2, 16, "a")),
        ("layer { name: 'a' type: 'Inputs' top: 'a' }", "unknown_layer", (1, 1, "a")),
        ("layers { name: 'a' type: ROI_POOLING top: 'a' }", "unknown_layer", (1, 26, "a")),
        ("layer {\n name: 'a' type 'Input' }", "syntax", (2, 17, "a")),
        ("layer { name: 'a' type: 'Input'", "syntax", (1, 1, None)),
        ("layer { name: 'a' type: 'Pooling' }", "invalid", (1, 1, "a")),
        ("input: 'a'", "invalid", (1, 1, None)),
        ("pool: FOO", "unknown_field", (1, 7, None)),
        ("", "syntax", None),
    ],
)  # fmt: skip
def test_the_status_and_the_place(text: str, status: str, place: tuple | None, tmp_path: Path) -> None:
    found = checked(tmp_path, text)
    assert found.status == status, found.problems
    if place:
        assert told(found)[0][: len(place) - 1] == place[:-1] and found.problems[0].layer in (place[-1], "a")


def test_settings_out_of_range_are_told_at_their_places(tmp_path: Path) -> None:
    text = 'net: "n"\nbase_lr: -1\nlr_policy: "inv"\ngamma: -0.1\n power: nan\nmomentum: 1.5\n'
    text += "max_iter: 5\nclip_gradients: inf\n"
    beginnings = [
        (2, 1, "base_lr is -1"), (4, 1, "gamma is -0.1"), (5, 2, "power is nan"),
        (6, 1, "momentum 1.5 should lie between 0 and 1"), (8, 1, "clip_gradients is inf"),
    ]  # fmt: skip
    found = [(line, column, what) for line, column, _, what in told(checked(tmp_path, text))]
    assert len(found) == len(beginnings)
    for place, beginning in zip(found, beginnings, strict=True):
        assert place[:2] == beginning[:2] and place[2].startswith(beginning[2])


@pytest.mark.parametrize(
    ("filler", "what"),
    [
        ('type: "uniform" min: 2 max: 1', "min of a uniform filler is 2, more than its max 1"),
        ('type: "gaussian" std: 0', "std of a gaussian filler is 0"),
        ('type: "gaussian" sparse: -2', "sparse of a gaussian filler is -2"),
        ("value: nan", "value of a constant filler is nan"),
    ],
)
def test_fillers_out_of_range_are_told(filler: str, what: str, tmp_path: Path) -> None:
    """The check draws no values: those of the other layer would not fit into memory."""
    data = 'layer { name: "%s" type: "DummyData" top: "%s" dummy_data_param { shape { dim: 2 dim: 40000 } %s } }\n'
    net = data % ("d", "data", "")
    for kind, field, sizes, name in (
        ("InnerProduct", "inner_product_param", "num_output: 50000", "weight_filler"),
        ("Embed", "embed_param", "num_output: 5 input_dim: 3", "weight_filler"),
        ("Bias", "bias_param", "", "filler"),
        ("PReLU", "prelu_param", "", "filler"),
        ("Scale", "scale_param", "bias_term: true", "bias_filler"),
    ):
        param = f"{field} {{ {sizes} {name} {{ {filler} }} }}"
        net += f'layer {{ name: "{kind}" type: "{kind}" bottom: "data" top: "{kind}" {param} }}\n'
    net += data % ("DummyData", "more", f"data_filler {{ {filler} }}")
    found = told(checked(tmp_path, net))
    layers = ["InnerProduct", "Embed", "Bias", "PReLU", "Scale", "DummyData"]
    assert [(line, layer) for line, _, layer, _ in found] == list(enumerate(layers, 2))
    assert all(message.startswith(what) for *_, message in found), found


def test_two_layers_of_one_name_where_both_learn(tmp_path: Path) -> None:
    twice = SCORES.replace('top: "ip"', 'top: "ip2"')
    found = checked(tmp_path, DATA + SCORES + twice + LOSS + LOSS.replace('top: "loss"', 'top: "loss2"'))
    (line, _, layer, message), = told(found)  # fmt: skip
    assert (line, layer) == (6, "ip") and "also the one (InnerProduct) at" in message and "it.prototxt:5:1" in message
    apart = SCORES.replace("inner", "include { phase: TRAIN } inner") + SCORES.replace(
        "inner", "include { phase: TEST } inner"
    )
    assert checked(tmp_path, DATA + apart + LOSS).status == "ok"


def test_all_problems_are_told_at_once_in_their_order(tmp_path: Path) -> None:
    found = checked(
        tmp_path,
        DATA
        + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { kernel_sise: 3 } }\n'
        + 'layer { name: "r" type: "Relu" bottom: "c" top: "c" }\n'
        + 'layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pad: 1 } }\n'
        + SCORES
        + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "ipp" bottom: "label" top: "l" }\n',
    )
    assert [(line, layer) for line, _, layer, _ in told(found)] == [(5, "c"), (6, "r"), (7, "p"), (9, "l")]
    assert found.status == "unknown_field"
    messages = [message for *_, message in told(found)]
    assert 'Did you mean "kernel_size"?' in messages[0] and "Did you mean ReLU?" in messages[1]
    assert "no kernel_size is given" in messages[2] and "Did you mean 'ip'" in messages[3]


def test_what_follows_from_a_problem_is_not_told_again(tmp_path: Path) -> None:
    """A misspelt field is reported once: not its missing value, nor errors in blobs whose shape depends on it."""
    found = checked(
        tmp_path,
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 3 strid: 2 } }\n'
        'layer { name: "q" type: "Pooling" bottom: "x" top: "q" pooling_param { kernel_size: 3 stride: 2 } }\n'
        'layer { name: "sum" type: "Eltwise" bottom: "p" bottom: "q" top: "sum" }\n',
    )
    assert [layer for _, _, layer, _ in told(found)] == ["p"]


def test_a_net_that_could_not_be_read_through_is_not_said_to_lack_blobs(tmp_path: Path) -> None:
    found = checked(
        tmp_path, 'layer { name: "x" type: "Input" top: x }\nlayer { name: "r" type: "Relu" bottom: "x" top: "r" }'
    )
    assert found.status == "syntax"
    assert [layer for _, _, layer, _ in told(found)] == ["x", "r"]


def test_a_problem_in_one_phase_only_is_found_and_named(tmp_path: Path) -> None:
    accuracy = (
        'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "lable" top: "acc" include { phase: TEST } }\n'
    )
    found = checked(tmp_path, DATA + SCORES + LOSS + accuracy)
    assert [(line, layer) for line, _, layer, _ in told(found)] == [(7, "acc")]
    found = checked(
        tmp_path, (DATA + SCORES + LOSS).replace('top: "label" include { phase: TEST }', "include { phase: TEST }")
    )
    assert [layer for _, _, layer, _ in told(found)] == ["loss"]
    assert "(in TEST)" in found.problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        TRAIN_DATA,
        DATA.replace("phase: TRAIN", 'stage: "fit"').replace("phase: TEST", 'stage: "score"'),
        TRAIN_DATA + 'layer { name: "n" type: "DummyData" top: "n" dummy_data_param { shape { dim: 2 } } }\n',
    ],
    ids=["train only", "stages", "train only, with constants"],
)  # fmt: skip
def test_states_that_a_net_is_not_meant_for_are_let_be(text: str, tmp_path: Path) -> None:
    found = checked(tmp_path, text + SCORES + LOSS)
    assert found.status == "ok", found.problems


def test_a_stage_is_looked_at(tmp_path: Path) -> None:
    net = DATA.replace("phase: TEST", 'phase: TEST not_stage: "deploy"') + (
        'layer { name: "in" type: "Input" top: "data" include { phase: TEST stage: "deploy" }'
        " input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n"
        + SCORES
        + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" softmax_param { axis: 9 }'
        ' include { stage: "deploy" } }\n'
    )
    found = checked(tmp_path, net)
    assert [layer for _, _, layer, _ in told(found)] == ["prob"], found.problems


def test_deprecated_fields_are_noted_once_with_what_replaced_them(tmp_path: Path) -> None:
    text = (
        'input: "x" input_dim: 1 input_dim: 4\n input_dim: 2 input_dim: 2\n'
        'layer { name: "a" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_dim: 1 } }\n'
        'layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" concat_param { concat_dim: 1 } }\n'
    )
    found = checked(tmp_path, text)
    assert found.status == "ok"
    assert [note.what for note in found.notes] == [
        f"{name} is deprecated" for name in ("input", "input_dim", "slice_dim", "concat_dim")
    ]
    assert "Write axis" in str(found.notes[2]) and found.notes[2].where and found.notes[2].where.line == 3


def test_a_python_layer_without_its_module_is_no_problem_and_its_code_is_not_run(tmp_path: Path) -> None:
    layer = 'layer {{ name: "{0}" type: "Python" top: "{0}" python_param {{ module: "{1}" layer: "L" }} }}\n'
    (tmp_path / "mine.py").write_text("raise SystemExit('run')")
    found = checked(tmp_path, layer.format("a", "mine") + layer.format("b", "not_there.at_all"))
    assert found.status == "ok"
    assert [(note.layer, note.what) for note in found.notes] == [("b", "the module 'not_there.at_all' is not here")]


def test_the_meaning_of_a_layer_is_noted_once_for_all_states(tmp_path: Path) -> None:
    layer = 'layer {{ name: "{0}" type: "BN" bottom: "data" top: "{0}" {1} }}\n'
    text = DATA + layer.format("a", "bn_param { frozen: true }") + layer.format("b", "include { phase: TEST }")
    found = checked(tmp_path, text)
    line = DATA.count("\n") + 1
    assert found.status == "ok" and not found.problems
    assert [(note.where and note.where.line, note.layer, note.what) for note in found.notes] == [
        (line, "a", "taken for yjxiong's BN, because frozen is given"),
        (line + 1, "b", "taken for SegNet's BN, because no field of yjxiong's is given"),
    ]


def test_layers_of_one_meaning_are_noted_together(tmp_path: Path) -> None:
    layer = 'layer {{ name: "{0}" type: "BN" bottom: "data" top: "{0}" bn_param {{ {1}: true }} }}\n'
    found = checked(
        tmp_path, DATA + "".join(layer.format(name, "frozen") for name in "abc") + layer.format("d", "icnet")
    )
    assert [(note.layer, note.what) for note in found.notes] == [
        ("a", "taken for yjxiong's BN, because frozen is given, as 2 more are"),
        ("d", "taken for yjxiong's BN, because icnet is given"),
    ]


def test_the_meaning_is_noted_beside_the_problem_that_follows_from_it(tmp_path: Path) -> None:
    layer = 'layer { name: "a" type: "BN" bottom: "data" top: "a" top: "mean" bn_param { eps: 1 } }\n'
    found = checked(tmp_path, DATA + layer)
    assert "yjxiong's BN has no tops of mean and variance" in told(found)[0][3]
    assert [note.what for note in found.notes] == ["taken for yjxiong's BN, because eps is given"]


# -- solvers -----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_a_solver(tmp_path: Path) -> None:
    found = checked(
        tmp_path,
        'type: "RMSProp" lr_policy: "stepp"\nmomentum: 0.9 rms_decay: 2\niter_size: 0\n'
        'train_net: "a" net: "b"\ntest_iter: 5\n',
    )
    assert (found.kind, found.status) == ("solver", "invalid")
    lines = [line for line, *_ in told(found)]
    assert lines == [1, 2, 2, 3, 4, 5]
    assert "Did you mean 'step'?" in found.problems[0].message


def test_a_field_given_twice_is_told_with_everything_else(tmp_path: Path) -> None:
    found = checked(tmp_path, 'base_lr: 1\nlr_policy: "fixed" iter_size: 0\nbase_lr: 2 net_param { }\n')
    assert [(line, column) for line, column, _, _ in told(found)] == [(2, 20), (3, 1)]
    assert found.status == "syntax"
    found = checked(tmp_path, DATA + SCORES.replace('type: "I', 'name: "x" type: "I') + LOSS.replace("label", "lable"))
    assert [(line, layer) for line, _, layer, _ in told(found)] == [(5, "ip"), (6, "loss")]


def test_a_solver_without_a_policy_or_of_no_type(tmp_path: Path) -> None:
    assert [p.what for p in checked(tmp_path, 'net: "n" base_lr: 1').problems] == ["lr_policy is not given"]
    assert [p.what for p in checked(tmp_path, SOLVER + 'net: "n" type: "Adma"').problems] == [
        "unknown solver type 'Adma'"
    ]


def test_a_net_that_is_not_there_is_noted_and_one_that_is_there_is_named(tmp_path: Path) -> None:
    found = checked(tmp_path, SOLVER + 'net: "net.prototxt"')
    assert found.status == "ok" and [note.what for note in found.notes] == ["there is no net 'net.prototxt' here"]
    assert found.notes[0].where and found.notes[0].where.line == 2
    checked(tmp_path, DATA, "net.prototxt")
    found = checked(tmp_path, SOLVER + 'net: "net.prototxt"')
    assert found.nets == [str(tmp_path / "net.prototxt")] and not found.notes


def test_a_net_inside_a_solver_is_checked_at_its_place(tmp_path: Path) -> None:
    found = checked(tmp_path, SOLVER + 'net_param {\n layer { name: "x" type: "Imput" top: "x" }\n}')
    assert told(found)[0][:3] == (3, 2, "x") and found.status == "unknown_layer"


def test_other_messages(tmp_path: Path) -> None:
    found = checked(tmp_path, "num: 1 channels: 1 height: 1 width: 1 data: 5")
    assert (found.kind, found.status) == ("other", "ok")
    found = checked(tmp_path, "animal { name: 'cat' }")
    assert (found.kind, found.status) == ("other", "unknown_field") and told(found)[0][:2] == (1, 1)
    found = checked(tmp_path, "item { name: 'cat' label: 1 }")
    assert (found.kind, found.status) == ("other", "ok")
    assert found.notes[0].message == "this is a LabelMap, neither a net nor a solver."


@pytest.mark.parametrize("text", ["base_lr: {{ lr }}", 'name: "x"\n{% if fine_tune %}', "input_dim: cls3x"])
def test_a_template_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    found = checked(tmp_path, text)
    assert found.status == "syntax"
    (problem,) = found.problems
    assert problem.message.startswith("this is a template: another program fills in ")


def test_the_forks_that_have_an_unknown_layer_type_are_named(tmp_path: Path) -> None:
    (problem,) = checked(tmp_path, 'layer { name: "x" type: "BEGANLoss" top: "x" }').problems
    assert problem.message == (
        "unknown layer type 'BEGANLoss'. BEGANLoss is a layer of foss-for-synopsys-dwc-arc-processors/synopsys-caffe, "
        "which caffe_lite does not have yet."
    )


def test_a_configuration_of_another_program_is_named(tmp_path: Path) -> None:
    (problem,) = checked(tmp_path, 'train { solver: "solver.prototxt" }').problems
    assert "Caffe Neural Tool" in problem.message


def test_a_parameter_of_a_layer_type_that_is_not_known_names_the_type(tmp_path: Path) -> None:
    text = 'layer { name: "x" type: "ROIRotating" top: "x" roi_rotating_param { angle: 7 } }'
    assert [p.hint for p in checked(tmp_path, text).problems][
        1
    ] == "Caffe knows no ROIRotating layer; a fork of Caffe may"


# -- published files ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published files here")
def test_published_files_fail_for_what_a_fork_added_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Test every sixth file, and all of the original's."""
    monkeypatch.chdir(tmp_path)
    files = [path for path in sorted(PUBLISHED.rglob("*")) if path.is_file()]
    for path in files[::6]:
        assert check(path).status != "invalid" or "template" in path.name, path
    for path in files:
        if "BVLC+caffe" in path.parts:
            assert check(path).status == "ok", path

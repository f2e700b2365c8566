"""Filtering by state, and splits where a blob is read twice."""

import time

import pytest

from caffe_lite.errors import NetError, Where
from caffe_lite.net.filtering import PlacedLayer, filter_layers, insert_splits, layers_in_state
from caffe_lite.proto.caffe_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetState
from caffe_lite.proto.parser import parse_text


def placed(text):
    parsed = parse_text(text, NetParameter, "net.prototxt")
    return [PlacedLayer(layer, where) for layer, where in zip(parsed.message.layer, parsed.layers, strict=True)]


RULES = """
layer { name: "always" }
layer { name: "train" include { phase: TRAIN } }
layer { name: "not_test" exclude { phase: TEST } }
layer { name: "either" include { phase: TEST } include { stage: "a" } }
layer { name: "deep" include { min_level: 2 } }
layer { name: "shallow" include { max_level: 1 } }
layer { name: "a_and_b" include { stage: "a" stage: "b" } }
layer { name: "a_not_b" include { stage: "a" not_stage: "b" } }
"""


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (NetState(phase=TRAIN), "train not_test shallow"),
        (NetState(phase=TEST), "either shallow"),
        (NetState(phase=TEST, level=1), "either shallow"),
        (NetState(phase=TRAIN, level=2), "train not_test deep"),
        (NetState(phase=TRAIN, stage=["a"]), "train not_test either shallow a_not_b"),
        (NetState(phase=TRAIN, stage=["a", "b"]), "train not_test either shallow a_and_b"),
    ],
    ids=str,
)
def test_rules_admit_layers_by_state(state, kept):
    assert {layer.param.name for layer in filter_layers(placed(RULES), state)} == {"always", *kept.split()}


def test_include_and_exclude_together_are_refused_with_the_place():
    layers = placed('layer {\n name: "both" type: "ReLU" include { phase: TRAIN } exclude { phase: TEST } }')
    with pytest.raises(NetError, match=r'net.prototxt:1:1, layer "both" \(ReLU\): it has both include and exclude'):
        filter_layers(layers, NetState())


def test_a_rule_that_fails_is_logged_as_the_original_does(caplog):
    with caplog.at_level("INFO", "caffe_lite"):
        filter_layers(placed(RULES), NetState(phase=TEST, stage=["a", "b"], level=3))
    assert "The NetState phase (1) differed from the phase (0) specified by a rule in layer train" in caplog.messages
    assert "The NetState level (3) is above the max_level (1) specified by a rule in layer shallow" in caplog.messages
    assert "The NetState contained a not_stage 'b' specified by a rule in layer a_not_b" in caplog.messages


def test_one_reader_needs_no_split():
    text = 'layer { name: "x" type: "Input" top: "x" } layer { name: "r" type: "ReLU" bottom: "x" top: "x" }'
    assert [layer.param for layer in insert_splits(placed(text))] == [layer.param for layer in placed(text)]


def test_two_readers_get_a_split_with_the_originals_names():
    split = insert_splits(
        placed("""layer { name: "in" type: "Input" top: "a" top: "b" }
                  layer { name: "one" type: "ReLU" bottom: "b" top: "one" }
                  layer { name: "two" type: "Eltwise" bottom: "b" bottom: "a" bottom: "b" top: "two" }""")
    )
    names = [layer.param.name for layer in split]
    assert names == ["in", "b_in_1_split", "one", "two"]
    assert list(split[1].param.top) == ["b_in_1_split_0", "b_in_1_split_1", "b_in_1_split_2"]
    assert list(split[2].param.bottom) == ["b_in_1_split_0"]
    assert list(split[3].param.bottom) == ["b_in_1_split_1", "a", "b_in_1_split_2"]
    assert split[1].where == split[0].where == Where("net.prototxt", 1, 1)


def test_a_blob_rewritten_in_place_is_split_by_its_last_maker():
    split = insert_splits(
        placed("""layer { name: "x" type: "Input" top: "x" }
                  layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
                  layer { name: "p" type: "ReLU" bottom: "x" top: "p" }
                  layer { name: "q" type: "ReLU" bottom: "x" top: "q" }""")
    )
    assert [layer.param.name for layer in split] == ["x", "r", "x_r_0_split", "p", "q"]


def test_a_loss_weight_counts_as_a_reader_and_moves_to_the_split():
    split = insert_splits(
        placed("""layer { name: "x" type: "Input" top: "x" }
                  layer { name: "sum" type: "Reduction" bottom: "x" top: "s" loss_weight: 3 }
                  layer { name: "next" type: "ReLU" bottom: "s" top: "n" }""")
    )
    assert [layer.param.name for layer in split] == ["x", "sum", "s_sum_0_split", "next"]
    assert list(split[1].param.loss_weight) == [0]
    assert list(split[2].param.loss_weight) == [3, 0]
    assert list(split[3].param.bottom) == ["s_sum_0_split_1"]


@pytest.mark.parametrize(
    ("reader", "hint"),
    [
        ('bottom: "dada" top: "r"', "Did you mean 'data'?"),
        ('bottom: "r" top: "r"', "A layer cannot read its own top"),
        ('bottom: "late" top: "r"', "makes it further down (net.prototxt:3:1): move that layer up"),
        ('bottom: "zzz" top: "r"', "Blobs made before it: data"),
    ],
)
def test_a_bottom_that_nobody_makes_is_named_with_a_way_out(reader, hint):
    text = f"""layer {{ name: "x" type: "Input" top: "data" }}
layer {{ name: "r" type: "ReLU" {reader} }}
layer {{ name: "l" type: "ReLU" bottom: "data" top: "late" }}"""
    with pytest.raises(NetError) as caught:
        insert_splits(placed(text))
    assert str(caught.value).startswith('net.prototxt:2:1, layer "r" (ReLU): unknown bottom blob')
    assert hint in str(caught.value)


STAGED = """
layer { name: "d" type: "DummyData" top: "x" include { phase: TRAIN } }
layer { name: "v" type: "DummyData" top: "x" include { phase: TEST stage: "val" min_level: 2 } }
layer { name: "w" type: "DummyData" top: "y" include { phase: TRAIN stage: "a" not_stage: "b" } }
layer { name: "z" type: "DummyData" top: "z" exclude { phase: TEST } }
layer { name: "r" type: "ReLU" bottom: "%s" top: "r" }
"""


@pytest.mark.parametrize(
    ("blob", "state", "hint"),
    [
        (
            "x",
            NetState(phase=TEST),
            'test_state { level: 2 stage: "val" }, in a script with Net(..., level=2,',
        ),
        (
            "x",
            NetState(phase=TEST, level=3, stage=["q"]),
            'test_state { stage: "q" stage: "val" }, in a script with',
        ),
        ("y", NetState(phase=TRAIN), "train_state { stage: \"a\" }, in a script with Net(..., stages=['a'])."),
        (
            "y",
            NetState(phase=TRAIN, stage=["b"]),
            "Layer 'w' (net.prototxt:4:1) makes it, which its rules leave out",
        ),
        ("y", NetState(phase=TEST), "Layer 'w' (net.prototxt:4:1) makes it, which its rules leave out in TEST."),
        ("z", NetState(phase=TEST), "Layer 'z' (net.prototxt:5:1) makes it, which its rules leave out in TEST."),
        ("q", NetState(phase=TRAIN), "no layer before it makes it. Blobs made before it: x, z."),
    ],
    ids=str,
)
def test_a_blob_that_another_state_would_bring(blob, state, hint):
    with pytest.raises(NetError) as caught:
        layers_in_state(placed(STAGED % blob), state)
    assert f"unknown bottom blob {blob!r}" in str(caught.value) and hint in str(caught.value)
    if "_state {" in hint:  # the hint is right
        fields = hint.split("{ ")[1].split(" }")[0]
        asked = parse_text(f"phase: {'TEST' if state.phase == TEST else 'TRAIN'} {fields}", NetState).message
        asked.level = asked.level or state.level
        assert layers_in_state(placed(STAGED % blob), asked)


def test_thousands_of_unknown_bottoms_are_told_in_linear_time() -> None:
    def seconds(count: int) -> float:
        layers = [
            PlacedLayer(LayerParameter(name=f"l{i}", type="Silence", bottom=["x"]), Where("net.prototxt", i + 1, 1))
            for i in range(count)
        ]
        told: list[NetError] = []
        start = time.process_time()
        insert_splits(layers, told.append)
        seconds = time.process_time() - start
        assert len(told) == count and told[-1].where == Where("net.prototxt", count, 1)
        return seconds

    assert min(seconds(4000) for _ in range(3)) < 8 * min(seconds(1000) for _ in range(3))

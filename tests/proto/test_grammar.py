"""The tree that the grammar makes of a text, and the mistakes in it, each with its explanation."""

from __future__ import annotations

import pytest

from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.proto.grammar import read_tree
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.source import Source
from caffe_lite.proto.tokens import tokenize
from caffe_lite.proto.tree import Block, Entry, Fault, Mistake

# A text for each mistake; {} marks where the mistake starts.
MISTAKES = {
    Mistake.NEVER_CLOSED: "layer { {}",
    Mistake.WRONG_CLOSER: "layer { {}> }",
    Mistake.SURPLUS_CLOSER: "layer { } {}}",
    Mistake.STRAY: "layer { {}3 }",
    Mistake.WEB_PAGE: "{}<html><body></body></html>",
    Mistake.STANDS_ALONE: "layer { {}nam }",
    Mistake.UNKNOWN_FIELD: "layer { {}nam: 3 }",
    Mistake.TAKES_BLOCK: "{}state: 3",
    Mistake.TAKES_NO_BLOCK: "{}name { }",
    Mistake.NO_COLON: "name {}'a'",
    Mistake.NO_BLOCK_IN_LIST: "layer: [{ }, {}3 ]",
    Mistake.LIST_NOT_CLOSED: "input_dim: {}[1 2]",
    Mistake.NO_LAST_VALUE: "input_dim: [1, {}]",
    Mistake.NO_VALUE: "name{}:",
    Mistake.WRONG_KIND: "force_backward: {}yes",
    Mistake.OPEN_QUOTE: "name: {}'a",
    Mistake.NOT_QUOTED: "name: {}a",
    Mistake.NO_ESCAPE: r"name: 'a' {}'\q'",
    Mistake.ZERO_BYTE: r"layer { data_param { source: {}'\0' } }",
    Mistake.PLUS_SIGN: "input_dim: {}+3",
    Mistake.NO_NUMBER: "input_dim: {}3x",
    Mistake.LEADING_ZERO: "input_dim: -{}09",
    Mistake.NOT_WHOLE: "input_dim: {}-1.5",
    Mistake.OUT_OF_RANGE: "input_dim: {}-3000000000",
    Mistake.QUOTED_WORD: "state { phase: {}'TEST' }",
    Mistake.QUOTED_TYPE: "layers { type: {}'Convolution' }",
    Mistake.UNKNOWN_VALUE: "state { phase: {}-1 }",
}


def tree_of(text: str) -> tuple[Block, list[int]]:
    """Return the tree, and the offset of each token."""
    tokens = tokenize(text)
    return read_tree(Source(text, "n.prototxt"), tokens, NetParameter.DESCRIPTOR), [token.offset for token in tokens]


def faults_in(block: Block) -> list[Fault]:
    faults: list[Fault] = []
    for entry in block.entries:
        if isinstance(entry, Fault):
            faults.append(entry)
        elif isinstance(entry.value, Block):
            faults += faults_in(entry.value)
        else:
            faults += entry.faults
    return faults


def test_fields_have_their_places_and_values() -> None:
    text = "name: 'a' 'b'\nlayer { top: ['x', 'y'] loss_weight: -1 phase: TEST }\n"
    net, offsets = tree_of(text)
    name, layer = net.entries
    assert isinstance(name, Entry) and isinstance(layer, Entry)
    assert (name.field.name, offsets[name.start], name.value) == ("name", 0, "ab")
    block = layer.value
    assert (block.name, block.offset, block.opener) == ("layer", text.index("layer"), "{")
    assert (block.end, offsets[block.first]) == (text.index("}"), text.index("top"))
    assert [(entry.field.name, offsets[entry.start], entry.value) for entry in block.entries] == [
        ("top", text.index("'x'"), "x"),
        ("top", text.index("'y'"), "y"),
        ("loss_weight", text.index("loss"), -1.0),
        ("phase", text.index("phase"), 1),
    ]


def test_a_layer_in_a_layer_ends_the_blocks_around_it() -> None:
    net, _ = tree_of("layer { include { layer { name: 'b' } }")
    first, second, _ = net.entries
    assert isinstance(first, Entry) and isinstance(second, Entry)
    assert first.value.end is None and first.value.entries[0].value.end is None
    assert [block.name for block in net.closed()] == ["layer"] and second.value.end is not None


@pytest.mark.parametrize("mistake", Mistake, ids=lambda mistake: mistake.name)
def test_each_mistake_is_found_at_its_token_and_explained(mistake: Mistake) -> None:
    if mistake is Mistake.GIVEN_TWICE:
        (problem,) = parse_text("name: 'a' name: 'b'", NetParameter, collect=True).problems
    else:
        before, after = MISTAKES[mistake].split("{}")
        net, offsets = tree_of(before + after)
        (fault,) = faults_in(net)
        assert (fault.mistake, offsets[fault.start]) == (mistake, len(before))
        (problem,) = parse_text(before + after, NetParameter, collect=True).problems
    assert problem.what


@pytest.mark.parametrize("text", ["iter_size: +", "iter_size: -+", "net_param { input_dim: [+"])
def test_a_plus_sign_at_the_end(text: str) -> None:
    problems = parse_text(text, SolverParameter, collect=True).problems
    assert any(problem.what == "numbers are written without a '+'" for problem in problems)

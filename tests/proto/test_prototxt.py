"""Reading and writing text: accepted forms, the places of fields, and the messages for mistakes."""

import gc
import re
import time
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import PrototxtError
from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net, read_solver, read_text, to_text, write_text
from caffe_lite.text.foreign_bytes import to_bytes

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpus" / "prototxt"
Net, Solver, Layer, Convolution = (
    caffe_pb2.NetParameter,
    caffe_pb2.SolverParameter,
    caffe_pb2.LayerParameter,
    caffe_pb2.ConvolutionParameter,
)


def problems(text: str, message_class=Net) -> list[str]:
    return [str(problem) for problem in parse_text(text, message_class, "n.prototxt", collect=True).problems]


# ---- Accepted text ---------------------------------------------------------------------------------------------------

ACCEPTED = [
    "",
    "# only a comment",
    'name: "a"',
    "name: 'a \"quoted\" b'",
    'name: "one" "two"\n  \'three\'',
    r'name: "tab\t nl\n oct\101\7 hex\x41\x4 quote\" \' back\\ \a\b\f\v\r"',
    r'name: "\u00e9 \U0001F600"',
    'name: "caf\u00e9 \uff1a"  # full-width：in a comment',
    'name: "a" ; force_backward: true, debug_info: false',
    "force_backward: 1 debug_info: 0",
    "force_backward: t debug_info: f",
    "force_backward: True debug_info: False",
    'input: "a" input: "b"',
    'input: ["a", "b"] input: "c"',
    "input_dim: [1, -2, 0x1F, 017, 0]",
    "input_dim: []",
    "input_dim: -3",
    "state { level: 1 phase: TRAIN }",
    "state: { phase: 1 }",
    "state < phase: TEST >",
    'layer { name: "a" include: [{ phase: TRAIN }, < phase: TEST >] }',
    'layer{name:"a"}layer{name:"b"}',
    "layer { loss_weight: 1 loss_weight: 1. loss_weight: .5 loss_weight: 1e-3 loss_weight: 2E+4 }",
    "layer { loss_weight: 1f loss_weight: 1.5f loss_weight: inf loss_weight: -inf loss_weight: -Infinity }",
    "layer { loss_weight: 123456789 loss_weight: 1e39 loss_weight: 1e-50 loss_weight: -0.0 }",
    "layer { propagate_down: [true, 0, f] param { lr_mult: 5. } param { } }",
    "layer { pooling_param { pool: AVE } hinge_loss_param { norm: 2 } }",
    "layer { clip_param { min: -1 max: 1 } }",
    r"layer { blobs { data: [1, 2] double_data: 1e300 shape { dim: 9223372036854775807 } } }",
    'layers { name: "v1" type: CONVOLUTION blobs_lr: 1 layer { name: "v0" type: "conv" } }',
    'layer {\r\n  name: "crlf" # comment\r\n  top: "x"\r\n}\r\n',
    "\tlayer\n{\n}\f",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_reads_what_protobuf_reads(text: str):
    expected = text_format.Parse(text, Net())
    assert parse_text(text, Net).message == expected


def test_reads_what_only_the_original_reads():
    """Protobuf's reader in Python is stricter than the C++ one that Caffe used."""
    assert list(parse_text("input_dim: - 3", Net).message.input_dim) == [-3]
    assert parse_text(r'name: "what\?"', Net).message.name == "what?"
    assert list(parse_text("layer { loss_weight: 1.5F }", Net).message.layer[0].loss_weight) == [1.5]


def test_the_largest_float_is_not_infinite():
    """C's printf shortens it to a larger number, which some versions of protobuf make infinite."""
    weights = parse_text("layer { loss_weight: 3.4028235e+38 loss_weight: -1e39 }", Net).message.layer[0].loss_weight
    assert tuple(weights) == (2.0**128 - 2.0**104, float("-inf"))


def test_nan():
    values = parse_text("layer { loss_weight: [nan, -nan, NaN] }", Net).message.layer[0].loss_weight
    assert all(value != value for value in values)


def test_bytes_fields_hold_any_byte():
    assert parse_text(r'data: "\377\x00a" "b"', caffe_pb2.Datum).message.data == b"\xff\0ab"


numbers = st.floats(-(2.0**127), 2.0**127, width=32)
fillers = st.builds(
    caffe_pb2.FillerParameter,
    type=st.text(st.characters(codec="utf-8"), max_size=8),
    value=numbers,
    sparse=st.integers(-(2**31), 2**31 - 1),
    variance_norm=st.sampled_from([0, 1, 2]),
)
layers = st.builds(
    Layer,
    name=st.text(st.characters(codec="utf-8"), max_size=12),
    bottom=st.lists(st.text(st.characters(codec="ascii"), max_size=5), max_size=3),
    loss_weight=st.lists(numbers, max_size=3),
    propagate_down=st.lists(st.booleans(), max_size=2),
    phase=st.sampled_from([0, 1]),
    convolution_param=st.builds(
        Convolution, num_output=st.integers(0, 2**32 - 1), pad=st.lists(st.integers(0, 9)), weight_filler=fillers
    ),
    blobs=st.lists(
        st.builds(caffe_pb2.BlobProto, double_data=st.lists(st.floats(allow_nan=False), max_size=3)), max_size=1
    ),
)


@given(st.builds(Net, name=st.text(st.characters(codec="utf-8")), layer=st.lists(layers, max_size=2)))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again(net: caffe_pb2.NetParameter):
    text = to_text(net)
    assert text.isascii()
    assert parse_text(text, Net).message == net
    assert text_format.Merge(text, Net()) == net
    assert parse_text(text_format.MessageToString(net), Net).message == net


@given(st.text(st.sampled_from("layer{}<>:[],; \n\"'name#1.5e-conv_param\\：“"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_and_never_read_otherwise_than_by_protobuf(text: str):
    parsed = parse_text(text, Net, collect=True)
    try:
        expected = text_format.Parse(text, Net())
    except (text_format.ParseError, UnicodeError):
        return
    if not parsed.problems:
        assert parsed.message == expected


def test_published_files_that_protobuf_reads():
    """Test each file with a line whose form, without its numbers and strings, is in no file before it."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus of published nets is not here")
    read = 0
    seen: set[bytes] = set()
    for path in sorted(CORPUS.rglob("*.prototxt")):
        content = path.read_bytes()
        forms = {re.sub(rb'"[^"]*"|\b[\d.]+', b"0", line.strip()) for line in content.splitlines()}
        if forms <= seen:
            continue
        for message_class in (Net, Solver):
            try:
                expected = text_format.Parse(content, message_class())
            except (text_format.ParseError, UnicodeError):
                continue
            assert parse_text(read_text(path), message_class, str(path)).message == expected, path
            seen |= forms
            read += 1
            break
    assert read > 100


def test_a_long_net_is_read_at_once():
    layer = """layer {
  name: "res%d" # a comment
  type: "Convolution"
  bottom: "data"
  top: "data"
  param { lr_mult: 1 decay_mult: 1 }
  convolution_param {
    num_output: 64
    kernel_size: 3
    pad: 1
    weight_filler { type: "xavier" std: 0.01 }
  }
}
"""
    text = "".join(layer % index for index in range(540))
    assert text.count("\n") > 7000
    seconds = []
    for _ in range(3):
        start = time.process_time()
        parsed = parse_text(text, Net)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.0
    assert parsed.layers[539].line == 539 * 13 + 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(lambda n: 'name: "' + "x" * 100 * n + '" ' + "layer{include{}}" * n, id="braces"),
        pytest.param(lambda n: " " * 20 * n + "layer{include{}}" * n, id="blanks"),
        pytest.param(lambda n: "layer { input_param { shape { dim: [" + "1, " * 3 * n + "1] } } }", id="dims"),
        pytest.param(lambda n: 'name: "' + "x" * 100 * n + '"', id="string"),
        pytest.param(lambda n: "name: " + '"xxx" ' * 15 * n, id="strings"),
        pytest.param(lambda n: 'name: "' + r"\"" * 5 * n, id="open quote"),
        pytest.param(lambda n: 'name： "' + r"\"\'" * 3 * n, id="look-alike"),
        pytest.param(lambda n: 'layer { name: "a" ' + "foo: 1 " * 3 * n + "}", id="unknown fields"),
        pytest.param(lambda n: "x" * 100 * n + ": 1", id="word"),
        pytest.param(lambda n: "} " * 5 * n, id="surplus braces"),
    ],
)
def test_one_long_line_is_read_in_linear_time(line):
    """Eight times the length takes eight times the processor time; 64 times would be quadratic.

    Other work on the machine may disturb a round, but a quadratic reader fails in each. The time of garbage collection
    depends on how much other tests have left.
    """

    def seconds(text: str) -> float:
        start = time.process_time()
        parsed = parse_text(text, Net, collect=True)
        assert all(len(str(problem)) < 5000 for problem in parsed.problems)
        return time.process_time() - start

    short, long = line(1500), line(12000)
    rounds = ((min(seconds(short) for _ in range(3)), seconds(long)) for _ in range(6))
    gc.disable()
    try:
        assert any(slow < 20 * fast + 0.02 for fast, slow in rounds)
    finally:
        gc.enable()


def test_a_block_that_a_fork_repeats():
    text = "resize_param { height: 1 }\nmirror: true\nresize_param { height: 2 width: x }\nresize_param { height: 3 }"
    parsed = parse_text(text, caffe_pb2.TransformationParameter, "t.prototxt", collect=True)
    assert parsed.message.resize_param.height == 1
    assert [size.height for size in parsed.message.further_resize_param] == [2, 3]
    assert list(map(str, parsed.problems)) == ["t.prototxt:3:33: width takes an integer of 0 or more, not x."]
    again = parse_text(to_text(parsed.message), caffe_pb2.TransformationParameter, "t.prototxt")
    assert again.message == parsed.message


# ---- Written text ----------------------------------------------------------------------------------------------------


def test_writes_as_the_original_prints(tmp_path: Path):
    net = Net(name='it\'s "ä"\n')
    layer = net.layer.add(type="Convolution", loss_weight=[1, 0.1, 1 / 3, 1e-5, 1e10, 123456789, float("inf")])
    layer.param.add(lr_mult=1)
    layer.convolution_param.pad.append(3)
    layer.convolution_param.bias_term = False
    layer.convolution_param.engine = caffe_pb2.ConvolutionParameter.CUDNN
    write_text(tmp_path / "net.prototxt", net)
    assert (tmp_path / "net.prototxt").read_text() == (
        r'name: "it\'s \"\303\244\"\n"' + "\n"
        'layer {\n  type: "Convolution"\n  loss_weight: 1\n  loss_weight: 0.1\n  loss_weight: 0.33333334\n'
        "  loss_weight: 1e-05\n  loss_weight: 1e+10\n  loss_weight: 1.2345679e+08\n  loss_weight: inf\n"
        "  param {\n    lr_mult: 1\n  }\n"
        "  convolution_param {\n    bias_term: false\n    pad: 3\n    engine: CUDNN\n  }\n}\n"
    )


def test_writes_what_the_original_logged():
    log = (ROOT / "tests" / "golden" / "logs" / "train_lenet_fashion_mnist.log").read_text()
    solver = log.split("Initializing solver from parameters: \n")[1].split("\nI2")[0] + "\n"
    net = log.split("Initializing net from parameters: \n")[1].split("\nI2")[0] + "\n"
    assert to_text(parse_text(solver, Solver).message) == solver
    assert to_text(parse_text(net, Net).message) == net


# ---- Places ----------------------------------------------------------------------------------------------------------


def test_every_field_has_its_place():
    text = (
        'name: "n"\nlayer {\n  name: "a"\n  bottom: ["x",\n    "y"]\n}\nlayer { convolution_param { pad: 1 pad: 2 } }\n'
    )
    parsed = parse_text(text, Net, "n.prototxt")
    places = {
        ("name",): "1:1",
        ("layer", 0): "2:1",
        ("layer", 0, "name"): "3:3",
        ("layer", 0, "bottom", 0): "4:12",
        ("layer", 0, "bottom", 1): "5:5",
        ("layer", 1, "convolution_param"): "7:9",
        ("layer", 1, "convolution_param", "pad", 1): "7:36",
        ("layer", 1, "type"): "7:1",
    }
    for path, place in places.items():
        assert str(parsed.where(*path)) == f"n.prototxt:{place}"
    assert str(parsed.where("state")) == "n.prototxt"
    assert [str(where) for where in parsed.layers] == ["n.prototxt:2:1", "n.prototxt:7:1"]
    assert parsed.sub("layer", 1).where("convolution_param", "pad", 0).column == 29


# ---- Mistakes --------------------------------------------------------------------------------------------------------

NO_ESCAPE = r"\q is no escape in a string. Write a backslash as \\, or use / in paths."
UNKNOWN_FOO = 'unknown field "foo" in convolution_param. Caffe knows no foo; another program, or a fork of Caffe, may.'
INT32_RANGE = "axis: 2147483648 is out of range. It takes an integer from -2147483648 to 2147483647."
IN_CONVOLUTION = 'layer {\n  convolution_param {\n    %s\n  }\n  type: "Convolution" name: "conv1"\n}\n'
AT = 'n.prototxt:3:%d, layer "conv1" (Convolution): %s'


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("kernel_sise: 3", 5, 'unknown field "kernel_sise" in convolution_param. Did you mean "kernel_size"?'),
        ("Kernel_Size: 3", 5, 'unknown field "Kernel_Size" in convolution_param. Did you mean "kernel_size"?'),
        ("pool: MAX", 5, 'unknown field "pool" in convolution_param. "pool" belongs in pooling_param or spp_param.'),
        ('bottom: "x"', 5, ('unknown field "bottom" in convolution_param. "bottom" belongs in a layer, outside '
                           "convolution_param.")),
        ("lr_mult: 1", 5, 'unknown field "lr_mult" in convolution_param. "lr_mult" belongs in param.'),
        ("std: 1", 5, ('unknown field "std" in convolution_param. "std" belongs in weight_filler or bias_filler: '
                      "weight_filler { std ... }.")),
        ("num_output 20", 16, "a ':' is missing behind num_output. Write num_output: ..."),
        ("num_output = 20", 16, "a ':' is missing behind num_output. Write num_output: ..."),
        ("num_output: 1.0", 17, "num_output takes an integer of 0 or more, not 1.0. Write 1."),
        ("num_output: 1.5", 17, "num_output takes an integer of 0 or more, not 1.5."),
        ("num_output: -1", 17, "num_output: -1 is out of range. It takes an integer from 0 to 4294967295."),
        ("axis: 2147483648", 11, INT32_RANGE),
        ("num_output: 5x", 17, "5x is no number, and num_output takes an integer of 0 or more."),
        ("num_output: +5", 17, "numbers are written without a '+'. Write 5."),
        ("num_output: 08", 17, "08 starts with 0, as octal numbers do. Write 8."),
        ('num_output: "20"', 17, 'num_output takes an integer of 0 or more, not "20".'),
        ("num_output: twenty", 17, "num_output takes an integer of 0 or more, not twenty."),
        ("num_output { }", 5, "num_output takes an integer of 0 or more, not a block. Write num_output: ..."),
        ("num_output:", 15, "num_output has no value. It takes an integer of 0 or more."),
        ("num_output:\n    pad: 1", 15, "num_output has no value. It takes an integer of 0 or more."),
        ("num_output: [1, 2]", 17, "num_output takes an integer of 0 or more, not [1, 2]."),
        ("pad: [1, 2", 10, "this list is not closed. Separate its values with ',' and end it with ']'"),
        ("pad: [1 2]", 10, "this list is not closed. Separate its values with ',' and end it with ']'"),
        ("bias_term: yes", 16, "bias_term takes true or false, not yes."),
        ("bias_term: 2", 16, "bias_term takes true or false, not 2."),
        ("engine: CUDN", 13, "CUDN is no value of engine. Did you mean CUDNN? It is one of DEFAULT, CAFFE, CUDNN."),
        ("engine: 7", 13, "7 is no value of engine. It is one of DEFAULT, CAFFE, CUDNN."),
        ('engine: "CAFFE"', 13, "engine takes a bare word. Write engine: CAFFE without quotes."),
        ("weight_filler: 3", 5, "weight_filler is a block. Write weight_filler { ... }."),
        ("weight_filler { type: gaussian }", 27, 'type takes text in quotes. Write type: "gaussian".'),
        ("weight_filler { std: 00.1 }", 26, "00.1 starts with 0, as octal numbers do. Write 0.1."),
        (r'bias_filler { type: "a\q" }', 25, NO_ESCAPE),
        ("num_output：20", 15, "full-width '：' (U+FF1A), write ':'"),
        ("num_output: ２", 17, "full-width '２' (U+FF12), write '2'"),
        ("pad: [1，2]", 12, "full-width '，' (U+FF0C), write ','"),
        ("weight_filler ｛ }", 19, "full-width '｛' (U+FF5B), write '{'"),
        ("num_output:\u00a020", 16, "non-breaking space (U+00A0), write a plain space."),
        ("num_output:\u300020", 16, "full-width space (U+3000), write a plain space."),
        ("// comment", 5, "// stands where a field's name should. Comments begin with #."),
        ("名字", 5, "名字 stands where a field's name should. A field is written as name: value, or name { ... }."),
        ("foo { a: 1 b { c: [2] } } pad: 3", 5, UNKNOWN_FOO),
    ],
)  # fmt: skip
def test_one_mistake_is_told_once_with_its_place_and_layer(line: str, column: int, message: str):
    assert problems(IN_CONVOLUTION % line) == [AT % (column, message)]


def test_curly_quotes_are_told_in_pairs():
    assert problems('layer { name: “conv1” type: "ReLU" }') == [
        "n.prototxt:1:15, layer \"conv1\" (ReLU): curly quote '“' (U+201C), write '\"'",
        "n.prototxt:1:21, layer \"conv1\" (ReLU): curly quote '”' (U+201D), write '\"'",
    ]


def test_a_path_without_quotes_is_one_word():
    (problem,) = problems("layer { data_param { source: ./a/b.lmdb # here\n batch_size: 3 } }")
    assert problem.endswith('source takes text in quotes. Write source: "./a/b.lmdb".')


def test_a_field_written_into_the_layer_itself():
    (problem,) = problems('layer {\n  name: "c"\n  num_output: 3\n}')
    assert '"num_output" belongs in convolution_param, embed_param, inner_product_param or recurrent_param' in problem
    (problem,) = problems('layer {\n  name: "c"\n  num_output: 3\n  type: "InnerProduct"\n}')
    assert problem == (
        'n.prototxt:3:3, layer "c" (InnerProduct): unknown field "num_output" in a layer. "num_output" belongs in '
        "inner_product_param: inner_product_param { num_output ... }."
    )


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('name: "a"\nname: "b"', "2:1", "name is given twice, the first time in line 1, column 1. Keep one of the two"),
        ("force_backward: x\nforce_backward: true", "2:1", "force_backward is given twice"),
        ("force_backward: true\nforce_backward: x", "2:1", "force_backward is given twice"),
        ("state { level: 1 phase: TEST phase: TEST }", "1:30", "phase is given twice, the first time in line 1, col"),
        ("state { level: 1 }\nstate { level: 2 }", "2:1", "state is given twice"),
        ("state: < >\n  state { level: 2 }", "2:3", "state is given twice, the first time in line 1, column 1"),
    ],
)
def test_a_field_that_stands_once_given_twice(text: str, place: str, what: str):
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text, Net())
    assert any(problem.startswith(f"n.prototxt:{place}: {what}") for problem in problems(text)), problems(text)


@pytest.mark.parametrize("text", ["device_id: [2, 0, 1]", "device_id: 2\ndevice_id: 0", "device_id: 2"])
def test_of_several_devices_the_first_counts(text: str, tmp_path: Path):
    path = tmp_path / "solver.prototxt"
    path.write_text(f"{text} max_iter: 3")
    solver = read_solver(path).message
    assert (solver.device_id, solver.max_iter) == (2, 3)
    path.write_text(text.replace("2", "two"))
    with pytest.raises(PrototxtError, match="device_id takes an integer"):
        read_solver(path)


def test_of_two_blocks_the_second_is_read_on_with():
    text = (
        'layer {\n  type: "Convolution" name: "c"\n  convolution_param { num_output: 1 pad: 1 pad: 2 }\n'
        "  convolution_param { num_output: 2 foo: 3 }\n  convolution_param { num_output: 3 }\n}\n"
    )
    place = 'n.prototxt:%s, layer "c" (Convolution): '
    what = "convolution_param is given twice, the first time in line %d, column 3. Keep one of the two, with what both "
    twice = what + "are to hold in one convolution_param { ... }."
    assert problems(text) == [
        place % "4:3" + twice % 3,
        place % "4:37" + UNKNOWN_FOO,
        place % "5:3" + twice % 4,
    ]
    parsed = parse_text(text, Net, collect=True)
    assert parsed.message.layer[0].convolution_param == Convolution(num_output=3)
    assert ("layer", 0, "convolution_param", "pad", 0) not in parsed.offsets
    assert parsed.where("layer", 0, "convolution_param", "num_output").line == 5


@pytest.mark.parametrize(
    ("field", "param"),
    [
        (
            "blobs_lr: 1",
            "lr_mult in a param of the layer, one for each of its blobs: param { lr_mult: ... decay_mult:",
        ),
        (
            "weight_decay: 1",
            "decay_mult in a param of the layer, one for each of its blobs: param { lr_mult: ...",
        ),
        (
            "blob_share_mode: STRICT",
            'share_mode in a param of the layer, one for each of its blobs: param { name: "',
        ),
    ],
)
def test_what_v1_said_of_blobs_in_a_layer_of_today(field: str, param: str):
    for text in ("layer { %s }", "layer { inner_product_param { %s } }"):
        (problem,) = problems(text % field)
        assert f". Write {param}" in problem
    assert not problems(f"layers {{ {field} }}")


def test_required_fields():
    assert problems('layer {\n  clip_param { min: 1 }\n  name: "x" type: "Clip"\n}') == [
        'n.prototxt:2:3, layer "x" (Clip): clip_param needs a value for max. Add max: ...'
    ]


def test_all_mistakes_are_collected_in_order_and_the_first_is_raised():
    text = 'nam: "x"\nlayer { name: "a" tip: "b" }\nlayer { name: "b" phase: TRIAN type: "ReLU" top： "x" }'
    assert [problem.split(": ")[0] for problem in problems(text)] == [
        "n.prototxt:1:1",
        'n.prototxt:2:19, layer "a"',
        'n.prototxt:3:26, layer "b" (ReLU)',
        'n.prototxt:3:48, layer "b" (ReLU)',
    ]
    with pytest.raises(PrototxtError, match=r'n\.prototxt:1:1: unknown field "nam"') as caught:
        parse_text(text, Net, "n.prototxt")
    assert (caught.value.where.line, caught.value.hint) == (1, 'Did you mean "name"?')


def test_what_can_be_read_around_mistakes_is_read():
    parsed = parse_text('layer { name: "a" foo { b: "}" } top: "x" }\nlayer { name: "b" }', Net, collect=True)
    assert [layer.name for layer in parsed.message.layer] == ["a", "b"]
    assert list(parsed.message.layer[0].top) == ["x"]


@pytest.mark.parametrize(
    ("text", "place", "block", "advice"),
    [
        (  # the existing brace is in the layer's column
            'layer {\n  name: "c"\n  convolution_param {\n    pad: 1\n}\nlayer {\n  name: "d"\n}\n',
            "3:3",
            "convolution_param",
            "before line 5, whose '}' closes another block.",
        ),
        (
            'layer {\n  name: "c"\n  convolution_param {\n    pad: 1\n  }\nlayer {\n  name: "d"\n}\n',
            "1:1",
            "layer",
            "before the next layer, in line 6.",
        ),
        (
            'layer {\n  name: "c"\n  python_param {\n    module: "m"\n  layer: {\n  name: "d"\n}\n',
            "3:3",
            "python_param",
            "before the next layer, in line 5.",
        ),
        (
            'layer {\n  name: "c"\n  convolution_param {\n    pad: 1\n  }\n',
            "1:1",
            "layer",
            "before the end of the file.",
        ),
    ],
)
def test_a_missing_brace(text: str, place: str, block: str, advice: str):
    expected = f"`{block} {{` opened here is never closed. Add its '}}' {advice}"
    assert problems(text) == [f'n.prototxt:{place}, layer "c": {expected}']


def test_a_surplus_brace():
    assert problems('layer {\n  name: "c"\n}\n}\nlayer {\n  name: "d"\n}\n') == [
        "n.prototxt:4:1: surplus '}': every block is closed already. `layer {` of line 1 was closed in line 3."
    ]


def test_the_wrong_brace():
    assert problems('layer { name: "x" > top: "y" }') == [
        "n.prototxt:1:19, layer \"x\": '>' does not close `layer {` of line 1. Write '}'"
    ]


def test_after_a_missing_brace_the_other_layers_are_read():
    parsed = parse_text('layer { name: "a" include { \nlayer { name: "b" }\nlayer { name: "c" }', Net, collect=True)
    assert [layer.name for layer in parsed.message.layer] == ["a", "b", "c"]


def test_a_brace_too_many_inside_a_layer():
    first, second = problems('layer {\n  name: "c"\n  }\n  bottom: "x"\n}\nlayer {\n  name: "d"\n}\n')
    assert first.startswith('n.prototxt:4:3: unknown field "bottom" in a net. "bottom" belongs in a layer, and the ')
    assert first.endswith("one opened in line 1 was closed in line 3: is that '}' one too many?")
    assert second.endswith("Perhaps the '}' of line 3 is the one too many.")


def test_quoted_types_in_v1_layers():
    (problem,) = problems('layers { type: "Convolution" }')
    assert "Write `layer` in place of `layers`" in problem


# ---- Files -----------------------------------------------------------------------------------------------------------


def refusal(read, path: Path) -> str:
    with pytest.raises(PrototxtError) as caught:
        read(path)
    return str(caught.value).replace(str(path.parent), "DIR")


def test_a_solver_is_no_net_and_a_net_no_solver(tmp_path: Path):
    solver, net = tmp_path / "solver.prototxt", tmp_path / "net.prototxt"
    solver.write_text('net: "lenet.prototxt"\nbase_lr: 0.1\n')
    net.write_text('name: "n"\nlayer { name: "a" type: "ReLU" }\n')
    message = refusal(read_net, solver)
    assert "solver.prototxt:2:1: this is a solver, not a net: it has base_lr. " in message
    assert message.endswith("or give its net: lenet.prototxt.")
    assert "net.prototxt:2:1: this is a net, not a solver: it has layer. " in refusal(read_solver, net)


def test_files_that_cannot_be_read(tmp_path: Path):
    empty, comment, weights, hdf5, page = (tmp_path / name for name in ("a", "b", "w.caffemodel", "h5", "page"))
    empty.write_bytes(b" \n")
    comment.write_text("# nothing\n")
    weights.write_bytes(Net(layer=[Layer(name="a", blobs=[caffe_pb2.BlobProto(data=[1])])]).SerializeToString())
    hdf5.write_bytes(b"\x89HDF\r\n\x1a\n\0\0")
    page.write_text("<!DOCTYPE html>\n<html><body>404</body></html>")
    assert refusal(read_net, empty).endswith("a: the file is empty.")
    assert refusal(read_net, comment).endswith("there are only comments here.")
    assert "this is a binary file, not prototxt. Weights (.caffemodel) are given beside" in refusal(read_net, weights)
    assert "this is an HDF5 file" in refusal(read_net, hdf5)
    assert refusal(read_net, page).endswith("This is a web page: download the file itself (on GitHub, its Raw form).")
    assert refusal(read_net, tmp_path).endswith("this is a folder, not a file.")
    assert "there is no such file. There is no folder DIR either." in refusal(read_net, tmp_path / "none" / "net")
    assert "Did you mean" in refusal(read_net, tmp_path / "w.cafemodel")


def test_encodings(tmp_path: Path):
    path = tmp_path / "net.prototxt"
    text = 'name: "a"\r\nlayer { name: "b" } # 卷积\r\n'
    for data in (
        text.encode("utf-8"),
        text.encode("utf-8-sig"),
        text.encode("gbk"),
        text.encode("utf-16"),
    ):
        path.write_bytes(data)
        parsed = read_net(path)
        assert (parsed.message.name, parsed.message.layer[0].name) == ("a", "b")
        assert (parsed.layers[0].line, parsed.layers[0].column) == (2, 1)
    path.write_bytes('layer { name: "卷积" }'.encode("gbk"))
    assert to_bytes(read_net(path).message.layer[0].name) == "卷积".encode("gbk")
    path.write_bytes("layer { top: 卷积 }".encode("gbk"))
    refusal(read_net, path).encode("utf-8")

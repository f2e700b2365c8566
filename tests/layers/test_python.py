import sys
import textwrap

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import LayerError
from caffe_lite.inspection import check as checking

from .gradient import check

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
FORCED_INPUT = "force_backward: true\n" + INPUT
SUM = 'layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "b" top: "y" }'
X = np.arange(6).reshape(2, 3)


@pytest.fixture
def make_python_net(tmp_path, make_net):
    """Make a net with one layer from a module beside its prototxt, under a name that no other test uses."""

    def make(source, layer="Mine", top="y", before=FORCED_INPUT, after="", param="", module=None, bottoms=("x",), **kw):
        module = module or f"user_layers_{tmp_path.name}_{len(list(tmp_path.iterdir()))}"
        header = "import numpy as np\nfrom caffe_lite.layers.python import UserLayer as Layer\n"
        (tmp_path / f"{module}.py").write_text(header + textwrap.dedent(source))
        names = " ".join(f'bottom: "{name}"' for name in bottoms)
        return make_net(
            f"""{before}
            layer {{ name: "py" type: "Python" {names} top: "{top}" {param}
              python_param {{ module: "{module}" layer: "{layer}" param_str: "{{'by': 3}}" }} }}
            {after}""",
            **kw,
        )

    known = set(sys.modules)
    yield make
    for name in set(sys.modules) - known:
        if name.startswith("user_layers_"):
            del sys.modules[name]


SCALE = """
    class Mine(Layer):
        def setup(self, bottom, top):
            self.by = eval(self.param_str)["by"]
            self.setups = getattr(self, "setups", 0) + 1
            self.reshapes = 0
        def reshape(self, bottom, top):
            self.reshapes += 1
            top[0].reshape(*bottom[0].data.shape)
        def forward(self, bottom, top):
            top[0].data[...] = self.by * bottom[0].data
        def backward(self, top, propagate_down, bottom):
            assert propagate_down == [True]
            bottom[0].diff[...] = self.by * top[0].diff
"""


def test_it_computes_what_the_users_class_does(make_python_net):
    net = make_python_net(SCALE)
    net.forward(x=X)
    np.testing.assert_array_equal(net.blobs["y"].data, 3 * X)
    net.backward(y=X)
    np.testing.assert_array_equal(net.blobs["x"].diff, 3 * X)


def test_setup_runs_once_and_reshape_before_every_pass(make_python_net):
    net = make_python_net(SCALE)
    mine = net.layers[1]
    assert (type(mine).__name__, mine.type, mine.setups, mine.reshapes) == ("Mine", "Python", 1, 1)
    net.forward()
    net.blobs["x"].reshape(4, 1)
    net.forward()
    assert (mine.setups, mine.reshapes) == (1, 3)
    assert net.blobs["y"].shape == (4, 1)


@pytest.mark.parametrize("phase", [0, 1])
def test_it_knows_its_phase(make_python_net, phase):
    assert make_python_net(SCALE, phase=phase).layers[1].phase == phase


def test_in_place_leaves_the_arrays_of_others_alone(make_python_net):
    before = FORCED_INPUT + 'layer { name: "s" type: "Sigmoid" bottom: "x" top: "a" }'
    apart = make_python_net(SCALE, before=before, bottoms=("a",))
    in_place = make_python_net(SCALE, before=before, bottoms=("a",), top="a")
    for net, top in ((apart, "y"), (in_place, "a")):
        net.forward(x=X)
        net.blobs[top].diff[...] = X
        net.backward()
    np.testing.assert_array_equal(in_place.blobs["a"].data, apart.blobs["y"].data)
    np.testing.assert_array_equal(in_place.blobs["x"].diff, apart.blobs["x"].diff)


def test_in_place_leaves_the_gradients_of_others_alone(make_python_net):
    """A sum uses one array for the gradients of its bottoms and its top."""
    net = make_python_net(SCALE, top="x", before=FORCED_INPUT.replace('top: "x"', 'top: "x" top: "b"'), after=SUM)
    net.forward()
    net.backward(y=np.ones((2, 3)))
    for name, gradient in {"x": 3, "b": 1, "y": 1}.items():
        np.testing.assert_array_equal(net.blobs[name].diff, np.full((2, 3), gradient))


def test_an_array_of_its_top_shows_the_newest_pass(make_python_net):
    net = make_python_net(SCALE)
    net.forward(x=X)
    top = net.blobs["y"].data
    net.forward(x=X + 1)
    np.testing.assert_array_equal(top, 3 * (X + 1))


def test_what_forward_does_not_write_keeps_its_value(make_python_net):
    net = make_python_net("""
        class Mine(Layer):
            def setup(self, bottom, top):
                top[0].reshape(2)
                top[0].data[...] = 7
            def reshape(self, bottom, top):
                pass
            def forward(self, bottom, top):
                top[0].data[0] += 1
    """)
    net.forward()
    net.forward()
    assert net.blobs["y"].data.tolist() == [9, 7]


def test_bottom_diffs_start_from_zero(make_python_net):
    net = make_python_net("""
        class Mine(Layer):
            def reshape(self, bottom, top):
                top[0].reshape(*bottom[0].shape)
            def forward(self, bottom, top):
                top[0].data[...] = bottom[0].data
            def backward(self, top, propagate_down, bottom):
                bottom[0].diff[0] += top[0].diff[0]
    """)
    for _ in range(2):
        net.forward()
        net.backward(y=np.ones((2, 3)))
        np.testing.assert_array_equal(net.blobs["x"].diff, [[1, 1, 1], [0, 0, 0]])


def test_learnable_blobs(make_python_net):
    net = make_python_net("""
        class Mine(Layer):
            def setup(self, bottom, top):
                self.blobs.add_blob(1, 3)
                self.blobs[0].data[...] = 2
            def reshape(self, bottom, top):
                top[0].reshape(*bottom[0].shape)
            def forward(self, bottom, top):
                top[0].data[...] = bottom[0].data * self.blobs[0].data
            def backward(self, top, propagate_down, bottom):
                self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(0)
                bottom[0].diff[...] = top[0].diff * self.blobs[0].data
    """)
    net.forward(x=X)
    for _ in range(2):
        net.backward(y=np.ones((2, 3)))
    np.testing.assert_array_equal(net.params["py"][0].diff, 2 * X.sum(0, keepdims=True))
    np.testing.assert_array_equal(net.blobs["x"].diff, np.full((2, 3), 2))


def test_a_loss_of_ones_own(make_python_net):
    net = make_python_net(
        """
        class Mine(Layer):
            def reshape(self, bottom, top):
                top[0].reshape(1)
            def forward(self, bottom, top):
                top[0].data[...] = np.sum(bottom[0].data ** 2) / 2
            def backward(self, top, propagate_down, bottom):
                bottom[0].diff[...] = bottom[0].data * top[0].diff
        """,
        param="loss_weight: 0.5",
    )
    net.forward(x=X)
    net.backward()
    assert net.blobs["y"].data.tolist() == [27.5]
    np.testing.assert_array_equal(net.blobs["x"].diff, 0.5 * X)


def test_a_class_that_only_has_the_methods(make_python_net):
    net = make_python_net(SCALE.replace("(Layer)", ""))
    net.forward(x=X)
    np.testing.assert_array_equal(net.blobs["y"].data, 3 * X)


def test_a_source_without_bottoms(make_python_net):
    net = make_python_net(
        """
        class Mine(Layer):
            def reshape(self, bottom, top):
                top[0].reshape(2)
            def forward(self, bottom, top):
                top[0].data[...] = len(bottom)
        """,
        before="",
        bottoms=(),
    )
    assert net.forward()["y"].tolist() == [0, 0]


def test_the_module_may_stand_in_the_current_directory(tmp_path, monkeypatch, make_python_net, engine):
    make_python_net(SCALE, module="user_layers_beside")
    del sys.modules["user_layers_beside"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "net.prototxt").write_text((tmp_path / "net.prototxt").read_text())
    path = list(sys.path)
    with pytest.raises(LayerError, match="there is no Python module 'user_layers_beside'"):
        Net(elsewhere / "net.prototxt", TEST, engine=engine)
    monkeypatch.chdir(tmp_path)
    Net("elsewhere/net.prototxt", TEST, engine=engine).forward(x=X)
    assert sys.path == path


FAILING = """
    class Mine(Layer):
        def {where}(self, bottom, top, *rest):
            1 / 0
"""


@pytest.mark.parametrize("where", ["setup", "reshape", "forward", "backward"])
def test_exceptions_of_the_user_pass_through_with_a_note(make_python_net, where):
    source = SCALE + FAILING.format(where=where).replace("class Mine(Layer)", "class Broken(Mine)")

    def run():
        net = make_python_net(source, layer="Broken")
        net.forward()
        net.backward()

    with pytest.raises(ZeroDivisionError) as error:
        run()
    (note,) = error.value.__notes__
    assert 'layer "py" (Python): ' + where + " of user_layers_" in note
    assert "net.prototxt:3:" in note


def test_what_setup_raises_comes_before_what_the_class_lacks(make_python_net):
    source = """
        class Mine(Layer):
            def setup(self, bottom, top):
                raise KeyError("mine")
    """
    with pytest.raises(KeyError, match="mine"):
        make_python_net(source)


def test_what_layers_of_2015_read(make_python_net):
    source = """
        class Mine(Layer):
            def setup(self, bottom, top):
                assert self.param_str_ == self.param_str == "{'by': 3}"
                assert (str(self.phase), self.phase, f"{self.phase:d}") == ("TRAIN", 0, "0")
            def reshape(self, bottom, top):
                top[0].reshape(1)
            def forward(self, bottom, top):
                top[0].data[0] = self.phase
    """
    assert make_python_net(source).forward()["y"] == [0]
    with pytest.raises(AssertionError):
        make_python_net(source, phase=TEST)


def test_an_exception_in_the_module_passes_through(make_python_net):
    with pytest.raises(NameError, match="nonsense") as error:
        make_python_net("nonsense")
    assert "import of user_layers_" in error.value.__notes__[0]


@pytest.mark.parametrize(
    ("source", "layer", "what"),
    [
        (SCALE, "Other", "has no class 'Other'. Layers in it: Mine"),
        ("Mine = 3", "Mine", "has no class 'Mine'. Layers in it: none"),
        ("import caffe", "Mine", "imports caffe. Write `import caffe_lite as caffe` there"),
        ("class Mine(Layer): pass", "Mine", "Mine has no method reshape. Derive it from caffe_lite.Layer"),
        (
            "class Mine(Layer):\n    def reshape(self, bottom, top): top[0].reshape(1)",
            "Mine",
            "Mine has no method forward",
        ),
        ("class Mine:\n    def reshape(self, bottom, top): pass", "Mine", "Mine has no method setup"),
    ],
)
def test_what_is_refused(make_python_net, source, layer, what):
    with pytest.raises(LayerError) as error:
        make_python_net(source, layer=layer)
    assert isinstance(error.value, RuntimeError) and isinstance(error.value, AttributeError) == ("no method" in what)
    assert what in str(error.value) and 'layer "py" (Python)' in str(error.value)


def test_a_gradient_that_the_class_cannot_give(make_python_net):
    net = make_python_net(SCALE[: SCALE.index("def backward")].rstrip())
    net.forward()
    with pytest.raises(LayerError, match="Mine has no method backward"):
        net.backward()


def test_a_missing_module_is_named(make_net):
    with pytest.raises(LayerError) as error:
        make_net(
            INPUT + 'layer { name: "py" type: "Python" bottom: "x" top: "y" python_param '
            '{ module: "no_such.module" layer: "L" } }'
        )
    assert "there is no Python module 'no_such'. Put it beside the prototxt" in str(error.value)


@pytest.mark.parametrize("module", [".foo", "..", "foo.", "a..b", "./foo", "folder/foo", r"folder\\foo", r"a\000b"])
def test_what_is_no_modules_name(make_net, tmp_path, module):
    text = 'layer {\n  name: "py" type: "Python" top: "y" python_param { module: "%s" layer: "L" }\n}'
    with pytest.raises(LayerError, match=r'net.prototxt:1:1, layer "py" .* is no module.s name. Write it from'):
        make_net(text % module)
    assert "is no module's name" in str(checking.check(tmp_path / "net.prototxt").problems[0])


def test_a_class_must_be_named(make_net):
    with pytest.raises(LayerError, match="python_param names no class"):
        make_net('layer { name: "py" type: "Python" top: "y" }')


def test_gradients(make_python_net):
    net = make_python_net(
        """
        class Mine(Layer):
            def setup(self, bottom, top):
                self.blobs.add_blob(*bottom[0].shape)
                self.blobs[0].data[...] = 0.5
            def reshape(self, bottom, top):
                top[0].reshape(*bottom[0].shape)
            def forward(self, bottom, top):
                top[0].data[...] = self.blobs[0].data * bottom[0].data ** 2
            def backward(self, top, propagate_down, bottom):
                self.blobs[0].diff[...] += top[0].diff * bottom[0].data ** 2
                bottom[0].diff[...] = 2 * top[0].diff * self.blobs[0].data * bottom[0].data
    """,
        dtype="float64",
    )
    net.blobs["x"].data[...] = X
    check(net, layer="py")

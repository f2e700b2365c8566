"""Fields that forks add to BVLC's messages: read, without effect, or refused at their places."""

import json
import logging

import pytest

import caffe_lite
from caffe_lite.cli import main
from caffe_lite.errors import SolverError, UnknownField
from caffe_lite.layer import Layer, register_layer
from caffe_lite.proto.forks import FORKS, added_fields
from caffe_lite.proto.prototxt import read_solver

NET = """layer { name: "data" type: "Input" top: "x" input_param { shape { dim: [1, 1, 4, 4] } } }
layer {
  name: "pool" type: "%s" bottom: "x" top: "y"
  pooling_param {
    kernel_size: 2
    %s
  }
}
"""


@pytest.fixture
def net_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(field, kind="Pooling", ahead=""):
        (tmp_path / "net.prototxt").write_text(ahead + NET % (kind, field))
        return caffe_lite.Net("net.prototxt", caffe_lite.TEST)

    return make


def test_what_changes_results_and_nobody_reads_is_refused_at_its_place(net_of):
    with pytest.raises(UnknownField) as caught:
        net_of("pad_l: 1")
    assert str(caught.value) == (
        'net.prototxt:6:5, layer "pool" (Pooling): pad_l is a field of foss-for-synopsys-dwc-arc-processors/'
        "synopsys-caffe that changes results, and caffe_lite does not know it yet. "
        "Remove it, if the net may do without."
    )


def test_a_value_of_an_enum_is_refused_too(net_of):
    with pytest.raises(UnknownField, match="MDS is a value of pool of openvinotoolkit/training_toolbox_caffe"):
        net_of("pool: MDS")


def test_the_default_is_fine(net_of):
    assert net_of("pad_l: 0").blobs["y"].shape == (1, 1, 3, 3)


def test_a_layer_may_read_a_field(net_of):
    @register_layer("PadsOneSide")
    class PadsOneSide(Layer):
        reads_fork_fields = ("PoolingParameter.pad_l",)

        def Reshape(self, bottom, top):
            top[0].Reshape((2,) if self.param.pooling_param.pad_l else (1,))

    assert net_of("pad_l: 1", "PadsOneSide").blobs["y"].shape == (2,)


def test_what_changes_no_result_is_said_once(net_of, caplog):
    with caplog.at_level(logging.WARNING, "caffe_lite"):
        net_of("engine: MKL2017", ahead="default_forward_type: FLOAT16\n")
    assert [record.getMessage() for record in caplog.records] == [
        "PoolingParameter.Engine.MKL2017 of intel/caffe changes no result and has no effect here.",
        "NetParameter.default_forward_type of NVIDIA/caffe changes no result and has no effect here.",
    ]


def test_a_solver_refuses_what_it_does_not_read(net_of, tmp_path):
    net_of("")
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt"\nbase_lr: 1\nlr_policy: "fixed"\ntest_and_snapshot_last_epochs: 1'
    )
    with pytest.raises(
        SolverError, match=r"solver\.prototxt:4:1: test_and_snapshot_last_epochs is a field of NVIDIA/caffe"
    ):
        caffe_lite.SGDSolver(read_solver("solver.prototxt"))


def test_check_tells_both(net_of, tmp_path, capsys):
    net_of("")
    (tmp_path / "net.prototxt").write_text(NET % ("Pooling", "engine: MKL2017\n    pad_l: 1"))
    assert main(["check", "--json", "net.prototxt"]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert told["status"] == "unknown_field"
    assert [(problem["line"], problem["column"]) for problem in told["problems"]] == [(7, 5)]
    assert [note["message"] for note in told["notes"]] == [
        "engine has no effect here: it changes no result in intel/caffe."
    ]


def test_the_table_names_forks():
    for fields in added_fields().values():
        for field in fields.values():
            assert set(field.numbers) <= set(FORKS)
            assert field.numbers
            assert not (field.idle and field.read)

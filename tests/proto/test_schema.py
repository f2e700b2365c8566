"""The schema is Caffe's: numbers, types, defaults, and the files that Caffe wrote."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor

from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.forks import added_fields, is_of_forks
from caffe_lite.proto.schema import MOVED_TO_TRANSFORM, replacement

ROOT = Path(__file__).resolve().parents[2]
SOLVERS = ROOT / "tests" / "golden" / "solvers"

FIELDS = """
BlobShape dim 1 int64
BlobProto shape 7 message
BlobProto data 5 float
BlobProto diff 6 float
BlobProto double_data 8 double
BlobProto double_diff 9 double
BlobProto num 1 int32 0
Datum data 4 bytes
Datum label 5 int32
Datum float_data 6 float
Datum encoded 7 bool False
NetParameter name 1 string
NetParameter layers 2 message
NetParameter input 3 string
NetParameter input_dim 4 int32
NetParameter force_backward 5 bool False
NetParameter state 6 message
NetParameter input_shape 8 message
NetParameter layer 100 message
SolverParameter train_net 1 string
SolverParameter test_iter 3 int32
SolverParameter test_interval 4 int32 0
SolverParameter base_lr 5 float
SolverParameter stepsize 13 int32
SolverParameter solver_mode 17 enum 1
SolverParameter random_seed 20 int64 -1
SolverParameter net 24 string
SolverParameter regularization_type 29 string L2
SolverParameter solver_type 30 enum 0
SolverParameter average_loss 33 int32 1
SolverParameter stepvalue 34 int32
SolverParameter clip_gradients 35 float -1
SolverParameter iter_size 36 int32 1
SolverParameter snapshot_format 37 enum 1
SolverParameter rms_decay 38 float 0.99
SolverParameter momentum2 39 float 0.999
SolverParameter type 40 string SGD
SolverParameter layer_wise_reduce 41 bool True
SolverParameter weights 42 string
SolverState iter 1 int32
SolverState learned_net 2 string
SolverState history 3 message
SolverState current_step 4 int32 0
SolverState caffe_lite_state 1001 bytes
NetState phase 1 enum 1
ParamSpec share_mode 2 enum 0
ParamSpec lr_mult 3 float 1
LayerParameter loss_weight 5 float
LayerParameter param 6 message
LayerParameter blobs 7 message
LayerParameter phase 10 enum 0
LayerParameter propagate_down 11 bool
LayerParameter transform_param 100 message
LayerParameter loss_param 101 message
LayerParameter accuracy_param 102 message
LayerParameter convolution_param 106 message
LayerParameter data_param 107 message
LayerParameter inner_product_param 117 message
LayerParameter pooling_param 121 message
LayerParameter python_param 130 message
LayerParameter prelu_param 131 message
LayerParameter spp_param 132 message
LayerParameter batch_norm_param 139 message
LayerParameter scale_param 142 message
LayerParameter input_param 143 message
LayerParameter crop_param 144 message
LayerParameter parameter_param 145 message
LayerParameter recurrent_param 146 message
LayerParameter swish_param 147 message
LayerParameter clip_param 148 message
FillerParameter type 1 string constant
FillerParameter sparse 7 int32 -1
LossParameter normalize 2 bool False
LossParameter normalization 3 enum 1
BatchNormParameter moving_average_fraction 2 float 0.999
BatchNormParameter eps 3 float 1e-5
ConvolutionParameter pad 3 uint32
ConvolutionParameter group 5 uint32 1
ConvolutionParameter axis 16 int32 1
ConvolutionParameter dilation 18 uint32
DataParameter backend 8 enum 0
DataParameter prefetch 10 uint32 4
HingeLossParameter norm 1 enum 1
InfogainLossParameter axis 2 int32 1
LRNParameter k 5 float 1
MVNParameter eps 3 float 1e-9
PoolingParameter engine 11 enum 0
PoolingParameter global_pooling 12 bool False
PoolingParameter round_mode 13 enum 0
RecurrentParameter expose_hidden 5 bool False
ReshapeParameter num_axes 3 int32 -1
SoftmaxParameter engine 1 enum 0
SoftmaxParameter axis 2 int32 1
SPPParameter engine 6 enum 0
TileParameter tiles 2 int32
TransformationParameter crop_size 3 uint32 0
WindowDataParameter fg_fraction 9 float 0.25
V1LayerParameter type 5 enum 0
V1LayerParameter blobs_lr 7 float
V1LayerParameter param 1001 string
V0LayerParameter new_width 63 int32 0
V0LayerParameter hdf5_output_param 1001 message
"""


@pytest.mark.parametrize("row", FIELDS.strip().splitlines())
def test_field(row):
    message, name, number, kind, *default = row.split()
    field = caffe_pb2.DESCRIPTOR.message_types_by_name[message].fields_by_name[name]
    assert (field.number, field.type) == (int(number), getattr(FieldDescriptor, f"TYPE_{kind.upper()}"))
    if default:
        value = field.default_value
        assert str(value) == default[0] or float(value) == pytest.approx(float(default[0]), rel=1e-6)


def test_the_counts_of_bvlc_caffe():
    messages = caffe_pb2.DESCRIPTOR.message_types_by_name
    counts = {
        name: sum(not is_of_forks(messages[name], field.name) for field in messages[name].fields)
        for name in ("LayerParameter", "V1LayerParameter", "SolverParameter")
    }
    assert counts == {"LayerParameter": 60, "V1LayerParameter": 43, "SolverParameter": 42}
    assert len(messages["V1LayerParameter"].enum_types_by_name["LayerType"].values) == 40


def test_fields_of_forks_are_in_the_schema():
    for owner, names in added_fields().items():
        message, _, enum = owner.partition(".")
        descriptor = caffe_pb2.DESCRIPTOR.message_types_by_name[message]
        known = descriptor.enum_types_by_name[enum].values_by_name if enum else descriptor.fields_by_name
        assert set(names) <= set(known)


FORKS = """
LayerParameter permute_param 202 message
LayerParameter prior_box_param 203 message
LayerParameter roi_pooling_param 8266711 message
LayerParameter smooth_l1_loss_param 8266712 message
LayerParameter forward_type 2008 enum 1
PoolingParameter ceil_mode 2001 bool True
PoolingParameter axis 14 int32 1
TransformationParameter resize_param 8 message
UpsampleParameter scale 1 uint32 0
NormalizedBBox difficult 6 bool False
AnnotatedDatum annotation_group 3 message
"""


@pytest.mark.parametrize("row", FORKS.strip().splitlines())
def test_field_of_a_fork(row):
    test_field(row)


def test_values_of_enums_that_forks_add():
    assert caffe_pb2.LossParameter.NONE == 3
    assert caffe_pb2.LossParameter.PRE_FIXED == 2001
    assert caffe_pb2.ConvolutionParameter.MKL2017 == 3


def test_only_clip_has_required_fields():
    assert not caffe_pb2.ClipParameter(min=1).IsInitialized()
    assert caffe_pb2.ClipParameter(min=1, max=2).IsInitialized()


def test_packed_fields_have_the_bytes_of_the_original():
    assert caffe_pb2.BlobShape(dim=[1, 300]).SerializeToString() == b"\x0a\x03\x01\xac\x02"
    assert caffe_pb2.Datum(float_data=[0, 0]).SerializeToString() == b"\x35\0\0\0\0\x35\0\0\0\0"


def test_the_module_looks_like_generated_code():
    assert (caffe_pb2.TRAIN, caffe_pb2.Phase.Name(1), caffe_pb2.Phase.Value("TRAIN")) == (0, "TEST", 0)
    assert caffe_pb2.LossParameter.VALID == 1
    assert caffe_pb2.LossParameter.NormalizationMode.Name(1) == "VALID"
    assert caffe_pb2.V1LayerParameter.LayerType.Value("THRESHOLD") == 31
    assert caffe_pb2.DESCRIPTOR.package == "caffe"


def test_messages_can_be_copied_pickled_printed_and_merged():
    net = caffe_pb2.NetParameter(name="net")
    net.layer.add(name="a", type="Pooling").pooling_param.pool = caffe_pb2.PoolingParameter.AVE
    assert isinstance(net.layer[0], caffe_pb2.LayerParameter)
    assert copy.deepcopy(net) == net == pickle.loads(pickle.dumps(net))
    again = caffe_pb2.NetParameter()
    text_format.Merge(text_format.MessageToString(net), again)
    assert again == net
    again.CopyFrom(caffe_pb2.NetParameter.FromString(net.SerializeToString()))
    assert again == net


@pytest.mark.parametrize("path", sorted(SOLVERS.glob("*/*.caffemodel")), ids=lambda path: path.parent.name)
def test_reads_weights_of_the_original(path):
    data = path.read_bytes()
    net = caffe_pb2.NetParameter.FromString(data)
    blobs = [blob for layer in net.layer for blob in layer.blobs]
    assert blobs
    for blob in blobs:
        count = 1
        for dim in blob.shape.dim:
            count *= dim
        assert len(blob.data) == count
    assert net.SerializeToString() == data


@pytest.mark.parametrize("path", sorted(SOLVERS.glob("*/*.solverstate")), ids=lambda path: path.parent.name)
def test_reads_solver_states_of_the_original(path):
    data = path.read_bytes()
    state = caffe_pb2.SolverState.FromString(data)
    assert state.iter > 0
    assert len(state.history) > 0
    assert state.SerializeToString() == data


@pytest.mark.parametrize("name", MOVED_TO_TRANSFORM)
def test_what_has_moved_to_transform_param_is_there_under_its_name(name):
    moved_from = (caffe_pb2.DataParameter, caffe_pb2.ImageDataParameter, caffe_pb2.WindowDataParameter)
    for message in (caffe_pb2.TransformationParameter, *moved_from):
        assert name in message.DESCRIPTOR.fields_by_name
    assert name.replace("_", "") in caffe_pb2.V0LayerParameter.DESCRIPTOR.fields_by_name
    for message in moved_from:
        assert replacement(caffe_pb2.LayerParameter.DESCRIPTOR, (_field_of(message), name)) == (
            "the field of that name of transform_param"
        )


def _field_of(message):
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    return next(field.name for field in fields if field.message_type is message.DESCRIPTOR)


def test_the_generated_module_is_fresh():
    pytest.importorskip("grpc_tools")
    command = [sys.executable, str(ROOT / "tools" / "make_proto.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

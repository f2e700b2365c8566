"""Names and paths that are not UTF-8 (here GBK) keep their bytes, in every file and for the system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caffe_lite as caffe
from caffe_lite.io import array_to_blobproto, array_to_datum
from caffe_lite.net.weights import read_weights
from caffe_lite.proto.binary import parse_binary, to_binary
from caffe_lite.proto.caffe_pb2 import LayerParameter, NetParameter, SolverState
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net, to_text
from caffe_lite.text.foreign_bytes import from_bytes, is_foreign, shown, to_bytes, with_surrogates
from tests.data.database_files import write_lmdb


def gbk(text: str) -> bytes:
    return text.encode("gbk")


# -- strings -----------------------------------------------------------------------------------------------------------


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_every_byte_comes_back(data: bytes) -> None:
    text = from_bytes(data)
    assert to_bytes(text) == data
    assert with_surrogates(text).encode("utf-8", "surrogateescape") == data
    assert LayerParameter(name=text).name == text
    assert is_foreign(text) or text == data.decode()


def test_utf_8_is_itself_but_for_what_stands_for_bytes() -> None:
    assert from_bytes("数据 é 😀".encode()) == "数据 é 😀"
    for data in ("\U0010ffff".encode(), "\U0010ffff\xc4".encode(), b"\xc4\xe3", b"a\xff\x80b"):
        assert to_bytes(from_bytes(data)) == data


def test_what_people_see() -> None:
    text = from_bytes(gbk("数"))
    for carried in (text, repr(text)[1:-1], with_surrogates(text), repr(with_surrogates(text))[1:-1]):
        assert shown(f"a {carried}\0 b") == r"a \xca\xfd\x00 b"
    assert shown("数据 \\n") == "数据 \\n"
    assert shown("a\tb\n") == "a\tb\n"
    assert shown("\33[2J\7 \x7f\x9b é") == r"\x1b[2J\x07 \x7f\x9b é"


def test_text_and_binary() -> None:
    text = b'name: "%s" layer { name: "%s" bottom: "a" bottom: "%s" bottom: "\xe6\x95\xb0" }' % (*[gbk("数据")] * 3,)
    net = parse_text(text.decode("utf-8", "surrogateescape"), NetParameter).message
    data = to_binary(net)
    assert list(net.layer[0].bottom) == ["a", from_bytes(gbk("数据")), "数"]
    assert data.count(gbk("数据")) == 3
    assert parse_binary(NetParameter, data) == net
    assert r'bottom: "\312\375\276\335"' in to_text(net)
    assert parse_text(to_text(net), NetParameter).message == net
    raw = NetParameter.FromString(data)  # as other programs read it
    assert raw.layer[0].bottom[1] == gbk("数据") and raw.SerializeToString() == data


def test_a_protobuf_that_cannot_is_named(tmp_path: Path) -> None:
    code = (
        "from caffe_lite.proto.caffe_pb2 import NetParameter\n"
        "from caffe_lite.text.foreign_bytes import from_bytes\n"
        "from caffe_lite.net.weights import write_message\n"
        "write_message('out', NetParameter(name=from_bytes(b'\\xca')))"
    )
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "this protobuf cannot write text that is not UTF-8" in done.stderr


# -- files -------------------------------------------------------------------------------------------------------------

NET = """name: "网络"
layer { name: "数据" type: "Data" top: "数据" top: "标签" include { phase: TRAIN }
  transform_param { mean_file: "均" } data_param { source: "库/训练" backend: LMDB batch_size: 2 } }
layer { name: "数据" type: "ImageData" top: "数据" top: "标签" include { phase: TEST }
  image_data_param { source: "图/列表" root_folder: "图/" batch_size: 2 } }
layer { name: "全连" type: "InnerProduct" bottom: "数据" top: "全连" param { name: "权重" }
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "损失" type: "SoftmaxWithLoss" bottom: "全连" bottom: "标签" top: "损失" }
layer { name: "多" type: "HDF5Data" top: "多" hdf5_data_param { source: "列表" batch_size: 2 } }
layer { name: "出" type: "HDF5Output" bottom: "全连" bottom: "多" hdf5_output_param { file_name: "照/出" }
  include { phase: TEST } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a net and everything that it reads, with names in GBK."""
    if sys.platform != "linux":
        pytest.skip("names of files are characters here, not bytes")
    cv2, h5py = pytest.importorskip("cv2"), pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAFFE_LITE_ENGINE", "numpy")  # it starts fastest
    images = [np.full((3, 8, 8), i, np.uint8) for i in range(4)]
    write_lmdb(
        Path("db"), [(b"%d" % i, array_to_datum(image, 0).SerializeToString()) for i, image in enumerate(images)]
    )
    for name in ("库", "图", "照"):
        os.mkdir(gbk(name))
    os.rename("db", gbk("库/训练"))
    for i, image in enumerate(images):
        Path(os.fsdecode(gbk(f"图/猫{i}.png"))).write_bytes(cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes())
    with h5py.File("h5", "w") as file:
        file[gbk("多")] = np.zeros((4, 1), "f")
    os.rename("h5", gbk("数.h5"))
    write("图/列表", "".join(f"猫{i}.png 0\n" for i in range(4)))
    write("列表", "数.h5\n")
    write("网", NET)
    Path(os.fsdecode(gbk("均"))).write_bytes(array_to_blobproto(np.ones((1, 3, 8, 8))).SerializeToString())
    return tmp_path


def write(name: str, text: str) -> None:
    Path(os.fsdecode(gbk(name))).write_bytes(gbk(text))


def run(*words: str) -> None:
    command = [*map(os.fsencode, (sys.executable, "-m", "caffe_lite")), *map(gbk, words)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="backslashreplace")


@pytest.mark.parametrize("kind", ["BINARYPROTO", "HDF5"])
def test_train_resume_fine_tune_and_score(kind: str, folder: Path) -> None:
    solver = (
        'net: "网" base_lr: 0.1 lr_policy: "fixed" max_iter: %d test_iter: 1 test_interval: 1 snapshot_prefix: "照/模" '
    )
    ending = ".h5" if kind == "HDF5" else ""
    write("解", solver % 2 + f"snapshot_format: {kind} snapshot: 1")
    run("train", "解")
    run("train", "解", "--snapshot", f"照/模_iter_1.solverstate{ending}")
    write("解", solver % 2 + f'snapshot_format: {kind} weights: "照/模_iter_2.caffemodel{ending}"')
    run("train", "解", "--snapshot-prefix", "照/乙")
    run("test", "--model", "网", "--weights", f"照/乙_iter_2.caffemodel{ending}", "--iterations", "1")
    assert gbk("出") in os.listdir(gbk("照"))
    weights = {layer.name: layer for layer in read_weights(os.fsdecode(gbk(f"照/乙_iter_2.caffemodel{ending}")))}
    assert [array.shape for array in weights[from_bytes(gbk("全连"))].blobs if array is not None] == [(2, 192), (2,)]
    if kind == "BINARYPROTO":
        state = SolverState.FromString(Path(os.fsdecode(gbk("照/乙_iter_2.solverstate"))).read_bytes())
        assert state.learned_net == gbk("照/乙_iter_2.caffemodel")


def test_the_other_commands(folder: Path) -> None:
    run("check", "网")
    run("summary", "网")
    run("upgrade-net", "网", "升")
    assert read_net(os.fsdecode(gbk("升"))).message == read_net(os.fsdecode(gbk("网"))).message
    caffe.Net(os.fsdecode(gbk("网")), caffe.TEST).save(os.fsdecode(gbk("重")))
    run("upgrade-net", "重", "新")
    run("extract-features", "新", "网", "全连", "特征", "1", "lmdb")
    assert gbk("特征") in os.listdir(b".")


def test_what_is_not_there_is_told_with_its_bytes(folder: Path) -> None:
    os.remove(gbk("均"))
    with pytest.raises(caffe.CaffeError, match=r"there is no mean_file '\\xbe\\xf9'") as caught:
        caffe.Net(os.fsdecode(gbk("网")), caffe.TRAIN)
    assert str(caught.value).isprintable()

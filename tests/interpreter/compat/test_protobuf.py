"""Modules that protoc 3.12 made from box.proto and point.proto, and the variants that older versions wrote."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

GENERATED = Path(__file__).parent / "protoc_3.12"

SCRIPT = """\
import box_pb2
from box_pb2 import Box, RED
from google.protobuf.internal import api_implementation

box = Box(name="a", weight=[1, 2], inner=Box.Inner())
box.corner.add(x=1)
box.Extensions[box_pb2.extra] = 4
same = Box.FromString(box.SerializeToString())
print(same == box, same.inner.n, same.corner[0].y, same.Extensions[box_pb2.extra], same.raw == b"\\0\\xff'\\"\\n")
print(box_pb2.Kind.Name(same.kind), RED, box_pb2.BLUE, box_pb2.EXTRA_FIELD_NUMBER, box_pb2.DESCRIPTOR.name)
import caffe
from caffe.proto import caffe_pb2
print(caffe_pb2.NetParameter(name="n").name, api_implementation.Type(), box_pb2.__spec__.loader.get_filename())
"""


@pytest.fixture(params=["3.12", "3.0", "2.6"])
def folder(request, tmp_path):
    """Write the modules to a folder, as protoc of a version writes them."""
    for name in ("box_pb2.py", "point_pb2.py"):
        text = (GENERATED / name).read_text()
        if request.param != "3.12":
            text = text.replace("  create_key=_descriptor._internal_create_key,\n", "")
            helper = "import sys\n_b=sys.version_info[0]<3 and (lambda x:x) or (lambda x:x.encode('latin1'))\n"
            call = r"serialized_pb=_b(\1)" if request.param == "3.0" else r"serialized_pb=\1"
            text = helper + re.sub(r"serialized_pb=b('.*')", call, text)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_its_messages_are_there(run, folder):
    done = run(SCRIPT, "--compat")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["True 7 1.5 4 True", "BLUE 0 3 100 box.proto"]
    assert re.fullmatch(rf"n (upb|cpp) {re.escape(str(folder))}\W+box_pb2.py", done.stdout.splitlines()[2])
    assert [line.split(": ")[2] for line in done.stderr.splitlines()] == [
        f"support of {name}_pb2.py, of an old protoc, is gone; today" for name in ("box", "point")
    ]


def test_without_it_the_error_leads_to_it(run, tmp_path):
    for name in ("box_pb2.py", "point_pb2.py"):
        shutil.copy(GENERATED / name, tmp_path)
    done = run("import box_pb2")
    assert done.returncode == 1
    assert "TypeError: Descriptors cannot be created directly." in done.stderr
    assert done.stderr.splitlines()[-1].startswith("caffe-lite: caffe-lite run --compat gives back")


def test_modules_of_today_are_loaded_as_ever(run, tmp_path):
    (tmp_path / "plain_pb2.py").write_text("value = __file__\n")
    done = run("import plain_pb2\nprint(plain_pb2.value)", "--compat")
    assert (done.stdout, done.stderr) == (f"{tmp_path / 'plain_pb2.py'}\n", "")

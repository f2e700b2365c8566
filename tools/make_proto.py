"""Write caffe_lite/proto/caffe_pb2.py and its types from proto/*.proto; --check only reports if they are stale."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "proto" / "caffe.proto"
FORKS = ROOT / "proto" / "forks.proto"
EXTENSION = re.compile(r"^extend ([\w.]+) \{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL)
MODULE = ROOT / "caffe_lite" / "proto" / "caffe_pb2.py"
TYPES = MODULE.with_suffix(".pyi")
WIDTH = 110

HEAD = '''\
"""Caffe's messages. Made from proto/*.proto by tools/make_proto.py: do not edit.

The messages live in a descriptor pool of their own, so that another package's caffe.proto in the same process does not
clash with them, and are built with protobuf's public interface, so that one file serves protobuf 5, 6 and 7.
"""

# ruff: noqa
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import message_factory as _message_factory
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper

'''

TAIL = """
_pool = _descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_SCHEMA)
DESCRIPTOR = _pool.FindFileByName("caffe.proto")

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = _message_factory.GetMessageClass(_message)
    globals()[_name].__module__ = __name__  # where pickle finds the class
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = _enum_type_wrapper.EnumTypeWrapper(_enum)
    globals().update(globals()[_name].items())
"""


def merged() -> str:
    """Return caffe.proto with what forks.proto adds to its messages and enums, and with the forks' own messages."""
    schema, forks = (path.read_text(encoding="utf-8") for path in (SCHEMA, FORKS))
    for extension in EXTENSION.finditer(forks):
        outer, _, enum = extension[1].partition(".")
        start = schema.index(f"\nmessage {outer} {{\n")
        start = schema.index(f"\n  enum {enum} {{\n", start) if enum else start
        indent = "  " if enum else ""
        end = schema.index(f"\n{indent}}}\n", start) + 1
        schema = schema[:end] + textwrap.indent(extension[2], indent) + schema[end:]
    return f"{schema}\n{EXTENSION.sub('', forks)}"


def compile_schema() -> tuple[descriptor_pb2.FileDescriptorProto, str]:
    """Return the schema's descriptor and the type stubs that protoc makes for it."""
    with tempfile.TemporaryDirectory() as folder:
        compiled, stubs = Path(folder, "descriptors"), Path(folder, "caffe_pb2.pyi")
        Path(folder, SCHEMA.name).write_text(merged(), encoding="utf-8")
        arguments = [f"-I{folder}", f"--descriptor_set_out={compiled}", f"--pyi_out={folder}", SCHEMA.name]
        if protoc.main(["protoc", *arguments]) != 0:
            sys.exit(f"protoc could not compile {SCHEMA} and {FORKS}")
        (schema,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
        # protoc gives this argument, which stands for fields whose names are keywords of Python, no type.
        return schema, stubs.read_text(encoding="utf-8").replace("**kwargs)", "**kwargs: object)")


def normalise(schema: descriptor_pb2.FileDescriptorProto) -> None:
    """Drop what protoc adds by itself, which differs between its versions."""
    schema.ClearField("source_code_info")
    pending = list(schema.message_type)
    while pending:
        message = pending.pop()
        pending += message.nested_type
        for field in message.field:
            field.ClearField("json_name")


def pieces(schema: descriptor_pb2.FileDescriptorProto) -> Iterator[bytes]:
    """Yield the serialised schema message by message; joined, they are the whole, and a diff shows which changed."""
    head = descriptor_pb2.FileDescriptorProto()
    head.CopyFrom(schema)
    head.ClearField("message_type")
    yield head.SerializeToString(deterministic=True)
    for message in schema.message_type:
        yield descriptor_pb2.FileDescriptorProto(message_type=[message]).SerializeToString(deterministic=True)


def literal(piece: bytes) -> Iterator[str]:
    """Yield the bytes as lines of Python literals."""
    line = ""
    for byte in piece:
        if len(line) >= WIDTH:
            yield f'    b"{line}"\n'
            line = ""
        plain = 0x20 <= byte < 0x7F and byte not in b'"\\'
        line += chr(byte) if plain else f"\\x{byte:02x}"
    yield f'    b"{line}"\n'


def generate() -> tuple[str, str, str]:
    """Return the module, the stubs, and the stubs' first line, which identifies their schema."""
    schema, stubs = compile_schema()
    normalise(schema)
    parts = list(pieces(schema))
    lines = "".join(line for part in parts for line in literal(part))
    mark = f"# Made by tools/make_proto.py: do not edit. Schema {hashlib.sha256(b''.join(parts)).hexdigest()}\n"
    return f"{HEAD}_SCHEMA = (\n{lines})\n{TAIL}", f"{mark}# ruff: noqa\n{stubs}", mark


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the files are stale")
    check = parser.parse_args().check
    module, stubs, mark = generate()
    if check:
        # The text of the stubs depends on protoc's version; the mark does not.
        fresh = {
            MODULE: MODULE.is_file() and MODULE.read_text(encoding="utf-8") == module,
            TYPES: TYPES.is_file() and TYPES.read_text(encoding="utf-8").startswith(mark),
        }
        for path in (path for path, good in fresh.items() if not good):
            print(f"{path.relative_to(ROOT)} is stale: run `make proto`", file=sys.stderr)
        return 0 if all(fresh.values()) else 1
    MODULE.write_text(module, encoding="utf-8", newline="\n")
    TYPES.write_text(stubs, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

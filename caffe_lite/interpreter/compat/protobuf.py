"""protobuf: modules that protoc before 3.19 generated, which today's runtimes refuse to import.

Such a module holds the descriptor of its file in a serialized form; today's builder makes the same names of it. (The
runtime in pure Python, the other way out, loses their extensions and slows down all messages of the process.)
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..imports import spec_beyond
from .names import say

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object

PREVENTED = (r"TypeError: Descriptors cannot be created directly",)


def install() -> None:
    sys.meta_path.insert(0, _MessagesFinder())


class _MessagesFinder(MetaPathFinder):
    """Finds ``X_pb2`` where it is, and has a generated module of old loaded the new way."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.endswith("_pb2") or (spec := spec_beyond(self, fullname, path, target)) is None:
            return None
        if isinstance(spec.loader, SourceFileLoader):
            source = spec.loader.get_source(fullname) or ""
            if "serialized_pb" in source and "FileDescriptor(" in source:
                spec.loader = _MessagesLoader(spec.loader, ast.parse(source, spec.loader.path))
        return spec


class _MessagesLoader(Loader):
    """Imports the modules that a generated one imports, and builds its messages."""

    def __init__(self, loader: SourceFileLoader, tree: ast.Module) -> None:
        self.loader, self.tree = loader, tree

    def create_module(self, spec: ModuleSpec) -> None:
        pass  # Python makes an empty one

    def exec_module(self, module: ModuleType) -> None:
        from google.protobuf import descriptor_pool
        from google.protobuf.internal import builder

        say(f"support of {module.__name__}.py, of an old protoc,", "generate it anew from its .proto")
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader
        names = vars(module)
        imports = [node for node in ast.walk(self.tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        for node in imports:
            if any(part.endswith("_pb2") for part in _parts(node)):
                exec(compile(ast.Module([node], []), self.loader.path, "exec"), names)
        names["DESCRIPTOR"] = descriptor_pool.Default().AddSerializedFile(_serialized(self.tree))
        builder.BuildMessageAndEnumDescriptors(names["DESCRIPTOR"], names)
        builder.BuildTopDescriptorsAndMessages(names["DESCRIPTOR"], module.__name__, names)


def _parts(node: ast.Import | ast.ImportFrom) -> list[str]:
    module = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return [*module, *(alias.name for alias in node.names)]


def _serialized(tree: ast.Module) -> bytes:
    """The file's descriptor: bytes, or characters that stand for them, by themselves or in a call of `_b`."""
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "serialized_pb")
    value: Any = next(values)
    value = ast.literal_eval(value.args[0] if isinstance(value, ast.Call) else value)
    return value if isinstance(value, bytes) else value.encode("latin-1")

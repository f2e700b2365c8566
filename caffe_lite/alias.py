"""Lets ``import caffe`` find caffe_lite, for scripts and Python layers that are to run as they were written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from .errors import CaffeError

_ALIAS, _PACKAGE = "caffe", __package__


def install_as_caffe() -> None:
    """From now on, ``import caffe`` in this process gives caffe_lite, and ``caffe.X`` its module X: itself, no copy.

    A CaffeError if another ``caffe`` is imported already. To call it again changes nothing.
    """
    ours = sys.modules[_PACKAGE]
    other = sys.modules.setdefault(_ALIAS, ours)
    if other is not ours:
        raise CaffeError(
            f"another caffe is imported already, from {getattr(other, '__file__', None) or 'an unknown place'}",
            hint="Call caffe_lite.install_as_caffe() before anything imports caffe",
        )
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())  # before Python's own, which would load copies


class _AliasFinder(MetaPathFinder):
    """Finds ``caffe.X`` where ``caffe_lite.X`` is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = f"{_PACKAGE}{fullname.removeprefix(_ALIAS)}"
        if not fullname.startswith(f"{_ALIAS}.") or find_spec(ours) is None:
            return None
        return ModuleSpec(fullname, _AliasLoader(ours))


class _AliasLoader(Loader):
    """Gives the module of the other name."""

    def __init__(self, ours: str) -> None:
        self.ours = ours

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.ours)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own_spec  # Python has put the alias's there, by which relative imports would go

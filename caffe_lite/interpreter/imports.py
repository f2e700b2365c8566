"""Imports: finding a package by another name, or in a known place, and calling functions after an import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object  # importlib.abc takes longer to import than everything here


# The version of the Caffe that the package stands for; scripts compare it.
CAFFE_VERSION = "1.0.0"


class Alias(ModuleType):
    """A package under another name: its attributes are the package's, to read and to set; its version is Caffe's."""

    def __init__(self, alias: str, package: str) -> None:
        super().__init__(alias, import_module(package).__doc__)
        self.__dict__.update(__version__=CAFFE_VERSION, __package_of_alias__=package)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules[self.__dict__["__package_of_alias__"]], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):  # set by the import system
            super().__setattr__(name, value)
        else:
            setattr(sys.modules[self.__dict__["__package_of_alias__"]], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(sys.modules[self.__dict__["__package_of_alias__"]], name)

    def __dir__(self) -> list[str]:
        return dir(sys.modules[self.__dict__["__package_of_alias__"]])


class AliasFinder(MetaPathFinder):
    """Finds the package for ``alias`` and its X for ``alias.X``: the same modules, not copies."""

    def __init__(self, package: str, alias: str) -> None:
        self.package, self.alias = package, alias

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.alias and not fullname.startswith(f"{self.alias}."):
            return None
        own = f"{self.package}{fullname.removeprefix(self.alias)}"
        return ModuleSpec(fullname, _AliasLoader(own)) if find_spec(own) else None


class CaffeFinder(AliasFinder):
    """Finds an ``Alias`` of the package for ``caffe``, and the package's X for ``caffe.X``."""

    def __init__(self, package: str) -> None:
        super().__init__(package, "caffe")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.alias:
            return ModuleSpec(fullname, _NameLoader(self.package), is_package=True)
        return super().find_spec(fullname, path, target)


class _NameLoader(Loader):
    """Loads the package as an ``Alias``."""

    def __init__(self, package: str) -> None:
        self.package = package

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Alias(spec.name, self.package)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _AliasLoader(Loader):
    """Loads the package's module for the module of the alias."""

    def __init__(self, own: str) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.own)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own_spec  # Python has set the alias's spec, which relative imports would follow


class FinderOf(MetaPathFinder):
    """Finds one package in a folder, even if the folder is not on sys.path."""

    def __init__(self, package: str, folder: str) -> None:
        self.package, self.folder = package, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [self.folder], target) if fullname == self.package else None


class _Watcher(MetaPathFinder):
    """Finds modules as the finders after it do, and has functions called with a module once it is loaded."""

    def __init__(self) -> None:
        self.then: dict[str, list[Callable[[ModuleType], None]]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.then or (spec := spec_beyond(self, fullname, path, target)) is None:
            return None
        if spec.loader is not None:
            spec.loader = _WatchedLoader(spec.loader, self.then[fullname])
        return spec


class _WatchedLoader(Loader):
    """The module's own loader, which the module names as its loader, and the functions to call after it."""

    def __init__(self, loader: Any, then: list[Callable[[ModuleType], None]]) -> None:
        self.loader, self.then = loader, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        for then in self.then:
            then(module)


_watcher = _Watcher()


def watch(name: str, then: Callable[[ModuleType], None]) -> None:
    """Have a function called with a module: now if it is imported, else at the end of its import."""
    if name in sys.modules:
        then(sys.modules[name])
        return
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)
    _watcher.then.setdefault(name, []).append(then)


def spec_beyond(
    finder: MetaPathFinder, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """Return the spec that the finders after this one find."""
    for other in sys.meta_path[sys.meta_path.index(finder) + 1 :]:
        if (spec := other.find_spec(fullname, path, target)) is not None:
            return spec
    return None

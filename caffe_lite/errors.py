"""Every error a user can cause: what is wrong, where, and what to do about it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from .text.foreign_bytes import shown


@dataclass(frozen=True)
class Where:
    """A place in a text file; lines and columns count from 1, and a line of 0 stands for the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        file = shown(self.file)
        return f"{file}:{self.line}:{self.column}" if self.line else file


class CaffeError(RuntimeError):
    """Base of all: `where, layer "name" (Type): what. hint`. A RuntimeError, as pycaffe's exceptions from C++ are.

    The parts stay readable as attributes, and a caller that knows more adds it with `located` before raising again.
    """

    def __init__(
        self,
        what: str,
        *,
        where: Where | None = None,
        layer: str | None = None,
        layer_type: str | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.layer = layer
        self.layer_type = layer_type
        self.hint = hint

    def located(
        self, where: Where | None = None, layer: str | None = None, layer_type: str | None = None
    ) -> CaffeError:
        """Fill in what is not known yet about the place, and return the same error."""
        self.where = self.where or where
        self.layer = self.layer if self.layer is not None else layer
        self.layer_type = self.layer_type or layer_type
        return self

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    @property
    def place(self) -> str:
        """The file, the line and the layer, as far as they are known."""
        place = [str(self.where)] if self.where else []
        if self.layer is not None:
            name = shown(self.layer).replace("\n", "\\n")
            place.append(f'layer "{name}"' + (f" ({shown(self.layer_type)})" if self.layer_type else ""))
        elif self.layer_type:
            place.append(f"a layer of type {shown(self.layer_type)}")
        return ", ".join(place)

    @property
    def message(self) -> str:
        """What is wrong and what to do, without the place."""
        text = f"{_sentence(self.what)} {_sentence(_capitalised(self.hint))}" if self.hint else _sentence(self.what)
        text = shown(text)
        return text[:-1] if text.endswith("'.") else text  # what stands in quotes is to be copied as it is

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = functools.partial(
            type(self), where=self.where, layer=self.layer, layer_type=self.layer_type, hint=self.hint
        )
        return rebuild, (self.what,)


class PrototxtError(CaffeError):
    """A net or solver text cannot be read or means nothing."""


class NetError(CaffeError):
    """The layers of a net do not fit together."""


class ShapeError(NetError, ValueError):
    """An array does not fit the blob that it is to fill; NumPy's ValueError in pycaffe."""


class UnknownName(NetError, KeyError, ValueError):
    """The net has no layer or no blob of this name; a KeyError of a dict or a ValueError of a list in pycaffe."""


class ArgumentError(NetError, TypeError):
    """A call is given what it does not take; Boost's ArgumentError, a TypeError, in pycaffe."""


class UnknownField(PrototxtError):
    """A field, or a value of an enum, that the schema does not have."""


class FieldGivenTwice(PrototxtError):
    """A field that a message has once stands in it again."""


class UnknownLayerType(NetError, PrototxtError):
    """A layer is of a type that is not there."""


class BlobTooLarge(NetError, MemoryError):
    """There is no memory, or no array at all, for a blob."""


class LayerError(CaffeError):
    """A layer's parameters, or the blobs it is given, make no sense to it."""


class DataError(CaffeError):
    """A database, image or list a data layer reads is missing or broken."""


class ArrayError(DataError, ValueError):
    """An array, or a message that holds one, is not of the shape that is wanted; a ValueError in pycaffe, too."""


class WeightsError(CaffeError):
    """A weights file is broken, or does not fit the net."""


class SolverError(CaffeError):
    """A solver's settings contradict each other, or training cannot go on."""


class EngineError(CaffeError):
    """An engine is unknown, or cannot do what is asked of it."""


class PluginError(CaffeError):
    """A package that brings layers cannot be imported."""


class MissingExtra(CaffeError):
    """An optional package is needed and not installed: `MissingExtra("lmdb", "data", "write LMDB databases")`."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is needed to {purpose} and is not installed",
            hint=f"Install it with: pip install 'caffe-lite[{extra}]'",
        )
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.package, self.extra, self.purpose)


def first_line(error: BaseException) -> str:
    """What another package's exception says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _sentence(text: str) -> str:
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", ":")) else text + "."


def _capitalised(text: str) -> str:
    """Begin a sentence with a capital, unless it begins with a name of code."""
    word = text.split(maxsplit=1)[0]
    return text[0].upper() + text[1:] if word.isalpha() and word.islower() else text

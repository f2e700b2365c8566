"""Every error that a user can cause: each says what is wrong, where, and what to do about it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .text.foreign_bytes import shown


@dataclass(frozen=True)
class Where:
    """A place in a text file. Lines and columns count from 1; line 0 stands for the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        file = shown(self.file)
        return f"{file}:{self.line}:{self.column}" if self.line else file


class CaffeError(RuntimeError):
    """Base of all errors: `where, layer "name" (Type): what. hint`. A RuntimeError, like pycaffe's exceptions from C++.

    The parts can be read as attributes. A caller that knows more about the place adds it with `located` and raises the
    error again.
    """

    # Whether any of several workers would have failed in the same way, in the place of the one that did.
    anyones = False

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
        """Fill in the parts of the place that are still unknown, and return the same error."""
        self.where = self.where or where
        self.layer = self.layer if self.layer is not None else layer
        self.layer_type = self.layer_type or layer_type
        return self

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    @property
    def place(self) -> str:
        """The file, line and layer, as far as they are known."""
        place = [str(self.where)] if self.where else []
        if self.layer is not None:
            name = shown(self.layer).replace("\n", "\\n")
            place.append(f'layer "{name}"' + (f" ({shown(self.layer_type)})" if self.layer_type else ""))
        elif self.layer_type:
            place.append(f"a layer of type {shown(self.layer_type)}")
        return ", ".join(place)

    @property
    def message(self) -> str:
        """The problem and what to do about it, without the place."""
        text = f"{_sentence(self.what)} {_sentence(_capitalised(self.hint))}" if self.hint else _sentence(self.what)
        text = shown(text)
        return text[:-1] if text.endswith("'.") else text  # users copy the quoted part, so no full stop follows it

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = functools.partial(
            type(self), where=self.where, layer=self.layer, layer_type=self.layer_type, hint=self.hint
        )
        return rebuild, (self.what,)


class PrototxtError(CaffeError):
    """The text of a net or solver cannot be read, or makes no sense."""


class NetError(CaffeError):
    """The layers of a net do not fit together."""


class ShapeError(NetError, ValueError):
    """An array does not fit the blob that it should fill. In pycaffe this is NumPy's ValueError."""


class UnknownName(NetError, KeyError, ValueError):
    """The net has no layer or blob of this name. In pycaffe this is a dict's KeyError or a list's ValueError."""


class ArgumentError(NetError, TypeError):
    """A call gets arguments that it does not take. In pycaffe this is Boost's ArgumentError, a TypeError."""


class UnknownField(PrototxtError):
    """The schema has no such field, or no such value of an enum."""


class FieldGivenTwice(PrototxtError):
    """A message sets a field twice that it may set only once."""


class UnknownLayerType(NetError, PrototxtError):
    """No layer type has this name."""


class BlobTooLarge(NetError, MemoryError):
    """A blob does not fit into memory, or into any array."""


class LayerError(CaffeError):
    """A layer's parameters make no sense, or the blobs that it is given do not suit it."""


class DataError(CaffeError):
    """A database, image or list that a data layer reads is missing or broken."""


class ArrayError(DataError, ValueError):
    """An array, or a message that holds one, has the wrong shape. This is a ValueError in pycaffe, too."""


class WeightsError(CaffeError):
    """A weights file is broken or does not fit the net."""


class SolverError(CaffeError):
    """A solver's settings contradict each other, or training cannot go on."""


class EngineError(CaffeError):
    """An engine is unknown, or cannot do what it is asked to do."""


class WorkerError(CaffeError):
    """Several processes cannot work together as they are asked to."""


class WorkerLost(WorkerError):
    """Another worker has ended, so that this one cannot go on; the message is the other's, if it has left one."""


class PluginError(CaffeError):
    """A package that provides layers or engines cannot be imported."""


class MissingExtra(CaffeError):
    """An optional package is needed but not installed: `MissingExtra("lmdb", "data", "write LMDB databases")`."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is needed to {purpose} and is not installed",
            hint=f"Install it with: pip install 'caffe-lite[{extra}]'",
        )
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.package, self.extra, self.purpose)


def first_line(error: BaseException) -> str:
    """Return the first line of another package's exception, or its type's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _sentence(text: str) -> str:
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", ":")) else text + "."


def _capitalised(text: str) -> str:
    """Begin a sentence with a capital, unless its first word is a name from code."""
    word = text.split(maxsplit=1)[0]
    return text[0].upper() + text[1:] if word.isalpha() and word.islower() else text

"""Exporting a net to PyTorch, verified: as a file of source with its weights, as weights alone, as a live module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..agreement.comparing import Arrays
from ..agreement.torch_running import TorchRun, module_of, safetensors, torch
from ..blobs import Blob
from ..blobs.lending import lend
from ..errors import ArgumentError
from ..files.atomic import atomic_write
from ..plugins import is_installed
from ..pycaffe.net import Net
from .drafting import Draft, Export
from .onnx_export import runner
from .preparing import ImageInput
from .torch_source import Source, source_of
from .writing import WrittenNet


def to_source(
    net: Net,
    path: str | os.PathLike[str],
    *,
    batch: int | str | None = None,
    fold: bool = True,
    images: ImageInput | None = None,
) -> Export:
    """Write a net that is in TEST as a file of PyTorch's source, OUT.py, with its weights in OUT.safetensors.

    The source needs torch alone, and safetensors to load the weights; its docstring says how to use it. The names of
    layers are those of modules; a group of layers whose names start with the same word and a slash becomes a class of
    its own. Blobs keep their names as far as Python allows it.

    Args:
        batch, fold, images: as for ``to_onnx``.

    Both files are read back, run over random, zero and large inputs, and compared with the net; if an output differs by
    more than 1e-4 of its spread, NetError names the first blob that does, and nothing is left behind.
    """
    target = Path(path)
    if target.suffix.lower() != ".py":
        raise ArgumentError(f"{os.fspath(path)!r} does not end in .py")
    draft, weights = Draft(net, batch, fold=fold, images=images), target.with_suffix(".safetensors")
    source = source_of(draft.written, net.name, weights.name)
    with atomic_write(target) as text_part, atomic_write(weights) as weights_part:
        text_part.write_text(source.text, encoding="utf-8", newline="\n")
        _save(source, weights_part, ".safetensors")
        text, arrays = text_part.read_text(encoding="utf-8"), safetensors().load_file(weights_part)
        return _verified(draft, Source(source.name, text, source.state), arrays)


def to_weights(
    net: Net,
    path: str | os.PathLike[str],
    *,
    batch: int | str | None = None,
    fold: bool = True,
) -> Export:
    """Write the weights of the module that ``to_source`` makes, alone: OUT.safetensors or OUT.npz.

    Their names are those of its state_dict: "conv1.weight", "conv1.bias". They are verified as there; where torch is
    not installed, they are compared with the net's own, and the graph that they belong to is run as ``to_onnx`` does.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".safetensors", ".npz"):
        raise ArgumentError(f"{os.fspath(path)!r} ends in neither .safetensors nor .npz")
    draft = Draft(net, batch, fold=fold)
    source = source_of(draft.written, net.name, Path(path).name)
    with atomic_write(path) as part:
        _save(source, part, kind)
        weights = safetensors().load_file(part) if kind == ".safetensors" else _arrays_of(part)
        if is_installed("torch"):
            return _verified(draft, source, weights)
        for name, array in source.arrays().items():
            np.testing.assert_array_equal(weights[name], array, err_msg=name)
        return draft.verified(runner)


def to_torch(net: Net) -> Any:
    """Return a net that is in TEST as a live nn.Module, an object of the class that ``to_source`` writes.

    Its parameters share memory with the net's: training one changes the other. What it does not share are its buffers,
    which are computed once: the statistics of BatchNorm, which Caffe stores as sums with a factor, and constants that a
    layer computes from its settings and shapes. Nor are parameters shared that a layer uses in another form than it
    stores them, such as the scale and shift of a BatchNorm that has its own, and the weights of recurrent layers
    without cont. Call this again after changes to them.

    A solver's test net takes over the parameters of the net that is trained when it is first tested, or by
    ``share_with``; call this after that, or for nets of your own. Then a step of the solver is one of the module, too.
    """
    library = torch()
    source = source_of(Draft(net, fold=False).written, net.name, "weights.safetensors")
    module = module_of(source.text, source.name, source.arrays())
    shared = {name: _shared(value.blob) for name, value in source.state.items() if value.blob is not None}
    for one in list(shared.values())[:1]:
        module.to(one.device, one.dtype)
    for name, tensor in shared.items():
        path, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(path), attribute, library.nn.Parameter(tensor))
    return module


def _shared(blob: Blob) -> Any:
    """Return a tensor in the memory of a learnable blob."""
    return torch().from_numpy(lend(blob)) if blob.ops.shares_memory else blob.data


def _save(source: Source, path: Path, kind: str) -> None:
    if kind == ".npz":
        with path.open("wb") as file:
            arrays: dict[str, Any] = source.arrays()
            np.savez(file, **arrays)
    else:
        safetensors().save_file(source.arrays(), path, metadata={"format": "pt"})


def _arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def _verified(draft: Draft, source: Source, weights: Arrays) -> Export:
    """Verify what has been read back from files."""

    def running(written: WrittenNet) -> TorchRun:
        made, arrays = source, weights
        if written is not draft.written:  # it has other outputs, and perhaps more layers
            made = source_of(written, draft.net.name, "")
            arrays = {name: weights.get(name, array) for name, array in made.arrays().items()}
        module = module_of(made.text, made.name, arrays)
        return TorchRun(module, [value.name for value in written.graph.inputs], written.outputs)

    return draft.verified(running)

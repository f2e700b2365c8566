"""Import torchvision's nets, with random weights, for every target; print or write the table of the documentation.

    python tools/import_torchvision.py resnet18 densenet121      these, printed
    python tools/import_torchvision.py --write docs/onnx.md      all, as the table of that page

It takes torch, onnxscript and torchvision: pip install --no-deps torchvision==0.28.0
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_lite.errors import CaffeError
from caffe_lite.export import from_onnx
from caffe_lite.export.onnx_import import Import

TARGETS = ("bvlc", "all")
BEGIN, END = "<!-- torchvision: begin -->", "<!-- torchvision: end -->"
# The sizes of images, where 64 x 64 pixels are too few, or the net takes one size alone.
PIXELS = {"alexnet": 224, "inception_v3": 96, "vgg": 224, "vit": 224, "maxvit": 224, "ssd": 320}
# Left out because of their size alone (their smaller relatives are there), or because they take videos.
LEFT_OUT = ("vit_h", "vit_l", "regnet_y_128gf", "regnet_y_32gf", "regnet_x_32gf", "swin_b", "swin_v2_b", "convnext_l")
DETECTORS = (
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)


def torchvision() -> Any:
    """Return torchvision, also a build for another torch (for GPUs, say, beside torch for CPUs).

    The compiled operators of such a build do not load, and its import fails because it describes two of them. None of
    the nets here runs one, so that it is enough if these two exist.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError:
            import torch

            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            _LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
            for name in ("nms", "qnms"):
                _LIBRARIES[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import torchvision
    return torchvision


_LIBRARIES: list[Any] = []  # what they define goes when they do


def architectures() -> list[str]:
    """Return the names of torchvision's nets for images, and of the detectors whose backbones are imported."""
    models = torchvision().models
    modules = (models, models.segmentation)
    names = [name for module in modules for name in models.list_models(module=module)]
    return [name for name in names if not name.startswith(LEFT_OUT)] + list(DETECTORS)


def pixels(name: str) -> int:
    """Return the height and width of the images that a net is imported for."""
    return next((size for start, size in PIXELS.items() if name.startswith(start)), 64)


def model(name: str) -> Any:
    """Return a net with random weights, in evaluation: statistics of random images, moved a little, normalise it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    models = torchvision().models
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    if name in DETECTORS or name in models.list_models(module=models.segmentation):
        options["weights_backbone"] = None
    net = models.get_model(name, weights=None, **options)
    net = _Features(net.backbone) if name in DETECTORS else net
    for part in ("aux1", "aux2", "AuxLogits"):  # the second outputs of googlenet and inception_v3, only for training
        if hasattr(net, part):
            setattr(net, part, None)
    if name in ("googlenet", "inception_v3"):
        net.aux_logits = False
    if name in models.list_models(module=models.segmentation):
        net = _Features(net, ("out",))
    for parameter_name, parameter in net.named_parameters():
        # What begins as almost nothing would hide whatever is before it.
        if "layer_scale" in parameter_name:
            nn.init.uniform_(parameter, 0.5, 1)
        elif parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the statistics are the mean of all batches
    if norms:
        net.train()
        with torch.no_grad():
            net(torch.randn(4, 3, pixels(name), pixels(name)))
    for norm in norms:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        # Deep inside random nets all images look alike; dividing by the little that differs would enlarge rounding.
        variance.add_(mean.square())
        mean.add_(0.3 * torch.randn_like(mean) * variance.sqrt())
        variance.mul_(0.5 + torch.rand_like(variance))
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    return net.eval()


def _Features(net: Any, names: Sequence[str] | None = None) -> Any:
    """Return a module whose outputs are those of a net that returns them by name."""
    from torch import nn

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            found = self.net(x)
            return tuple(value for name, value in found.items() if names is None or name in names)

    return Features()


def export(name: str, path: Path, dynamo: bool = True) -> None:
    """Write a net as an ONNX model, by PyTorch's newer or its older exporter."""
    import torch

    options: dict[str, Any] = {"verbose": False, "external_data": False} if dynamo else {}
    images = torch.randn(1, 3, pixels(name), pixels(name))
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(model(name), (images,), path, dynamo=dynamo, **options)


@dataclass
class Row:
    """What became of a net: for each target the layers and the largest difference, or why there are none."""

    name: str
    size: int
    found: dict[str, Import] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Return the row of a table: the name, the size of images, and for each target layers and difference."""
        found = [f"`{self.name}`" + (" (backbone)" if self.name in DETECTORS else ""), f"{self.size}"]
        for target in TARGETS:
            cell = "–"
            if one := self.found.get(target):
                cell = f"{len(one.message.layer)} ({max(each.gap.size for each in one.comparisons):.0e})"
                cell += " *" if one.precision == "double" else ""
            found.append(cell)
        return found


def imported(name: str, dynamo: bool = True, targets: Sequence[str] = TARGETS) -> Row:
    """Import a net for each target."""
    row = Row(name, pixels(name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        try:
            export(name, path, dynamo)
        except Exception as error:
            row.errors = dict.fromkeys(targets, error)
            return row
        for target in targets:
            try:
                row.found[target] = from_onnx(path, target=target)
            except CaffeError as error:
                row.errors[target] = error
    return row


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| net | image | {' | '.join(f'`{target}`' for target in TARGETS)} |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        yield f"| {' | '.join(row.cells())} |"
    counts = ", ".join(f"{sum(target in row.found for row in rows)} for `{target}`" for target in TARGETS)
    yield ""
    yield f"Of these {len(rows)} nets, {counts} can be imported."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which nets; default all")
    parser.add_argument("--write", type=Path, help="put the table into this page, between its marks")
    parser.add_argument("--old", action="store_true", help="export by PyTorch's older exporter")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.names or architectures():
        start = time.perf_counter()
        row = imported(name, not arguments.old)
        rows.append(row)
        print(f"{' '.join(row.cells())}  {time.perf_counter() - start:.0f} s", flush=True)
        for target, error in row.errors.items():
            print(f"  {target}: {str(error)[:600]}", flush=True)
        if arguments.write:
            _write(arguments.write, rows)
    return 0


def _write(path: Path, rows: Sequence[Row]) -> None:
    page = path.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    text = "\n".join(table(rows))
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

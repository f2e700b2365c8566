"""Tell what is in images: the best labels of each, and if wanted all probabilities in a file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import Parser, add_engine, positive
from .dealing import Crew, in_workers
from .workers import add_workers

if TYPE_CHECKING:
    import numpy as np

_CROPS = 10  # of an image


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the deploy net: images in, probabilities out")
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .h5 file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="an image, a folder of some, or .npy: N, H, W, C")
    parser.add_argument("--labels", metavar="FILE", help="a label in each line, the first for class 0")
    what = "what to subtract: the values of the channels, as 104,117,123, or a .npy or .binaryproto to average"
    parser.add_argument("--mean", metavar="FILE|VALUES", help=f"{what}; in the net's order of channels")
    parser.add_argument(
        "--raw-scale", metavar="X", type=float, default=255.0, help="of images before that; default 255"
    )
    parser.add_argument("--input-scale", metavar="X", type=float, help="of images after it; default 1")
    what = "the order of the channels, from R, G, B; default 2,1,0, for gray none"
    parser.add_argument("--channel-swap", metavar="A,B,C", type=_whole_numbers, help=what)
    what = "resize images to this and average ten crops of them; default: resize them to what the net takes"
    parser.add_argument("--images-dim", metavar="H,W", type=_size, help=what)
    parser.add_argument("--center-only", action="store_true", help="take one crop, the center, instead of ten")
    parser.add_argument("--ext", metavar="X", default="jpg", help="how the images in a folder end; default jpg")
    parser.add_argument("--top", metavar="N", type=positive, default=5, help="how many labels to print; default 5")
    parser.add_argument("--output", metavar="FILE", help="write all probabilities, a row for each image: .npy or .csv")
    add_engine(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    return in_workers(arguments, _classify)


def _classify(arguments: argparse.Namespace, crew: Crew) -> None:
    import numpy as np

    from ..classifier import Classifier
    from ..errors import CaffeError, Where

    output = arguments.output
    if output and Path(output).suffix not in (".npy", ".csv"):
        raise CaffeError("a file of what format?", where=Where(output), hint="End its name with .npy or .csv")
    labels = _labels(arguments.labels) if arguments.labels else []
    crew.start(arguments)
    net = Classifier(
        arguments.net,
        arguments.weights,
        image_dims=arguments.images_dim,
        input_scale=arguments.input_scale,
        raw_scale=arguments.raw_scale,
        compile=arguments.compile,
    )
    try:
        name, channels = net.input_name, net.blobs[net.input_name].shape[1]
        if arguments.mean:
            net.transformer.set_mean(name, _mean(arguments.mean, channels))
        if swap := arguments.channel_swap or ((2, 1, 0) if channels == 3 else None):
            net.transformer.set_channel_swap(name, swap)
        images = _images(arguments.images, arguments.ext, color=channels != 1)
        crops = bool(arguments.images_dim) and not arguments.center_only
        crew.join(net)
        # As many images as fill whole batches: each is in the same batch, however many processes there are.
        batch = max(1, net.blobs[name].shape[0])
        together = batch // gcd(batch, _CROPS) if crops else batch

        def work(first: int) -> Iterator[np.ndarray]:
            some = [load() for load in list(images.values())[first : first + together]]
            yield net.predict(some, crops).reshape(len(some), -1)

        found = list(crew.in_turn(range(0, max(1, len(images)), together), work))
    finally:
        net.close()
    if not crew.is_first:
        return
    predictions = np.concatenate(found)
    classes = predictions.shape[1]
    if labels and len(labels) != classes:
        raise CaffeError(
            f"there are {len(labels)} labels in it, the net knows {classes} classes", where=Where(arguments.labels)
        )
    labels = labels or [str(index) for index in range(classes)]
    for image, scores in zip(images, predictions, strict=True):
        print(f"---------- Prediction for {image} ----------")
        for index in (-scores).argsort(kind="stable")[: arguments.top]:
            print(f'{scores[index]:.4f} - "{labels[index]}"')
    if output:
        _write(output, list(images), labels, predictions)


def _images(paths: Sequence[str], ending: str, color: bool) -> dict[str, Callable[[], np.ndarray]]:
    """Return the images by their names, each as what loads it."""
    from ..pycaffe.images import load_image

    images: dict[str, Callable[[], np.ndarray]] = {}
    for given in paths:
        if given.endswith(".npy"):
            arrays = _load_npy(given)
            if arrays.ndim != 4:
                raise _not_usable(given, f"an array of shape {arrays.shape}", "Images are N, H, W, C, from 0 to 1")
            images |= {f"{given}[{index}]": partial(arrays.__getitem__, index) for index in range(len(arrays))}
        else:
            images |= {file: partial(load_image, file, color=color) for file in _files(given, ending)}
    return images


def _write(path: str, images: Sequence[str], labels: Sequence[str], predictions: np.ndarray) -> None:
    import csv

    import numpy as np

    from ..files.atomic import atomic_write

    with atomic_write(path) as part:
        if path.endswith(".npy"):
            with open(part, "wb") as stream:
                np.save(stream, predictions)
        else:
            with open(part, "w", newline="", encoding="utf-8") as table:
                writer = csv.writer(table)
                writer.writerow(["image", *labels])
                writer.writerows([image, *scores] for image, scores in zip(images, predictions.tolist(), strict=True))


def _files(path: str, ending: str) -> list[str]:
    if not Path(path).is_dir():
        return [path]
    found = sorted(str(file) for file in Path(path).glob(f"*.{ending.removeprefix('.')}"))
    if not found:
        raise _not_usable(path, f"no image in it ends with .{ending}", "Give its ending, as in --ext png")
    return found


def _labels(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, ValueError) as error:
        raise _not_usable(path, str(getattr(error, "strerror", None) or error), "") from None


def _mean(text: str, channels: int) -> np.ndarray:
    """Return a value for each channel: as given, or the averages over a mean image, as in the original's tools."""
    import numpy as np

    from ..data.binaryproto import read_binaryproto

    try:
        values = np.array([float(value) for value in text.split(",")])
        return values.repeat(channels) if len(values) == 1 else values
    except ValueError:
        pass
    if text.endswith(".npy"):
        mean = _load_npy(text)
    else:
        _, mean = read_binaryproto(text, "mean", "--mean", None, "compute-image-mean makes")
    mean = mean[0] if mean.ndim == 4 else mean
    if mean.ndim not in (1, 3):
        raise _not_usable(text, f"an array of shape {mean.shape}", "A mean is of shape C, or C, H, W")
    return mean.reshape(len(mean), -1).mean(1)


def _load_npy(path: str) -> np.ndarray:
    import numpy as np

    try:
        loaded: Any = np.load(path, mmap_mode="r")  # mmap_mode makes it compare the shape with the file's size
    except (OSError, ValueError, EOFError, TypeError, OverflowError) as error:
        raise _not_usable(path, str(getattr(error, "strerror", None) or error), "") from None
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "fiu":
        raise _not_usable(path, "it holds no array of numbers", "")
    return loaded


def _not_usable(path: str, what: str, hint: str) -> Exception:
    from ..errors import DataError, Where

    return DataError(f"this file cannot be used: {what}", where=Where(path), hint=hint)


def _whole_numbers(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not whole numbers with commas between")
    return tuple(map(int, text.split(",")))


def _size(text: str) -> tuple[int, ...]:
    if len(size := _whole_numbers(text)) != 2 or 0 in size:
        raise argparse.ArgumentTypeError(f"{text!r} is not a height and a width, as in 256,256")
    return size

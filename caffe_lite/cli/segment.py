"""Find the class of each pixel in images and videos: print their shares, and write colour maps and overlays."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from .arguments import Parser, add_engine, add_state
from .dealing import Crew, in_workers
from .image_arguments import add_images, add_preparation, preparation, read_categories
from .workers import add_workers

if TYPE_CHECKING:
    import numpy as np

    from ..media.files import Medium
    from ..segmentation.labelling import Labeller


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the deploy net: images in, the scores of each pixel out")
    add_images(parser)
    what = "write the labels into this folder as PNGs with a palette, or as videos of their colours"
    parser.add_argument("--out", metavar="DIR", help=what)
    parser.add_argument("--overlay", metavar="DIR", help="write the images with the colours over them into this folder")
    what = "voc, cityscapes, or a file: lines of R G B (.txt), a PNG with a palette, an image of colours; default voc"
    parser.add_argument("--palette", metavar="NAME|FILE", default="voc", help=what)
    what = "how much the colours cover the images of --overlay, from 0 to 1; default 0.5"
    parser.add_argument("--opacity", metavar="P", type=_share, default=0.5, help=what)
    what = "the scores; default: the net's only output of four axes"
    parser.add_argument("--blob", metavar="NAME", help=what)
    add_preparation(parser)
    parser.add_argument("--as-it-is", action="store_true", help="give the net each image in its own size")
    add_state(parser)
    add_engine(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    return in_workers(arguments, _segment)


def _segment(arguments: argparse.Namespace, crew: Crew) -> None:
    from ..errors import CaffeError, Where
    from ..media.files import media_of, out_files
    from ..pycaffe.net import TEST, Net
    from ..segmentation.labelling import Labeller
    from ..segmentation.palettes import palette_of

    names = {label: category.name for label, category in read_categories(arguments.labels).items()}
    palette = palette_of(arguments.palette)
    media = [medium for given in arguments.images for medium in media_of(given)]
    nothing = [""] * len(media)
    maps = out_files(media, arguments.out, ".png") if arguments.out else nothing
    overlays = out_files(media, arguments.overlay) if arguments.overlay else nothing
    if same := {*maps} & {*overlays} - {""}:
        where, hint = Where(min(same)), "give --out and --overlay folders of their own"
        raise CaffeError("two of the files would be the same one", where=where, hint=hint)
    crew.start(arguments)
    net = Net(*(arguments.net, TEST, arguments.level, arguments.stage, arguments.weights), compile=arguments.compile)
    look = _Look(names, palette, arguments.opacity)
    try:
        labeller = Labeller(net, preparation(arguments), arguments.blob, arguments.as_it_is)
        crew.join(net)

        def work(task: tuple[Medium, str, str]) -> Iterator[str]:
            return _go_through(*task, labeller, look)

        for line in crew.in_turn(list(zip(media, maps, overlays, strict=True)), work):
            print(line)
    finally:
        net.close()


class _Look(NamedTuple):
    """How classes are shown: their names, their colours in R, G, B, and how much these cover an image."""

    names: dict[int, str]
    palette: np.ndarray
    opacity: float

    def shares(self, labels: np.ndarray) -> str:
        """Return the share of each class, the largest first."""
        import numpy as np

        found, counts = np.unique(labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return ", ".join(
            f"{self.names.get(int(found[i]), found[i])} {100 * counts[i] / labels.size:.1f}%" for i in order
        )

    def colors(self, labels: np.ndarray) -> np.ndarray:
        """Return the colours (H, W, 3) of labels, in B, G, R."""
        from ..errors import CaffeError

        if (highest := int(labels.max())) >= len(self.palette):
            raise CaffeError(
                f"the palette has {len(self.palette)} colours, and an image has the label {highest}",
                hint="give --palette a file with a colour for each class",
            )
        colors: np.ndarray = self.palette[labels][:, :, ::-1]
        return colors


def _go_through(medium: Medium, map_file: str, overlay_file: str, labeller: Labeller, look: _Look) -> Iterator[str]:
    """Yield a line about each image of a medium, and write its labels and its overlay into the files that are named."""
    from ..segmentation.palettes import overlay

    with ExitStack() as files:
        put_map = files.enter_context(medium.like(map_file)) if map_file and medium.is_video else None
        put_overlay = files.enter_context(medium.like(overlay_file)) if overlay_file else None
        for name, image in medium.frames():
            labels = labeller(image)
            yield f"{name}: {look.shares(labels)}"
            if not (map_file or overlay_file):
                continue
            colors = look.colors(labels)
            if put_map is not None:
                put_map(colors)
            elif map_file:
                _write_map(map_file, labels, look.palette)
            if put_overlay is not None:
                put_overlay(overlay(image, colors, look.opacity))


def _write_map(path: str, labels: np.ndarray, palette: np.ndarray) -> None:
    from ..data.images.label_image import encode_label_image
    from ..files.atomic import atomic_write

    with atomic_write(path) as part:
        part.write_bytes(encode_label_image(labels, palette))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share

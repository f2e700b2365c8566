"""Make a database of the images that a list names, with the boxes of their objects."""

from __future__ import annotations

import argparse
import os

from .arguments import Parser, UsageError, add_backend, add_switch, not_negative

_KINDS = ("xml", "json", "txt")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("root", metavar="ROOTFOLDER", help="what the names in the list begin from")
    parser.add_argument("list", metavar="LISTFILE", help="lines of an image and its annotations: 1.jpg 1.xml")
    parser.add_argument("out", metavar="DB_NAME", help="the database to make: a folder that does not exist yet")
    parser.add_argument("link_folder", metavar="EXAMPLE_DIR", nargs="?", help="a folder for a link to the database")
    what = "boxes from annotation files, or the labels in the list; default classification"
    kinds = ("classification", "detection")
    parser.add_argument("--anno-type", choices=kinds, default=kinds[0], help=what)
    what = "what annotation files are: VOC's XML, COCO's JSON for one image each, or text; default xml"
    parser.add_argument("--label-type", choices=_KINDS, default=_KINDS[0], help=what)
    parser.add_argument("--label-map-file", metavar="FILE", default="", help="the labels of the names in XML and JSON")
    add_switch(parser, "check-label", "stop at a name that the label map has twice")
    add_backend(parser)
    add_switch(parser, "redo", "replace a database that is there")
    add_switch(parser, "gray", "read the images as grey ones; without it in colour")
    add_switch(parser, "shuffle", "put the images in a random order")
    parser.add_argument(
        "--seed", metavar="S", type=not_negative, help="shuffle with this seed; default: another every time"
    )
    parser.add_argument("--resize-width", metavar="N", type=not_negative, default=0, help="make all images so wide")
    parser.add_argument("--resize-height", metavar="N", type=not_negative, default=0, help="make all images so high")
    parser.add_argument("--min-dim", metavar="N", type=not_negative, default=0, help="make the smaller side no shorter")
    parser.add_argument("--max-dim", metavar="N", type=not_negative, default=0, help="make the larger side no longer")
    add_switch(parser, "check-size", "stop at an image of another size than the first")
    add_switch(parser, "encoded", "keep the images as files (JPEG, PNG, ...), which are smaller and take time to read")
    parser.add_argument("--encode-type", metavar="X", default="", help="how to encode them: jpg, png, ...")


def run(arguments: argparse.Namespace) -> int:
    from ..data.annotated.annoset import Storage, annotations_of, create_annoset
    from ..logs.log import start_logging
    from .progress import Progress

    a = arguments
    if bool(a.resize_width) != bool(a.resize_height):
        raise UsageError("--resize-width and --resize-height work together only: give both")
    size = (a.resize_height, a.resize_width) if a.resize_width else None
    detection = a.anno_type == "detection"
    log = start_logging()
    written = create_annoset(
        a.root,
        a.list,
        a.out,
        annotations=annotations_of(a.label_type, a.label_map_file, a.check_label) if detection else None,
        storage=Storage(a.gray, size, a.min_dim, a.max_dim, a.encoded, a.encode_type),
        backend=a.backend,
        shuffle=a.shuffle,
        seed=a.seed,
        check_size=a.check_size,
        redo=a.redo,
        track=Progress(log, "image"),
    )
    print(f"Wrote {written} images to {a.out}")
    if a.link_folder:
        _link(a.out, a.link_folder)
    return 0


def _link(database: str, folder: str) -> None:
    """Put a link to the database into a folder, in place of an older link."""
    from ..errors import DataError, Where

    link = os.path.join(folder, os.path.basename(os.path.normpath(database)))
    try:
        os.makedirs(folder, exist_ok=True)
        if os.path.islink(link):
            os.remove(link)
        os.symlink(os.path.abspath(database), link)
    except OSError as error:
        raise DataError(f"cannot make a link: {error.strerror or error}", where=Where(link)) from error

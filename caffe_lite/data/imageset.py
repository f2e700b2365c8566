"""The image files and labels of a list, turned into a database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import numpy as np

from ..errors import DataError, Where
from ..logs.log import logger
from ..proto import caffe_pb2
from ..proto.arrays import array_to_datum
from .databases.writing import new_database, refuse_existing
from .image_list import ImageList
from .images.image import channels_first, decode_image, import_cv2, read_image_file, resize_image
from .transform import by


def convert_imageset(
    root: str,
    list_file: str,
    out: str,
    *,
    backend: str = "lmdb",
    gray: bool = False,
    shuffle: bool = False,
    seed: int | None = None,
    size: tuple[int, int] | None = None,
    check_size: bool = False,
    encoded: bool = False,
    encode_type: str = "",
    track: Callable[[Iterable[int], int], Iterable[int]] = lambda lines, _: lines,
) -> int:
    """Write the images of a list as a database of Datum records; return the number of records.

    A record's key is the number of its line and its name, "00000000_cat.jpg". ``size`` is (height, width). With
    ``encoded``, the records hold files: the image files as they are, even with ``gray``, unless ``size`` or another
    ``encode_type`` asks for a change. A file that cannot be read is left out with a message in the log, as in the
    original. ``check_size`` requires images of one shape; the original compares sizes, and fails on encoded images.
    Source: the original's convert_imageset.cpp.
    """
    refuse_existing(out)
    images = ImageList(list_file, None)
    order = range(len(images))
    if shuffle:
        logger.info("Shuffling data")
        order = np.random.default_rng(seed).permutation(len(images)).tolist()
    logger.info("A total of %d images.", len(images))
    if encode_type and not encoded:
        logger.info("encode_type specified, assuming encoded=true.")
    count, expected = 0, None
    with new_database(out, backend) as put:
        for number, line in enumerate(track(order, len(images))):
            name = images.paths[line]
            file = join(root, name)
            try:
                content = read_image_file(file, None)
                image = decode_image(content, color=not gray)
            except DataError as error:
                logger.error("Could not open or find file %s: %s", file, error.what)
                continue
            image = image if size is None else resize_image(image, *size)
            expected = expected or image.shape
            if check_size and image.shape != expected:
                raise DataError(
                    f"the image {file!r} is {by(image.shape[:2])} (H x W), the first one {by(expected[:2])}",
                    where=images.where(line),
                    hint="Leave out --check-size, or make all equal with --resize-height and --resize-width",
                )
            if encoded or encode_type:
                data = encoded_image(image, None if size else content, encode_type, file, images.where(line))
                datum = caffe_pb2.Datum(encoded=True, data=data, label=images.label(line))
            else:
                datum = array_to_datum(channels_first(image), images.label(line))
            put(record_key(number, name), datum.SerializeToString())
            count += 1
            if count % 1000 == 0:
                logger.info("Processed %d files.", count)
        if not count:
            raise DataError("it names no image that can be read", where=Where(list_file))
    if count % 1000:
        logger.info("Processed %d files.", count)
    return count


def join(root: str, name: str) -> str:
    """Join them as the original does, so that a list may hold "/cat.jpg"; here the slash may also be missing."""
    return root + name if not root or root.endswith(("/", os.sep)) or name.startswith("/") else f"{root}/{name}"


def record_key(number: int, name: str) -> bytes:
    """Return the key of the image of this name, "00000000_cat.jpg"."""
    return b"%08d_" % number + name.encode("utf-8", "surrogateescape")


def encoded_image(image: np.ndarray, content: bytes | None, kind: str, file: str, where: Where) -> bytes:
    """Return an image (H, W, C) encoded as ``kind``, by default that of its file.

    ``content`` is that of the file, and is returned as it is if the kind is the same; it is None if the image is no
    longer that in the file.
    """
    extension = os.path.splitext(file)[1][1:].lower()
    kind = kind.lower() or extension
    same = extension == kind or (extension, kind) == ("jpeg", "jpg")
    return content if same and content is not None else _encode(image, kind, file, where)


def _encode(image: np.ndarray, kind: str, file: str, where: Where) -> bytes:
    cv2 = import_cv2()
    try:
        done, content = cv2.imencode(f".{kind}", image)
    except cv2.error:
        done = False
    if not done:
        what = f"OpenCV cannot encode it as {kind!r}" if kind else "its name does not tell how to encode it"
        hint = "Give an --encode-type that OpenCV knows: jpg, png, ..."
        raise DataError(f"the image {file!r}: {what}", where=where, hint=hint)
    encoded: bytes = content.tobytes()
    return encoded

"""Make the data of the detectors in configs/: pictures of circles, squares and triangles, with their boxes.

Makes the databases train_lmdb and test_lmdb for AnnotatedData layers; and, as files in test_images, the first test
pictures, three times as large.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np

from caffe_lite.data.databases.writing import new_database
from caffe_lite.data.images.image import decode_image
from caffe_lite.data.label_map import read_label_map
from caffe_lite.proto.caffe_pb2 import AnnotatedDatum

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "ssd_tiny"
SIZE = 96
SIDES = (14, 56)  # of the boxes
MOST_SHAPES = 4
TEST_IMAGES = 16
ENLARGED = 3

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; the last two are outside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="default: %(default)s")
    parser.add_argument("--train", metavar="N", type=int, default=4000, help="training images; default %(default)s")
    parser.add_argument("--test", metavar="N", type=int, default=500, help="test images; default %(default)s")
    arguments = parser.parse_args()
    labels = read_label_map(str(FOLDER / "labelmap.prototxt"), None)
    shapes = [(label, name) for label, name in sorted(labels.items()) if name in OUTLINES]
    for seed, (part, count) in enumerate((("train", arguments.train), ("test", arguments.test))):
        out = arguments.folder / f"{part}_lmdb"
        shutil.rmtree(out, ignore_errors=True)
        rng = np.random.default_rng(seed)
        with new_database(str(out)) as put:
            for index in range(count):
                record = picture(rng, shapes)
                put(f"{index:06d}".encode(), record.SerializeToString())
                if part == "test" and index < TEST_IMAGES:
                    file = arguments.folder / "test_images" / f"{index:06d}.jpg"
                    file.parent.mkdir(exist_ok=True)
                    image = decode_image(record.datum.data, color=True)
                    cv2.imwrite(str(file), cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED))
        print(f"{out}: {count:,} images, {(out / 'data.mdb').stat().st_size:,} bytes")


def picture(rng: np.random.Generator, shapes: list[tuple[int, str]]) -> AnnotatedDatum:
    """Draw one to four shapes that do not overlap; return them as a record, with their boxes and labels."""
    image, boxes = texture(rng), list[Box]()
    record = AnnotatedDatum(type=AnnotatedDatum.BBOX)
    groups = {}
    for _ in range(rng.integers(1, MOST_SHAPES + 1)):
        label, name = shapes[rng.integers(len(shapes))]
        if (box := free_place(rng, boxes)) is None:
            continue
        boxes.append(box)
        draw(rng, image, box, name)
        if label not in groups:
            groups[label] = record.annotation_group.add(group_label=label)
        found = groups[label].annotation.add(instance_id=len(groups[label].annotation))
        found.bbox.xmin, found.bbox.ymin, found.bbox.xmax, found.bbox.ymax = (edge / SIZE for edge in box)
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    record.datum.data, record.datum.encoded, record.datum.label = encoded.tobytes(), True, -1
    record.datum.channels, record.datum.height, record.datum.width = 3, SIZE, SIZE
    return record


def texture(rng: np.random.Generator) -> np.ndarray:
    """Return a background: a gradient of two colours, waves, and noise of several grains."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    first, second = rng.uniform(40, 215, (2, 3))
    values = first + (second - first) * (across[:, :, None] + 0.5)
    values += rng.uniform(0, 30) * np.sin(across * rng.uniform(20, 120) + rng.uniform(0, 6))[:, :, None]
    for cells in (6, 24, SIZE):
        noise = rng.normal(0, rng.uniform(2, 14), (cells, cells, 3))
        values += cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(values, 0, 255).astype(np.uint8)


def free_place(rng: np.random.Generator, taken: list[Box], sides: tuple[int, int] = SIDES) -> Box | None:
    """Return a random box with sides around these that overlaps none of the others, or None if there is hardly room."""
    for _ in range(20):
        width, height = side = np.exp(rng.uniform(*np.log(sides)) + rng.uniform(-0.15, 0.15, 2)).astype(int)
        x, y = (int(edge) for edge in rng.integers(0, SIZE - side + 1))
        box = (x, y, x + int(width), y + int(height))
        if all(box[0] >= b[2] or b[0] >= box[2] or box[1] >= b[3] or b[1] >= box[3] for b in taken):
            return box
    return None


def draw(rng: np.random.Generator, image: np.ndarray, box: Box, name: str) -> np.ndarray:
    """Draw a shape that fills the box, with smooth edges, in a colour unlike what is behind it, lightly textured.

    Return how much of each pixel it covers, up to 255.
    """
    points = OUTLINES[name](rng)
    low, high = points.min(0), points.max(0)
    corner, far = np.array(box[:2]), np.array(box[2:])
    fixed = ((points - low) / (high - low) * (far - corner) + corner - 0.5) * 16  # sixteenths of pixels
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [fixed.round().astype(np.int32)], 255, cv2.LINE_AA, 4)
    behind = image[box[1] : box[3], box[0] : box[2]].mean((0, 1))
    color = max(rng.uniform(0, 255, (3, 3)), key=lambda each: np.abs(each - behind).sum())
    shape = color + rng.normal(0, rng.uniform(0, 12), (SIZE, SIZE, 3))
    share = mask[:, :, None] / 255
    image[...] = np.clip(image * (1 - share) + shape * share, 0, 255)
    return mask


def circle(rng: np.random.Generator) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def square(rng: np.random.Generator) -> np.ndarray:
    return turned(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]), rng.uniform(-0.35, 0.35))


def triangle(rng: np.random.Generator) -> np.ndarray:
    return turned(np.array([(0, -1), (0.87, 0.5), (-0.87, 0.5)]), rng.uniform(0, 2 * np.pi))


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    sine, cosine = np.sin(angle), np.cos(angle)
    return points @ np.array([(cosine, sine), (-sine, cosine)])


OUTLINES = {"circle": circle, "square": square, "triangle": triangle}


if __name__ == "__main__":
    main()

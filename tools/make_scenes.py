"""Make the data of configs/enet_tiny: plain circles, striped squares, chequered triangles, and labels of their pixels.

Makes the lists train.txt and test.txt for DenseImageData layers, and the files in train/ and test/: a JPEG for each
picture, and a PNG for its labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from make_shapes import OUTLINES, SIZE, Box, draw, free_place, texture

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "enet_tiny"
SIDES = (24, 64)  # of the shapes' boxes
MOST_SHAPES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="default: %(default)s")
    parser.add_argument("--train", metavar="N", type=int, default=1200, help="training images; default %(default)s")
    parser.add_argument("--test", metavar="N", type=int, default=100, help="test images; default %(default)s")
    arguments = parser.parse_args()
    for seed, (part, count) in enumerate((("train", arguments.train), ("test", arguments.test))):
        rng = np.random.default_rng(seed)
        (arguments.folder / part).mkdir(parents=True, exist_ok=True)
        lines = []
        for index in range(count):
            image, labels = scene(rng)
            names = f"{part}/{index:06d}.jpg", f"{part}/{index:06d}.png"
            cv2.imwrite(str(arguments.folder / names[0]), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
            cv2.imwrite(str(arguments.folder / names[1]), labels)
            lines.append(" ".join(names) + "\n")
        (arguments.folder / f"{part}.txt").write_text("".join(lines), encoding="utf-8")
        print(f"{arguments.folder / part}.txt: {count:,} images")


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one to three shapes that do not overlap; return the image and its labels: 0, or the number of the shape."""
    image, boxes = texture(rng), list[Box]()
    labels = np.zeros((SIZE, SIZE), np.uint8)
    names = list(OUTLINES)
    for _ in range(rng.integers(1, MOST_SHAPES + 1)):
        label = int(rng.integers(len(names)))
        if (box := free_place(rng, boxes, SIDES)) is not None:
            boxes.append(box)
            cover = draw(rng, image, box, names[label])
            labels[cover >= 128] = label + 1
            waves = (
                TEXTURES[names[label]](*turned_places(rng))[:, :, None]
                * rng.uniform(40, 70)
                * (cover[:, :, None] / 255)
            )
            image[...] = np.clip(image + waves, 0, 255)
    return image, labels


def turned_places(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return two coordinates of each pixel, in directions at a random angle, in units of waves."""
    y, x = np.mgrid[:SIZE, :SIZE] * (2 * np.pi / rng.uniform(9, 14))
    angle = rng.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


TEXTURES = {
    "circle": lambda x, y: np.zeros_like(x),
    "square": lambda x, y: np.sin(x),
    "triangle": lambda x, y: np.sin(x) * np.sin(y),
}


if __name__ == "__main__":
    main()

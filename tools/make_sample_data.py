"""Make the databases in configs/lenet from the IDX files of Fashion-MNIST: the first 5,000 and the first 1,000 images.

The files are at https://github.com/zalandoresearch/fashion-mnist, and in Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from caffe_lite.data.mnist import convert_mnist

LENET = Path(__file__).resolve().parent.parent / "configs" / "lenet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("/usr/share/datasets/fashion-mnist"), help="default: %(default)s"
    )
    folder = parser.parse_args().folder
    for part, prefix, count in (("train", "train", 5000), ("test", "t10k", 1000)):
        out = LENET / f"fashion_mnist_{part}_lmdb"
        shutil.rmtree(out, ignore_errors=True)
        images, labels = (folder / f"{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        convert_mnist(str(images), str(labels), str(out), limit=count)
        print(f"{out}: {(out / 'data.mdb').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

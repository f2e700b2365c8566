"""Time forward passes in TEST on our engines and in the DNN module of OpenCV 4, which imports nets of Caffe, too.

The sides run in turn, each in its own process and on one core, for several rounds, so that a slow moment of the machine
affects all of them. OpenCV 5 has no importer for Caffe: without OpenCV 4, only our sides run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from caffe_lite.proto.caffe_pb2 import NetParameter

Arrays = Mapping[str, np.ndarray]


class Case(NamedTuple):
    """A net of one layer or of many, and what it is to be fast enough for.

    ``limit`` is the most milliseconds, ``bar`` the largest ratio of our median to OpenCV's.
    """

    title: str
    make: Callable[[], tuple[NetParameter, Arrays]]
    iterations: int
    limit: float | None = None
    bar: float | None = None


def layer(text: str, **inputs: np.ndarray) -> tuple[NetParameter, Arrays]:
    """Return a net of one layer and its inputs, which are its bottoms in this order."""
    from caffe_lite.proto.caffe_pb2 import NetParameter
    from caffe_lite.proto.parser import parse_text

    net = NetParameter()
    for name, values in inputs.items():
        net.layer.add(name=name, type="Input", top=[name]).input_param.shape.add(dim=values.shape)
    bottoms = " ".join(f'bottom: "{name}"' for name in inputs)
    net.MergeFrom(parse_text(f'layer {{ name: "y" top: "y" {bottoms} {text} }}', NetParameter).message)
    return net, inputs


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def boxes(count: int, width: float, height: float) -> np.ndarray:
    """Return x1, y1, x2, y2 of boxes in an image."""
    rng = random()
    size = np.array([width, height])
    first, second = (rng.uniform(0, size, (count, 2)) for _ in range(2))
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1).astype(np.float32)


def regions(width: float, height: float) -> np.ndarray:
    return np.concatenate([np.zeros((300, 1), np.float32), boxes(300, width, height)], 1)


PRIORS, CLASSES = 8732, 21


def predictions(background: float) -> dict[str, np.ndarray]:
    """Return offsets, scores and priors of SSD-300; with a large ``background`` few scores of other classes remain."""
    rng = random()
    scores = rng.standard_normal((PRIORS, CLASSES))
    scores[:, 0] += background
    scores = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], PRIORS)
    return {
        "loc": rng.standard_normal((1, 4 * PRIORS)).astype(np.float32),
        "conf": scores.reshape(1, -1).astype(np.float32),
        "priors": np.stack([boxes(PRIORS, 1, 1).ravel(), variances])[None].astype(np.float32),
    }


def detection_output(background: float) -> tuple[NetParameter, Arrays]:
    from detectors import DETECTION

    from caffe_lite.net_spec import assign_proto

    net, inputs = layer('type: "DetectionOutput"', **predictions(background))
    assign_proto(net.layer[-1], "detection_output_param", DETECTION)
    return net, inputs


def roi_pooling() -> tuple[NetParameter, Arrays]:
    x = random().standard_normal((1, 512, 38, 50), dtype=np.float32)
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 7 pooled_w: 7 spatial_scale: 0.0625 }'
    return layer(text, x=x, rois=regions(799, 607))


def psroi_pooling() -> tuple[NetParameter, Arrays]:
    x = random().standard_normal((1, 1029, 38, 63), dtype=np.float32)
    text = 'type: "PSROIPooling" psroi_pooling_param { output_dim: 21 group_size: 7 spatial_scale: 0.0625 }'
    return layer(text, x=x, rois=regions(1007, 607))


def proposal() -> tuple[NetParameter, Arrays]:
    rng = random()
    text = """type: "Proposal" proposal_param {
      feat_stride: 16 base_size: 16 min_size: 16 ratio: 0.5 ratio: 1 ratio: 2 scale: 4 scale: 8 scale: 16 scale: 32
      pre_nms_topn: 6000 post_nms_topn: 300 nms_thresh: 0.7 }"""
    return layer(
        text,
        scores=rng.random((1, 24, 25, 40), dtype=np.float32),
        deltas=0.2 * rng.standard_normal((1, 48, 25, 40), dtype=np.float32),
        im_info=np.array([[400, 640, 1]], np.float32),
    )


def multibox_loss() -> tuple[NetParameter, Arrays]:
    """Return the loss of 32 images with 5 boxes each."""
    rng = random()
    rows = [
        [image, rng.integers(1, CLASSES), 0, *box, 0] for image in range(32) for box in boxes(5, 1, 1) + image / 1e4
    ]
    return layer(
        f'type: "MultiBoxLoss" multibox_loss_param {{ num_classes: {CLASSES} }}',
        loc=rng.standard_normal((32, 4 * PRIORS), dtype=np.float32),
        conf=rng.standard_normal((32, CLASSES * PRIORS), dtype=np.float32),
        priors=predictions(0)["priors"],
        label=np.array([[rows]], np.float32),
    )


def ssd300() -> tuple[NetParameter, Arrays]:
    from detectors import ssd300

    return ssd300(), {"data": random().standard_normal((1, 3, 300, 300), dtype=np.float32)}


CASES = {
    "detection_output": Case("DetectionOutput, 8732 priors", partial(detection_output, 8.0), 30, 10, 1),
    "crowded": Case("the same, all above the threshold", partial(detection_output, 0.0), 10, None, 1),
    "roi_pooling": Case("ROIPooling, 300 of 512x38x50", roi_pooling, 20, 30, 1),
    "psroi_pooling": Case("PSROIPooling, 300 of 1029x38x63", psroi_pooling, 20, 30, 1),
    "proposal": Case("Proposal, 12000 anchors", proposal, 30, 40),
    "multibox_loss": Case("MultiBoxLoss, 32 x 8732 priors", multibox_loss, 10, 60),
    "ssd300": Case("SSD-300 on VGG-16", ssd300, 5, None, 0.8),
}


# -- the sides -------------------------------------------------------------------------------------------------------


class Times(NamedTuple):
    """Seconds of an iteration, by the clock and of the processor: medians."""

    clock: float
    processor: float


def timed(iterate: Callable[[], object], iterations: int) -> Times:
    for _ in range(3):
        iterate()
    seconds = []
    for _ in range(iterations):
        begin = time.perf_counter(), time.process_time()
        iterate()
        seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return Times(*(median(each) for each in zip(*seconds, strict=True)))


def caffe_lite_side(case: Case, engine: str) -> Times:
    from caffe_lite import TEST, Net

    if engine == "torch":
        import torch

        torch.set_num_threads(1)
    param, inputs = case.make()
    net = Net(param, TEST, engine=engine, seed=1)
    for name, values in inputs.items():
        net.blobs[name].data[...] = values
    return timed(net.forward, case.iterations)


def opencv_side(case: Case) -> Times | None:
    """Time the same net, with the same weights, in OpenCV; None where it has no such layer."""
    import cv2

    from caffe_lite import TEST, Net

    read = importer()
    assert read is not None
    cv2.setNumThreads(1)
    param, inputs = case.make()
    if any(layer.type == "MultiBoxLoss" for layer in param.layer):
        return None
    with TemporaryDirectory() as folder:
        Net(param, TEST, engine="numpy", seed=1).save(f"{folder}/net.caffemodel")
        weights = Path(folder, "net.caffemodel").read_bytes()
    net = read(str(param).encode(), weights)
    for name, values in inputs.items():
        net.setInput(values, name)
    return timed(net.forward, case.iterations)


SIDES: dict[str, Callable[[Case], Times | None]] = {
    "numpy": partial(caffe_lite_side, engine="numpy"),
    "torch": partial(caffe_lite_side, engine="torch"),
    "opencv": opencv_side,
}


# -- the processes and the table -------------------------------------------------------------------------------------


def main() -> None:
    args = arguments()
    if args.process:
        print(json.dumps(SIDES[args.process](CASES[args.cases[0]])))
        return
    print_row("case".ljust(36), "side".ljust(6), "median ms", "least", "processor", "limit", "ratio", "bar")
    print_row("-" * 36, "-" * 6, *("-" * 8 + ":" for _ in range(6)))
    for name in args.cases:
        times: dict[str, list[Times]] = {side: [] for side in args.sides}
        for _ in range(args.rounds):
            for side in args.sides:
                if (measured := in_a_process(side, name)) is not None:
                    times[side].append(measured)
        print_times(CASES[name], times)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="which, joined by commas (%(default)s)")
    parser.add_argument("--sides", help=f"which of {','.join(SIDES)}; without it all that run here")
    parser.add_argument("--rounds", type=int, default=5, help="processes per side and case (%(default)s)")
    parser.add_argument("--process", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    default = [side for side in SIDES if side != "opencv" or importer()]
    for option, known in (("cases", list(CASES)), ("sides", list(SIDES))):
        chosen = (getattr(args, option) or ",".join(default)).split(",")
        if unknown := [name for name in chosen if name not in known]:
            parser.error(f"no {unknown[0]!r} among the {option}: {', '.join(known)}")
        setattr(args, option, chosen)
    return args


def importer() -> Callable[[bytes, bytes], Any] | None:
    """Return OpenCV's function that reads a net; None where there is none."""
    try:
        import cv2
    except ImportError:
        return None
    return getattr(cv2.dnn, "readNetFromCaffe", None)


def in_a_process(side: str, case: str) -> Times | None:
    """Return the measurements of a fresh process."""
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--process", side, "--cases", case]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench_opencv.py: {side} failed on {case} with exit status {done.returncode}")
    measured: Any = json.loads(done.stdout)
    return measured and Times(*measured)


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_times(case: Case, times: Mapping[str, list[Times]]) -> None:
    theirs = [one.clock for one in times.get("opencv", [])]
    for side, measured in times.items():
        if not measured:
            continue
        clocks, processor = zip(*measured, strict=True)
        cells = [f"{1e3 * seconds:.2f}" for seconds in (median(clocks), min(clocks), median(processor))]
        if side != "opencv":
            cells.append("" if case.limit is None else f"{case.limit:g}")
            cells.append(f"{median(clocks) / median(theirs):.2f}" if theirs else "")
            cells.append(f"{case.bar:g}" if theirs and case.bar else "")
        cells += [""] * (6 - len(cells))
        print_row(case.title.ljust(36), side.ljust(6), *(cell.rjust(9) for cell in cells))


if __name__ == "__main__":
    main()

"""Record what an OpenCV that reads nets of Caffe computes for the nets of tests/dnn/nets, beside them, as .npz.

    PYTHONPATH=folder/with/opencv/4.10 python tools/record_opencv.py

Weights and inputs are drawn from a seed. Each layer is asked for by itself, of a new net without fused layers: OpenCV
4.10 returns the results of fused layers, or overwritten ones, where several are asked for.
"""

from __future__ import annotations

import sys
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

import caffe_lite
from caffe_lite.proto.arrays import array_to_blobproto
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.prototxt import read_net

NETS = Path(__file__).resolve().parents[1] / "tests" / "dnn" / "nets"

# Inputs that are not as large as the prototxt says.
SHAPES = {"maps": {"data": (2, 3, 17, 14)}, "ssd": {"data": (2, 3, 24, 32)}}
ROIS = np.array([[0, 1, 1, 20, 20], [0, 3, 4, 30, 10], [0, 0, 0, 40, 30], [0, 5, 5, 5, 5]], np.float32)


def weights_of(path: Path, rng: np.random.Generator) -> bytes:
    """Return a .caffemodel with random weights."""
    net = caffe_lite.Net(path, caffe_lite.TEST, engine="numpy")
    model = NetParameter()
    for node in net.nodes:
        if node.layer.blobs:
            layer = model.layer.add(name=node.name, type=node.layer.type)
            layer.blobs.extend(
                array_to_blobproto(_drawn(blob.shape, node.layer.type, rng)) for blob in node.layer.blobs
            )
    return model.SerializeToString()


def _drawn(shape: tuple[int, ...], layer_type: str, rng: np.random.Generator) -> np.ndarray:
    if layer_type in ("BatchNorm", "Normalize"):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 1, shape) / sqrt(max(1, prod(shape[1:])))


def record(path: Path, dnn: Any) -> None:
    """Write the record of one net."""
    rng = np.random.default_rng(16)
    text, model = path.read_bytes(), weights_of(path, rng)
    shapes = {
        top: tuple(shape.dim)
        for layer in read_net(path).message.layer
        for top, shape in zip(layer.top, layer.input_param.shape, strict=False)
    } | SHAPES.get(path.stem, {})
    inputs = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if "rois" in inputs:
        inputs["rois"] = ROIS

    def new() -> Any:
        net = dnn.readNetFromCaffe(text, model)
        net.enableFusion(False)
        for name, values in inputs.items():
            net.setInput(values, name)
        return net

    net = new()
    found: dict[str, Any] = {f"in:{name}": values for name, values in inputs.items()}
    found["model"] = np.frombuffer(model, np.uint8)
    found["names"], found["unread"] = net.getLayerNames(), net.getUnconnectedOutLayers()
    for number, name in enumerate(net.getLayerNames(), 1):
        try:
            found[f"out:{name}"] = new().forward(name)
        except Exception as error:
            print(f"{path.name}, {name}: not recorded: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
            continue
        layer = net.getLayer(number)
        found[f"type:{name}"] = layer.type
        for index, blob in enumerate(layer.blobs):
            found[f"blob:{name}:{index}"] = np.array(blob.shape)
    computable = [name for name in net.getLayerNames() if f"out:{name}" in found]
    if len(computable) == len(net.getLayerNames()):
        sizes = [values.shape for values in inputs.values()]
        net.forward()  # after which OpenCV knows the windows of global pooling
        numbers = range(len(computable) + 1)
        found["flops"] = [net.getFLOPS(number, sizes) for number in numbers]
        found["memory"] = [net.getMemoryConsumption(number, sizes) for number in numbers]
    np.savez_compressed(path.with_suffix(".npz"), **found)


def main() -> None:
    import cv2

    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        sys.exit(f"OpenCV {cv2.__version__} reads no nets of Caffe: take 4.10")
    for path in sorted(NETS.glob("*.prototxt")):
        record(path, cv2.dnn)


if __name__ == "__main__":
    main()

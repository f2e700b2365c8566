"""Nets of one Python layer of py-faster-rcnn, named as the original's prototxt files name it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from google.protobuf import text_format

from caffe_lite import TRAIN, Net
from caffe_lite.proto import caffe_pb2

MODULES = {
    "ProposalLayer": "rpn.proposal_layer",
    "AnchorTargetLayer": "rpn.anchor_target_layer",
    "ProposalTargetLayer": "rpn.proposal_target_layer",
    "RoIDataLayer": "roi_data_layer.layer",
}


def python_net(
    layer: str, bottoms: Sequence[np.ndarray], tops: int, param_str: str, engine: str, phase: int = TRAIN
) -> Net:
    """Make the net, and fill its inputs."""
    text = ""
    for i, values in enumerate(bottoms):
        dims = " ".join(f"dim: {n}" for n in values.shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    ends = [f'bottom: "x{i}"' for i in range(len(bottoms))] + [f'top: "y{i}"' for i in range(tops)]
    text += (
        f'layer {{ name: "under_test" type: "Python" {" ".join(ends)} python_param {{ module: "{MODULES[layer]}" '
        f'layer: "{layer}" param_str: "{param_str}" }} }}'
    )
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase, engine=engine)
    for i, values in enumerate(bottoms):
        net.blobs[f"x{i}"].data[...] = values
    return net

"""Layers whose names forks give to several layers: what they are taken for, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from caffe_lite.inspection.check import Checked, check
from caffe_lite.layer import layer_class, layer_type_list

IMAGES = (2, 6, 8, 8)
ROWS = (2, 3)
BOXES = (1, 1, 4, 8)
LISTS = (2, 1, 4, 5)
REGION = "region_loss_param { num: 1 num_class: 1 biases: [1, 1] }"
PROPOSAL = [(1, 18, 4, 4), (1, 36, 4, 4), (1, 3)]
ANCHOR = "anchor { left: 1 top: 1 right: 9 bottom: 9 }"
DETECTED = "detection_evaluate_param { num_classes: 3 name_size_file: 'sizes' }"
MEANINGS = [
    ("BN", "bn_param { frozen: true }", [IMAGES], "yjxiong's BN, because frozen is given"),
    ("BN", "param {} param {} param {} param {}", [IMAGES], "yjxiong's BN, because it has 4 param"),
    ("BN", "bn_param { bn_mode: INFERENCE }", [IMAGES], "SegNet's BN, because bn_mode is given"),
    ("BN", "", [IMAGES], "SegNet's BN, because no field of yjxiong's is given"),
    ("BatchNorm", "", [IMAGES], None),
    ("BatchNorm", "batch_norm_param { scale_bias: false }", [IMAGES], None),
    ("BatchNorm", "batch_norm_param { scale_bias: true }", [IMAGES],
     "NVIDIA's BatchNorm, because scale_bias is true"),
    ("BatchNorm", "batch_norm_param { bias_filler {} }", [IMAGES], "NVIDIA's BatchNorm, because bias_filler is given"),
    ("BatchNorm", "batch_norm_param { filler {} }", [IMAGES], "Intel's BatchNorm, because filler is given"),
    ("CTCLoss", "", [(5, 2, 4), ROWS], "warpctc-caffe's CTCLoss, because it has two bottoms"),
    ("CtcLoss", "", [(5, 2, 4), (5, 2), (5, 2)],
     "the CtcLoss of pull request 4681 of BVLC's Caffe, because it has three bottoms"),
    ("DetectionEvaluate", DETECTED, [(1, 1, 4, 7), BOXES], "SSD's DetectionEvaluate, because it has two bottoms"),
    ("DetectionEvaluate", DETECTED, [(4, 7), (4, 8), (2, 2)],
     "Cascade R-CNN's DetectionEvaluate, because it has three bottoms"),
    ("GRN", "", [IMAGES], None),
    ("Gather", "gather_param { indices: 1 }", [ROWS], "Synopsys' Gather, because gather_param is given"),
    ("Gather", "", [ROWS], "yjxiong's Gather, because gather_param is not given"),
    ("L1Loss", "", [ROWS, ROWS], "NVIDIA's L1Loss, because it has two bottoms and no l1_loss_param"),
    ("L1Loss", "", [ROWS], "FlowNet's L1Loss, because it has one bottom"),
    ("L1Loss", "l1_loss_param {}", [ROWS, ROWS], "FlowNet's L1Loss, because l1_loss_param is given"),
    ("Noise", "noise_param { uniform_range: 1 bias: 1 }", [ROWS], "happynear's Noise, because uniform_range is given"),
    ("Noise", "noise_param { sigma: 2 }", [ROWS], "naibaf7's Noise, because sigma is given"),
    ("Noise", "", [ROWS], "naibaf7's Noise, because no field of happynear's is given"),
    ("Normalize", "norm_param {}", [IMAGES], "SSD's Normalize, because norm_param is given"),
    ("Normalize", "", [IMAGES], "happynear's Normalize, because norm_param is not given"),
    ("Proposal", "proposal_param { ratio: [0.5, 1, 2] scale: [8, 16, 32] }", PROPOSAL,
     "mini-caffe's Proposal, because ratio is given"),
    ("Proposal", f"proposal_param {{ {ANCHOR} stride_h: 16 stride_w: 16 }}",
     [(1, 2, 4, 4), (1, 4, 4, 4), (1, 3)], "Xilinx's Proposal, because anchor is given"),
    ("Proposal", "proposal_param { feat_stride: 16 }", PROPOSAL,
     "Synopsys' Proposal, because none of ratio, scale and anchor is given"),
    ("ROIAlign", "roi_align_param { pooled_h: 2 pooled_w: 2 }", [IMAGES, (3, 5)],
     "Synopsys' ROIAlign, because roi_align_param is given"),
    ("ROIAlign", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", [IMAGES, (3, 5)],
     "Cascade R-CNN's ROIAlign, because roi_align_param is not given"),
    ("RegionLoss", REGION, [IMAGES, LISTS], "MobileNet-YOLO's RegionLoss, because the true boxes are rows of 5"),
    ("RegionLoss", REGION, [IMAGES, BOXES], "Intel's RegionLoss, because the true boxes are rows of 8"),
    ("SmoothL1Loss", "", [ROWS] * 2, None),
    ("SmoothL1Loss", "", [ROWS] * 3, "SSD's SmoothL1Loss, because it has three bottoms"),
    ("SmoothL1Loss", "", [ROWS] * 4, "Fast R-CNN's SmoothL1Loss, because it has four bottoms"),
    ("Upsample", "", [IMAGES, IMAGES], "SegNet's Upsample, because it has two bottoms"),
    ("Upsample", "", [IMAGES], "MobileNet-YOLO's Upsample, because it has one bottom"),
    ("VideoData", "video_data_param { source: 'list' batch_size: 2 } transform_param { crop_size: 8 }", [],
     "yjxiong's VideoData, because source is given"),
    ("VideoData", "data_param { batch_size: 2 }", [], "SSD's VideoData, because source is not given"),
]  # fmt: skip


def checked(folder: Path, kind: str, fields: str, shapes: Sequence[tuple[int, ...] | None]) -> Checked:
    """Check a net of a layer whose bottoms have these shapes; None stands for one of which nothing is known."""
    net, bottoms = "", ""
    for i, shape in enumerate(shapes):
        made = "python_param { module: 'mine' layer: 'L' }"
        if shape is not None:
            made = f"input_param {{ shape {{ dim: {list(shape)} }} }}"
        net += f'layer {{ name: "x{i}" type: "{"Input" if shape else "Python"}" top: "x{i}" {made} }}\n'
        bottoms += f' bottom: "x{i}"'
    path = folder / "net.prototxt"
    path.write_text(f'{net}layer {{ name: "y" type: "{kind}"{bottoms} top: "y" {fields} }}\n')
    return check(path)


@pytest.mark.parametrize(("kind", "fields", "shapes", "meaning"), MEANINGS)
def test_what_a_layer_is_taken_for(
    kind: str, fields: str, shapes: list[tuple[int, ...]], meaning: str | None, tmp_path: Path
) -> None:
    found = checked(tmp_path, kind, fields, shapes)
    assert found.status == "ok", found.problems
    assert [(note.layer, note.what) for note in found.notes] == ([("y", f"taken for {meaning}")] if meaning else [])


@pytest.mark.parametrize(
    ("kind", "fields", "shapes", "meaning"), [case for case in MEANINGS if case[2] and case[0] != "RegionLoss"]
)
def test_shapes_need_not_be_known(
    kind: str, fields: str, shapes: list[tuple[int, ...]], meaning: str | None, tmp_path: Path
) -> None:
    found = checked(tmp_path, kind, fields, [None] * len(shapes))
    assert [note.what for note in found.notes if note.layer == "y"] == ([f"taken for {meaning}"] if meaning else [])


@pytest.mark.parametrize("maps", [IMAGES, None])
def test_nothing_is_told_where_an_unknown_shape_decides(maps: tuple[int, ...] | None, tmp_path: Path) -> None:
    found = checked(tmp_path, "RegionLoss", REGION, [maps, None])
    assert found.status == "ok" and not [note.what for note in found.notes if note.layer == "y"]


def test_every_layer_that_describes_meanings_tells_them() -> None:
    """CtcLoss has the docstring of CTCLoss by reference."""
    classes = [layer_class(kind) for kind in layer_type_list()]
    described = {cls.type for cls in classes if cls and "Meanings:" in (cls.__doc__ or "")}
    assert described == {kind for kind, _, _, meaning in MEANINGS if meaning} - {"CtcLoss"}

"""The settings of py-faster-rcnn's layers, with its names and defaults."""

from __future__ import annotations

from typing import Any

import numpy as np


class Config(dict[str, Any]):
    """Settings by name, as attributes and as items: ``cfg.TRAIN.BATCH_SIZE``, ``cfg["TRAIN"].BATCH_SIZE``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no setting {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self:
            raise AttributeError(f"there is no setting {name!r}")
        self[name] = value


cfg = Config(
    TRAIN=Config(
        SCALES=(600,),  # of the shorter side, one of which is drawn for each image
        MAX_SIZE=1000,  # of the longer side
        IMS_PER_BATCH=2,
        BATCH_SIZE=128,  # regions
        FG_FRACTION=0.25,  # of these are objects, at most
        FG_THRESH=0.5,  # overlaps from which a region is an object, and between which it is background
        BG_THRESH_HI=0.5,
        BG_THRESH_LO=0.1,
        BBOX_REG=True,
        BBOX_INSIDE_WEIGHTS=(1.0, 1.0, 1.0, 1.0),
        BBOX_NORMALIZE_TARGETS_PRECOMPUTED=False,
        BBOX_NORMALIZE_MEANS=(0.0, 0.0, 0.0, 0.0),
        BBOX_NORMALIZE_STDS=(0.1, 0.1, 0.2, 0.2),
        ASPECT_GROUPING=True,  # images of a batch are all wide or all tall
        HAS_RPN=False,
        RPN_POSITIVE_OVERLAP=0.7,
        RPN_NEGATIVE_OVERLAP=0.3,
        RPN_CLOBBER_POSITIVES=False,  # an anchor that is both is background
        RPN_FG_FRACTION=0.5,
        RPN_BATCHSIZE=256,  # anchors
        RPN_NMS_THRESH=0.7,
        RPN_PRE_NMS_TOP_N=12000,
        RPN_POST_NMS_TOP_N=2000,
        RPN_MIN_SIZE=16,
        RPN_BBOX_INSIDE_WEIGHTS=(1.0, 1.0, 1.0, 1.0),
        RPN_POSITIVE_WEIGHT=-1.0,  # of all objects, the rest is that of background; -1: every anchor has the same
    ),
    TEST=Config(RPN_NMS_THRESH=0.7, RPN_PRE_NMS_TOP_N=6000, RPN_POST_NMS_TOP_N=300, RPN_MIN_SIZE=16),
    PIXEL_MEANS=np.array([[[102.9801, 115.9465, 122.7717]]]),  # blue, green, red
)

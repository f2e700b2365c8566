"""ImageSegData: batches of images with labels of their pixels, from a list, at random scales and padded to a crop."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.image_list import FileList, ImageList
from ..data.segmentation.pairs import PairList
from ..data.segmentation.scaled import (
    LabelledScaledBatches,
    PathList,
    ScaledBatches,
    ScaledPairBatches,
    UnlabelledScaledBatches,
)
from ..data.transform import DataTransformer
from ..layer import register_layer
from ..proto.caffe_pb2 import ImageDataParameter
from .common.map_layer import LabelMapLayer

_KINDS: dict[int, tuple[type[FileList], type[ScaledBatches]]] = {
    ImageDataParameter.PIXEL: (PairList, ScaledPairBatches),
    ImageDataParameter.IMAGE: (ImageList, LabelledScaledBatches),
    ImageDataParameter.NONE: (PathList, UnlabelledScaledBatches),
}


@register_layer("ImageSegData")
class ImageSegDataLayer(LabelMapLayer):
    """Images and the labels of their pixels, in the order of a list or in a new random order in each epoch.

    An image is scaled by one of scale_factors, padded at the bottom and on the right if it is smaller than the crop,
    then cropped and mirrored, and its labels with it. The padding has the mean colour and ignore_label.
    Tops: data (N, C, H, W), C = 3 in the order B, G, R, or 1; label (N, 1, H, W); optionally the height and width of
    each image (N, 1, 1, 2) before it was scaled, at most those of the batch. Without a crop, each batch takes the
    height and width of its first image, which all its images must have.
    Reads ``image_data_param``: source, the list; label_type (IMAGE): PIXEL, with the paths of an image and of the image
    of its labels on each line, IMAGE, with a path and a label for all pixels, 0 to 255, or NONE, where all labels are
    ignore_label; ignore_label (255); batch_size (1); root_folder (""), put before each path as it is; new_height and
    new_width (0), both or neither; is_color (true); shuffle (false); rand_skip (0), to skip a random number of images,
    fewer than this, at the start. ``transform_param``: see DataTransformer; also crop_height and crop_width, both or
    neither, in place of crop_size; scale_factors; no mean_file. ``data_param``: prefetch (4).
    Labels are gray values, of 8 or 16 bits, or the indices of a PNG whose palette has colours.
    Source: Chen et al., DeepLab, 2016; image_seg_data_layer.cpp of PSPNet's Caffe and synopsys'. Differences: with
    new_height, labels are resized to the nearest pixel (the original interpolates them); the original turns colours of
    labels into gray values, reads memory beyond mean_value where it needs padding and has none (here it is black), and
    keeps the size of the first batch where there is no crop. Random numbers are not the fork's.
    """

    tops = (2, 3)
    reads_fork_fields = (
        "ImageDataParameter.ignore_label",
        "ImageDataParameter.label_type",
        "TransformationParameter.scale_factors",
        "TransformationParameter.crop_height",
        "TransformationParameter.crop_width",
    )

    def foresee(self) -> Sequence[Shape]:
        p = self.param.image_data_param
        self.check_list()
        self.refuse_moved("image_data_param")
        self.check_transform("mean_file")
        transform = self.param.transform_param
        if transform.crop_size and transform.crop_height:
            self.error("crop_size and crop_height exclude each other", "Keep one of them in transform_param")
        if any(factor <= 0 for factor in transform.scale_factors):
            self.error("a factor in scale_factors is not above 0", "Use positive factors")
        sizes = (0, 0) if transform.scale_factors else (p.new_height, p.new_width)
        return [*self.foreseen_maps(p.batch_size, 3 if p.is_color else 1, *sizes), (p.batch_size, 1, 1, 2)]

    def open(self) -> ScaledBatches:
        self.foresee()
        p = self.param.image_data_param
        transformer = DataTransformer(self.param.transform_param, self.phase, self.where, self.ops.image_order)
        rng = self.new_generator()
        lists, kind = _KINDS[p.label_type]
        images, reading = self.open_list(lists, rng)
        batches = kind(images, reading, transformer, p.batch_size, rng, self.where)
        batches.factors, batches.ignore_label = list(self.param.transform_param.scale_factors), p.ignore_label
        return batches

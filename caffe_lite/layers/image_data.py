"""ImageData: batches of images from the files that a text file lists."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.image_list import ImageList, LabelledListBatches
from ..data.images.listed_size import check_listed_size, has_one_size
from ..data.transform import FORK_FIELDS, DataTransformer
from ..layer import register_layer
from .common.list_layer import ListLayer


@register_layer("ImageData")
class ImageDataLayer(ListLayer):
    """Images in the order of a list, or in a new random order in each epoch, over and over again.

    Tops: data (N, C, H, W), C = 3 in the order B, G, R, or 1; label (N). Each batch takes the height and width of its
    first image, which all its images must have.
    Reads ``image_data_param``: source, the list, with a path and a label on each line; batch_size (1); root_folder
    (""), put before each path as it is, so with its slash; new_height and new_width (0), both or neither, to resize
    with bilinear interpolation; or short_side (0), or min_height and min_width (0), see listed_size; is_color (true);
    shuffle (false); rand_skip (0), to skip a random number of images, fewer than this, at the start.
    ``transform_param``: see DataTransformer; bgr2rgb (false), for channels in the order R, G, B. ``data_param``:
    prefetch (4).
    Paths are relative to the working directory or, unlike in the original, to the folder of the prototxt.
    The original takes the digits that a label begins with (0 if there are none); here a label that is not a whole
    number is an error, and so is a rand_skip that might skip all images. Empty lines, tabs before labels and lines that
    end in spaces work.
    Fields of image_data_param that have moved to transform_param are refused; the original ignores them.
    Source: the original's image_data_layer.cpp; for short_side NVIDIA's, for the others lisa-caffe's and Intel's.
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (2, 2)
    reads_fork_fields = (
        *FORK_FIELDS,
        "TransformationParameter.bgr2rgb",
        "ImageDataParameter.short_side",
        "ImageDataParameter.min_height",
        "ImageDataParameter.min_width",
    )

    def foresee(self) -> Sequence[Shape]:
        p = self.param.image_data_param
        self.check_source("image_data_param")
        self.refuse_moved("image_data_param")
        check_listed_size(p)
        size = (p.new_height, p.new_width) if has_one_size(p) else (0, 0)
        images = self.foreseen_images(p.batch_size, 3 if p.is_color else 1, *size)
        return [images, (p.batch_size,)]

    def open(self) -> LabelledListBatches:
        self.foresee()
        transformer = DataTransformer(self.param.transform_param, self.phase, self.where, self.ops.image_order)
        rng = self.new_generator()
        images, reading = self.open_list(ImageList, rng)
        p = self.param.image_data_param
        batches = LabelledListBatches(images, reading, transformer, p.batch_size, rng, self.where)
        batches.sizes = p
        return batches

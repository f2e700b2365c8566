"""DenseImageData: batches of images, and of images of labels, from the pairs of files that a text file lists."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.segmentation.dense import DensePairBatches
from ..data.segmentation.pairs import PairList
from ..data.transform import DataTransformer, crop_shape
from ..layer import register_layer
from .common.map_layer import LabelMapLayer


@register_layer("DenseImageData")
class DenseImageDataLayer(LabelMapLayer):
    """Images and the labels of their pixels, in the order of a list or in a new random order in each epoch.

    Tops: data (N, C, H, W), C = 3 in the order B, G, R, or 1; label (N, 1, H, W). Each batch takes the height and width
    of its first image, which all its images must have.
    Reads ``dense_image_data_param``: source, the list, with the paths of an image and of the image of its labels on
    each line; batch_size; root_folder (""), put before each path as it is, so with its slash; new_height and new_width
    (0), both or neither, to resize images with bilinear interpolation and labels to the nearest pixel; is_color (true);
    mirror (false), which flips each pair with probability 1/2; crop_height and crop_width (0), both or neither, to cut
    out a part at a random place in every phase; shuffle (false); rand_skip (0), to skip a random number of pairs, fewer
    than this, at the start; label_divide_factor (1), by which labels are smaller than new_height and new_width, as in
    ENet. What it would read of mean_file is in transform_param. ``transform_param``: see DataTransformer; what it does
    to the values of images it does not do to labels. ``data_param``: prefetch (4).
    Paths are relative to the working directory or to the folder of the prototxt. Labels are gray values, of 8 or 16
    bits, or the indices of a PNG whose palette has colours.
    Source: Badrinarayanan, Kendall and Cipolla, SegNet, 2015; dense_image_data_layer.cpp of SegNet's Caffe and ENet's.
    Differences: the original turns the colours of a palette, and any other colours, into gray values, which are no
    labels; here other colours are an error. mirror and crop_size in transform_param, which the original refuses (and
    ENet's applies to images and labels at different places), move labels as their images. Random numbers are not the
    fork's.
    """

    list_param = "dense_image_data_param"

    def foresee(self) -> Sequence[Shape]:
        p, transform = self.param.dense_image_data_param, self.param.transform_param
        self.check_list()
        self.check_transform()
        if p.HasField("mean_file"):
            self.error("mean_file in dense_image_data_param is not read", "Write it into transform_param")
        self.check_pair(p, "crop_height", "crop_width")
        crops = [p.crop_height, *crop_shape(transform)]
        if all(crops):
            self.error("dense_image_data_param and transform_param both give a crop", "Keep one of them")
        factor = p.label_divide_factor
        if factor != 1 and any(crops):
            self.error(f"label_divide_factor is {factor}, and there is a crop", "Remove one of them")
        if factor != 1 and not (1 <= factor <= min(p.new_height, p.new_width)):
            self.error(
                f"label_divide_factor is {factor}, and new_height x new_width {p.new_height} x {p.new_width}",
                "Give sizes that are larger, or remove it",
            )
        height, width = p.crop_height or p.new_height, p.crop_width or p.new_width
        return self.foreseen_maps(p.batch_size, 3 if p.is_color else 1, height, width, factor)

    def open(self) -> DensePairBatches:
        self.foresee()
        p = self.param.dense_image_data_param
        transformer = DataTransformer(self.param.transform_param, self.phase, self.where, self.ops.image_order)
        rng = self.new_generator()
        pairs, reading = self.open_list(PairList, rng)
        batches = DensePairBatches(pairs, reading, transformer, p.batch_size, rng, self.where)
        batches.mirror, batches.crop = p.mirror, (p.crop_height, p.crop_width)
        batches.label_factor = p.label_divide_factor
        return batches

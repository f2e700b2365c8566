"""WindowData: windows cut out of images, for learning to detect objects (R-CNN)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.transform import DataTransformer
from ..data.windows.window_batches import WindowBatches
from ..data.windows.window_file import LABEL, WindowFile
from ..layer import register_layer
from ..logs.log import logger
from .common.batch_layer import BatchLayer


@register_layer("WindowData")
class WindowDataLayer(BatchLayer):
    """y = (x - mean) * scale over randomly drawn windows, each warped to crop_size x crop_size; 0 outside of images.

    Tops: data (N, 3, crop_size, crop_size), in the order B, G, R; label (N), 0 for the background.
    Reads ``window_data_param``: source, see WindowFile; batch_size; fg_threshold (0.5), the overlap from which on a
    window is foreground, and bg_threshold (0.5), below which it is background; fg_fraction (0.25), the share of
    foreground in each batch; context_pad (0), the number of pixels around the window that a crop shows; crop_mode
    ("warp"), or "square" for the window's larger side; cache_images (false), which keeps the files in memory;
    root_folder (""), put before each path; scale (1). ``transform_param``: crop_size; mirror (false), which flips at
    random, in TEST too; mean_file, whose middle is used and never flipped, or mean_value. ``data_param``: prefetch (4).
    transform_param's scale is ignored, as in the original. Where the original reads other memory or dies, an error is
    raised: no windows of a kind, windows not inside their image, images not numbered from 0 on. A window of which less
    than half a pixel would be left inside the image gives zeros. Several workers together draw the windows that one
    would draw for their batches.
    Source: the original's window_data_layer.cpp.
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (2, 2)

    def foresee(self) -> Sequence[Shape]:
        p, transform = self.param.window_data_param, self.param.transform_param
        self.check_source("window_data_param")
        self.refuse_moved("window_data_param", kept="scale")
        if not 0 <= 2 * p.context_pad < transform.crop_size:
            self.error(
                f"crop_size is {transform.crop_size}, with a context_pad of {p.context_pad}",
                "Give transform_param a crop_size of more than twice context_pad",
            )
        if p.crop_mode not in ("warp", "square"):
            self.error(f"crop_mode {p.crop_mode!r} is unknown", "Write warp or square")
        if not 0 <= p.fg_fraction <= 1:
            self.error(f"fg_fraction is {p.fg_fraction:g}", "Give a share between 0 and 1")
        return [self.foreseen_images(p.batch_size, 3), (p.batch_size,)]

    def open(self) -> WindowBatches:
        p, transform = self.param.window_data_param, self.param.transform_param
        self.foresee()
        if transform.scale != 1:
            logger.warning("scale in transform_param is ignored: scale in window_data_param is %g", p.scale)
        transformer = DataTransformer(transform, self.phase, self.where, self.ops.image_order)
        logger.info(
            "Window data layer:\n"
            "  foreground (object) overlap threshold: %g\n"
            "  background (non-object) overlap threshold: %g\n"
            "  foreground sampling fraction: %g\n"
            "  cache_images: %d\n"
            "  root_folder: %s",
            *(p.fg_threshold, p.bg_threshold, p.fg_fraction, p.cache_images, p.root_folder),
        )
        windows = WindowFile(p.source, self.where, p.fg_threshold, p.bg_threshold)
        logger.info("Number of images: %d", len(windows.paths))
        samples = {0: len(windows.background), **Counter(windows.foreground[:, LABEL].tolist())}
        for label, count in sorted(samples.items()):
            logger.info("class %d has %d samples", label, count)
        logger.info("Amount of context padding: %d", p.context_pad)
        logger.info("Crop mode: %s", p.crop_mode)
        batches = WindowBatches(windows, p, transformer, self.new_generator(), self.where)
        for kind, wanted, found in (
            ("background", p.batch_size - batches.num_fg, windows.background),
            ("foreground", batches.num_fg, windows.foreground),
        ):
            if wanted and not len(found):
                self.error(
                    f"a batch needs {wanted} windows of the {kind}, and {p.source!r} has none",
                    "Change fg_fraction, or the thresholds",
                )
        return batches

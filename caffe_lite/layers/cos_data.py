"""CoSData: blobs that the user fills, for nets written for CaffeOnSpark."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .input import InputLayer


@register_layer("CoSData")
class CoSDataLayer(InputLayer):
    """Tops that hold the values that the user writes into them before each pass, transformed already.

    In CaffeOnSpark, Spark's executors read the columns of a dataframe, transform them and hand them over. Here a script
    does that: ``net.blobs["data"].data[...] = batch``.
    Tops: one for each top in cos_data_param, (N, ...), or (channels, N) with transpose.
    Reads ``cos_data_param``: batch_size, N; of each top sample_num_axes (3), how many of channels, height and width
    (each 0) it has, or out_channels, out_height and out_width, if they are not 0: the sizes after its transform_param;
    transpose (false). source, shuffle, dataframe_format, and the name, type and transform_param of each top have no
    effect.
    Source: CaffeOnSpark's cos_data_layer.cpp. As in the original, a pass before any value is written is an error.
    """

    formula = r"y = \text{what is written into it}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.cos_data_param
        if len(p.top) != len(top):
            self.error(
                f"cos_data_param describes {len(p.top)} tops, and there are {len(top)}", "describe each top once"
            )
        if p.batch_size < 1:
            self.error("batch_size is 0", "give cos_data_param 1 or more")
        for blob, given in zip(top, p.top, strict=True):
            if given.sample_num_axes > 3 or (given.transpose and given.sample_num_axes != 1):
                transposed = " with transpose" if given.transpose else ""
                self.error(
                    f"sample_num_axes of {given.name!r} is {given.sample_num_axes}{transposed}",
                    "give 1 with transpose, else 0 to 3",
                )
            sizes = [
                given.out_channels or given.channels,
                given.out_height or given.height,
                given.out_width or given.width,
            ][: given.sample_num_axes]
            if not all(sizes):
                self.error(f"the sizes of {given.name!r} are {tuple(sizes)}", "give each of them, at least 1")
            blob.Reshape((*sizes, p.batch_size) if given.transpose else (p.batch_size, *sizes))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not any(blob.times_lent for blob in top):
            self.error(
                "nothing has been written into its tops",
                "in a script, write a batch into net.blobs[...].data before each pass",
            )

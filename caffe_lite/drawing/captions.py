"""What a drawing says of a layer in a few words: "7 x 7 /2, pad 3 → 64"."""

from __future__ import annotations

from typing import Any

from ..proto.caffe_pb2 import LayerParameter, PoolingParameter


def caption(param: LayerParameter) -> str:
    """The settings that matter most of a layer, or nothing."""
    match param.type:
        case "Convolution" | "Deconvolution" | "ConvolutionDepthwise" | "DepthwiseConvolution":
            return f"{_window(param.convolution_param)} → {param.convolution_param.num_output}"
        case "Pooling":
            pooling = param.pooling_param
            method = PoolingParameter.PoolMethod.Name(pooling.pool)
            return f"{method}, global" if pooling.global_pooling else f"{method} {_window(pooling)}"
        case "InnerProduct":
            return f"→ {param.inner_product_param.num_output}"
        case "LSTM" | "RNN":
            return f"→ {param.recurrent_param.num_output}"
        case "Embed":
            return f"{param.embed_param.input_dim} → {param.embed_param.num_output}"
        case "LRN":
            return f"over {param.lrn_param.local_size}"
        case "Dropout":
            return f"{param.dropout_param.dropout_ratio:.3g}"
        case "Eltwise":
            return type(param.eltwise_param).EltwiseOp.Name(param.eltwise_param.operation)
        case "Concat" | "Slice" as kind:
            axis = (param.concat_param if kind == "Concat" else param.slice_param).axis
            return "" if axis == 1 else f"axis {axis}"
    return ""


def _window(param: Any) -> str:
    """Kernel, and stride, padding, dilation and groups where they are not the usual ones."""
    kernel = _sizes(param, "kernel_size", "kernel", "?")
    stride = _sizes(param, "stride", "stride", "1")
    words = [f"{kernel} x {kernel}" if kernel.isdecimal() else kernel]
    if stride not in ("1", "1 x 1"):
        words[0] += f" /{stride}"
    for name, usual in (("pad", "0"), ("dilation", "1"), ("group", "1")):
        value = _sizes(param, name, name, usual) if hasattr(param, name) else usual
        if value != usual:
            words.append(f"{name} {value}")
    return ", ".join(words)


def _sizes(param: Any, field: str, short: str, usual: str) -> str:
    """A size that stands once, once for each axis, or as height and width."""
    if hasattr(param, f"{short}_h") and (param.HasField(f"{short}_h") or param.HasField(f"{short}_w")):
        return f"{getattr(param, f'{short}_h')} x {getattr(param, f'{short}_w')}"
    value = getattr(param, field)
    if isinstance(value, int):
        return str(value) if param.HasField(field) else usual
    return " x ".join(map(str, value)) or usual

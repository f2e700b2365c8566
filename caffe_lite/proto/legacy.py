"""Upgrading nets of the V0 and V1 formats (`layers { ... }`) by the rules of the original's upgrade_proto.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import PrototxtError
from ..logs.log import logger
from .caffe_pb2 import LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter
from .schema import MOVED_TO_TRANSFORM, OF_PARAM, fields_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from .parsed import M, Parsed, Path

# V1's types whose spelling today is not that of the enum's words joined: INNER_PRODUCT is InnerProduct, but ...
_TODAY = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}

# V0's types that are not V1's in lower case.
_V1 = {"conv": "CONVOLUTION", "images": "IMAGE_DATA", "innerproduct": "INNER_PRODUCT", "pool": "POOLING"}
_SAME = (
    "accuracy bnll concat data dropout euclidean_loss flatten hdf5_data hdf5_output im2col infogain_loss lrn "
    "multinomial_logistic_loss relu sigmoid softmax softmax_loss split tanh window_data"
)
_V0_TYPES = _V1 | {name: name.upper() for name in _SAME.split()}

# V0's fields: for each the name of V1's field, and the types of layers in whose parameters it is.
_LEARNED = ("conv", "innerproduct")
_SPATIAL = ("conv", "pool")
_SOURCES = ("data", "hdf5_data", "images", "window_data")
_V0_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "num_output": ("num_output", _LEARNED),
    "biasterm": ("bias_term", _LEARNED),
    "weight_filler": ("weight_filler", _LEARNED),
    "bias_filler": ("bias_filler", _LEARNED),
    "pad": ("pad", _SPATIAL),
    "kernelsize": ("kernel_size", _SPATIAL),
    "group": ("group", ("conv",)),
    "stride": ("stride", _SPATIAL),
    "pool": ("pool", ("pool",)),
    "dropout_ratio": ("dropout_ratio", ("dropout",)),
    "local_size": ("local_size", ("lrn",)),
    "alpha": ("alpha", ("lrn",)),
    "beta": ("beta", ("lrn",)),
    "k": ("k", ("lrn",)),
    "source": ("source", (*_SOURCES, "infogain_loss")),
    "batchsize": ("batch_size", _SOURCES),
    "rand_skip": ("rand_skip", ("data", "images")),
    "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)),
    "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    "det_fg_threshold": ("fg_threshold", ("window_data",)),
    "det_bg_threshold": ("bg_threshold", ("window_data",)),
    "det_fg_fraction": ("fg_fraction", ("window_data",)),
    "det_context_pad": ("context_pad", ("window_data",)),
    "det_crop_mode": ("crop_mode", ("window_data",)),
}
_V0_TRANSFORMS = {name.replace("_", ""): name for name in MOVED_TO_TRANSFORM}
_V0_PARAMS = {
    "conv": "convolution_param",
    "images": "image_data_param",
    "innerproduct": "inner_product_param",
    "pool": "pooling_param",
}

_TRANSFORMED = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}


def upgrade_layers(parsed: Parsed[M], net_path: Path = ()) -> bool:
    """Turn `layers`, if there are any, into `layer`, in place and with the original's log lines.

    Return False if a V0 layer had fields that mean nothing to its type: they are logged and left out, as in the
    original. Where the original aborts, raise a PrototxtError that names the layer.
    """
    net: NetParameter = parsed.at(*net_path)
    complete = True
    if any(layer.HasField("layer") for layer in net.layers):
        logger.info("Attempting to upgrade input file specified using deprecated V0LayerParameter: %s", parsed.file)
        _fold_padding(parsed, net_path)
        for index in range(len(net.layers)):
            complete = _v0_to_v1(parsed, net_path, index) and complete
        if complete:
            logger.info("Successfully upgraded file specified using deprecated V0LayerParameter")
        else:
            logger.error(
                "Warning: had one or more problems upgrading V0NetParameter to NetParameter (see above); "
                "continuing anyway."
            )
        logger.warning(
            "Note that future Caffe releases will not support V0NetParameter; use caffe-lite upgrade-net "
            "to upgrade this and any other net protos to the new format."
        )
    if any(True for layer in net.layers for _ in _transforms_in(layer)):
        logger.info(
            "Attempting to upgrade input file specified using deprecated transformation parameters: %s", parsed.file
        )
        for layer in net.layers:
            _move_transforms(layer)
        logger.info("Successfully upgraded file specified using deprecated data transformation parameters.")
        logger.warning(
            "Note that future Caffe releases will only support transform_param messages for transformation fields."
        )
    if net.layers:
        logger.info("Attempting to upgrade input file specified using deprecated V1LayerParameter: %s", parsed.file)
        _v1_to_v2(parsed, net_path)
        logger.info("Successfully upgraded file specified using deprecated V1LayerParameter")
    return complete


def type_today(layer: V1LayerParameter) -> str:
    """Return the type of a V0 or V1 layer in today's spelling; an empty string if it has none that Caffe knows."""
    name = V1LayerParameter.LayerType.Name(layer.type)
    if layer.HasField("layer"):
        name = _V0_TYPES.get(layer.layer.type, "NONE")
    return "" if name == "NONE" else _TODAY.get(name, name.title().replace("_", ""))


# -- V0 ----------------------------------------------------------------------------------------------------------------


def _fold_padding(parsed: Parsed[M], net_path: Path) -> None:
    """Drop the padding layers: the convolution or pooling that reads one does the padding itself."""
    net: NetParameter = parsed.at(*net_path)
    maker: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    kept = []
    for index, layer in enumerate(net.layers):
        kind = layer.layer.type
        for i, name in enumerate(layer.bottom):
            if name not in maker:
                raise _error(parsed, net_path, index, f"unknown bottom blob {name!r}: no layer before it makes it")
            source = maker[name]
            if source is None or source.layer.type != "padding":
                continue
            if kind not in _SPATIAL:
                raise _error(parsed, net_path, index, f"a padding layer leads to a layer of type {kind!r}",
                             "only conv and pool can pad")  # fmt: skip
            if not len(layer.bottom) == len(source.bottom) == len(source.top) == 1:
                raise _error(parsed, net_path, index, "it reads a padding layer, and one of both has several blobs",
                             "give each one bottom and one top")  # fmt: skip
            layer.layer.pad = source.layer.pad
            layer.bottom[i] = source.bottom[0]
        maker.update(dict.fromkeys(layer.top, layer))
        if kind != "padding":
            kept.append(index)
    if len(kept) < len(net.layers):
        layers = [net.layers[index] for index in kept]
        parsed.move((*net_path, "layers"), (*net_path, "layers"), kept)
        del net.layers[:]
        net.layers.extend(layers)


def _v0_to_v1(parsed: Parsed[M], net_path: Path, index: int) -> bool:
    """Rewrite one layer, and return whether all its fields have a place in V1."""
    layer: V1LayerParameter = parsed.at(*net_path).layers[index]
    if not layer.HasField("layer"):
        raise _error(parsed, net_path, index, "this layer is in the V1 format, others of the net in the V0 format",
                     "write the whole net in one format")  # fmt: skip
    old = V0LayerParameter()
    old.CopyFrom(layer.layer)
    layer.ClearField("layer")
    if old.HasField("type"):
        if old.type not in _V0_TYPES:
            hint = f"V0's types: {', '.join(sorted([*_V0_TYPES, 'padding']))}"
            raise _error(parsed, net_path, index, f"unknown layer type {old.type!r} of the V0 format", hint)
        layer.type = getattr(V1LayerParameter, _V0_TYPES[old.type])
    complete = True
    for field, value in old.ListFields():
        if field.name in ("name", "blobs", "blobs_lr", "weight_decay"):
            _put(layer, field.name, value)
        elif field.name in _V0_TRANSFORMS:
            _put(layer.transform_param, _V0_TRANSFORMS[field.name], value)
        elif field.name == "hdf5_output_param" and old.type == "hdf5_output":
            layer.hdf5_output_param.CopyFrom(value)
        elif field.name in _V0_FIELDS and old.type in _V0_FIELDS[field.name][1]:
            param = getattr(layer, _V0_PARAMS.get(old.type, f"{old.type}_param"))
            _put(param, _V0_FIELDS[field.name][0], value)
        elif field.name not in ("type", "new_num", "new_channels"):
            logger.error("Unknown parameter %s for layer type %s", field.name, old.type)
            complete = False
    return complete


# -- V1 ----------------------------------------------------------------------------------------------------------------


def _transforms_in(layer: V1LayerParameter) -> Iterator[str]:
    """Yield the fields set in a data layer that have moved to transform_param."""
    param = getattr(layer, _TRANSFORMED.get(layer.type, ""), None)
    return (name for name in MOVED_TO_TRANSFORM if param is not None and param.HasField(name))


def _move_transforms(layer: V1LayerParameter) -> None:
    for name in list(_transforms_in(layer)):
        param = getattr(layer, _TRANSFORMED[layer.type])
        setattr(layer.transform_param, name, getattr(param, name))
        param.ClearField(name)


def _v1_to_v2(parsed: Parsed[M], net_path: Path) -> None:
    net: NetParameter = parsed.at(*net_path)
    if net.layer:
        raise PrototxtError(
            "the net has both `layer`, today's format, and `layers`, the old one",
            where=parsed.where(*net_path, "layers", 0),
            layer=net.layers[0].name,
            hint='Write all of them as `layer { type: "Convolution" ... }`',
        )
    for old in net.layers:
        _upgrade_v1_layer(old, net.layer.add())
    parsed.move((*net_path, "layers"), (*net_path, "layer"), range(len(net.layers)))
    net.ClearField("layers")


def _upgrade_v1_layer(old: V1LayerParameter, new: LayerParameter) -> None:
    if today := type_today(old):
        new.type = today
    for field, value in old.ListFields():
        if field.name in OF_PARAM:
            while len(new.param) < len(value):
                new.param.add()
            for spec, one in zip(new.param, value, strict=False):
                setattr(spec, OF_PARAM[field.name], one)
        elif field.name != "type":
            _put(new, field.name, value)


def _put(message: Message, name: str, value: Any) -> None:
    """Set a field to a value, or add the value to a repeated field."""
    field = fields_of(message.DESCRIPTOR)[name]
    if field.repeated:
        getattr(message, name).extend(value if hasattr(value, "extend") else [value])
    elif field.message:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _error(parsed: Parsed[M], net_path: Path, index: int, what: str, hint: str = "") -> PrototxtError:
    layer = parsed.at(*net_path).layers[index]
    return PrototxtError(
        what,
        where=parsed.where(*net_path, "layers", index),
        layer=layer.layer.name or layer.name,
        layer_type=layer.layer.type or None,
        hint=hint,
    )

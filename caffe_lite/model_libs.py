"""`caffe.model_libs` of SSD's Caffe: parts of well-known nets, and the head of a detector, for a NetSpec.

Layers, names and settings are those of https://github.com/weiliu89/caffe, so that its weights fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import layers as L
from .errors import ArgumentError
from .net_spec import NetSpec, Top
from .net_spec import params as P
from .proto import caffe_pb2

__all__ = [
    "ConvBNLayer",
    "CreateAnnotatedDataLayer",
    "CreateMultiBoxHead",
    "InceptionTower",
    "InceptionV3Body",
    "L",
    "P",
    "ResBody",
    "ResNet101Body",
    "ResNet152Body",
    "UnpackVariable",
    "VGGNetBody",
    "ZFNetBody",
    "caffe_pb2",
    "check_if_exist",
    "make_if_not_exist",
    "os",
]

_FROZEN = {"lr_mult": 0, "decay_mult": 0}


def check_if_exist(path: str) -> bool:
    return os.path.exists(path)


def make_if_not_exist(path: str) -> None:
    """Make a folder and its missing parents."""
    os.makedirs(path, exist_ok=True)


def UnpackVariable(var: Any, num: int) -> list[Any]:
    """Return a list of ``num`` values: the given list, or the given single value (alone or in a list) repeated."""
    given = list(var) if isinstance(var, (list, tuple)) else [var]
    if len(given) not in (1, num):
        raise ArgumentError(f"{len(given)} values are given where 1 or {num} are wanted: {var}")
    return given if len(given) == num else given * num


def ConvBNLayer(
    net: NetSpec,
    from_layer: str,
    out_layer: str,
    use_bn: bool,
    use_relu: bool,
    num_output: int,
    kernel_size: Any,
    pad: Any,
    stride: Any,
    dilation: int = 1,
    use_scale: bool = True,
    lr_mult: float = 1,
    conv_prefix: str = "",
    conv_postfix: str = "",
    bn_prefix: str = "",
    bn_postfix: str = "_bn",
    scale_prefix: str = "",
    scale_postfix: str = "_scale",
    bias_prefix: str = "",
    bias_postfix: str = "_bias",
    **bn_params: Any,
) -> None:
    """Add a convolution and, in place, its BatchNorm with a Scale (or only a Bias) and its ReLU.

    ``kernel_size``, ``pad`` and ``stride`` are a number or [vertical, horizontal]. ``bn_params``: eps (0.001),
    moving_average_fraction (0.999), use_global_stats, which freezes the layers after the convolution.
    """
    conv_name = f"{conv_prefix}{out_layer}{conv_postfix}"
    sizes = {"kernel": kernel_size, "pad": pad, "stride": stride}
    pairs = {name: UnpackVariable(size, 2) for name, size in sizes.items()}
    if pairs["kernel"][0] == pairs["kernel"][1]:
        window = {"kernel_size": pairs["kernel"][0], "pad": pairs["pad"][0], "stride": pairs["stride"][0]}
    else:
        window = {f"{name}_{axis}": size for name, pair in pairs.items() for axis, size in zip("hw", pair, strict=True)}
    if dilation > 1:
        window["dilation"] = dilation
    if use_bn:
        learning = {
            "param": [{"lr_mult": lr_mult, "decay_mult": 1}],
            "weight_filler": {"type": "gaussian", "std": 0.01},
            "bias_term": False,
        }
    else:
        learning = _weights_and_biases(lr_mult)
    net[conv_name] = L.Convolution(net[from_layer], num_output=num_output, **window, **learning)
    if use_bn:
        fixed = bn_params.get("use_global_stats", False)
        statistics = {"use_global_stats": True} if fixed else {
            "moving_average_fraction": bn_params.get("moving_average_fraction", 0.999)
        }  # fmt: skip
        norm = net[f"{bn_prefix}{out_layer}{bn_postfix}"] = L.BatchNorm(
            net[conv_name], in_place=True, param=[_FROZEN] * 3, eps=bn_params.get("eps", 0.001), **statistics
        )
        spec = {"lr_mult": 0 if fixed else lr_mult, "decay_mult": 0}
        zero = {"type": "constant", "value": 0.0}
        if use_scale:
            net[f"{scale_prefix}{out_layer}{scale_postfix}"] = L.Scale(
                norm,
                in_place=True,
                bias_term=True,
                param=[spec, spec],
                filler={"type": "constant", "value": 1.0},
                bias_filler=zero,
            )
        else:
            net[f"{bias_prefix}{out_layer}{bias_postfix}"] = L.Bias(norm, in_place=True, param=[spec], filler=zero)
    if use_relu:
        net[f"{conv_name}_relu"] = L.ReLU(net[conv_name], in_place=True)


def _weights_and_biases(lr_mult: float = 1) -> dict[str, Any]:
    return {
        "param": [{"lr_mult": lr_mult, "decay_mult": 1}, {"lr_mult": 2 * lr_mult, "decay_mult": 0}],
        "weight_filler": {"type": "xavier"},
        "bias_filler": {"type": "constant", "value": 0},
    }


# -- VGG and ZF ------------------------------------------------------------------------------------------------------


def VGGNetBody(
    net: NetSpec,
    from_layer: str,
    need_fc: bool = True,
    fully_conv: bool = False,
    reduced: bool = False,
    dilated: bool = False,
    nopool: bool = False,
    dropout: bool = True,
    freeze_layers: Iterable[str] = (),
    dilate_pool4: bool = False,
) -> NetSpec:
    """Add VGG-16 from conv1_1 to pool5, or with ``need_fc`` to relu7 or drop7.

    ``fully_conv`` turns fc6 and fc7 into convolutions, and ``reduced`` gives these fewer and smaller kernels;
    ``dilated`` keeps the resolution at pool5, ``dilate_pool4`` at pool4; ``nopool`` replaces pooling with strided
    convolutions.
    """
    learning, dilation = _weights_and_biases(), 1
    for stage, (count, channels) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for number in range(1, count + 1):
            window = {"pad": dilation, "kernel_size": 3} | ({"dilation": dilation} if stage == 5 else {})
            from_layer = _convolved(net, from_layer, f"{stage}_{number}", channels, window, learning)
        if stage == 5 and not need_fc:
            break
        dense = dilated if stage == 5 else dilate_pool4 and stage == 4
        bottom = net[from_layer]
        if nopool:
            from_layer = f"conv{stage}_{count + 1}"
            net[from_layer] = L.Convolution(
                bottom, num_output=channels, pad=1, kernel_size=3, stride=1 if stage == 5 and dilated else 2, **learning
            )
            continue
        from_layer = f"pool{stage}"
        window = {"kernel_size": 3, "stride": 1, "pad": 1} if dense else {"kernel_size": 2, "stride": 2}
        net[from_layer] = L.Pooling(bottom, pool=P.Pooling.MAX, **window)
        if dense and stage == 4:
            dilation = 2
    if need_fc:
        kernel = 3 if reduced else 7
        dilation *= (6 if reduced else 2) if dilated else (3 if reduced else 1)
        window = {"pad": (kernel - 1) * dilation // 2, "kernel_size": kernel, "dilation": dilation}
        _fully_connected(net, from_layer, window if fully_conv else None, 1024 if reduced else 4096, dropout)
    _freeze(net, freeze_layers)
    return net


def ZFNetBody(
    net: NetSpec,
    from_layer: str,
    need_fc: bool = True,
    fully_conv: bool = False,
    reduced: bool = False,
    dilated: bool = False,
    dropout: bool = True,
    need_fc8: bool = False,
    freeze_layers: Iterable[str] = (),
) -> NetSpec:
    """Add Zeiler and Fergus's net from conv1 to relu5, or with ``need_fc`` to relu7 or drop7, ``need_fc8`` to prob."""
    learning = _weights_and_biases()
    halves = {"pool": P.Pooling.MAX, "pad": 1, "kernel_size": 3, "stride": 2}
    for number, (channels, window) in enumerate(
        (
            (96, {"pad": 3, "kernel_size": 7, "stride": 2}),
            (256, {"pad": 2, "kernel_size": 5, "stride": 2}),
            (384, {"pad": 1, "kernel_size": 3}),
            (384, {"pad": 1, "kernel_size": 3}),
            (256, {"pad": 1, "kernel_size": 3}),
        ),
        1,
    ):
        from_layer = _convolved(net, from_layer, str(number), channels, window, learning)
        if number <= 2:
            norm = net[f"norm{number}"] = L.LRN(
                net[from_layer],
                local_size=3,
                alpha=0.00005,
                beta=0.75,
                norm_region=P.LRN.WITHIN_CHANNEL,
                engine=P.LRN.CAFFE,
            )
            from_layer = f"pool{number}"
            net[from_layer] = L.Pooling(norm, **halves)
    if need_fc:
        net.pool5 = L.Pooling(net[from_layer], **halves | ({"stride": 1} if dilated else {}))
        if reduced:
            window = (
                {"pad": 5, "kernel_size": 3, "dilation": 5} if dilated else {"pad": 2, "kernel_size": 3, "dilation": 2}
            )
        else:
            window = {"pad": 5, "kernel_size": 6, "dilation": 2} if dilated else {"pad": 2, "kernel_size": 6}
        _fully_connected(net, "pool5", window if fully_conv else None, 1024 if reduced else 4096, dropout)
    if need_fc8:
        last = net[net.keys()[-1]]
        if fully_conv:
            net.fc8 = L.Convolution(last, num_output=1000, kernel_size=1, **learning)
        else:
            net.fc8 = L.InnerProduct(last, num_output=1000)
        net.prob = L.Softmax(net.fc8)
    _freeze(net, freeze_layers)
    return net


def _convolved(
    net: NetSpec, from_layer: str, name: str, channels: int, window: Mapping[str, Any], learning: Mapping[str, Any]
) -> str:
    """Add a convolution and its ReLU; return the name of the ReLU."""
    conv = net[f"conv{name}"] = L.Convolution(net[from_layer], num_output=channels, **window, **learning)
    net[f"relu{name}"] = L.ReLU(conv, in_place=True)
    return f"relu{name}"


def _fully_connected(
    net: NetSpec, from_layer: str, window: Mapping[str, Any] | None, channels: int, dropout: bool
) -> None:
    """Add fc6 and fc7 with their ReLUs and Dropouts, as convolutions if a window is given for fc6."""
    bottom: Top = net[from_layer]
    for number in (6, 7):
        if window is None:
            fc = L.InnerProduct(bottom, num_output=4096)
        else:
            own = window if number == 6 else {"kernel_size": 1}
            fc = L.Convolution(bottom, num_output=channels, **own, **_weights_and_biases())
        net[f"fc{number}"] = fc
        bottom = net[f"relu{number}"] = L.ReLU(fc, in_place=True)
        if dropout:
            net[f"drop{number}"] = L.Dropout(bottom, dropout_ratio=0.5, in_place=True)


def _freeze(net: NetSpec, names: Iterable[str]) -> None:
    for name in names:
        if name in net.keys():  # noqa: SIM118 - a NetSpec is not a mapping
            net.update(name, {"param": [_FROZEN, _FROZEN]})


# -- residual nets ---------------------------------------------------------------------------------------------------


def ResBody(
    net: NetSpec,
    from_layer: str,
    block_name: str,
    out2a: int,
    out2b: int,
    out2c: int,
    stride: int,
    use_branch1: bool,
    dilation: int = 1,
    **bn_param: Any,
) -> None:
    """Add a bottleneck block ``res<block_name>``; with ``use_branch1``, its shortcut has a convolution."""

    def branch(bottom: str, name: str, relu: bool, channels: int, kernel: int, stride: int, dilation: int = 1) -> str:
        ConvBNLayer(
            net,
            bottom,
            name,
            use_bn=True,
            use_relu=relu,
            num_output=channels,
            kernel_size=kernel,
            pad=kernel // 2 * dilation,
            stride=stride,
            dilation=dilation,
            conv_prefix=f"res{block_name}_",
            bn_prefix=f"bn{block_name}_",
            bn_postfix="",
            scale_prefix=f"scale{block_name}_",
            scale_postfix="",
            **bn_param,
        )
        return f"res{block_name}_{name}"

    around = branch(from_layer, "branch1", False, out2c, 1, stride) if use_branch1 else from_layer
    through = branch(from_layer, "branch2a", True, out2a, 1, stride)
    through = branch(through, "branch2b", True, out2b, 3, 1, dilation)
    through = branch(through, "branch2c", False, out2c, 1, 1)
    res = net[f"res{block_name}"] = L.Eltwise(net[around], net[through])
    net[f"res{block_name}_relu"] = L.ReLU(res, in_place=True)


def ResNet101Body(
    net: NetSpec, from_layer: str, use_pool5: bool = True, use_dilation_conv5: bool = False, **bn_param: Any
) -> NetSpec:
    """Add ResNet-101 from conv1 to res5c, or with ``use_pool5`` to pool5; ``use_dilation_conv5`` keeps res4's size."""
    return _resnet(net, from_layer, 3, 22, use_pool5, use_dilation_conv5, bn_param)


def ResNet152Body(
    net: NetSpec, from_layer: str, use_pool5: bool = True, use_dilation_conv5: bool = False, **bn_param: Any
) -> NetSpec:
    """Add ResNet-152 from conv1 to res5c, or with ``use_pool5`` to pool5; ``use_dilation_conv5`` keeps res4's size."""
    return _resnet(net, from_layer, 7, 35, use_pool5, use_dilation_conv5, bn_param)


def _resnet(
    net: NetSpec, from_layer: str, more3: int, more4: int, pool5: bool, dilated: bool, bn_param: Mapping[str, Any]
) -> NetSpec:
    names: dict[str, Any] = {"bn_prefix": "bn_", "bn_postfix": "", "scale_prefix": "scale_", "scale_postfix": ""}
    ConvBNLayer(net, from_layer, "conv1", True, True, 64, 7, 3, 2, **names, **bn_param)
    net.pool1 = L.Pooling(net.conv1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    stages = {
        "2": ("b", "c"),
        "3": tuple(f"b{i}" for i in range(1, more3 + 1)),
        "4": tuple(f"b{i}" for i in range(1, more4 + 1)),
        "5": ("b", "c"),
    }
    from_layer, width = "pool1", 64
    for stage, others in stages.items():
        thin = dilated and stage == "5"
        for block in ("a", *others):
            stride = 2 if block == "a" and stage != "2" and not thin else 1
            ResBody(
                *(net, from_layer, stage + block, width, width, 4 * width, stride, block == "a", 2 if thin else 1),
                **bn_param,
            )
            from_layer = f"res{stage}{block}"
        width *= 2
    if pool5:
        net.pool5 = L.Pooling(net.res5c, pool=P.Pooling.AVE, global_pooling=True)
    return net


# -- Inception -------------------------------------------------------------------------------------------------------


def InceptionTower(
    net: NetSpec, from_layer: str, tower_name: str, layer_params: Iterable[Mapping[str, Any]], **bn_param: Any
) -> Top:
    """Add layers one after another, each given by a dict with its ``name``, and return the top of the last.

    A layer whose name contains "pool" is Pooling, any other a ConvBNLayer without a Scale.
    """
    for given in layer_params:
        layer = f"{tower_name}/{given['name']}"
        param = {name: value for name, value in given.items() if name != "name"}
        if "pool" in layer:
            net[layer] = L.Pooling(net[from_layer], **param)
        else:
            ConvBNLayer(net, from_layer, layer, use_bn=True, use_relu=True, use_scale=False, **param | bn_param)
        from_layer = layer
    return net[from_layer]


def InceptionV3Body(net: NetSpec, from_layer: str, output_pred: bool = False, **bn_param: Any) -> NetSpec:
    """Add Inception v3 from conv to mixed_10/join, or with ``output_pred`` to softmax_prob, of 1008 classes."""

    def tower(name: str, *layers: dict[str, Any]) -> Top:
        return InceptionTower(net, from_layer, name, layers, **bn_param)

    def join(name: str, towers: Sequence[Top]) -> str:
        net[f"{name}/join"] = L.Concat(*towers, axis=1)
        return f"{name}/join"

    def forked(name: str, last: str, *layers: dict[str, Any]) -> Top:
        """Add a tower that ends in a horizontal and a vertical convolution side by side."""
        tower(name, *layers)
        ends = (_conv("conv", 384, [1, 3]), _conv("conv_1", 384, [3, 1]))
        sides = [InceptionTower(net, f"{name}/{last}", f"{name}/mixed", [end], **bn_param) for end in ends]
        net[f"{name}/mixed"] = L.Concat(*sides, axis=1)
        return net[f"{name}/mixed"]

    for name, channels, kernel, pad, stride in (
        ("conv", 32, 3, 0, 2),
        ("conv_1", 32, 3, 0, 1),
        ("conv_2", 64, 3, 1, 1),
        ("pool", 0, 3, 0, 2),
        ("conv_3", 80, 1, 0, 1),
        ("conv_4", 192, 3, 0, 1),
        ("pool_1", 0, 3, 0, 2),
    ):
        if channels:
            ConvBNLayer(net, from_layer, name, True, True, channels, kernel, pad, stride, use_scale=False, **bn_param)
        else:
            net[name] = L.Pooling(net[from_layer], pool=P.Pooling.MAX, kernel_size=kernel, stride=stride, pad=pad)
        from_layer = name

    average, greatest = P.Pooling.AVE, P.Pooling.MAX
    for number in range(3):
        name = f"mixed_{number}" if number else "mixed"
        from_layer = join(
            name,
            [
                tower(name, _conv("conv", 64, 1)),
                tower(f"{name}/tower", _conv("conv", 48, 1), _conv("conv_1", 64, 5)),
                tower(f"{name}/tower_1", _conv("conv", 64, 1), _conv("conv_1", 96, 3), _conv("conv_2", 96, 3)),
                tower(f"{name}/tower_2", _pool(average, 1, 1), _conv("conv", 64 if number else 32, 1)),
            ],
        )

    def halves(*layers: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """Let the last of these convolutions halve the resolution."""
        return *layers[:-1], layers[-1] | {"pad": 0, "stride": 2}

    from_layer = join(
        "mixed_3",
        [
            tower("mixed_3", *halves(_conv("conv", 384, 3))),
            tower("mixed_3/tower", *halves(_conv("conv", 64, 1), _conv("conv_1", 96, 3), _conv("conv_2", 96, 3))),
            tower("mixed_3", _pool(greatest, 0, 2)),
        ],
    )
    for number, width in ((4, 128), (5, 160), (6, 160), (7, 192)):
        name = f"mixed_{number}"
        first = _conv("conv", width, 1)
        long = [_conv(f"conv_{i}", width, [7, 1] if i % 2 else [1, 7]) for i in (1, 2, 3)]
        from_layer = join(
            name,
            [
                tower(name, _conv("conv", 192, 1)),
                tower(f"{name}/tower", first, _conv("conv_1", width, [1, 7]), _conv("conv_2", 192, [7, 1])),
                tower(f"{name}/tower_1", first, *long, _conv("conv_4", 192, [1, 7])),
                tower(f"{name}/tower_2", _pool(average, 1, 1), _conv("conv", 192, 1)),
            ],
        )
    first, middle = _conv("conv", 192, 1), (_conv("conv_1", 192, [1, 7]), _conv("conv_2", 192, [7, 1]))
    from_layer = join(
        "mixed_8",
        [
            tower("mixed_8/tower", *halves(first, _conv("conv_1", 320, 3))),
            tower("mixed_8/tower_1", *halves(first, *middle, _conv("conv_3", 192, 3))),
            tower("mixed_8", _pool(greatest, 0, 2)),
        ],
    )
    for number, method in ((9, average), (10, greatest)):
        name = f"mixed_{number}"
        from_layer = join(
            name,
            [
                tower(name, _conv("conv", 320, 1)),
                forked(f"{name}/tower", "conv", _conv("conv", 384, 1)),
                forked(f"{name}/tower_1", "conv_1", _conv("conv", 448, 1), _conv("conv_1", 384, 3)),
                tower(f"{name}/tower_2", _pool(method, 1, 1), _conv("conv", 192, 1)),
            ],
        )
    if output_pred:
        net.pool_3 = L.Pooling(net[from_layer], pool=average, kernel_size=8, pad=0, stride=1)
        net.softmax = L.InnerProduct(net.pool_3, num_output=1008)
        net.softmax_prob = L.Softmax(net.softmax)
    return net


def _conv(name: str, num_output: int, kernel: int | list[int]) -> dict[str, Any]:
    """Describe a convolution of a tower that keeps the resolution."""
    if isinstance(kernel, list):
        return {
            "name": name,
            "num_output": num_output,
            "kernel_size": kernel,
            "pad": [k // 2 for k in kernel],
            "stride": [1, 1],
        }
    return {"name": name, "num_output": num_output, "kernel_size": kernel, "pad": kernel // 2, "stride": 1}


def _pool(method: int, pad: int, stride: int) -> dict[str, Any]:
    return {"name": "pool", "pool": method, "kernel_size": 3, "pad": pad, "stride": stride}


# -- SSD -------------------------------------------------------------------------------------------------------------


def CreateAnnotatedDataLayer(
    source: str,
    batch_size: int = 32,
    backend: int = caffe_pb2.DataParameter.LMDB,
    output_label: bool = True,
    train: bool = True,
    label_map_file: str = "",
    anno_type: int | None = None,
    transform_param: Mapping[str, Any] | None = None,
    batch_sampler: Sequence[Mapping[str, Any]] = ({},),
) -> Any:
    """Make an AnnotatedData layer for TRAIN or TEST; return its data, or with ``output_label`` its data and labels."""
    annotated: dict[str, Any] = {"label_map_file": label_map_file, "batch_sampler": list(batch_sampler)}
    if anno_type is not None:
        annotated["anno_type"] = anno_type
    return L.AnnotatedData(
        name="data",
        annotated_data_param=annotated,
        data_param={"batch_size": batch_size, "backend": backend, "source": source},
        ntop=2 if output_label else 1,
        include={"phase": caffe_pb2.TRAIN if train else caffe_pb2.TEST},
        transform_param=dict(transform_param or {}),
    )


def CreateMultiBoxHead(
    net: NetSpec,
    data_layer: str = "data",
    num_classes: int = 0,
    from_layers: Sequence[str] = (),
    use_objectness: bool = False,
    normalizations: Sequence[float] = (),
    use_batchnorm: bool = True,
    lr_mult: float = 1,
    use_scale: bool = True,
    min_sizes: Sequence[Any] = (),
    max_sizes: Sequence[Any] = (),
    prior_variance: Sequence[float] = (0.1,),
    aspect_ratios: Sequence[Any] = (),
    steps: Sequence[Any] = (),
    img_height: int = 0,
    img_width: int = 0,
    share_location: bool = True,
    flip: bool = True,
    clip: bool = True,
    offset: float = 0.5,
    inter_layer_depth: Sequence[int] = (),
    kernel_size: int = 1,
    pad: int = 0,
    conf_postfix: str = "",
    loc_postfix: str = "",
    **bn_param: Any,
) -> list[Top]:
    """Predict boxes on each of ``from_layers``: return mbox_loc, mbox_conf, mbox_priorbox, optionally mbox_objectness.

    Sequences with a value per layer must be as long as ``from_layers``; sizes and aspect ratios are numbers or lists.
    """
    if not num_classes or num_classes < 0:
        raise ArgumentError(f"num_classes is {num_classes}", hint="it must be at least 1")
    each = {
        "normalizations": normalizations,
        "max_sizes": max_sizes,
        "aspect_ratios": aspect_ratios,
        "steps": steps,
        "inter_layer_depth": inter_layer_depth,
    }
    for name, given in (each | {"min_sizes": min_sizes}).items():
        if len(given) != len(from_layers) and (given or name == "min_sizes"):
            raise ArgumentError(f"from_layers and {name} should have the same length: {len(from_layers)}, {len(given)}")

    def predicted(bottom: str, kind: str, channels: int) -> Top:
        name = f"{bottom}_mbox_{kind}"
        ConvBNLayer(
            *(net, bottom, name, use_batchnorm, False, channels, kernel_size, pad, 1), lr_mult=lr_mult, **bn_param
        )
        net[f"{name}_perm"] = L.Permute(net[name], order=[0, 2, 3, 1])
        net[f"{name}_flat"] = L.Flatten(net[f"{name}_perm"], axis=1)
        return net[f"{name}_flat"]

    found: dict[str, list[Top]] = {"loc": [], "conf": [], "priorbox": [], "objectness": []}
    for i, bottom in enumerate(from_layers):
        if normalizations and normalizations[i] != -1:
            scale = {"type": "constant", "value": normalizations[i]}
            net[f"{bottom}_norm"] = L.Normalize(
                net[bottom], scale_filler=scale, across_spatial=False, channel_shared=False
            )
            bottom = f"{bottom}_norm"
        if inter_layer_depth and inter_layer_depth[i] > 0:
            inter = f"{bottom}_inter"
            ConvBNLayer(
                *(net, bottom, inter, use_batchnorm, True, inter_layer_depth[i], 3, 1, 1), lr_mult=lr_mult, **bn_param
            )
            bottom = inter
        least, most, ratios = (_listed(given[i]) if given else [] for given in (min_sizes, max_sizes, aspect_ratios))
        if most and len(most) != len(least):
            raise ArgumentError(f"max_size and min_size of {bottom!r} should have the same length: {most}, {least}")
        priors = len(least) * (1 + bool(most) + len(ratios) * (1 + flip))
        found["loc"].append(predicted(bottom, f"loc{loc_postfix}", 4 * priors * (1 if share_location else num_classes)))
        found["conf"].append(predicted(bottom, f"conf{conf_postfix}", priors * num_classes))
        boxes: dict[str, Any] = {"min_size": least}
        if most:
            boxes["max_size"] = most
        if ratios:
            boxes |= {"aspect_ratio": ratios, "flip": flip}
        if steps and steps[i]:
            boxes["step"] = steps[i]
        if img_height and img_width:
            square = img_height == img_width
            boxes |= {"img_size": img_height} if square else {"img_h": img_height, "img_w": img_width}
        net[f"{bottom}_mbox_priorbox"] = L.PriorBox(
            net[bottom], net[data_layer], clip=clip, variance=list(prior_variance), offset=offset, **boxes
        )
        found["priorbox"].append(net[f"{bottom}_mbox_priorbox"])
        if use_objectness:
            found["objectness"].append(predicted(bottom, "objectness", priors * 2))
    heads = []
    for kind, tops in found.items():
        if tops:
            net[f"mbox_{kind}"] = L.Concat(*tops, axis=2 if kind == "priorbox" else 1)
            heads.append(net[f"mbox_{kind}"])
    return heads


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]

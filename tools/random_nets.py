"""Random nets of layers that have a gradient, each made from a seed: geometry, axes, sharing, losses, phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import prod
from typing import Any

import numpy as np

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError
from caffe_lite.layer import layer_class
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text

Shape = tuple[int, ...]

# Engines often go wrong on axes of one element; 16 and 17 channels are around the length of a vector.
SIZES = (1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17)
MOST_VALUES, MOST_VALUES_OF_FEW = 3_000, 40_000


@dataclass
class RandomNet:
    """A net and its values.

    ``inputs`` are values of Input layers; those named in ``exact`` (such as labels) are whole numbers without
    rounding errors. ``parameters`` are the values of the layers' blobs, by the layer's name.
    """

    seed: int
    text: str
    phase: int
    inputs: dict[str, np.ndarray]
    exact: set[str]
    parameters: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def make(self, engine: str, dtype: str = "float32", compile: bool = False) -> Net:
        """Create the net on an engine, and fill its inputs and parameters."""
        net = Net(_parsed(self.text), self.phase, engine=engine, dtype=dtype, seed=self.seed, compile=compile)
        for name, arrays in self.parameters.items():
            for blob, values in zip(net.params[name], arrays, strict=True):
                blob.data[...] = values
        self.fill(net)
        return net

    def fill(self, net: Net) -> None:
        """Write the values of the inputs again: an in-place layer may have overwritten them."""
        for name, values in self.inputs.items():
            net.blobs[name].data[...] = values


def random_net(seed: int, *, compilable: bool = False, empty: bool = False) -> RandomNet:
    """Create the net of this seed.

    Args:
        compilable: use only layers that can be compiled, and Parameters instead of inputs, because a compiled pass
            keeps only the gradients of parameters.
        empty: allow axes without elements.
    """
    for attempt in count():
        try:
            return _Sketch(seed, attempt, compilable, empty).net()
        except CaffeError:  # a Filter passes on fewer samples than the layers after it were made for
            if attempt == 20:
                raise
    raise AssertionError


def _parsed(text: str) -> Any:
    return parse_text(text, NetParameter, "net.prototxt")


class _Sketch:
    """A net under construction."""

    def __init__(self, seed: int, attempt: int, compilable: bool, empty: bool) -> None:
        self.seed = seed
        self.rng = np.random.default_rng((seed, attempt))
        self.compilable = compilable
        self.empty = empty
        self.phase = TRAIN if self.chance(0.7) else TEST
        self.most_values = MOST_VALUES if self.chance(0.9) else MOST_VALUES_OF_FEW
        self.layers: list[str] = []
        self.shapes: dict[str, Shape] = {}  # of every blob that can be read
        self.read: set[str] = set()  # blobs on which no layer can run in place any more
        self.inputs: dict[str, np.ndarray] = {}
        self.exact: set[str] = set()

    def net(self) -> RandomNet:
        wanted = self.among(1, 2, 3, 4, 5, 6, 8)
        names = [name for name in PROPOSALS if not (self.compilable and name in NOT_COMPILABLE)]
        made = 0
        for _ in range(4 * wanted):
            # Convolution and pooling have the most ways to go wrong.
            name = self.among("Convolution", "Deconvolution", "Pooling") if self.chance(0.25) else self.among(*names)
            made += PROPOSALS[name](self) is not None
            if made == wanted:
                break
        if self.chance(0.5) and self.shapes:
            _loss_of_some(self)
        forced = "force_backward: true\n" if self.chance(0.7) or not self.compilable else ""
        text = f'name: "net {self.seed}"\n{forced}' + "".join(self.layers)
        net = RandomNet(self.seed, text, self.phase, self.inputs, self.exact)
        net.parameters = self.parameters(Net(_parsed(text), self.phase, engine="numpy", seed=self.seed))
        return net

    # -- draws -------------------------------------------------------------------------------------------------------

    def among(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def flag(self) -> str:
        return self.among("true", "false")

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def number(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    def size(self) -> int:
        return 0 if self.empty and self.chance(0.05) else self.among(*SIZES)

    def shape(self, axes: Sequence[int]) -> Shape:
        """Draw a shape with one of these numbers of axes."""
        number = self.among(*axes)
        while True:
            shape = tuple(self.size() for _ in range(number))
            if prod(shape) <= self.most_values:
                return shape

    def real(self, *axes: int) -> str:
        """Choose a blob with one of these numbers of axes: an existing one, preferably a late one, or a new source."""
        there = [name for name, shape in self.shapes.items() if len(shape) in axes and name not in self.exact]
        if there and self.chance(0.85):
            return there[-1] if self.chance(0.6) else self.among(*there)
        return self.source(self.shape(axes))

    def like(self, shape: Shape) -> str:
        """Choose a blob of this shape."""
        there = [name for name, other in self.shapes.items() if other == shape and name not in self.exact]
        return self.among(*there) if there and self.chance(0.6) else self.source(shape)

    # -- layers ------------------------------------------------------------------------------------------------------

    def source(self, shape: Shape) -> str:
        """Add a blob of real numbers: an Input or a Parameter."""
        if self.compilable or self.chance(0.1):
            return self.learned(shape)
        return self.input(self.rng.standard_normal(shape))

    def learned(self, shape: Shape, loss_weight: str = "") -> str:
        name = f"p{len(self.layers)}"
        dims = _dims(shape)
        self.layers.append(
            f'layer {{ name: "{name}" type: "Parameter" top: "{name}" {loss_weight} parameter_param {{ {dims} }} }}\n'
        )
        self.shapes[name] = shape
        self.read.add(name)  # an in-place layer would overwrite the parameter
        return name

    def input(self, values: np.ndarray, exact: bool = False) -> str:
        name = f"x{len(self.layers)}"
        dims = _dims(values.shape)
        self.layers.append(f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ {dims} }} }}\n')
        self.shapes[name] = values.shape
        self.inputs[name] = values.astype(np.float32)
        if exact:
            self.exact.add(name)
        return name

    def whole(self, below: int, shape: Shape) -> str:
        """Add an input of whole numbers from 0 to below - 1."""
        return self.input(self.rng.integers(0, max(1, below), shape), exact=True)

    def add(self, type: str, bottoms: Sequence[str], param: str = "", tops: int = 1) -> list[str] | None:
        """Add a layer; return the names of its tops, or None if it is refused or its tops are too large."""
        shapes = [self.shapes[bottom] for bottom in bottoms]
        outs = self.probe(type, shapes, param, tops)
        if outs is None or any(prod(shape) > 4 * self.most_values for shape in outs):
            return None
        name = f"{type.lower()}{len(self.layers)}"
        names = [f"{name}_{i}" if tops > 1 else name for i in range(tops)]
        first = bottoms[0]
        may_be = tops == 1 and bottoms.count(first) == 1 and first not in self.read | self.exact
        if may_be and self.chance(0.5) and self.probe(type, shapes, param, tops, in_place=True):
            names = [first]
        self.read.update({*bottoms} - {*names})
        fields = [f'bottom: "{bottom}"' for bottom in bottoms] + [f'top: "{top}"' for top in names]
        cls = layer_class(type)
        assert cls is not None  # otherwise there would be no net with it
        inert = [i % len(bottoms) for i in cls.not_differentiable]
        learned = type.endswith("Loss") and any(bottoms[i] not in self.inputs for i in inert)
        if learned or self.chance(0.1):
            fields += [f"propagate_down: {'false' if i in inert else self.flag()}" for i in range(len(bottoms))]
        if type != "Filter" and self.chance(0.5 if type.endswith("Loss") else 0.05):
            fields += [f"loss_weight: {self.number(-1, 2) if self.chance(0.7) else 0}" for _ in names]
            self.read.update(names)
        self.layers.append(f'layer {{ name: "{name}" type: "{type}" {" ".join(fields)} {param} }}\n')
        for top, shape in zip(names, outs, strict=True):
            self.shapes.pop(top, None)
            self.shapes[top] = shape
        return names

    def probe(
        self, type: str, shapes: Sequence[Shape], param: str, tops: int, in_place: bool = False
    ) -> list[Shape] | None:
        """Return the shapes of a layer's tops, or None if it refuses these shapes of bottoms or its parameters."""
        text = ""
        for i, shape in enumerate(shapes):
            text += f'layer {{ name: "{i}" type: "Input" top: "{i}" input_param {{ {_dims(shape)} }} }}\n'
        names = ["0"] if in_place else [f"y{i}" for i in range(tops)]
        ends = [f'bottom: "{i}"' for i in range(len(shapes))] + [f'top: "{name}"' for name in names]
        text += f'layer {{ name: "y" type: "{type}" {" ".join(ends)} {param} }}'
        try:
            net = Net(_parsed(text), self.phase, engine="numpy", seed=0)
        except CaffeError:
            return None
        return [net.blobs[name].shape for name in names]

    def positive(self, *axes: int) -> str | None:
        """Add a blob of numbers above 0."""
        made = self.add(self.among("Sigmoid", "BNLL"), [self.real(*axes)])
        return made[0] if made else None

    def parameters(self, net: Net) -> dict[str, list[np.ndarray]]:
        """Draw values for the layers' blobs that keep values and gradients at about the same size."""
        values: dict[str, list[np.ndarray]] = {}
        for node in net.nodes:
            if not node.layer.blobs:
                continue
            arrays = []
            for index, blob in enumerate(node.layer.blobs):
                drawn = self.rng.standard_normal(blob.shape)
                if node.layer.type == "BatchNorm":
                    drawn = [drawn, np.abs(drawn) + 0.5, np.full(blob.shape, self.among(0.0, 1.0, 2.5))][index]
                elif node.layer.type == "BN":
                    drawn = drawn if index == 2 else np.abs(drawn) + 0.5
                elif node.layer.type == "Scale" and index == 0:
                    drawn = 1 + 0.3 * drawn
                elif len(blob.shape) > 1 and node.layer.type != "Parameter":
                    drawn /= max(1, prod(blob.shape[1:])) ** 0.5
                arrays.append(np.asarray(drawn, np.float32))
            values[node.name] = arrays
        return values


def _dims(shape: Shape) -> str:
    return f"shape {{ {' '.join(f'dim: {n}' for n in shape)} }}"


Proposal = Callable[[_Sketch], "list[str] | None"]
PROPOSALS: dict[str, Proposal] = {}
NOT_COMPILABLE = {"Filter"}
ANY, BATCHED, ROWS, IMAGES = (0, 1, 2, 3, 4, 5), (1, 2, 3, 4, 5), (2, 3, 4, 5), (4,)


def _proposes(*names: str) -> Callable[[Callable[..., list[str] | None]], Any]:
    """Mark a function that adds a layer of one of these types to a sketch, or fails to."""

    def mark(function: Callable[..., list[str] | None]) -> Any:
        for name in names:
            PROPOSALS[name] = partial(function, type=name) if len(names) > 1 else function
        return function

    return mark


@_proposes("AbsVal", "BNLL", "HardSwish", "HardTanH", "Mish", "ReLU6", "SeLU", "Sigmoid", "TanH", "Split")
def _plain(s: _Sketch, type: str) -> list[str] | None:
    return s.add(type, [s.real(*ANY)], tops=s.integer(1, 3) if type == "Split" else 1)


@_proposes("ReLU")
def _relu(s: _Sketch) -> list[str] | None:
    return s.add("ReLU", [s.real(*ANY)], f"relu_param {{ negative_slope: {s.among(0, 0, 0.1, -0.5)} }}")


@_proposes("ShuffleChannel")
def _shuffle_channel(s: _Sketch) -> list[str] | None:
    return s.add("ShuffleChannel", [s.real(*ROWS)], f"shuffle_channel_param {{ group: {s.among(1, 2, 3)} }}")


@_proposes("ELU")
def _elu(s: _Sketch) -> list[str] | None:
    return s.add("ELU", [s.real(*ANY)], f"elu_param {{ alpha: {s.among(1, 0, 0.3, -0.3)} }}")


@_proposes("Swish")
def _swish(s: _Sketch) -> list[str] | None:
    return s.add("Swish", [s.real(*ANY)], f"swish_param {{ beta: {s.number(-2, 2)} }}")


@_proposes("PReLU")
def _prelu(s: _Sketch) -> list[str] | None:
    return s.add("PReLU", [s.real(*ROWS)], f"prelu_param {{ channel_shared: {s.flag()} }}")


@_proposes("Clip")
def _clip(s: _Sketch) -> list[str] | None:
    low = s.number(-1.5, 0.5)
    return s.add("Clip", [s.real(*ANY)], f"clip_param {{ min: {low} max: {low + s.among(0, 0.5, 1.5):.3f} }}")


@_proposes("Threshold")
def _threshold(s: _Sketch) -> list[str] | None:
    made = s.add("Threshold", [s.real(*ANY)], f"threshold_param {{ threshold: {s.number(-1, 1)} }}")
    return _not_to_be_read(s, made)


@_proposes("Dropout")
def _dropout(s: _Sketch) -> list[str] | None:
    return s.add("Dropout", [s.real(*ANY)], f"dropout_param {{ dropout_ratio: {s.among(0, 0.3, 0.5, 0.9)} }}")


@_proposes("Exp")
def _exp(s: _Sketch) -> list[str] | None:
    base = s.among("", "base: 2", "base: 0.3")
    return s.add("Exp", [s.real(*ANY)], f"exp_param {{ {base} scale: {s.number(-1, 1)} shift: {s.number(-1, 1)} }}")


@_proposes("Log")
def _log(s: _Sketch) -> list[str] | None:
    x = s.positive(*ANY)
    base = s.among("", "base: 2", "base: 10")
    return (
        None
        if x is None
        else s.add("Log", [x], f"log_param {{ {base} scale: {s.number(0.2, 2)} shift: {s.number(0.1, 1)} }}")
    )


@_proposes("Power")
def _power(s: _Sketch) -> list[str] | None:
    scale, shift = s.number(-1.5, 1.5), s.number(-1, 1)
    if s.chance(0.5):
        return s.add("Power", [s.real(*ANY)], f"power_param {{ power: {s.among(0, 1, 2, 3)} scale: {scale} }}")
    x = s.positive(*ANY)
    power = s.among(0.5, 2.5, -1, -0.75)
    return (
        None
        if x is None
        else s.add("Power", [x], f"power_param {{ power: {power} scale: {abs(scale)} shift: {abs(shift) + 0.1} }}")
    )


def _axis(s: _Sketch, axes: int) -> int:
    return s.integer(-axes, axes - 1) if axes else 0


@_proposes("Softmax")
def _softmax(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    return s.add("Softmax", [x], f"softmax_param {{ axis: {_axis(s, len(s.shapes[x]))} }}")


@_proposes("MVN")
def _mvn(s: _Sketch) -> list[str] | None:
    fields = f"across_channels: {s.flag()} normalize_variance: {s.flag()}"
    return s.add("MVN", [s.real(*ROWS)], f"mvn_param {{ {fields} eps: {s.among(1e-9, 1e-3)} }}")


@_proposes("Normalize")
def _normalize(s: _Sketch) -> list[str] | None:
    fields = f"across_spatial: {s.flag()} channel_shared: {s.flag()} add_eps_before_sqrt: {s.flag()}"
    return s.add("Normalize", [s.real(*ROWS)], f"norm_param {{ {fields} eps: {s.among(0.01, 0.1)} }}")


@_proposes("Permute")
def _permute(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    order = s.rng.permutation(len(s.shapes[x]))[: s.integer(0, len(s.shapes[x]))]
    return s.add("Permute", [x], f"permute_param {{ {' '.join(f'order: {axis}' for axis in order)} }}")


@_proposes("LRN")
def _lrn(s: _Sketch) -> list[str] | None:
    fields = f"local_size: {s.among(1, 3, 5, 9)} alpha: {s.among(1, 0.7, 1e-4)} beta: {s.among(0.75, 0.5, 1.3)}"
    region = s.among("", "", "norm_region: WITHIN_CHANNEL")
    return s.add("LRN", [s.real(*IMAGES)], f"lrn_param {{ {fields} k: {s.among(1, 2)} {region} }}")


@_proposes("BatchNorm")
def _batch_norm(s: _Sketch) -> list[str] | None:
    stats = s.among("", "", "use_global_stats: true", "use_global_stats: false")
    made = s.add("BatchNorm", [s.real(*BATCHED)], f"batch_norm_param {{ {stats} eps: {s.among(1e-5, 1e-2)} }}")
    if made and len(s.shapes[made[0]]) > 1 and s.chance(0.6):  # as in real nets, and as engines fuse it
        made = s.add("Scale", made, f"scale_param {{ bias_term: {s.flag()} }}")
        if made and s.chance(0.6):
            made = s.add("ReLU", made)
    return made


@_proposes("Upsample")
def _upsample(s: _Sketch) -> list[str] | None:
    return s.add("Upsample", [s.real(*IMAGES)], f"upsample_param {{ scale: {s.among(1, 2, 3)} }}")


@_proposes("Reorg")
def _reorg(s: _Sketch) -> list[str] | None:
    x = s.real(*IMAGES)
    _, channels, height, width = s.shapes[x]
    reverse = s.flag()
    strides = [n for n in (1, 2, 3) if not channels % n**2 and (reverse == "true" or not (height % n or width % n))]
    return s.add("Reorg", [x], f"reorg_param {{ stride: {s.among(*strides)} reverse: {reverse} }}")


@_proposes("Interp")
def _interp(s: _Sketch) -> list[str] | None:
    fields = s.among("zoom_factor: 2", "shrink_factor: 2", f"height: {s.size()} width: {s.size()}")
    return s.add("Interp", [s.real(*IMAGES)], f"interp_param {{ {fields} }}")


@_proposes("BN")
def _bn(s: _Sketch) -> list[str] | None:
    fields = s.among("", "bn_mode: INFERENCE", f"momentum: 0.7 eps: {s.among(1e-5, 1e-2)}", "frozen: true")
    made = s.add("BN", [s.real(*BATCHED)], f"bn_param {{ {fields} }}")
    return s.add("ReLU", made) if made and s.chance(0.4) else made


@_proposes("Scale", "Bias")
def _spanning(s: _Sketch, type: str) -> list[str] | None:
    x = s.real(*BATCHED)
    shape = s.shapes[x]
    axis = _axis(s, len(shape))
    bias = f"bias_term: {s.flag()}" if type == "Scale" else ""
    if s.chance(0.6):
        span = s.integer(-1, len(shape) - axis % len(shape))
        return s.add(type, [x], f"{type.lower()}_param {{ axis: {axis} num_axes: {span} {bias} }}")
    end = s.integer(axis % len(shape), len(shape))
    operand = s.like(shape[axis % len(shape) : end])
    return s.add(type, [x, operand], f"{type.lower()}_param {{ axis: {axis} {bias} }}")


@_proposes("InnerProduct")
def _inner_product(s: _Sketch) -> list[str] | None:
    if s.chance(0.1):
        return _product_of_bottoms(s)
    x = s.real(*BATCHED)
    fields = f"num_output: {s.size()} axis: {_axis(s, len(s.shapes[x]))} transpose: {s.flag()}"
    param = f"inner_product_param {{ {fields} bias_term: {s.among('true', 'true', 'false')} }}"
    return _with_shared(s, "InnerProduct", x, param)


def _product_of_bottoms(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    outputs, transpose = s.among(1, 2, 5), s.flag()
    shape = (outputs, prod(s.shapes[x][1:]))
    bottoms = [x, s.like(shape[::-1] if transpose == "true" else shape), s.like((outputs,))]
    return s.add("InnerProduct", bottoms, f"inner_product_param {{ transpose: {transpose} }}")


def _with_shared(s: _Sketch, type: str, x: str, param: str) -> list[str] | None:
    """Add a layer with parameters; sometimes they are not learned, or shared with another layer over the same blob."""
    share = s.chance(0.1)
    spec = f'param {{ name: "w{len(s.layers)}" }} ' if share else "param { lr_mult: 0 } " if s.chance(0.05) else ""
    made = s.add(type, [x], spec + param)
    if share and made and made != [x]:
        s.add(type, [x], spec + param)
    return made


def _windows(s: _Sketch, image: Shape, dilates: bool) -> str:
    """Draw kernel, stride, pad and dilation for each of the axes."""
    if not image:
        return s.among("", "kernel_size: 1")

    def each(name: str, values: Sequence[int]) -> str:
        if s.chance(0.6) or len(image) == 1:
            return f"{name}: {s.among(*values)} "
        return "".join(f"{name}: {s.among(*values)} " for _ in image)

    kernel = s.among((1,), (1, 2, 3), (3,), (3, 5, 7), (1, 2, 3, 4, 5))
    dilation = each("dilation", (1, 2, 3)) if dilates and s.chance(0.4) else ""
    strides = each("stride", (1, 1, 2, 3, 4)) if s.chance(0.6) else ""
    pads = each("pad", (0, 1, 2, 3)) if s.chance(0.6) else ""
    return each("kernel_size", kernel) + strides + pads + dilation


@_proposes("Convolution", "Deconvolution")
def _convolution(s: _Sketch, type: str) -> list[str] | None:
    x = s.real(*s.among((2,), (3,), (4,), (4,), (4,), (4,), (5,)))
    shape = s.shapes[x]
    axis = s.among(1, 1, 1, 1, _axis(s, len(shape)))
    channels, image = shape[axis], shape[axis % len(shape) + 1 :]
    group = s.among(1, 1, *[n for n in range(1, channels + 1) if channels % n == 0]) if channels else 1
    outputs = group * s.among(1, 1, 2, 3, max(1, 8 // group), max(1, 16 // group), max(1, 32 // group))
    fields = f"num_output: {outputs} group: {group} axis: {axis} bias_term: {s.among('true', 'true', 'false')}"
    param = f"convolution_param {{ {fields} {_windows(s, image, dilates=True)} }}"
    made = _with_shared(s, type, x, param)
    if made and s.chance(0.3):  # as engines fuse it
        made = s.add("ReLU", made, f"relu_param {{ negative_slope: {s.among(0, 0, 0.1)} }}")
    return made


@_proposes("Im2col")
def _im2col(s: _Sketch) -> list[str] | None:
    x = s.real(3, 4, 5)
    shape = s.shapes[x]
    axis = s.integer(1, len(shape) - 1)
    windows = _windows(s, shape[axis + 1 :], dilates=True)
    return s.add("Im2col", [x], f"convolution_param {{ {windows} axis: {axis} }}")


@_proposes("Pooling")
def _pooling(s: _Sketch) -> list[str] | None:
    pool = s.among("MAX", "MAX", "AVE", "AVE", "STOCHASTIC")
    x = s.positive(*IMAGES) if pool == "STOCHASTIC" else s.real(*IMAGES)
    if x is None or len(s.shapes[x]) != 4:
        return None
    if s.chance(0.15):
        return s.add("Pooling", [x], f"pooling_param {{ pool: {pool} global_pooling: true }}")
    height, width = (s.among(1, 2, 2, 3, 3, 3, 4, 5) for _ in range(2))
    kernel = f"kernel_size: {height}" if s.chance(0.6) else f"kernel_h: {height} kernel_w: {width}"
    stride = s.among(f"stride: {s.among(1, 2, 2, 3)}", f"stride_h: {s.integer(1, 4)} stride_w: {s.integer(1, 4)}", "")
    pad = s.among("", "", f"pad: {s.integer(0, 2)}", f"pad_h: {s.integer(0, 2)} pad_w: {s.integer(0, 2)}")
    rounding = s.among("", "", "round_mode: FLOOR")
    tops = 2 if pool == "MAX" and s.chance(0.2) else 1
    made = s.add("Pooling", [x], f"pooling_param {{ pool: {pool} {kernel} {stride} {pad} {rounding} }}", tops)
    if made and tops == 2:
        s.shapes.pop(made[1])
    return made


@_proposes("SPP")
def _spp(s: _Sketch) -> list[str] | None:
    pool = s.among("MAX", "AVE", "STOCHASTIC")
    x = s.positive(*IMAGES) if pool == "STOCHASTIC" else s.real(*IMAGES)
    return None if x is None else s.add("SPP", [x], f"spp_param {{ pyramid_height: {s.integer(1, 3)} pool: {pool} }}")


@_proposes("Eltwise")
def _eltwise(s: _Sketch) -> list[str] | None:
    x = s.real(*ANY)
    others = [s.like(s.shapes[x]) for _ in range(s.integer(1, 3))]
    operation = s.among("SUM", "SUM", "PROD", "MAX")
    fields = f"operation: {operation} "
    if operation == "SUM" and s.chance(0.5):
        fields += "".join(f"coeff: {s.among(1, -0.5, 2, 0)} " for _ in (x, *others))
    if operation == "PROD":
        fields += f"stable_prod_grad: {s.flag()}"
    return s.add("Eltwise", [x, *others], f"eltwise_param {{ {fields} }}")


@_proposes("Concat")
def _concat(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    shape = s.shapes[x]
    axis = _axis(s, len(shape))
    others = []
    for _ in range(s.integer(0, 2)):
        other = list(shape)
        other[axis] = s.size()
        others.append(s.like(tuple(other)))
    return s.add("Concat", [x, *others], f"concat_param {{ axis: {axis} }}")


@_proposes("Slice")
def _slice(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    shape = s.shapes[x]
    axis = _axis(s, len(shape))
    tops = s.integer(1, min(3, max(1, shape[axis])))
    points = sorted(int(p) for p in s.rng.choice(np.arange(1, max(2, shape[axis])), tops - 1, replace=False))
    fields = "".join(f"slice_point: {point} " for point in points)
    return s.add("Slice", [x], f"slice_param {{ axis: {axis} {fields} }}", tops)


@_proposes("Silence")
def _silence(s: _Sketch) -> list[str] | None:
    x = s.real(*ANY)
    s.layers.append(f'layer {{ name: "silence{len(s.layers)}" type: "Silence" bottom: "{x}" }}\n')
    s.read.add(x)
    return []


@_proposes("Tile")
def _tile(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    return s.add("Tile", [x], f"tile_param {{ axis: {_axis(s, len(s.shapes[x]))} tiles: {s.integer(1, 3)} }}")


@_proposes("Flatten")
def _flatten(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    first, last = sorted(s.integer(0, len(s.shapes[x]) - 1) for _ in range(2))
    return s.add("Flatten", [x], f"flatten_param {{ axis: {first} end_axis: {last} }}")


@_proposes("Reshape")
def _reshape(s: _Sketch) -> list[str] | None:
    x = s.real(*ANY)
    count = prod(s.shapes[x])
    divisors = [n for n in range(1, min(count, 40) + 1) if count % n == 0] or [0]
    fields = s.among(
        f"shape {{ dim: {s.among(*divisors)} dim: -1 }}",
        f"shape {{ dim: -1 dim: 1 dim: {s.among(*divisors)} dim: 1 }}",
        f"shape {{ dim: 1 dim: {s.among(*divisors)} dim: -1 dim: 1 }}",
        "shape { dim: 1 } axis: -1 num_axes: 0",
        "shape { dim: 0 dim: -1 }",
    )
    return s.add("Reshape", [x], f"reshape_param {{ {fields} }}")


@_proposes("Reduction")
def _reduction(s: _Sketch) -> list[str] | None:
    x = s.real(*ANY)
    fields = f"operation: {s.among('SUM', 'ASUM', 'SUMSQ', 'MEAN')} axis: {_axis(s, len(s.shapes[x]))}"
    return s.add("Reduction", [x], f"reduction_param {{ {fields} coeff: {s.number(-1, 1)} }}")


@_proposes("Crop")
def _crop(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    shape = s.shapes[x]
    axis = s.integer(0, len(shape) - 1)
    offsets = [s.integer(0, max(0, n - 1)) for n in shape[axis:]]
    sizes = [s.integer(min(1, n - o), n - o) for n, o in zip(shape[axis:], offsets, strict=True)]
    fields = " ".join(f"offset: {offset}" for offset in offsets)
    return s.add("Crop", [x, s.like((*shape[:axis], *sizes))], f"crop_param {{ axis: {axis} {fields} }}")


@_proposes("BatchReindex")
def _batch_reindex(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    return s.add("BatchReindex", [x, s.whole(s.shapes[x][0], (s.integer(1, 6),))])


@_proposes("Filter")
def _filter(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    samples = s.shapes[x][0]
    selector = s.whole(2, (samples,))
    chosen = s.inputs[selector]
    if not s.empty and samples:
        chosen[s.integer(0, samples - 1)] = 1
    made = s.add("Filter", [x, selector])
    if made:
        s.shapes[made[0]] = (int(np.count_nonzero(chosen)), *s.shapes[x][1:])
    return made


@_proposes("Embed")
def _embed(s: _Sketch) -> list[str] | None:
    words = s.integer(1, 9)
    fields = f"input_dim: {words} num_output: {s.size()} bias_term: {s.flag()}"
    return s.add("Embed", [s.whole(words, s.shape((1, 2, 3)))], f"embed_param {{ {fields} }}")


@_proposes("Parameter")
def _parameter(s: _Sketch) -> list[str] | None:
    return [s.learned(s.shape(ANY), f"loss_weight: {s.number(-1, 1)}")]


@_proposes("LSTM", "RNN")
def _recurrent(s: _Sketch, type: str) -> list[str] | None:
    x = s.real(*ROWS)
    steps, streams = s.shapes[x][:2]
    if steps > 6:
        return None
    outputs = s.integer(1, 4)
    bottoms = [x, s.whole(2, (steps, streams))]
    if s.chance(0.3):
        bottoms.append(s.like((streams, s.size())))
    param = f"recurrent_param {{ num_output: {outputs} "
    if s.chance(0.3):
        states = 2 if type == "LSTM" else 1
        bottoms += [s.like((1, streams, outputs)) for _ in range(states)]
        made = s.add(type, bottoms, param + "expose_hidden: true }", 1 + states)
        return made
    return s.add(type, bottoms, param + "}")


@_proposes("Lstm")
def _caffe_lstm(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    rows = s.shapes[x][0]
    clip = [s.whole(2, (rows,))] if s.chance(0.7) else []
    streams = s.among(*[n for n in (1, 2, 3) if rows % n == 0])
    fields = f"num_output: {s.integer(1, 4)} batch_size: {streams} clipping_threshold: {s.number(-1, 1)}"
    return s.add("Lstm", [x, *clip], f"lstm_param {{ {fields} }}")


@_proposes("LSTMUnit")
def _lstm_unit(s: _Sketch) -> list[str] | None:
    streams, units = s.among(1, 2, 3), s.among(1, 2, 5)
    bottoms = [s.like((1, streams, units)), s.like((1, streams, 4 * units)), s.whole(2, (1, streams))]
    return s.add("LSTMUnit", bottoms, tops=2)


# -- losses ----------------------------------------------------------------------------------------------------------


def _scores(s: _Sketch) -> tuple[str, int, str]:
    """Choose scores, the axis of their classes, and labels for them."""
    x = s.real(*ROWS)
    shape = s.shapes[x]
    axis = s.among(1, 1, _axis(s, len(shape)))
    without = shape[: axis % len(shape)] + shape[axis % len(shape) + 1 :]
    return x, axis, s.whole(shape[axis], without)


def _normalization(s: _Sketch) -> str:
    ignored = s.among("", "ignore_label: 0", "ignore_label: 1")
    rule = s.among(
        "",
        "normalization: FULL",
        "normalization: VALID",
        "normalization: BATCH_SIZE",
        "normalization: PRE_FIXED pre_fixed_normalizer: 7",
        "normalization: NONE",
    )
    return f"loss_param {{ {ignored} {rule} }}"


@_proposes("SoftmaxWithLoss")
def _softmax_loss(s: _Sketch) -> list[str] | None:
    x, axis, labels = _scores(s)
    param = f"softmax_param {{ axis: {axis} }} {_normalization(s)}"
    return s.add("SoftmaxWithLoss", [x, labels], param, s.among(1, 1, 2, 3))


@_proposes("InfogainLoss")
def _infogain_loss(s: _Sketch) -> list[str] | None:
    x, axis, labels = _scores(s)
    classes = s.shapes[x][axis]
    matrix = s.like((1, 1, classes, classes))
    param = f"infogain_loss_param {{ axis: {axis} }} {_normalization(s)}"
    return s.add("InfogainLoss", [x, labels, matrix], param, s.among(1, 1, 2))


@_proposes("MultinomialLogisticLoss")
def _multinomial_loss(s: _Sketch) -> list[str] | None:
    x = s.positive(2, 4)
    if x is None or len(s.shapes[x]) < 2:
        return None
    shape = s.shapes[x]
    return s.add("MultinomialLogisticLoss", [x, s.whole(prod(shape[1:]), shape[:1])])


@_proposes("HingeLoss")
def _hinge_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    shape = s.shapes[x]
    labels = s.whole(prod(shape[1:]), shape[:1])
    return s.add("HingeLoss", [x, labels], f"hinge_loss_param {{ norm: {s.among('L1', 'L2')} }}")


@_proposes("EuclideanLoss")
def _euclidean_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    return s.add("EuclideanLoss", [x, s.like(s.shapes[x])])


@_proposes("SmoothL1Loss")
def _smooth_l1_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    others = [s.like(s.shapes[x]) for _ in range(s.among(1, 2, 3))]
    param = f"smooth_l1_loss_param {{ sigma: {s.number(0.3, 3)} }}"
    return s.add("SmoothL1Loss", [x, *others], param, s.among(1, 2))


@_proposes("SigmoidCrossEntropyLoss")
def _sigmoid_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*BATCHED)
    return s.add("SigmoidCrossEntropyLoss", [x, s.whole(2, s.shapes[x])], _normalization(s))


@_proposes("TripletLoss")
def _triplet_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    others = [s.like(s.shapes[x]) for _ in "pq"]
    return s.add("TripletLoss", [x, *others], f"triplet_loss_param {{ margin: {s.number(0.5, 8)} }}")


@_proposes("CenterLoss")
def _center_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    classes = s.integer(1, 6)
    return s.add("CenterLoss", [x, s.whole(classes, s.shapes[x][:1])], f"center_loss_param {{ num_output: {classes} }}")


@_proposes("ContrastiveLoss")
def _contrastive_loss(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    pairs = s.whole(2, s.shapes[x][:1])
    fields = f"margin: {s.number(0.5, 8)} legacy_version: {s.flag()}"
    return s.add("ContrastiveLoss", [x, s.like(s.shapes[x]), pairs], f"contrastive_loss_param {{ {fields} }}")


def _loss_of_some(s: _Sketch) -> None:
    PROPOSALS[s.among(*[name for name in PROPOSALS if name.endswith("Loss")])](s)


@_proposes("Accuracy")
def _accuracy(s: _Sketch) -> list[str] | None:
    x, axis, labels = _scores(s)
    made = s.add("Accuracy", [x, labels], f"accuracy_param {{ axis: {axis} top_k: {s.among(1, 1, 2)} }}")
    return _not_to_be_read(s, made)


@_proposes("SegAccuracy")
def _seg_accuracy(s: _Sketch) -> list[str] | None:
    x = s.real(4)
    n, classes, *size = s.shapes[x]
    made = s.add("SegAccuracy", [x, s.whole(classes, (n, 1, *size))])
    return _not_to_be_read(s, made)


@_proposes("ArgMax")
def _argmax(s: _Sketch) -> list[str] | None:
    x = s.real(*ROWS)
    axis = s.among("", f"axis: {_axis(s, len(s.shapes[x]))}")
    made = s.add("ArgMax", [x], f"argmax_param {{ {axis} top_k: {s.among(1, 1, 2)} }}")
    return _not_to_be_read(s, made)


def _not_to_be_read(s: _Sketch, made: list[str] | None) -> list[str] | None:
    """Remove tops that jump from the blobs to read: they are compared, but no other layer reads them."""
    for top in made or ():
        s.shapes.pop(top)
    return made

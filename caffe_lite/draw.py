"""pycaffe's `caffe.draw`: pictures of nets. SVG and HTML need no other package, other formats pydot and graphviz."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .drawing.picture import picture_of
from .drawing.svg import RANKDIRS, svg_text
from .errors import CaffeError, MissingExtra, Where
from .files.atomic import atomic_write
from .net.filtering import filter_layers, placed_layers, state_of
from .proto.caffe_pb2 import LayerParameter, NetParameter, Phase, PoolingParameter
from .proto.parsed import Parsed
from .proto.upgrade import upgrade_net

if TYPE_CHECKING:
    import pydot

LEARNING = ("Convolution", "Deconvolution", "InnerProduct")  # the types whose lr_mult pycaffe shows
OWN = (".svg", ".html", ".htm")
LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}


def get_pooling_types_dict() -> dict[int, str]:
    """Return the names of the pooling methods, by number."""
    return {value: name for name, value in PoolingParameter.PoolMethod.items()}


def get_edge_label(layer: LayerParameter) -> str:
    """Return the label of the edges to a layer's tops: the size of a batch, or the number of outputs."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


class NoMultiplier(CaffeError, ValueError):
    """A layer has no learning rate multipliers for weights and biases."""


def get_layer_lr_mult(layer: LayerParameter) -> tuple[float, float]:
    """Return the learning rate multipliers of a layer's weights and biases; raise ValueError for other layers."""
    if layer.type not in LEARNING or len(layer.param) > 2:
        raise NoMultiplier(
            f"{layer.type} layers do not have a learning rate multiplier"
            if layer.type not in LEARNING
            else f"{len(layer.param)} param entries are none of weights and biases",
            layer=layer.name,
            layer_type=layer.type,
        )
    weights, biases = [*(spec.lr_mult for spec in layer.param), 1.0, 1.0][:2]
    return weights, biases


def get_layer_label(layer: LayerParameter, rankdir: str, display_lrm: bool = False) -> str:
    """Return a layer's name, type and window, quoted for dot; on one line if the net runs up or down."""
    between = " " if rankdir in ("TB", "BT") else "\\n"
    words = [layer.name, f"({layer.type})"]
    if layer.type in ("Convolution", "Deconvolution"):
        conv = layer.convolution_param
        words += _window(_first(conv.kernel_size, 1), _first(conv.stride, 1), _first(conv.pad, 0))
    elif layer.type == "Pooling":
        pool = layer.pooling_param
        words[1] = f"({layer.type} {get_pooling_types_dict()[pool.pool]})"
        words += _window(pool.kernel_size, pool.stride, pool.pad)
    if display_lrm and layer.type in LEARNING and any(multipliers := get_layer_lr_mult(layer)):
        words.append("lr mult: {:.1f}, {:.1f}".format(*multipliers))
    return '"' + between.join(words).replace('"', '\\"') + '"'


def _window(kernel: int, stride: int, pad: int) -> list[str]:
    return [f"kernel size: {kernel}", f"stride: {stride}", f"pad: {pad}"]


def _first(sizes: Sequence[int], usual: int) -> int:
    return sizes[0] if sizes else usual


def choose_color_by_layertype(layertype: str) -> str:
    """Return red for convolutions, orange for pooling, purple for inner products, blue for all other types."""
    return {
        "Convolution": "#FF5050",
        "Deconvolution": "#FF5050",
        "Pooling": "#FF9900",
        "InnerProduct": "#CC33FF",
    }.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def get_pydot_graph(
    caffe_net: NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> pydot.Dot:
    """Return the net as a pydot graph. With a phase, layers whose rules exclude it are left out."""
    net = _upgraded(caffe_net)
    return _graph(net.message.name, _layers(net, phase), rankdir, label_edges, display_lrm)


def _layers(
    net: Parsed[NetParameter], phase: int | None, level: int = 0, stages: Sequence[str] = ()
) -> list[LayerParameter]:
    layers = placed_layers(net)
    if phase is not None:
        layers = filter_layers(layers, state_of(net.message, _phase(phase), level, stages))
    return [layer.param for layer in layers]


def _graph(
    name: str, layers: Sequence[LayerParameter], rankdir: str, label_edges: bool, display_lrm: bool
) -> pydot.Dot:
    pydot = _pydot()
    graph = pydot.Dot(_quoted(name or "Net"), graph_type="digraph", rankdir=_rankdir(rankdir))
    blobs: dict[str, Any] = {}

    def blob(name: str) -> Any:
        if name not in blobs:
            blobs[name] = pydot.Node(_quoted(f"{name}_blob"), label=_quoted(name), **BLOB_STYLE)
            graph.add_node(blobs[name])
        return blobs[name]

    for number, layer in enumerate(layers):
        in_place = len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]
        style = (
            NEURON_LAYER_STYLE
            if in_place
            else LAYER_STYLE_DEFAULT | {"fillcolor": choose_color_by_layertype(layer.type)}
        )
        label = get_layer_label(layer, rankdir, display_lrm)
        node = pydot.Node(_quoted(f"{layer.name}_{layer.type}_{number}"), label=label, **style)
        graph.add_node(node)
        for name in layer.bottom:
            graph.add_edge(pydot.Edge(blob(name), node))
        for name in layer.top:
            label = get_edge_label(layer) if label_edges else '""'
            graph.add_edge(pydot.Edge(node, blob(name), label=label))
    return graph


def draw_net(
    caffe_net: NetParameter, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """Return a picture as bytes, in any format that graphviz writes; "svg" and "html" are made without it."""
    return _drawn(_upgraded(caffe_net), rankdir, ext, phase, display_lrm)[0]


def draw_net_to_file(
    caffe_net: NetParameter,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Draw a net into a file whose suffix names the format; ``.raw`` is graphviz's text.

    With a phase, layers whose rules exclude it are left out, and the shapes of blobs are shown.
    """
    write_picture(_upgraded(caffe_net), filename, rankdir, phase, display_lrm)


def write_picture(
    net: Parsed[NetParameter],
    filename: str | os.PathLike[str],
    rankdir: str,
    phase: int | None = None,
    display_lrm: bool = False,
    level: int = 0,
    stages: Sequence[str] = (),
) -> list[CaffeError]:
    """Draw a net in a state into a file, and return the errors of its layers, which are drawn all the same."""
    suffix = Path(filename).suffix
    if not suffix:
        raise CaffeError("its name has no suffix, which tells the format", where=Where(os.fspath(filename)),
                         hint="name it .svg or .html")  # fmt: skip
    drawing, problems = _drawn(net, rankdir, suffix[1:].lower(), phase, display_lrm, level, stages)
    with atomic_write(filename) as part:
        part.write_bytes(drawing)
    return problems


def _drawn(
    net: Parsed[NetParameter],
    rankdir: str,
    ext: str,
    phase: int | None,
    display_lrm: bool,
    level: int = 0,
    stages: Sequence[str] = (),
) -> tuple[bytes, list[CaffeError]]:
    if f".{ext}" not in OWN:
        layers = _layers(net, phase, level, stages)
        return _by_graphviz(_graph(net.message.name, layers, rankdir, True, display_lrm), ext), []
    from .drawing.page import page_text

    picture = picture_of(net, None if phase is None else _phase(phase), level, stages, look=True)
    write = svg_text if ext == "svg" else page_text
    return write(picture, _rankdir(rankdir), display_lrm).encode(), picture.problems


def _by_graphviz(graph: pydot.Dot, ext: str) -> bytes:
    if ext == "raw":
        text: str = graph.to_string()
        return text.encode()
    try:
        drawing: bytes = graph.create(format=ext)
    except FileNotFoundError as error:
        raise CaffeError(
            f"graphviz's program dot is needed to draw {ext} and is not found",
            hint="install it (apt install graphviz, brew install graphviz), or draw .svg or .html, which need nothing",
        ) from error
    except Exception as error:  # pydot raises AssertionError if dot fails, and has raised others
        raise CaffeError(f"graphviz cannot draw this as {ext}: {error}", hint="draw .svg or .html") from error
    return drawing


def _pydot() -> Any:
    try:
        import pydot
    except ImportError:
        what = "draw anything but .svg and .html, together with graphviz's program dot"
        raise MissingExtra("pydot", "draw", what) from None
    return pydot


def _upgraded(net: NetParameter) -> Parsed[NetParameter]:
    """Return an upgraded copy of a net; the original draws nothing of older forms."""
    message = NetParameter()
    message.CopyFrom(net)
    parsed = Parsed(message)
    upgrade_net(parsed)
    return parsed


def _phase(phase: int) -> Phase:
    if phase not in Phase.values():
        raise CaffeError(f"phase {phase!r} is neither TRAIN (0) nor TEST (1)", hint="give None for all layers")
    return cast("Phase", phase)


def _rankdir(rankdir: str) -> str:
    if rankdir not in RANKDIRS:
        raise CaffeError(f"rankdir {rankdir!r} is no direction", hint=f"give one of {', '.join(RANKDIRS)}")
    return rankdir


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

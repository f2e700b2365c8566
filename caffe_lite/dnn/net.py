"""Net and Layer, as OpenCV's scripts use them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..errors import ArgumentError, CaffeError, NetError, UnknownName
from ..text.spelling import nearest
from . import costs
from .arrays import as_opencv
from .constants import DNN_TARGET_CPU
from .errors import also_cv2_error
from .importer import Imported, ImportedNet
from .running import Running

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# The names that OpenCV gives to layer 0, which holds the inputs.
_INPUT, _INPUT_TYPE = "_input", "__NetInputLayer__"

Shapes = Sequence[int] | Sequence[Sequence[int]]


class Net:
    """A net as ``cv2.dnn.readNetFromCaffe`` returns it; without arguments, one without layers.

    Layers count from 1, in the order of the prototxt; layer 0 holds the inputs, which are no layers otherwise. Outputs
    are asked for by the names of layers, not by those of blobs: a layer that runs in place has an output of its own.
    The sizes of the inputs are those of the blobs that are set, whatever the prototxt says.

    Every array that it returns is a copy: float32, (N, C, H, W) for images.
    """

    def __init__(self, imported: ImportedNet | None = None) -> None:
        self._layers = imported.layers if imported else []
        self._input_names = imported.inputs if imported else []
        self._running = Running(imported) if imported else None
        self._ids = {_INPUT: 0} | {layer.name: number for number, layer in enumerate(self._layers, 1)}
        for number, layer in enumerate(self._layers, 1):
            self._ids.setdefault(layer.param.name, number)  # older OpenCVs named convolutions so
        self._target = DNN_TARGET_CPU

    # -- running -------------------------------------------------------------------------------------------------------

    @also_cv2_error()
    def setInput(self, blob: ArrayLike, name: str = "", scalefactor: float = 1.0, mean: ArrayLike = ()) -> None:
        """Set the values of an input: the first one, if no name is given. They become (blob - mean) scalefactor.

        Args:
            blob: numbers of any type, in any shape that suits the net.
            mean: a number for each channel, of at most four; one number alone is that of the first.
        """
        index = self._input_index(name)
        values = np.asarray(blob)
        if values.dtype.kind not in "buif":
            raise ArgumentError(f"the blob for input {name!r} is {blob!r}", hint="give an array of numbers")
        if not values.size:
            raise NetError(f"the blob for input {name!r} is empty: its shape is {values.shape}")
        values = np.array(values, np.float32, order="C")
        means = np.atleast_1d(np.asarray(mean, np.float32)).ravel()
        if means.any():
            channels = values.shape[1] if values.ndim > 2 else 0
            if not 0 < channels <= 4:
                raise NetError(
                    f"a mean is given for a blob of shape {values.shape}",
                    hint="means are for images (N, C, H, W) of four channels at most: subtract it yourself",
                )
            means = np.concatenate([means, np.zeros(4, np.float32)])[:channels]
            values -= means.reshape(-1, *[1] * (values.ndim - 2))
        if scalefactor != 1:
            values *= np.float32(scalefactor)
        self._run.set_input(index, values)

    @also_cv2_error()
    def forward(
        self,
        outputName: str | Sequence[str] | None = None,
        outputBlobs: Sequence[np.ndarray] | str | None = None,
        outBlobNames: Sequence[str] | None = None,
    ) -> Any:
        """Run the net up to a layer, the last one unless a name is given; return the layer's first output.

        A list of names gives a tuple, with the first output of each of these layers. ``forward([])`` and
        ``forward(outputBlobs=...)`` give a tuple of all outputs of one layer.
        """
        if outBlobNames is not None:
            outputName = outBlobNames
        if isinstance(outputBlobs, str):  # forward(blobs, name)
            outputName, outputBlobs = outputBlobs, []
        if not (outputName is None or isinstance(outputName, str)) and len(outputName):
            return tuple(self._run.outputs([(self._number(name), 0) for name in outputName]))
        number = self._number(outputName) if outputName and isinstance(outputName, str) else self._last
        if outputBlobs is not None or not (outputName is None or isinstance(outputName, str)):
            return self._all_outputs([number])[0]
        return self._run.outputs([(number, 0)])[0]

    @also_cv2_error()
    def forwardAndRetrieve(self, outBlobNames: Sequence[str]) -> tuple[tuple[np.ndarray, ...], ...]:
        """Run the net up to the last of these layers; return all outputs of each of them."""
        if not outBlobNames:
            raise ArgumentError("no names are given", hint="give those of layers, as in net.getLayerNames()")
        return self._all_outputs([self._number(name) for name in outBlobNames])

    def _all_outputs(self, numbers: Sequence[int]) -> tuple[tuple[np.ndarray, ...], ...]:
        counts = [self._run.output_count(number) for number in numbers]
        pins = [(number, index) for number, count in zip(numbers, counts, strict=True) for index in range(count)]
        arrays = iter(self._run.outputs(pins))
        return tuple(tuple(next(arrays) for _ in range(count)) for count in counts)

    @property
    def _last(self) -> int:
        """The number of the last layer that is there in TEST."""
        return max((number for number, layer in enumerate(self._layers, 1) if layer.runs), default=0)

    @property
    def _run(self) -> Running:
        if not self._layers or self._running is None:
            raise NetError("the net has no layers", hint="read one: cv2.dnn.readNetFromCaffe(prototxt, caffemodel)")
        return self._running

    def _image_size(self) -> tuple[int, int]:
        """Return (width, height) of the first input in the prototxt, or zeros."""
        shape = self._run.imported.shapes[0] if self._input_names else None
        return (shape[3], shape[2]) if shape and len(shape) == 4 else (0, 0)

    def _input_index(self, name: str) -> int:
        if name and name not in self._input_names:
            raise UnknownName(f"the net has no input {name!r}", hint=f"its inputs: {', '.join(self._input_names)}")
        return self._input_names.index(name) if name else 0

    def _number(self, name: str) -> int:
        number = self._ids.get(name, -1)
        if number > 0:
            return number
        near = nearest(name, self._ids)
        raise UnknownName(
            f"the net has no layer {name!r}",
            hint=f"did you mean {near!r}?" if near else "names are those of layers, as in net.getLayerNames()",
        )

    # -- layers --------------------------------------------------------------------------------------------------------

    def empty(self) -> bool:
        """Return whether the net has no layers."""
        return not self._layers

    def getLayerNames(self) -> tuple[str, ...]:
        """Return the names of the layers in their order; a name that came before has _1, _2 ... behind it."""
        return tuple(layer.name for layer in self._layers)

    @also_cv2_error()
    def getLayerId(self, layer: str) -> int:
        """Return a layer's number, or -1 if there is none of this name."""
        if not isinstance(layer, str):
            raise ArgumentError(f"the name of a layer is {layer!r}", hint="give text; getLayer takes numbers, too")
        return self._ids.get(layer, -1)

    @also_cv2_error()
    def getLayer(self, layerId: int | str) -> Layer:
        """Return a layer by its number, or by its name."""
        return Layer(self, self._existing(layerId))

    def _existing(self, layer: int | str) -> int:
        if isinstance(layer, str):
            return 0 if layer == _INPUT else self._number(layer)
        if isinstance(layer, (int, np.integer)) and 0 <= layer <= len(self._layers):
            return int(layer)
        raise UnknownName(f"the net has no layer {layer!r}", hint=f"numbers go from 0 to {len(self._layers)}")

    def getUnconnectedOutLayers(self) -> np.ndarray:
        """Return the numbers of the layers of whose outputs none is read by another layer, (K,), as int32."""
        read = {number for layer in self._layers for number, _ in layer.inputs}
        return np.array([number for number in range(len(self._layers) + 1) if number not in read], np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """Return the names of the layers of whose outputs none is read by another layer."""
        return tuple(self._layers[number - 1].name if number else _INPUT for number in self.getUnconnectedOutLayers())

    def getLayerTypes(self) -> tuple[str, ...]:
        """Return the types that occur, sorted."""
        return tuple(sorted({_INPUT_TYPE, *(layer.type for layer in self._layers)}))

    def getLayersCount(self, layerType: str) -> int:
        """Return the number of layers of a type."""
        return sum(layer.type == layerType for layer in self._layers) + (layerType == _INPUT_TYPE)

    # -- learned arrays ------------------------------------------------------------------------------------------------

    @also_cv2_error()
    def getParam(self, layer: int | str, numParam: int = 0) -> np.ndarray:
        """Return a copy of a learned array of a layer."""
        number = self._existing(layer)
        blobs = self._shown_blobs(number)
        if not 0 <= numParam < len(blobs):
            raise NetError(f"there is no learned array {numParam}, there are {len(blobs)}", **self._place(number))
        return blobs[numParam]

    @also_cv2_error()
    def setParam(self, layer: int | str, numParam: int, blob: ArrayLike) -> None:
        """Set the values of a learned array of a layer."""
        number = self._existing(layer)
        blobs = self._shown_blobs(number)
        if not 0 <= numParam < len(blobs):
            raise NetError(f"there is no learned array {numParam}, there are {len(blobs)}", **self._place(number))
        blobs[numParam] = np.array(blob, np.float32)
        self._run.set_blobs(number, blobs)

    def _place(self, number: int) -> dict[str, Any]:
        layer = self._layers[number - 1] if number else None
        return {"layer": layer.name, "layer_type": layer.type} if layer else {"layer": _INPUT}

    def _shown_blobs(self, number: int) -> list[np.ndarray]:
        return shown_blobs(self._layers[number - 1]) if number else []

    # -- costs ---------------------------------------------------------------------------------------------------------

    @also_cv2_error()
    def getLayersShapes(
        self, netInputShapes: Shapes
    ) -> tuple[np.ndarray, tuple[tuple[np.ndarray, ...], ...], tuple[tuple[np.ndarray, ...], ...]]:
        """Return the numbers of all layers, and the shapes of their inputs and of their outputs, for these inputs."""
        bottoms, tops = self._shapes(netInputShapes)
        return np.arange(len(tops), dtype=np.int32), _as_arrays(bottoms), _as_arrays(tops)

    @also_cv2_error()
    def getFLOPS(self, *args: Any) -> int:
        """Return the floating-point operations of ``getFLOPS(shapes)``, or of one layer ``getFLOPS(number, shapes)``.

        Shapes are those of the inputs, or that of the only one. They are counted as OpenCV counts them.
        """
        numbers, shapes = self._of_layers(args)
        bottoms, tops = self._shapes(shapes)
        return sum(costs.flops(self._layers[n - 1], bottoms[n], tops[n]) for n in numbers if tops[n] and n)

    @also_cv2_error()
    def getMemoryConsumption(self, *args: Any) -> tuple[int, int]:
        """Return the bytes of learned arrays and of outputs, of the whole net or of one layer, as for getFLOPS."""
        numbers, shapes = self._of_layers(args)
        _, tops = self._shapes(shapes)
        weights = sum(blob.nbytes for n in numbers for blob in self._shown_blobs(n))
        return weights, sum(4 * prod(shape) for n in numbers for shape in tops[n])

    def getPerfProfile(self) -> tuple[int, np.ndarray]:
        """Return the time of the last pass, and that of each layer, in ticks of ``cv2.getTickFrequency()``.

        Where layers have run as one, the first of them has the time, and the others have 0, as in OpenCV.
        """
        times = self._run.times
        return int(times.sum()), times

    def _of_layers(self, args: tuple[Any, ...]) -> tuple[Sequence[int], Shapes]:
        if len(args) == 2:
            return [self._existing(args[0])], args[1]
        return range(len(self._layers) + 1), args[0]

    def _shapes(self, shapes: Shapes) -> tuple[list[list[tuple[int, ...]]], list[list[tuple[int, ...]]]]:
        nested: Any = shapes if len(shapes) and isinstance(shapes[0], (Sequence, np.ndarray)) else [shapes]
        given = [tuple(int(size) for size in shape) for shape in nested]
        if len(given) != len(self._input_names):
            raise ArgumentError(
                f"{len(given)} shapes are given for {len(self._input_names)} inputs",
                hint=f"give one for each of {', '.join(self._input_names)}",
            )
        return self._run.shapes(given)

    # -- settings ------------------------------------------------------------------------------------------------------

    def setPreferableBackend(self, backendId: int) -> None:
        """Accept OpenCV's choice of a library, which has no effect: the engine computes."""

    def setPreferableTarget(self, targetId: int) -> None:
        """Accept OpenCV's choice of a device, which has no effect: the engine's device computes."""
        self._target = targetId

    def enableFusion(self, fusion: bool) -> None:
        """Accept OpenCV's switch, which has no effect: results do not depend on it."""

    def enableWinograd(self, useWinograd: bool) -> None:
        """Accept OpenCV's switch, which has no effect: results do not depend on it."""

    def setInputsNames(self, inputBlobNames: Sequence[str]) -> None:
        """Give the inputs other names."""
        self._input_names[:] = [*inputBlobNames, *self._input_names[len(inputBlobNames) :]]

    @also_cv2_error()
    def setInputShape(self, inputName: str, shape: Sequence[int]) -> None:
        """Set the shape that an input has until a blob is set."""
        self._run.set_shape(self._input_index(inputName), tuple(shape))

    # -- for people ----------------------------------------------------------------------------------------------------

    @also_cv2_error()
    def dump(self) -> str:
        """Return the net as a graph in Graphviz's language, with the shapes of the outputs if they are known."""
        tops = self._run.known_shapes()
        lines = ["digraph G {"]
        for number, layer in enumerate(self._layers, 1):
            shape = f"output: {' x '.join(map(str, tops[number][0]))}\\l" if tops and tops[number] else ""
            lines.append(f'\t"{layer.name}" [label="{layer.name}\\n{layer.type}\\n{shape}" style=filled shape=box]')
        lines.append("")
        names = [_INPUT, *self.getLayerNames()]
        lines += [f'\t"{names[source]}" -> "{layer.name}"' for layer in self._layers for source, _ in layer.inputs]
        return "\n".join([*lines, "}", ""])

    @also_cv2_error()
    def dumpToFile(self, path: str | os.PathLike[str]) -> None:
        """Write what ``dump`` returns into a file."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.dump())

    # -- what nets of Caffe cannot do ----------------------------------------------------------------------------------

    def connect(self, outPin: str, inpPin: str) -> NoReturn:
        """Raise: the layers are connected as the prototxt says."""
        raise _refusal("the layers of a net that was read cannot be connected anew", "change the prototxt")

    def forwardAsync(self, outputName: str = "") -> NoReturn:
        """Raise, as OpenCV does without OpenVINO."""
        raise _refusal("there are no asynchronous passes", "use forward, in a thread of your own if need be")

    def quantize(self, *args: Any) -> NoReturn:
        """Raise: nets of Caffe are not quantized here."""
        raise _refusal("the net cannot be quantized")

    def getInputDetails(self) -> NoReturn:
        """Raise, as OpenCV does for a net that is not quantized."""
        raise _refusal("the net is not quantized")

    getOutputDetails = getInputDetails


def _refusal(what: str, hint: str = "") -> CaffeError:
    try:
        with also_cv2_error():
            raise NetError(what, hint=hint)
    except CaffeError as error:
        return error


class Layer:
    """A layer of a Net; ``blobs`` are its learned arrays, to read (copies) and to set as a whole."""

    def __init__(self, net: Net, number: int) -> None:
        self._net, self._number = net, number
        layer = net._layers[number - 1] if number else None
        self.name = layer.name if layer else _INPUT
        self.type = layer.type if layer else ""

    @property
    def preferableTarget(self) -> int:
        """The device that the script has chosen for the net."""
        return self._net._target

    @property
    def blobs(self) -> tuple[np.ndarray, ...]:
        """The learned arrays."""
        return tuple(self._net._shown_blobs(self._number))

    @blobs.setter
    def blobs(self, arrays: Sequence[ArrayLike]) -> None:
        with also_cv2_error():
            if not self._number:
                raise NetError("the inputs have no learned arrays", layer=self.name)
            self._net._run.set_blobs(self._number, [np.array(array, np.float32) for array in arrays])

    def outputNameToIndex(self, outputName: str) -> int:
        """Return the index of an input of the net, for layer 0, or -1 if it has none of this name; else 0."""
        if self._number:
            return 0
        names = self._net._input_names
        return names.index(outputName) if outputName in names else -1

    def __repr__(self) -> str:
        return f"<{self.type or 'input'} layer {self.name!r}>"


def shown_blobs(layer: Imported) -> list[np.ndarray]:
    """Return copies of a layer's learned arrays, in the shapes that OpenCV gives them."""
    shown = [as_opencv(blob) for blob in layer.blobs if blob is not None]
    if layer.type != "InnerProduct" or not shown:
        return shown
    count = layer.param.inner_product_param.num_output
    return [shown[0].reshape(count, -1), *(blob.reshape(1, -1) for blob in shown[1:])]


def _as_arrays(shapes: list[list[tuple[int, ...]]]) -> tuple[tuple[np.ndarray, ...], ...]:
    return tuple(tuple(np.array(shape, np.int32) for shape in of_layer) for of_layer in shapes)

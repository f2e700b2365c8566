"""Compiled passes: what runs again and again is traced once for each set of shapes and compiled as a whole, by torch.

A trace runs the layers themselves over tensors without values and notes every operation. That works because operations
are functions and layers only bind results: nothing but a solver's update and running statistics writes in place. On a
CPU torch inductor makes C++ of the trace; on a GPU it is captured as a CUDA graph.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .blob import Blob, Later
from .errors import CaffeError, EngineError
from .log import logger
from .ops.base import Array, Ops

if TYPE_CHECKING:
    from .net import Graph, Node

Results = tuple[Sequence[Array], Any]
Function = Callable[..., Results]
OLDEST_TORCH = "2.6"
LEAVE_OUT = "leave out --compile (compile=True, CAFFE_LITE_COMPILE)"


def compile_wanted(wanted: bool | None) -> bool:
    """What was asked for; without a word, whether CAFFE_LITE_COMPILE is set and not 0."""
    return os.environ.get("CAFFE_LITE_COMPILE", "0") not in ("", "0") if wanted is None else wanted


def check_compiler(ops: Ops) -> None:
    """Raise an EngineError if nothing can be compiled for this engine here."""
    if ops.name != "torch":
        raise EngineError(f"the {ops.name} engine cannot compile", hint=f"choose the torch engine, or {LEAVE_OUT}")
    import torch

    if torch.__version__ < OLDEST_TORCH:
        raise EngineError(
            f"compiling needs torch {OLDEST_TORCH} or newer, and this is {torch.__version__}, "
            "which compiles some nets wrongly",
            hint=f"pip install 'torch>={OLDEST_TORCH}', or {LEAVE_OUT}",
        )
    if ops.device.type == "cuda":  # type: ignore[attr-defined]
        return
    from shutil import which

    from .ops.native import compiler

    if which(compiler()) is None:
        raise EngineError(
            f"compiling needs a C++ compiler, and there is no {compiler()!r} here",
            hint=f"install one (on Debian: apt install g++), name yours in the variable CXX, or {LEAVE_OUT}",
        )


class CompiledFunction:
    """A function from arrays to arrays, compiled anew for each set of shapes that it meets; it may write into them.

    The function gives its results and a note, any object, that is given again with the results of every later run.
    ``name`` is what the log and errors call it.
    """

    def __init__(self, ops: Ops, name: str, function: Function) -> None:
        self.ops = ops
        self.name = name
        self.function = function
        self._programs: dict[Hashable, _Program] = {}

    def __call__(
        self, moving: Sequence[Array], staying: Sequence[Array], settings: Hashable = (), constant: bool = False
    ) -> Results:
        """``function(*moving, *staying)``; the arrays that stay are those that seldom are others than before.

        ``settings`` is whatever else the function depends on: with others it is compiled again. With ``constant`` the
        values of the arrays that stay become part of what is compiled: they must never change.
        """
        import torch

        arrays = moving if constant else [*moving, *staying]
        key = (settings, constant, *[(x.shape, x.stride()) for x in arrays])
        if self.ops.device.type == "cuda":  # type: ignore[attr-defined]
            key += tuple(x.data_ptr() for x in staying)
        with torch.no_grad():
            program = self._programs.get(key)
            if program is None:
                program = self._programs[key] = _Program(self.ops, self.name, self.function, moving, staying, constant)
            return program(moving, staying)


class _Program:
    """A function compiled for certain shapes, with what must happen on the host in every run.

    Random numbers are drawn there and become arguments. What is to be checked (labels) is computed ahead by a graph of
    its own, so that nothing runs on bad values.
    """

    def __init__(
        self,
        ops: Ops,
        name: str,
        function: Function,
        moving: Sequence[Array],
        staying: Sequence[Array],
        constant: bool,
    ) -> None:
        from torch.fx.experimental.proxy_tensor import make_fx

        self.ops = ops
        tracer = _Tracer(ops, constant)

        def traced(*arguments: Array) -> list[Array]:
            results, self._note = function(*arguments)
            tracer.results = len(results)
            return [*results, *tracer.inspected]

        begin = perf_counter()
        ops.tracer = tracer
        try:
            module = make_fx(traced, _opaque(ops), tracing_mode="fake", _allow_non_fake_inputs=True)(*moving, *staying)
        finally:
            ops.tracer = None
        self._draws, self._checks = tracer.draws, tracer.checks
        _draw_from_arguments(module, len(moving), tracer.drawn_arrays)
        self._ahead = _split_off(module, tracer.results)
        examples = [*moving, *tracer.drawn_arrays]
        self._constant = constant
        if constant:
            _embed(module, staying)
        size = len(module.graph.nodes)
        logger.info("Compiling %s, once for these shapes: %d operations, about %d s", name, size, 10 + size // 20)
        try:
            if ops.device.type == "cuda":  # type: ignore[attr-defined]
                self._run = _captured(module, examples, staying)
            else:
                self._run = _compiled(module, examples if constant else [*examples, *staying], freezing=constant)
        except Exception as error:
            raise EngineError(f"torch cannot compile {name}: {_first_line(error)}", hint=LEAVE_OUT) from error
        logger.info("Compiled %s in %.1f s", name, perf_counter() - begin)

    def __call__(self, moving: Sequence[Array], staying: Sequence[Array]) -> Results:
        moving = [*moving, *[self.ops.asarray(draw()) for draw in self._draws]]
        if self._checks:
            for values, check in zip(self._ahead(*moving, *staying), self._checks, strict=True):
                check(self.ops.host_view(values))
        return self._run(*moving, *([] if self._constant else staying)), self._note


class _Tracer:
    """Notes what layers draw and check while they are traced; ``constant``: parameters' values are compiled in."""

    def __init__(self, ops: Ops, constant: bool) -> None:
        self.ops = ops
        self.constant = constant
        self.draws: list[Callable[[], np.ndarray]] = []
        self.drawn_arrays: list[Array] = []
        self.checks: list[Callable[[np.ndarray], None]] = []
        self.inspected: list[Array] = []
        self.results = 0

    def drawn(self, draw: Callable[[], np.ndarray]) -> Array:
        from torch.utils._python_dispatch import _disable_current_modes

        with _disable_current_modes():
            values = self.ops.asarray(draw())
        self.draws.append(draw)
        self.drawn_arrays.append(values)
        return values

    def inspect(self, x: Array, check: Callable[[np.ndarray], None]) -> None:
        self.inspected.append(x)
        self.checks.append(check)


def _draw_from_arguments(module: Any, place: int, drawn: Sequence[Array]) -> None:
    """Turn what was drawn while tracing, constants of the trace, into arguments from the ``place``-th on."""
    graph = module.graph
    constants = {id(getattr(module, node.target)): node for node in graph.nodes if node.op == "get_attr"}
    following = list(graph.nodes)[place]
    for number, values in enumerate(drawn):
        with graph.inserting_before(following):
            argument = graph.placeholder(f"drawn_{number}")
        constant = constants.get(id(values))
        if constant is not None:
            argument.meta.update(constant.meta)
            constant.replace_all_uses_with(argument)
            graph.erase_node(constant)
    module.recompile()


def _embed(module: Any, values: Sequence[Array]) -> None:
    """Turn the last arguments of a trace into constants."""
    import torch

    nodes = [node for node in module.graph.nodes if node.op == "placeholder"][-len(values) :] if values else []
    for number, (node, array) in enumerate(zip(nodes, values, strict=True)):
        setattr(module, f"constant_{number}", torch.nn.Parameter(array, requires_grad=False))
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(f"constant_{number}")
        constant.meta.update(node.meta)
        node.replace_all_uses_with(constant)
        module.graph.erase_node(node)
    module.recompile()


def _split_off(module: Any, results: int) -> Any:
    """Leave a trace its first ``results`` results; the others become those of a module of its own."""
    from torch import fx

    (output,) = (node for node in module.graph.nodes if node.op == "output")
    wanted = output.args[0]
    output.args = (wanted[:results],)
    ahead = fx.Graph()
    copies: dict[Any, Any] = {}
    needed: set[Any] = set()
    todo = list(wanted[results:])
    while todo:
        node = todo.pop()
        if node not in needed:
            needed.add(node)
            todo.extend(node.all_input_nodes)
    for node in module.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = ahead.node_copy(node, copies.__getitem__)
    ahead.output([copies[node] for node in wanted[results:]])
    module.graph.eliminate_dead_code()
    module.recompile()
    return fx.GraphModule(module, ahead)


def _opaque(ops: Ops) -> dict[Any, Any]:
    """Operators that the compiler must not see into."""
    if ops.device.type == "cuda":  # type: ignore[attr-defined]
        return {}
    from .ops.torch_opaque import OPAQUE

    return dict(OPAQUE)


def _compiled(module: Any, examples: Sequence[Array], freezing: bool) -> Callable[..., Sequence[Array]]:
    import torch._inductor
    import torch._inductor.config

    with torch._inductor.config.patch(freezing=freezing, size_asserts=False):
        return torch._inductor.compile(module, list(examples))


def _captured(module: Any, moving: Sequence[Array], staying: Sequence[Array]) -> Callable[..., Sequence[Array]]:
    """The trace as a CUDA graph, which reads the arguments that move from arrays of its own, the others in place."""
    import torch

    own = [x.clone() for x in moving]
    arguments = [*own, *staying]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # the libraries make ready, over copies, before anything is captured
        module(*[x.clone() for x in arguments])
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = module(*arguments)

    def run(*given: Array) -> list[Array]:
        for mine, theirs in zip(own, given, strict=False):
            mine.copy_(theirs)
        graph.replay()
        torch.autograd.graph.increment_version(staying)  # a replay does not count as writing by itself
        return [x.clone() for x in results]

    return run


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class CompiledPass:
    """A net's forward pass, or its forward and backward pass, compiled; layers without bottoms run as ever.

    Outputs, losses, parameters and their diffs are there afterwards; reading another blob is an error.
    """

    def __init__(self, net: Graph, backward: bool) -> None:
        check_compiler(net.ops)
        self.net = net
        self.backward = backward
        self.sources = [i for i, node in enumerate(net.nodes) if not (node.bottom or node.layer.blobs)]
        self.traced = [i for i in range(len(net.nodes)) if i not in self.sources]
        nodes = [net.nodes[i] for i in self.traced]
        for node in nodes:
            if node.layer.type == "Python":
                raise _cannot(node, "torch does not see what its class computes")
        self.carried = [blob for node in nodes for blob in node.layer.carried]
        self.given = _distinct([*(blob for i in self.sources for blob in net.nodes[i].top), *self.carried])
        self.made = _distinct(blob for node in nodes for blob in node.top)
        weighted = [blob for node in nodes for blob, w in zip(node.top, node.loss_weights, strict=True) if w]
        self.roots = _distinct([*weighted, *(blob for _, blob, _ in net.output_blobs)])
        kept = {id(blob) for blob in [*self.roots, *self.given]}
        self.kept = [*(blob for blob in self.made if id(blob) in kept), *self.carried]
        self.dropped = [blob for blob in self.made if id(blob) not in kept]
        self._shapes: dict[tuple, list] = {}
        self.frozen: tuple[Any, list[Array]] | None = None
        self.changed = False
        what = "forward and backward pass" if backward else "forward pass"
        self.compiled = CompiledFunction(net.ops, f"the {what} of net {net.name!r}", self._trace)

    def keeps(self, blob: Blob) -> bool:
        """Whether the blob can be read afterwards."""
        return all(blob is not other for other in self.dropped)

    def __call__(self) -> Array:
        """Run the net once; the sum of its weighted losses."""
        net = self.net
        loss: Any = 0.0
        for i in self.sources:
            loss = loss + _run(net.nodes[i])
        self._reshape()
        rooted = [blob.has_diff for blob in self.roots]
        constant = self._constant()
        self.carried_in = [blob.data for blob in self.carried]
        results, note = self.compiled(
            [blob.data for blob in self.given] + [blob.diff for blob in self.roots if blob.has_diff],
            self.frozen[1] if self.frozen and constant else self._arrays(),
            tuple(rooted),
            constant,
        )
        for blob, array in zip(self.kept, results[1:], strict=False):
            blob.data = array
        for blob in self.dropped:
            blob.data = _NOT_KEPT
        for blob in note.with_diff:
            blob.diff = _NOT_KEPT
        for blob, array in zip(note.learned, results[1 + len(self.kept) :], strict=True):
            blob.add_diff(array)
        return net.ops.scalar(loss + results[0])

    def rerun(self) -> None:
        """Run the same pass over the same data again, layer by layer, so that every blob can be read."""
        self.net.clear_param_diffs()
        for blob, array in zip(self.carried, self.carried_in, strict=True):
            blob.data = array
        for i in self.traced:
            _run(self.net.nodes[i])
        for i in reversed(self.traced if self.backward else []):
            _run_back(self.net.nodes[i])

    def _constant(self) -> bool:
        """Whether the parameters' values are compiled in: in a TEST net, from its first pass until the first change.

        ``Blob.stamp`` tells.
        """
        if self.backward or self.changed or self.net.ops.device.type == "cuda":  # type: ignore[attr-defined]
            return False
        state = [blob.stamp() for node in self.net.nodes for blob in node.layer.blobs]
        if self.frozen is None and None not in state:
            self.frozen = state, self._arrays()  # kept alive, for their stamps
        self.changed = self.frozen is None or self.frozen[0] != state
        return not self.changed

    def _params(self) -> list[Blob]:
        return _distinct(blob.source for node in self.net.nodes for blob in node.layer.blobs)

    def _arrays(self) -> list[Array]:
        return [blob.data for blob in self._params()]

    def _reshape(self) -> None:
        """Give the blobs the shapes that follow from the given ones."""
        given = tuple(blob.shape for blob in self.given)
        if self._shapes.get(given) != [blob.shape for blob in self.made]:
            self.net.reshape()
            self._shapes[given] = [blob.shape for blob in self.made]

    def _trace(self, *arrays: Array) -> tuple[list[Array], _Note]:
        """The pass over these arrays, which have no values; blobs and layers are left as they were."""
        net, params = self.net, self._params()
        rooted = [blob for blob in self.roots if blob.has_diff]
        blobs = _distinct([*self.given, *self.made, *params])
        before = [blob.exchange(None, None) for blob in blobs]
        attributes = [dict(vars(node.layer)) for node in net.nodes]
        random = net.rng.bit_generator.state
        try:
            array = iter(arrays)
            for blob in self.given:
                blob.data = next(array)
            for blob in rooted:
                blob.diff = next(array)
            for blob in params:
                blob.data = next(array)
            results = [self._trace_nodes(), *[blob.data for blob in self.kept]]
            learned = [blob for blob in params if blob.has_diff]
            results += [blob.diff for blob in learned]
            unread = {id(blob) for blob in [*self.roots, *params]}
            return results, _Note(learned, [blob for blob in blobs if blob.has_diff and id(blob) not in unread])
        finally:
            net.rng.bit_generator.state = random
            for node, values in zip(net.nodes, attributes, strict=True):
                vars(node.layer).clear()
                vars(node.layer).update(values)
            for blob, (data, diff) in zip(blobs, before, strict=True):
                blob.exchange(data, diff)

    def _trace_nodes(self) -> Array:
        from .fusion import Fusion, Normalized, Run  # it imports layers

        loss: Any = 0.0
        nodes = [self.net.nodes[i] for i in self.traced]
        steps = Fusion(nodes, self.net.ops, [Normalized]).steps(0, None, one_by_one=False)
        for step in steps:
            if isinstance(step, Run):
                with _named(step.nodes[0]), self.net.ops.quiet():
                    step.reshape()
                    step.forward()
            else:
                with _named(step):
                    loss = loss + _run(step)
        for step in reversed(steps if self.backward else []):
            if isinstance(step, Run):
                with _named(step.nodes[0]), self.net.ops.quiet():
                    step.backward()
            else:
                with _named(step):
                    _run_back(step)
        return self.net.ops.scalar(loss)


def _run(node: Node) -> Any:
    """One layer forward; its part of the loss."""
    ops, loss = node.layer.ops, 0.0
    try:
        with ops.quiet():
            node.reshape()
            node.forward()
            for blob, weight in zip(node.top, node.loss_weights, strict=True):
                if weight:
                    loss = loss + weight * ops.sum(blob.data)
    except CaffeError as error:
        raise error.located(node.where, node.name, node.layer.type) from error.__cause__
    return loss


def _run_back(node: Node) -> None:
    try:
        with node.layer.ops.quiet():
            node.backward()
    except CaffeError as error:
        raise error.located(node.where, node.name, node.layer.type) from error.__cause__


def _refuse() -> Array:
    raise EngineError(
        "this blob is not there: a compiled pass keeps outputs, losses, parameters and their diffs only",
        hint=f"name it in forward(blobs=[...]) of a TEST net, or {LEAVE_OUT}",
    )


_NOT_KEPT = Later(_refuse)


class _Note(NamedTuple):
    """Which parameters a traced pass has given a gradient, and which other blobs."""

    learned: list[Blob]
    with_diff: list[Blob]


def _distinct(blobs: Iterable[Blob]) -> list[Blob]:
    return list({id(blob): blob for blob in blobs}.values())


@contextmanager
def _named(node: Node) -> Iterator[None]:
    """Say of what cannot be traced which layer it is."""
    try:
        yield
    except CaffeError:
        raise
    except Exception as error:
        raise _cannot(node, _first_line(error)) from error


def _cannot(node: Node, why: str) -> EngineError:
    return EngineError(
        f"it cannot be compiled: {why}",
        where=node.where,
        layer=node.name,
        layer_type=node.layer.type,
        hint=LEAVE_OUT,
    )

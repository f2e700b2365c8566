"""Functions from arrays to arrays, traced once for each set of shapes and compiled by torch.

A trace calls the function with tensors without values and records every operation. On a CPU, torch inductor turns it
into C++; on a GPU, it is captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from shutil import which
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch._inductor
import torch._inductor.config
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import _disable_current_modes

from ...errors import EngineError, first_line
from ...logs.log import logger
from ..base import LEAVE_OUT, Compiled, Function, Ops, Results
from .kernels.native import compiler
from .opaque import OPAQUE

OLDEST_TORCH = "2.6"


def check_compiler(on_gpu: bool) -> None:
    """Raise an EngineError if nothing can be compiled here."""
    if torch.__version__ < OLDEST_TORCH:
        raise EngineError(
            f"compiling needs torch {OLDEST_TORCH} or newer, and this is {torch.__version__}, "
            "which compiles some nets wrongly",
            hint=f"pip install 'torch>={OLDEST_TORCH}', or {LEAVE_OUT}",
        )
    if on_gpu:
        return
    if which(compiler()) is None:
        raise EngineError(
            f"compiling needs a C++ compiler, and there is no {compiler()!r} here",
            hint=f"install one (on Debian: apt install g++), name yours in the variable CXX, or {LEAVE_OUT}",
        )


class CompiledFunction(Compiled[Tensor]):
    """A function from arrays to arrays, compiled for each new set of shapes; it may write into the arrays.

    The function returns its results and a note, any object, that is returned with the results of every later run. The
    log and errors call it ``name``.
    """

    def __init__(self, ops: Ops[Tensor], name: str, function: Function[Tensor]) -> None:
        check_compiler(ops.on_gpu)
        self.ops = ops
        self.name = name
        self.function = function
        self.takes_constants = not ops.on_gpu
        self._programs: dict[Hashable, _Program] = {}

    def __call__(
        self, moving: Sequence[Tensor], staying: Sequence[Tensor], settings: Hashable = (), constant: bool = False
    ) -> Results[Tensor]:
        """Return ``function(*moving, *staying)``; ``staying`` are arrays that are seldom exchanged for others.

        ``settings`` is everything else that the function depends on; if it changes, the function is compiled again.
        With ``constant`` the values of ``staying`` are compiled in and must never change.
        """
        arrays = moving if constant else [*moving, *staying]
        key = (settings, constant, *[(x.shape, x.stride()) for x in arrays])
        if self.ops.on_gpu:
            key += tuple(x.data_ptr() for x in staying)
        with torch.no_grad():
            program = self._programs.get(key)
            if program is None:
                program = self._programs[key] = _Program(self.ops, self.name, self.function, moving, staying, constant)
            return program(moving, staying)


class _Program:
    """A function compiled for certain shapes, with the work for the host in every run.

    Random numbers are drawn there and become arguments. Values to be checked (labels) are computed beforehand by a
    graph of their own, so that nothing runs on bad values.
    """

    def __init__(
        self,
        ops: Ops[Tensor],
        name: str,
        function: Function[Tensor],
        moving: Sequence[Tensor],
        staying: Sequence[Tensor],
        constant: bool,
    ) -> None:
        self.ops = ops
        tracer = _Tracer(ops, constant)

        def traced(*arguments: Tensor) -> list[Tensor]:
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
            if ops.on_gpu:
                self._run = _captured(module, examples, staying)
            else:
                self._run = _compiled(module, examples if constant else [*examples, *staying], freezing=constant)
        except Exception as error:
            raise EngineError(f"torch cannot compile {name}: {first_line(error)}", hint=LEAVE_OUT) from error
        logger.info("Compiled %s in %.1f s", name, perf_counter() - begin)

    def __call__(self, moving: Sequence[Tensor], staying: Sequence[Tensor]) -> Results[Tensor]:
        moving = [*moving, *[self.ops.asarray(draw()) for draw in self._draws]]
        if self._checks:
            for values, check in zip(self._ahead(*moving, *staying), self._checks, strict=True):
                check(self.ops.host_view(values))
        return self._run(*moving, *([] if self._constant else staying)), self._note


class _Tracer:
    """Records what layers draw and check while they are traced; ``constant``: parameters' values are compiled in."""

    def __init__(self, ops: Ops[Tensor], constant: bool) -> None:
        self.ops = ops
        self.constant = constant
        self.draws: list[Callable[[], np.ndarray]] = []
        self.drawn_arrays: list[Tensor] = []
        self.checks: list[Callable[[np.ndarray], None]] = []
        self.inspected: list[Tensor] = []
        self.results = 0

    def drawn(self, draw: Callable[[], np.ndarray]) -> Tensor:
        with _disable_current_modes():
            values = self.ops.asarray(draw())
        self.draws.append(draw)
        self.drawn_arrays.append(values)
        return values

    def inspect(self, x: Tensor, check: Callable[[np.ndarray], None]) -> None:
        self.inspected.append(x)
        self.checks.append(check)


def _draw_from_arguments(module: fx.GraphModule, place: int, drawn: Sequence[Tensor]) -> None:
    """Turn the values drawn while tracing, constants of the trace, into arguments, starting at the ``place``-th."""
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


def _embed(module: fx.GraphModule, values: Sequence[Tensor]) -> None:
    """Turn the last arguments of a trace into constants."""
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"][-len(values) :] if values else []
    for number, (node, array) in enumerate(zip(nodes, values, strict=True)):
        setattr(module, f"constant_{number}", torch.nn.Parameter(array, requires_grad=False))
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(f"constant_{number}")
        constant.meta.update(node.meta)
        node.replace_all_uses_with(constant)
        module.graph.erase_node(node)
    module.recompile()


def _split_off(module: fx.GraphModule, results: int) -> fx.GraphModule:
    """Keep the first ``results`` results of a trace, and move the others to a module of their own."""
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    wanted = output.args[0]
    output.args = (wanted[:results],)
    ahead = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    needed: set[fx.Node] = set()
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


def _opaque(ops: Ops[Tensor]) -> dict[OpOverload, Callable[..., Any]]:
    """Return the operators that the compiler must not see into."""
    return {} if ops.on_gpu else dict(OPAQUE)


def _compiled(module: fx.GraphModule, examples: Sequence[Tensor], freezing: bool) -> Callable[..., Sequence[Tensor]]:
    with torch._inductor.config.patch(freezing=freezing, size_asserts=False):
        return torch._inductor.compile(module, list(examples))


def _captured(
    module: fx.GraphModule, moving: Sequence[Tensor], staying: Sequence[Tensor]
) -> Callable[..., Sequence[Tensor]]:
    """Capture the trace as a CUDA graph, which copies ``moving`` into its own arrays and reads ``staying`` in place."""
    own = [x.clone() for x in moving]
    arguments = [*own, *staying]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # the libraries initialise themselves, on copies, before the capture
        module(*[x.clone() for x in arguments])
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = module(*arguments)

    def run(*given: Tensor) -> list[Tensor]:
        for mine, theirs in zip(own, given, strict=False):
            mine.copy_(theirs)
        graph.replay()
        torch.autograd.graph.increment_version(staying)  # torch does not count a replay as a write
        return [x.clone() for x in results]

    return run

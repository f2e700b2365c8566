"""Compile the torch engine's own kernels for this processor, side by side, and keep them; it needs a C++ compiler."""

from __future__ import annotations

import argparse
import subprocess
import sys
from time import perf_counter

from .arguments import Parser


def add_arguments(parser: Parser) -> None:
    pass


def run(arguments: argparse.Namespace) -> int:
    from ..errors import CaffeError, EngineError
    from ..logs.log import start_logging
    from ..ops.torch.kernels import kernel_cache, native

    if native.left_out():
        raise EngineError("CAFFE_LITE_NATIVE=0 leaves the kernels out", hint="unset it to compile them")
    start_logging()
    begin = perf_counter()
    status, names = 0, sorted(native.sources())
    for name in names:
        try:
            built = native.build(name)
        except native.NoCompiler:
            raise
        except (OSError, subprocess.CalledProcessError, CaffeError) as error:
            print(f"caffe-lite: {name} cannot be compiled or loaded here: {native.why(error)}", file=sys.stderr)
            status = 1
            continue
        done = f"compiled in {built.seconds:.1f} s" if built.seconds else "was there"
        print(f"{name:20}  {done:18}  {built.path or 'not kept'}")
        status = status if built.path else 1
    if status == 0:
        print(f"{len(names)} kernels in {kernel_cache.place()}, after {perf_counter() - begin:.1f} s")
    return status

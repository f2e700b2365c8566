"""Run Python on what was written for pycaffe, as it is: `import caffe` gives it caffe_lite, in child processes too.

What follows the options is Python's own command line: SCRIPT ARGS, -m MODULE ARGS, -c CODE ARGS, - for standard input,
with Python's options before it (-i, -u, -W error). A notebook (.ipynb) may stand for the script.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from ..interpreter import environment, notebook
from .arguments import Parser, UsageError


def add_arguments(parser: Parser) -> None:
    parser.usage = "caffe-lite run [--cpu] [--compat] SCRIPT|NOTEBOOK|-m MODULE|-c CODE|- [ARGS ...]"
    parser.add_argument("--cpu", action="store_true", help="set_mode_gpu and set_device warn, and the CPU computes")
    what = "give back what NumPy, SciPy, scikit-image, PyYAML, protobuf and Python have taken away since Caffe's time"
    parser.add_argument("--compat", action="store_true", help=f"{what}, with a line for each that is used")


def run(arguments: argparse.Namespace) -> int:
    words = arguments.arguments
    if not words:
        raise UsageError("what is to run is required: SCRIPT, NOTEBOOK, -m MODULE, -c CODE or - (see --help)")
    _check(words[0])
    driver = [notebook.__file__] if words[0].endswith(".ipynb") else []
    command = [sys.executable, *driver, *words]
    environ = environment(cpu=arguments.cpu, compat=arguments.compat)
    if sys.platform == "win32":  # where the caller would not wait for the program that exec starts
        with subprocess.Popen(command, env=environ) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:  # the script has received it, too
                    pass
    sys.stdout.flush()
    os.execve(sys.executable, command, environ)


def _check(path: str) -> None:
    from ..errors import CaffeError, MissingExtra, Where
    from ..plugins import is_installed

    if path.startswith("-"):
        return
    if "\0" in path or not os.path.exists(path):
        raise CaffeError("there is no such script", where=Where(path), hint="As in caffe-lite run train.py --its-own")
    if path.endswith(".ipynb"):
        for package in ("IPython", "nbformat"):
            if not is_installed(package):
                raise MissingExtra(package, "notebook", "run notebooks")

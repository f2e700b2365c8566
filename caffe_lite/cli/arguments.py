"""Arguments that commands share: Caffe's spellings, hints at typos, the net's state, the engine."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import NoReturn

from ..errors import EngineError
from ..logs.log import logger
from ..ops import available_engines, get_ops, on_gpu, set_device, set_engine, set_mode_gpu
from ..proto import caffe_pb2
from ..text.spelling import nearest

BACKENDS = ("lmdb", "leveldb")
# The spellings of on and off in gflags, with which Caffe's tools read their options.
_SWITCHED = dict.fromkeys(("true", "t", "yes", "y", "1"), "") | dict.fromkeys(("false", "f", "no", "n", "0"), "no")


class UsageError(Exception):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError and suggests the nearest option for an unknown one."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        arguments, unknown = self.parse_known_args([self._switched(word) for word in words])
        if unknown:
            option = unknown[0].partition("=")[0]
            near = nearest(option, self._option_string_actions)
            self.error(f"unknown argument {option}" + (f". Did you mean {near}?" if near else ""))
        return arguments

    def _switched(self, word: str) -> str:
        """Turn ``--name=true`` into ``--name``, ``--name=false`` into ``--noname``, for options from ``add_switch``."""
        option, _, value = word.partition("=")
        is_switch = f"--no{option[2:]}" in self._option_string_actions
        return f"--{_SWITCHED[value.lower()]}{option[2:]}" if is_switch and value.lower() in _SWITCHED else word


def spelled_with_dashes(words: Sequence[str]) -> list[str]:
    """Turn Caffe's spellings into ours: ``-max_iter=5`` into ``--max-iter=5``. The part after ``=`` stays as it is."""

    def ours(option: re.Match[str]) -> str:
        return f"--{option[1].replace('_', '-')}"

    return [re.sub(r"^--?([A-Za-z][\w-]+)(?==|$)", ours, word) for word in words]


def add_engine(parser: Parser, several_gpus: bool = False) -> None:
    engines = ["auto", *available_engines()]
    parser.add_argument("--engine", metavar="NAME", help=f"what computes: {', '.join(engines)}; default auto")
    gpu = "compute on this GPU, counted from 0, with the torch engine"
    if several_gpus:
        gpu += "; on 0,1 or all: one worker for each"
    parser.add_argument("--gpu", metavar="ID", help=gpu)
    what = "compile whole passes with torch: a start of half a minute or so, then faster iterations"
    parser.add_argument("--compile", action="store_const", const=True, help=f"{what}; needs a C++ compiler")


def add_state(parser: Parser, phase: bool = False) -> None:
    if phase:
        parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", type=str.upper, help="default TRAIN")
    parser.add_argument("--level", metavar="N", type=int, default=0, help="the net's level, for its include rules")
    parser.add_argument("--stage", metavar="A,B", type=_stages, default=[], help="the net's stages, for those rules")


def add_backend(parser: Parser) -> None:
    what = f"the database's kind: {' or '.join(BACKENDS)}; default {BACKENDS[0]}"
    parser.add_argument("--backend", metavar="KIND", choices=BACKENDS, type=str.lower, default=BACKENDS[0], help=what)


def add_switch(parser: Parser, name: str, what: str) -> None:
    """Add an option that is on or off: ``--name``, or ``--name=true`` and ``--noname`` as for Caffe's tools."""
    parser.add_argument(f"--{name}", action="store_true", help=what)
    parser.add_argument(f"--no{name}", action="store_false", dest=name.replace("-", "_"), help=argparse.SUPPRESS)


def not_negative(text: str) -> int:
    """Read a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def choose_engine(arguments: argparse.Namespace) -> None:
    """Activate the engine of the command line and log it, as the original logs its mode.

    It is --engine, else CAFFE_LITE_ENGINE, else the fastest that is installed.
    """
    set_engine(arguments.engine or os.environ.get("CAFFE_LITE_ENGINE") or "auto")
    if arguments.gpu is not None:
        set_device(_only_gpu(arguments.gpu))
        set_mode_gpu()
    logger.info(f"Use GPU with device ID {arguments.gpu}" if on_gpu() else "Use CPU.")
    logger.info("Engine: %s", get_ops().describe())


def _only_gpu(text: str) -> int:
    if text == "all" or "," in text:
        raise EngineError(
            f"--gpu {text}: only training takes several GPUs, with a worker for each",
            hint="choose one GPU: --gpu 0",
        )
    if not text.isdecimal():
        raise EngineError(f"--gpu {text!r} is no GPU's number", hint="give its number, counted from 0: --gpu 0")
    return int(text)


def phase_of(arguments: argparse.Namespace) -> caffe_pb2.Phase:
    phase: caffe_pb2.Phase = getattr(caffe_pb2, arguments.phase)
    return phase


def _stages(text: str) -> list[str]:
    return [stage for stage in text.split(",") if stage]

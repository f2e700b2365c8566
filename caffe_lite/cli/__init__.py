"""The command line: finds the command, imports only its module, and turns every CaffeError into one message."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .. import __version__
from ..errors import CaffeError
from ..pycaffe.alias import install_as_caffe
from ..text.spelling import nearest
from .arguments import Parser, UsageError, spelled_with_dashes
from .output import trouble_with, write_no_more

COMMANDS = {
    "train": "train from a solver or a net, resume, or fine-tune",
    "test": "score trained weights",
    "time": "measure each layer of a net",
    "check": "find all that is wrong with nets and solvers",
    "summary": "show a net's layers, shapes, parameters and costs",
    "inspect": "show what a weights file holds, or how two differ",
    "convert-mnist": "make a database from files in MNIST's format",
    "draw": "draw a net as SVG or as a page to look around in",
    "fold": "merge normalisations and scales of a net into the weights before them",
    "export": "write a net in ONNX or as a module of PyTorch, verified",
    "quantize": "write a net in ONNX in whole numbers of 8 bits, and show what that costs",
    "import": "write an ONNX model as a net and its weights, and compare both",
    "upgrade-net": "bring a net of an older format to today's, text or binary",
    "upgrade-solver": "bring a solver of an older format to today's",
    "convert-imageset": "make a database from image files",
    "create-annoset": "make a database from image files and the boxes of their objects",
    "compute-image-mean": "compute the mean image of a database",
    "extract-features": "write what blobs of a net hold into databases",
    "run": "run a script or notebook written for pycaffe, with caffe_lite as its caffe",
    "parse-log": "make tables of a training run's log",
    "plot-log": "draw training runs from their logs",
    "classify": "tell what is in images",
    "detect": "find the objects in images and videos",
    "segment": "find the class of each pixel in images and videos",
    "compile-kernels": "compile the torch engine's own kernels ahead, for this processor",
}
PROTOTXT = (".prototxt", ".pbtxt", ".prototext", ".txt")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Its exit status is 0, 1 after an error, 2 for a wrong command line, or 130 after Ctrl-C."""
    words, python_words = _split(list(sys.argv[1:] if argv is None else argv))
    traceback = "--traceback" in words
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that the terminal's encoding lacks are shown escaped, as Python does on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run([word for word in words if word != "--traceback"], python_words, traceback)
        sys.stdout.flush()
        return status
    except UsageError as error:
        if traceback:
            raise
        print(f"caffe-lite: {error}", file=sys.stderr)
        return 2
    except CaffeError as error:
        if traceback:
            raise
        print(f"caffe-lite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if traceback:
            raise
        return 130
    except OSError as error:
        said = trouble_with(error)
        if said is None or (said and traceback):
            raise
        write_no_more()
        if said:
            print(f"caffe-lite: {said}", file=sys.stderr)
        return 1


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Split off the words that ``run`` passes to Python: all from the first that is not one of our options."""
    if words[:1] != ["run"]:
        return words, []
    ours = ("-h", "-help", "-cpu", "-compat")
    end = next((i for i, word in enumerate(words[1:], 1) if not word.startswith("--") and word not in ours), len(words))
    return words[:end], words[end:]


def _run(words: list[str], python_words: list[str], traceback: bool) -> int:
    if not words or words[0] in ("-h", "--help", "-help", "help"):
        print(_help())
        return 0 if words else 2
    if words[0] in ("-version", "--version", "version"):
        print(f"caffe-lite {__version__}")
        return 0
    name = next((word for word in words if not word.startswith("-")), words[0])
    if words[0].startswith("-") and name in COMMANDS:  # the original takes flags before the command, too
        words.remove(name)
    elif (name := words.pop(0)) not in COMMANDS:
        raise UsageError(_no_command(name))
    command = import_module(f"{__name__}.{name.replace('-', '_')}")
    parser = Parser(prog=f"caffe-lite {name}", description=command.__doc__)
    command.add_arguments(parser)
    arguments = parser.parse(spelled_with_dashes(words))
    # For commands that start themselves in several processes.
    arguments.words, arguments.traceback = [name, *words, *(["--traceback"] if traceback else [])], traceback
    if name == "run":
        arguments.arguments = python_words
    install_as_caffe()  # Python layers were written with `import caffe`, too
    status: int = command.run(arguments)
    return status


def _help() -> str:
    lines = [f"  {name:18}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: caffe-lite COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "caffe-lite COMMAND --help tells a command's options; Caffe's spelling of them, -solver FILE, works too.",
            "With any command, --traceback shows where in the program an error comes from.",
        ]
    )


def _no_command(word: str) -> str:
    if word.startswith("-"):
        return f"a command must come first: {', '.join(COMMANDS)}"
    if word.endswith(PROTOTXT) or Path(word).is_file():
        return f"{word} is no command. To train: caffe-lite train {word}; to look at a net: caffe-lite summary {word}"
    near = nearest(word, COMMANDS)
    hint = f"Did you mean {near}?" if near else f"The commands are {', '.join(COMMANDS)}"
    return f"there is no command {word!r}. {hint}"

"""Reads a message from protobuf's text, with the place of every field and all mistakes."""

from __future__ import annotations

from itertools import islice
from typing import Any, TypeVar

from google.protobuf.message import Message

from .building import build
from .diagnosis import diagnose
from .grammar import read_tree
from .look_alikes import look_alikes, mended
from .parsed import Parsed
from .source import Source
from .tokens import tokenize

M = TypeVar("M", bound=Message)

_MOST_PROBLEMS = 200


def parse_text(text: str, message_class: type[M], file: str = "<string>", collect: bool = False) -> Parsed[M]:
    """Read a message from text. With `collect` all mistakes go into `.problems`; otherwise the first one is raised."""
    source = Source(text, file)
    message: Any = message_class()
    odd = list(islice(look_alikes(text), _MOST_PROBLEMS + 1))
    if len(odd) <= _MOST_PROBLEMS:
        text = mended(text, odd)
    odd = odd[:_MOST_PROBLEMS]
    tokens = tokenize(text)
    tree = read_tree(source, tokens, message.DESCRIPTOR)
    built = build(tree, tokens, message, _MOST_PROBLEMS - len(odd))
    problems = diagnose(source, tokens, tree, built, odd)
    if problems and not collect:
        raise problems[0]
    return Parsed(message, source, problems, built.offsets)

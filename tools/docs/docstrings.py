"""The content that the documentation takes from docstrings: their parts, the parameters they name, the differences."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "caffe_lite"
_WORDS = "Bottoms?(?: and (?:top|blob)s?)?|Tops?(?: and (?:bottom|blob)s?)?|Blobs|Meanings|Source|Differences?"
_PART = rf"(?:{_WORDS})\b[^.:]{{0,40}}:"
_STARTS = re.compile(rf"(?:^|(?<=[.;] ))(?={_PART}|Reads ``)", re.MULTILINE)
# "2015; the original's", "e.g." and names do not end a sentence; after the end comes a capital or a quoted name.
_SENTENCE = re.compile(r"(?<=[.:])\s+(?=[A-Z`])")
_SOURCE = re.compile(r"^Source:.*?(?:\.(?:cpp|hpp|py)\.?(?:\s|$)|$)")
_ORIGINAL = re.compile(r"\b[Tt]he original\b")
_SAME = re.compile(
    r"\b[Aa]s (?:in the original|the original|there)\b|is the original's|"
    r"the original's (?:form|rules|lines|layout|roundings|upgrade_proto)"
)


@dataclass(frozen=True)
class Difference:
    """The differences from the original that one docstring describes."""

    module: str  # "layers.absval"
    name: str  # "AbsValLayer"
    sentences: tuple[str, ...]


def docstrings() -> Iterator[tuple[str, str, str]]:
    """Yield (module, name, docstring) of every module, class and function of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "caffe_pb2.py":
            continue
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners: list[tuple[str, ast.AST]] = [("", tree)]
        while owners:
            name, node = owners.pop(0)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                yield module, name, text
            for child in ast.iter_child_nodes(node):
                if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                    owners.append((f"{name}.{child.name}".lstrip("."), child))


def parts(text: str) -> list[str]:
    """Split a layer's docstring where Bottoms, Tops, Blobs, Meanings, Reads, Source and Differences begin."""
    return [
        " ".join(part.split()) for paragraph in text.split("\n\n") for part in _STARTS.split(paragraph) if part.strip()
    ]


def differences() -> list[Difference]:
    """Collect everything that, according to the docstrings, the original does differently."""
    found = []
    for module, name, text in docstrings():
        sentences = tuple(sentence for part in parts(text) for sentence in _differing(part))
        if sentences and not name.rpartition(".")[2].startswith("_"):
            found.append(Difference(module, name, sentences))
    return found


def _differing(part: str) -> Iterator[str]:
    if re.match(r"Differences?:", part):
        yield re.sub(r"^Differences?:\s*", "", part)
        return
    for sentence in _SENTENCE.split(_SOURCE.sub("", part)):
        beside = re.sub(r"\(.*?\)", "", sentence)
        inside = re.findall(r"\(.*?\)", sentence)
        if any(_ORIGINAL.search(text) and not _SAME.search(text) for text in (beside, *inside)):
            yield sentence


def form_errors(name: str, text: str, fields: dict[str, str | None]) -> list[str]:
    """Return the errors in the form of a layer's docstring; ``fields`` are its own parameters with their defaults."""
    errors = []
    if not re.search(r"\b[Bb]ottoms?\b|\b[Tt]ops?\b", text):
        errors.append("it tells the shape of no bottom and no top")
    if not re.search(r"Source: .+", text):
        errors.append("it names no Source:")
    for field, default in fields.items():
        mention = re.search(rf"(?<![\w.]){field}(?![\w])\s*(?:\(([^)]*)\))?", text)
        if not mention:
            errors.append(f"it does not name the parameter {field}")
            continue
        told = re.findall(rf"(?<![\w.]){field} \(([^();:,]+)", text)
        if default is not None and told and not any(_same(value, default) for value in told):
            errors.append(f"it gives {field} the default {told[0]}, the schema {default}")
    return [f"{name}: {error}" for error in errors]


def _same(told: str, default: str) -> bool:
    try:
        return abs(float(told) - float(default)) <= 1e-6 * abs(float(default))
    except ValueError:
        return told.strip().strip('"').lower() == default.lower()


def as_markdown(text: str) -> str:
    """Convert a docstring to Markdown: ``names`` become code, everything else is escaped to appear unchanged."""
    pieces = re.split(r"``(.+?)``", " ".join(text.split()))
    return "".join(
        f"`{piece}`" if index % 2 else re.sub(r"([\\*_<>\[\]|$`#])", r"\\\1", piece)
        for index, piece in enumerate(pieces)
    )


def cleaned(owner: type) -> str:
    return inspect.cleandoc(owner.__doc__ or "")

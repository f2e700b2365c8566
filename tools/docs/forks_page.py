"""The page about forks: first the part written by hand, then a table of the layer types that forks have."""

from __future__ import annotations

from pathlib import Path

from docstrings import as_markdown, cleaned, parts
from layer_pages import groups, page_names

from caffe_lite.layer import Layer
from caffe_lite.proto.forks import FORKS, fork_layers

_WRITTEN = Path(__file__).resolve().parents[2] / "docs/forks.md"


def forks_page() -> dict[str, str]:
    """Return docs/forks.md followed by a row for each layer type that forks add or read other fields for."""
    lines = [_WRITTEN.read_text("utf-8"), "| layer | forks | meanings, and what decides |", "| --- | --- | --- |"]
    names = page_names()
    classes = sorted((cls for found in groups().values() for cls in found), key=lambda cls: cls.type.lower())
    for cls in classes:
        added, meanings = [fork for fork, types in fork_layers().items() if cls.type in types], _meanings(cls)
        if added or meanings:
            lines.append(
                f"| [{cls.type}](layers/{names[cls.type]}.md) | {', '.join(added)} | {as_markdown(meanings)} |"
            )
    lines += ["", "## Forks", "", "| short name | repository |", "| --- | --- |"]
    lines += [f"| {fork} | {repository} |" for fork, repository in FORKS.items()]
    return {"forks.md": "\n".join([*lines, ""])}


def _meanings(cls: type[Layer]) -> str:
    """Return what the docstring says after "Meanings:", or the fields of forks that the layer reads."""
    for part in parts(cleaned(cls)):
        if part.startswith("Meanings: "):
            text = part.removeprefix("Meanings: ")
            return text[0].upper() + text[1:]
    fields = [key.partition(".")[2] for key in cls.reads_fork_fields]
    return f"Reads {', '.join(f'``{field}``' for field in fields)}." if fields else ""

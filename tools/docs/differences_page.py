"""The page of all differences: first the part written by hand, then the sentences of the docstrings."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from docstrings import Difference, as_markdown, differences

_WRITTEN = Path(__file__).resolve().parents[2] / "docs/differences.md"
_AREAS = {
    "layers": "Layers",
    "data": "Data and databases",
    "solvers": "Solvers and snapshots",
    "cli": "Commands",
    "proto": "Prototxt",
}


def differences_page() -> dict[str, str]:
    """Return docs/differences.md followed by the sentences of every docstring."""

    def area(difference: Difference) -> str:
        return _AREAS.get(difference.module.partition(".")[0], "Nets and files")

    lines = [_WRITTEN.read_text("utf-8")]
    order = [*_AREAS.values(), "Nets and files"]
    for title, found in groupby(sorted(differences(), key=lambda one: (order.index(area(one)), one.module)), area):
        lines += [f"## {title}: one by one", ""]
        for one in found:
            name = one.name.removesuffix("Layer") if title == "Layers" else one.name or one.module
            said = " ".join(as_markdown(_sentence(sentence)) for sentence in one.sentences)
            lines.append(f"- **{name}.** {said}")
        lines.append("")
    return {"differences.md": "\n".join(lines)}


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]

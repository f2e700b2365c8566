"""Mathematics in the documentation: `$x$` and ```math blocks become MathML, which browsers draw themselves."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor


def mathml(latex: str, display: str = "inline") -> str:
    """Convert LaTeX to MathML; raise ValueError for a command that the converter does not know."""
    made = convert(latex, display=display)
    unknown = re.search(r"\\[A-Za-z]+", "".join(ElementTree.fromstring(made).itertext()))
    if unknown:
        raise ValueError(f"{unknown[0]} in the formula {latex!r} is not known")
    return made


def block(source: str, *_: Any, **__: Any) -> str:
    """Convert a fenced block of superfences."""
    return f'<div class="formula">{mathml(source, "block")}</div>'


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Any, int, int]:
        return self.md.htmlStash.store(mathml(m[1])), m.start(0), m.end(0)


class Mathematics(Extension):
    """`$...$`, outside of code."""

    def extendMarkdown(self, md: Markdown) -> None:
        # Below the priority of backticks, above that of escapes and emphasis.
        md.inlinePatterns.register(_Inline(r"\$([^$\n]+)\$", md), "mathematics", 185)

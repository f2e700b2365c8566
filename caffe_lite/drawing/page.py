"""A picture of a net as one interactive HTML page: the drawing, the facts about each layer, style and script."""

from __future__ import annotations

import html
import json
from importlib import resources
from xml.etree import ElementTree

from ..blobs.unknown import Size, UnknownSize
from ..inspection.costs import memory, shape_text
from ..proto.prototxt import to_text
from .picture import DrawnLayer, Picture
from .svg import heading, kinds_of, svg, totals_text

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p id="totals">{totals}</p>
<div class="tools">
<input id="search" type="search" placeholder="Search (press /)" aria-label="Search layers and blobs" autocomplete="off">
<span id="found" role="status"></span>
<button id="zoom-in" title="Zoom in (+)" aria-label="Zoom in">+</button>
<button id="zoom-out" title="Zoom out (-)" aria-label="Zoom out">&minus;</button>
<button id="fit" title="Show the whole net (0)">Fit</button>
</div>
<p class="legend">{legend}</p>
</header>
<main>
<div id="view" tabindex="0" role="application" aria-label="The net. Arrow keys go from layer to layer.">
{drawing}
</div>
<aside id="panel" aria-live="polite" aria-label="The layer chosen">
<p class="hint">Click a layer, or go from layer to layer with the arrow keys. Drag or scroll to move; Ctrl with the
wheel, + and - zoom, 0 shows all, / searches, Esc closes.</p>
</aside>
</main>
<script id="layers" type="application/json">{layers}</script>
<script>
{script}
</script>
</body>
</html>
"""


def page_text(picture: Picture, rankdir: str = "TB", lr_mult: bool = False) -> str:
    """Make the page, which loads nothing else."""
    layers = [_facts(picture, number, layer) for number, layer in enumerate(picture.layers)]
    return PAGE.format(
        title=_escaped(heading(picture)),
        totals=_escaped(totals_text(picture)),
        legend="".join(f'<span class="{kind}">{kind}</span>' for kind in kinds_of(picture)),
        style=_file("page.css"),
        drawing=ElementTree.tostring(svg(picture, rankdir, lr_mult), "unicode"),
        # Without "<", nothing can end the script element early.
        layers=json.dumps(layers).replace("<", "\\u003c"),
        script=_file("page.js"),
    )


def _facts(picture: Picture, number: int, layer: DrawnLayer) -> dict[str, object]:
    """Return the facts that the page shows about a layer, ready for display."""
    param = layer.param
    bottoms = [_blob(picture, name, picture.makers.get((number, index), [])) for index, name in enumerate(param.bottom)]
    tops = [_blob(picture, name, picture.readers.get((number, index), [])) for index, name in enumerate(param.top)]
    rows = [("Type", param.type)]
    if layer.where:
        rows.append(("Where", str(layer.where)))
    if picture.totals:
        if layer.shapes:
            rows.append(("Parameter blobs", ", ".join(map(shape_text, layer.shapes))))
            share = _share(layer.parameters, picture.totals.parameters)
            rows.append(("Parameters", f"{layer.parameters:,} ({memory(layer.parameters)}){share}"))
        if isinstance(layer.cost, UnknownSize) or layer.cost:
            rows.append(("Multiply-adds", f"{layer.cost:,}{_share(layer.cost, picture.totals.multiply_adds)}"))
        if (taken := _taken(picture, layer)) is not None:
            rows.append(("Memory of tops", memory(taken)))
    return {
        "name": param.name,
        "kind": layer.kind.value,
        "box": layer.box,
        "rows": rows,
        "bottoms": bottoms,
        "tops": tops,
        "problem": layer.problem,
        "text": "layer {\n" + "".join(f"  {line}\n" for line in to_text(param).splitlines()) + "}",
    }


def _blob(picture: Picture, name: str, layers: list[int]) -> dict[str, object]:
    shape = shape_text(picture.shapes[name]) if name in picture.shapes else ""
    return {"name": name, "shape": shape, "layers": layers}


def _taken(picture: Picture, layer: DrawnLayer) -> Size | None:
    """Count the values in a layer's own tops; None if it has none of its own."""
    own = [name for name in layer.param.top if name in picture.shapes and name not in layer.param.bottom]
    if not own:
        return None
    count: Size = 0
    for name in own:
        shape = picture.shapes[name]
        size: Size = UnknownSize() if shape is None else 1
        for axis in shape or ():
            size = size * axis
        count = count + size
    return count


def _share(part: Size, whole: Size) -> str:
    if isinstance(part, UnknownSize) or isinstance(whole, UnknownSize) or not whole:
        return ""
    return f", {100 * part / whole:.3g}%"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode())

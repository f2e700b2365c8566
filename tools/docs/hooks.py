"""Hooks of mkdocs: the pages and pictures that are generated when the documentation is built."""

from __future__ import annotations

from typing import Any

import layer_pages
import loss_pictures
import mathml
from differences_page import differences_page
from forks_page import forks_page
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files


def on_config(config: Any) -> Any:
    """Set up formulas, and add the layers to the navigation."""
    config.markdown_extensions.append(mathml.Mathematics())
    fence = {"name": "math", "class": "formula", "format": mathml.block}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    groups, names = _made(layer_pages.groups), layer_pages.page_names()
    sections = [
        {heading: [f"layers/{name}.md" for name in dict.fromkeys(names[cls.type] for cls in classes)]}
        for heading, classes in groups.items()
    ]
    config.nav = [
        {**entry, "Layers": ["layers/index.md", *sections]} if "Layers" in entry else entry for entry in config.nav
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    made = _made(layer_pages.pages) | _made(loss_pictures.pictures) | _made(differences_page) | _made(forks_page)
    for path, content in made.items():
        if path in files.src_uris:
            files.remove(files.src_uris[path])
        files.append(File.generated(config, path, content=content))
    return files


def _made(make: Any) -> dict[str, Any]:
    try:
        result: dict[str, Any] = make()
    except ValueError as error:
        raise PluginError(str(error)) from error
    return result

"""Configuration of the documentation site (Sphinx, MyST, furo)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import asyncgg

project = "asyncgg"
author = "the asyncgg developers"
copyright = author  # noqa: A001  # the name that Sphinx reads
version = release = asyncgg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

default_role = "literal"  # docstrings write code in single backticks
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Event", "Listener", "Rows")}
napoleon_custom_sections = [("Raises when entered", "Raises")]
nitpick_ignore_regex = [("py:.*", ".*")]  # the API page documents the public names only, signatures mention others

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"asyncgg {release}"
html_theme_options = {
    # No font or script comes from another site.
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "font-stack--monospace": "ui-monospace, monospace"},
}


def plain_aliases(
    _app: Any, _kind: str, _name: str, _object: Any, _options: Any, *texts: str | None
) -> tuple[Any, ...]:
    """Write a type alias within a signature by its name alone."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in texts)


def setup(app: Any) -> None:
    """Connect to autodoc."""
    app.connect("autodoc-process-signature", plain_aliases)

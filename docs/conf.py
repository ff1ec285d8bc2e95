"""How the site is built: the tutorial executed, the reference read from the docstrings."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import depthwise

project = "depthwise"
version = release = depthwise.__version__
html_title = f"depthwise {version}"
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode",
    "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_templates", "_static"]
templates_path = ["_templates"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_show_search_summary = False  # it would be fetched, which browsers refuse for files
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_render_markdown_format = "myst"
nb_merge_streams = True
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring, napoleon_numpy_docstring = True, False


def setup(app: Sphinx) -> None:
    """Add what the extensions lack: formulas without scripts, and the pages as notebooks."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_block, None)
    )
    app.connect("object-description-transform", _name_arrays, priority=900)  # after the types
    app.connect("html-page-context", _offer_notebook)
    app.connect("build-finished", _copy_notebooks)


def _name_arrays(app: Sphinx, _domain: str, _kind: str, content: nodes.Element) -> None:
    """Say array where functions and kernels take any kind of array: to Python that is Any."""
    if app.env.docname not in ("reference/functions", "reference/kernels"):
        return
    for text in list(content.findall(nodes.Text)):
        if text in ("Any", "~typing.Any"):
            text.parent.replace(text, nodes.Text("array"))


def _inline(visitor: Any, node: nodes.math) -> None:
    visitor.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(visitor: Any, node: nodes.math_block) -> None:
    visitor.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _offer_notebook(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    if page in app.env.metadata and _executed(app, page).is_file():
        context["notebook"] = Path(page).name + ".ipynb"


def _copy_notebooks(app: Sphinx, error: Exception | None) -> None:
    for page in () if error else app.env.found_docs:
        if (notebook := _executed(app, page)).is_file():
            shutil.copy(notebook, Path(app.outdir, page).with_suffix(".ipynb"))


def _executed(app: Sphinx, page: str) -> Path:
    """Return where myst-nb leaves a page with its results."""
    return Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"

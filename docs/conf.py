"""Sphinx settings. Built by `make docs`; warnings are errors."""

from importlib.metadata import version as installed_version
from pathlib import Path

project = "tdscale"
author = "the tdscale authors"
release = version = installed_version("tdscale")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
default_role = "code"

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# a result object's fields are told in its docstring; its constructor is called by tdscale alone
autodoc_class_signature = "separated"
# shapes and units stand in the docstrings; NumPy's array types would bury them
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"tdscale {release}"
html_static_path = [name for name in ("_static",) if (Path(__file__).parent / name).is_dir()]


def _keep_bars(app, what, name, obj, options, lines):  # type: ignore[no-untyped-def]
    """In our docstrings |x| is an absolute value, which reStructuredText would take for a substitution."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app):  # type: ignore[no-untyped-def]
    """Sphinx's hook."""
    app.connect("autodoc-process-docstring", _keep_bars)

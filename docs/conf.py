"""Sphinx settings. Built by `make docs`; warnings are errors."""

import shutil
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path

project = "tdscale"
author = "the tdscale authors"
release = version = installed_version("tdscale")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_extra", "notebooks"]
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

# pages that are run while the documentation is built, and can be downloaded as notebooks
sphinx_gallery_conf = {
    "examples_dirs": "notebooks",
    "gallery_dirs": "notebooks_built",
    "filename_pattern": "from_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "copyfile_regex": "",
}

html_theme = "furo"
html_title = f"tdscale {release}"
html_static_path = [name for name in ("_static",) if (Path(__file__).parent / name).is_dir()]


html_extra_path = ["_extra"]


def _report_of_the_example(app, config):  # type: ignore[no-untyped-def]
    """The example study's report page, beside the pages of the documentation."""
    from tdscale.running.confirm import confirmations
    from tdscale.running.example import copy_example
    from tdscale.running.fitting import fitted_study
    from tdscale.running.folder import open_study
    from tdscale.running.workflow import report_study

    extra = Path(app.srcdir) / "_extra"
    extra.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy_example(Path(folder) / "sac")
        files = open_study(Path(folder) / "sac")
        shutil.copyfile(report_study(files, fitted_study(files), confirmations(files.directory)), extra / "example-report.html")


def _keep_bars(app, what, name, obj, options, lines):  # type: ignore[no-untyped-def]
    """In our docstrings |x| is an absolute value, which reStructuredText would take for a substitution."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app):  # type: ignore[no-untyped-def]
    """Sphinx's hook."""
    app.connect("autodoc-process-docstring", _keep_bars)
    app.connect("config-inited", _report_of_the_example)

"""Every dependency that pyproject.toml declares is imported by the package, and whatever it imports is declared."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# distributions whose module has another name than their own
MODULES = {"mujoco-mjx": "mujoco.mjx", "vl-convert-python": "vl_convert"}
# imported and not declared: parts of what is, at the version that it asks for
BROUGHT_ALONG = {
    "markupsafe": "jinja2",  # the type of text that its templates do not escape
    "pydantic_core": "pydantic",  # the schemas of its annotations
}


def _imported() -> set[str]:
    """Modules that any source file imports, at its top or when needed, and the packages above them."""
    found = set()
    for path in (ROOT / "src" / "tdscale").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(parts[: end + 1]) for parts in (name.split(".") for name in found) for end in range(len(parts))}


def _declared() -> dict[str, str]:
    """Module by distribution, of the light install and of every extra."""
    project = PROJECT["project"]
    requirements = project["dependencies"] + [one for extra in project["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0] for one in requirements}
    return {name: MODULES.get(name, name.replace("-", "_")) for name in names}


IMPORTED, DECLARED = _imported(), _declared()


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_what_is_declared_is_imported(name):
    assert DECLARED[name] in IMPORTED, f"pyproject.toml declares {name}, which nothing in src/ imports"


def test_what_is_imported_is_declared():
    allowed = set(DECLARED.values()) | set(BROUGHT_ALONG) | set(sys.stdlib_module_names) | {"tdscale"}
    assert set(BROUGHT_ALONG.values()) <= set(DECLARED)
    assert {name for name in IMPORTED if "." not in name} - allowed == set()


def test_nothing_is_excepted_that_is_not_imported():
    (override,) = PROJECT["tool"]["mypy"]["overrides"]
    assert {name.removesuffix(".*") for name in override["module"]} | set(BROUGHT_ALONG) <= IMPORTED


@pytest.mark.parametrize("name", ["train", "dev"])
def test_what_is_declared_is_pinned(name):
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].split("[")[0] for line in lines if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + extras["train"] + (PROJECT["dependency-groups"]["dev"] if name == "dev" else [])
    names = {re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0].lower().replace("_", "-") for one in wanted}
    assert names <= {one.lower().replace("_", "-") for one in pinned}

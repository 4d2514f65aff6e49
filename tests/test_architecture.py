"""The rooms and what they may import, as the design's table has it; and what no source file may hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tdscale"
FILES = sorted(SOURCE.rglob("*.py"))

# room: the rooms it may import, besides itself and what has no rooms beneath it
SHARED = {"errors", "whole_file"}
MAY_IMPORT = {
    "errors": set(),
    "whole_file": set(),
    "study": set(),
    "agents": set(),
    "simulate": {"study", "runs"},
    "runs": {"study"},
    "importers": {"runs", "study"},
    "tasks": {"study"},
    "analysis": {"runs"},
    "planning": {"analysis"},
    "paper": {"analysis", "planning"},
    "validation": {"analysis"},
    "report": {"analysis", "planning", "validation"},
    "training": {"agents", "tasks", "runs", "study"},
}
# what puts the rooms together may import all
ALL = {"cli", "running", "__main__", "__init__"}
# what analysis takes of the runs is types only, and so is what shows results
TYPES_ONLY = {"analysis": {"tdscale.runs.types"}}
LIGHT_TYPES = {"paper", "planning", "validation", "report"}  # may name the types of runs, too
TRAINING_LIBRARIES = {"jax", "jaxlib", "flax", "optax", "orbax", "gymnasium", "mujoco", "dm_control", "dm_env"}
MAY_TRAIN = {"agents", "training", "tasks"}


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module a file imports, with whether that happens when the file itself is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_type_checking(outer)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports by full name only"
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if _is_module(node.module, alias.name) else str(node.module), id(node) not in lazy


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_module(module: str | None, name: str) -> bool:
    base = SOURCE.parent.joinpath(*str(module).split("."))
    return (base / f"{name}.py").exists() or (base / name).is_dir()


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_room_imports_only_the_rooms_it_may(path):
    room = _room(path)
    if room in ALL:
        return
    allowed = MAY_IMPORT[room] | {room} | SHARED
    for module, _ in _imports(path):
        if not module.startswith("tdscale."):
            continue
        other = module.split(".")[1]
        if room in LIGHT_TYPES and module in ("tdscale.runs.types", "tdscale.runs"):
            continue
        assert other in allowed, f"{_name(path)} imports {module}; {room} may import {sorted(allowed)}"
        for types in TYPES_ONLY.get(room, ()):
            if other == types.split(".")[1]:
                assert module == types, f"{_name(path)} imports {module}; only types are its business"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_training_libraries_stay_in_the_rooms_that_train(path):
    found = {module.split(".")[0] for module, _ in _imports(path)} & TRAINING_LIBRARIES
    assert not found or _room(path) in MAY_TRAIN


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_light_rooms_reach_training_lazily_or_not_at_all(path):
    room = _room(path)
    heavy = {"tdscale.agents", "tdscale.tasks", "tdscale.training"}
    for module, at_once in _imports(path):
        if any(module == name or module.startswith(f"{name}.") for name in heavy):
            assert room in MAY_TRAIN | {"running", "cli"}
            assert room in MAY_TRAIN or not at_once, f"{_name(path)} imports {module} before it is needed"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_only_the_report_draws(path):
    if _room(path) != "report":
        assert not any(module.split(".")[0] == "matplotlib" for module, _ in _imports(path))


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_nothing_is_unpickled_or_executed(path):
    assert not {module.split(".")[0] for module, _ in _imports(path)} & {
        "pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "marshal",
        "shelve",
    }
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"{_name(path)}:{node.lineno}"
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            assert (node.func.value.id, node.func.attr) not in {("os", "system"), ("os", "popen")}, f"{_name(path)}:{node.lineno}"
        for keyword in node.keywords:
            if keyword.arg in ("allow_pickle", "shell"):
                assert isinstance(keyword.value, ast.Constant), f"{_name(path)}:{node.lineno}"
                assert keyword.value.value is False, f"{_name(path)}:{node.lineno}"


def test_every_room_is_in_the_table():
    assert {_room(path) for path in FILES} <= set(MAY_IMPORT) | ALL

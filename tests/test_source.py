"""What every source file keeps to and no linter says. The rest, and what a room may import, is in pyproject.toml: ruff, import-linter."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tdscale"
FILES = sorted(SOURCE.rglob("*.py"))


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source, with its place."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def test_files_stay_small():
    lines = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 500} == {}


def test_no_call_compiles_code_or_imports_by_a_name_that_it_computes():
    found = [place for place, call in _calls() if isinstance(call.func, ast.Name) and call.func.id in ("compile", "__import__")]
    assert found == []


def test_pickles_and_shells_are_refused_where_a_call_could_allow_them():
    found = [
        (place, keyword.arg, isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
        for place, call in _calls()
        for keyword in call.keywords
        if keyword.arg in ("allow_pickle", "shell")
    ]
    assert found
    assert [(place, argument) for place, argument, refused in found if not refused] == []

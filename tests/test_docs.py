"""docs/equations.md is complete and true: every equation is there, every function named there exists."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EQUATIONS = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")

NUMBERS = (
    [f"4.{n}" for n in range(1, 8)]
    + [f"A.{n}" for n in range(1, 12)]
    + ["B.1"]
    + [f"C.{n}" for n in (1, 2, 3)]
    + [f"D.{n}" for n in range(1, 6)]
)
DEFINITIONS = ["P1", "P2", "P3", "Crossing", "Normalisation", "Censoring", "FLOPs", "UTD", "N", "Plasticity", "E", "Resets", "Rounding"]
EVALUATIONS = ["Pareto extrapolation", "Budget extrapolation", "Hyperparameter extrapolation"]
ROLE = re.compile(r"\{py:(?:func|meth|class|mod)\}`([^`]+)`")
NAMED = sorted({(page.name, name) for page in (ROOT / "docs").glob("*.md") for name in ROLE.findall(page.read_text(encoding="utf-8"))})
DOCUMENTED = set(
    re.findall(r"\.\. auto(?:function|class|module|exception):: (\S+)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
)


def _first_columns() -> set[str]:
    cells = [line.split("|")[1].strip() for line in EQUATIONS.splitlines() if line.startswith("|")]
    return {part.strip() for cell in cells for part in cell.split(",")}


def _resolve(name: str) -> Any:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", NUMBERS + DEFINITIONS + EVALUATIONS)
def test_an_equation_of_the_paper_has_a_row(name: str) -> None:
    assert name in _first_columns()


def test_a_row_names_a_function_or_says_that_there_is_none() -> None:
    for line in EQUATIONS.splitlines():
        if line.startswith("|") and not line.startswith(("|---", "| equation", "| section")):
            assert ROLE.search(line) or "not implemented yet" in line, line


@pytest.mark.parametrize(("page", "name"), NAMED)
def test_what_a_page_names_exists_and_is_in_the_api_page(page: str, name: str) -> None:
    assert _resolve(name) is not None
    assert name in DOCUMENTED or name.rpartition(".")[0] in DOCUMENTED

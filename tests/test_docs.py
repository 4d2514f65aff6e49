"""docs/equations.md is complete and true: every equation is there, every name exists; docs/api.md has the public names."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import tdscale

DOCS = Path(__file__).parents[1] / "docs"
EQUATIONS = (DOCS / "equations.md").read_text(encoding="utf-8")

NUMBERS = (
    [f"4.{n}" for n in range(1, 8)]
    + [f"A.{n}" for n in range(1, 12)]
    + ["B.1"]
    + [f"C.{n}" for n in (1, 2, 3)]
    + [f"D.{n}" for n in range(1, 6)]
)
DEFINITIONS = ["P1", "P2", "P3", "Crossing", "Normalisation", "Censoring", "FLOPs", "UTD", "N", "Plasticity", "E", "Resets", "Rounding"]
EVALUATIONS = ["Pareto extrapolation", "Budget extrapolation", "Hyperparameter extrapolation"]
NAME = re.compile(r"`(tdscale(?:\.[A-Za-z_]\w*)+)`")


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


def test_every_equation_of_the_paper_has_a_row_that_names_a_function_or_says_that_there_is_none() -> None:
    rows = [line for line in EQUATIONS.splitlines() if line.startswith("|") and not re.match(r"\|(---| equation| section)", line)]
    first = {part.strip() for row in rows for part in row.split("|")[1].split(",")}
    assert {*NUMBERS, *DEFINITIONS, *EVALUATIONS} <= first
    assert [row for row in rows if not NAME.search(row) and "not implemented yet" not in row] == []


def test_every_name_that_a_page_gives_exists() -> None:
    named = {name: page.name for page in DOCS.glob("*.md") for name in NAME.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 60
    for name in named:
        assert _resolve(name) is not None, f"{named[name]} names {name}"


def test_the_public_names_are_on_the_api_page() -> None:
    listed = re.findall(r"^\.\. auto\w+:: tdscale\.(\w+)", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(set(tdscale.__all__) - {"__version__"})

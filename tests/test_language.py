"""How the Markdown pages are written: lines of at most 120 characters, and none of the words that readers misunderstood."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 120
FOLDERS = [folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in folder.rglob("*.md"))])

# Each has a plain substitute: "reported", "used", "predicted", "again", "resumed from", "your own", "by default", "any", "way".
PRIVATE_WORDS = (
    "(is|are|was|were) (not )?told",
    "tells? (that|of|every|which|how|what)",
    "heeded",
    "foretold",
    "anew",
    "(go|goes|gone|went) on (from|anywhere|elsewhere|there)",
    "one's own",
    "of ours",
    "whatever",
    "unasked",
    "roads?",
    "held against",
    "do not read the number",
)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page outside tables and blocks of code, with their numbers from 1."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = re.match(r"\s*(```+|:::+)", line)
        if mark is not None and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif not fence and not line.startswith(("|", "    ")):
            yield number, line


def test_lines_of_code_and_of_tables_are_no_prose():
    text = "first\n\n    indented code\n\n```python\nfenced code\n```\n| a | table |\n\nlast"
    assert [(number, line) for number, line in prose(text) if line] == [(1, "first"), (10, "last")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_prose_are_at_most_120_characters_wide(page):
    wide = [f"{page.name}:{number}: {len(line)}" for number, line in prose(page.read_text(encoding="utf-8")) if len(line) > WIDTH]
    assert wide == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_use_the_usual_words(page):
    words = re.compile(rf"\b({'|'.join(PRIVATE_WORDS)})\b", flags=re.IGNORECASE)
    text = page.read_text(encoding="utf-8")
    found = [f"{page.name}:{text.count(chr(10), 0, m.start()) + 1}: {m[0]}" for m in words.finditer(re.sub(r"\s", " ", text))]
    assert found == []

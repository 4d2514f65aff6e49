"""What README and docs print in `console` blocks is what the commands print: each page's commands are run in order, in one folder.

`…` alone on a line stands for any lines, at a line's end for the rest of it. Numbers may differ by 3 %, as they do between CPUs.
A block under a comment that begins with `<!-- not run` is left out; the comment says why.
"""

import re
import shlex
from pathlib import Path

import pytest

from command import called

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- not run[^>]*-->\n+)?```console\n(.*?)```", flags=re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+−-]?\d+)?")


def blocks(page):
    return [text for skipped, text in BLOCK.findall(page.read_text(encoding="utf-8")) if not skipped]


PAGES = [ROOT / "README.md", ROOT / "docs" / "tour.md", ROOT / "docs" / "study_in_full.md"]


def steps(text):
    """(command, the lines expected of it) of a block; a command goes on after a backslash."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ ").split("  #")[0], []))
        else:
            found[-1][1].append(line)
    return found


def value(text):
    return float(text.replace(",", "").replace("−", "-"))


def alike(expected, seen):
    """Whether a line is what was expected, apart from its spaces and small differences of its numbers."""
    expected, seen = (" ".join(line.split()) for line in (expected, seen))
    if expected.endswith("…"):
        expected = expected.removesuffix("…").rstrip()
        cut = NUMBER.sub("#", seen)[: len(NUMBER.sub("#", expected))]
        if cut != NUMBER.sub("#", expected):
            return False
    elif NUMBER.sub("#", expected) != NUMBER.sub("#", seen):
        return False
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(seen), strict=False)
    return all(value(one) == pytest.approx(value(other), rel=0.03) for one, other in pairs)


def missing(expected, seen):
    """The first expected line that is not there, in order; None if all are."""
    place, anywhere = 0, False
    for line in expected:
        if line.strip() == "…":
            anywhere = True
            continue
        while place < len(seen) and anywhere and not alike(line, seen[place]):
            place += 1
        if place >= len(seen) or not alike(line, seen[place]):
            return line
        place, anywhere = place + 1, False
    return None if anywhere or not any(line.strip() for line in seen[place:]) else f"(nothing more, but there is: {seen[place]})"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_pages_commands_print_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    for block in blocks(page):
        for command, expected in steps(block):
            program, *arguments = shlex.split(command)
            assert program == "tdscale", f"{page.name}: only tdscale is run here, not {command}; mark the block as not run"
            answer = called(*arguments, cwd=tmp_path)
            seen = (answer.stdout + answer.stderr).splitlines()
            lacking = missing([line for line in expected if line.strip()], [line for line in seen if line.strip()])
            assert lacking is None, f"{page.name}: $ {command}\nno such line, in its place: {lacking}\nprinted:\n" + "\n".join(seen)


def test_a_line_that_is_not_printed_is_found():
    seen = ["plan, at most 300 steps", "UTD 4 [3, 6]", "the limit binds"]
    assert missing(["plan, at most 301 steps", "…"], seen) is None
    assert missing(["…", "UTD 4 [3, 6]", "the limit …"], seen) is None
    assert missing(["plan, at most 300 steps", "UTD 5 [3, 6]", "…"], seen) == "UTD 5 [3, 6]"
    assert missing(["plan, at most 300 steps", "the limit binds"], seen) == "the limit binds"
    assert missing(["plan, at most 300 steps"], seen) == "(nothing more, but there is: UTD 4 [3, 6])"

"""Asks a process of its own what settings a user's algorithm has: the process that reads a study never imports it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tdscale.errors import UserError


def custom_settings(
    algorithm: str, settings: Mapping[str, Any], *, folder: Path | None, source: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Import "module:name" where workers would, and check a study's settings against its settings class.

    Args:
        algorithm: as the study names it.
        settings: what the study's [settings] say.
        folder: where its file may lie.
        source: name of the study's file in messages.
        environment: variables of the process, as for `run_jobs`.

    Returns:
        All settings, defaults filled in, as JSON types.

    Raises:
        UserError: if there is no such algorithm, its module can't be imported, or a setting is wrong.
    """
    question = {"algorithm": algorithm, "settings": dict(settings), "folder": None if folder is None else str(folder), "source": source}
    answered = subprocess.run(
        [sys.executable, "-P", "-m", "tdscale.running.algorithm_settings"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
    )
    try:
        answer: dict[str, Any] = json.loads(answered.stdout)
    except ValueError:
        said = (answered.stderr.strip().splitlines() or [f"its process ended with exit code {answered.returncode}"])[-1]
        raise UserError(f"{source}, algorithm: {algorithm!r} can't be looked at: {said}") from None
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    found: dict[str, Any] = answer["settings"]
    return found


def main() -> None:
    """Answer one question, JSON on standard input, by JSON on standard output."""
    question = json.load(sys.stdin)
    # what the module prints must not mix with the answer
    with redirect_stdout(sys.stderr):
        answer = _answer(question)
    print(json.dumps(answer))


def _answer(question: Mapping[str, Any]) -> dict[str, Any]:
    from tdscale.study import check_settings

    folder = None if question["folder"] is None else Path(question["folder"])
    try:
        from tdscale.training.algorithms import named_algorithm
    except ModuleNotFoundError as error:
        return {"mistake": f'training needs {error.name}, which is not installed; pip install "tdscale[train]" brings it'}
    try:
        algorithm = named_algorithm(question["algorithm"], folder)
    except UserError as error:
        return {"mistake": f"{question['source']}, algorithm: {error}"}
    try:
        return {"settings": check_settings(algorithm.settings, question["settings"], question["source"]).model_dump(mode="json")}
    except UserError as error:
        return {"mistake": str(error)}


if __name__ == "__main__":
    main()

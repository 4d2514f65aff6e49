"""Asks a process of its own: what settings an algorithm has and how large its networks are, what is wrong with a function.

The process that reads a study never imports a user's module, nor JAX.
"""

import inspect
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
    algorithm: str,
    settings: Mapping[str, Any],
    sizes: Mapping[str, Mapping[str, Any]],
    *,
    folder: Path | None,
    source: str,
    environment: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Import "module:name" where workers would, and check a study's settings against its settings class.

    Args:
        algorithm: as the study names it.
        settings: what the study's [settings] say.
        sizes: what each of [sizes] says besides, by name.
        folder: where its file may lie.
        source: name of the study's file in messages.
        environment: variables of the process, as of a worker.

    Returns:
        All settings of each size, under "" without [sizes], defaults filled in, as JSON types.

    Raises:
        UserError: if there is no such algorithm, its module can't be imported, or a setting is wrong.
    """
    question = {"algorithm": algorithm, "settings": dict(settings), "folder": None if folder is None else str(folder), "source": source}
    question["sizes"] = {name: dict(size) for name, size in sizes.items()}
    answer, said = _ask(question, environment=environment)
    if answer is None:
        raise UserError(f"{source}, algorithm: {algorithm!r} can't be loaded: {said}")
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    found: dict[str, dict[str, Any]] = answer["settings"]
    return found


def critic_parameters(
    algorithm: str, settings: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, str], *, folder: Path
) -> dict[str, list[int]]:
    """Parameters of the critics that an algorithm trains, for each size by its name, task by task.

    Args:
        algorithm: as the study names it.
        settings: all settings of each size.
        tasks: suite of each task.
        folder: the study's, where the file of a user's algorithm lies.

    Raises:
        UserError: if they can't be counted.
    """
    from tdscale.training.devices import cache_directory, single_thread_environment

    question = {"algorithm": algorithm, "networks": settings, "tasks": tasks, "folder": str(folder)}
    answer, said = _ask(question, environment=single_thread_environment(cache_directory()))
    if answer is None:
        raise UserError(f"{algorithm!r}: its networks can't be counted: {said}")
    found: dict[str, list[int]] = answer["parameters"]
    return found


def check_function(function: str, *, module_folder: Path, folder: Path, source: str) -> None:
    """Import "module:name" in the folder that it will run in, without calling it.

    Args:
        function: as the study names it.
        module_folder: where its file may lie.
        folder: where its processes run.
        source: name of the study's file in messages.

    Raises:
        UserError: if there is no such function, or it can't be called with one argument.
    """
    answer, said = _ask({"function": function, "folder": str(module_folder.resolve())}, folder=folder)
    problem = said if answer is None else answer["mistake"]
    if problem is not None:
        raise UserError(f"{source}, function: {problem}")


def _ask(
    question: Mapping[str, Any], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[dict[str, Any] | None, str]:
    """The answer; None and the process's last words where it gave none."""
    asked = subprocess.run(
        [sys.executable, "-P", "-m", "tdscale.running.custom_code"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **(environment or {})},
        cwd=folder,
        check=False,
    )
    try:
        return json.loads(asked.stdout), ""
    except ValueError:
        return None, (asked.stderr.strip().splitlines() or [f"its process ended with exit code {asked.returncode}"])[-1]


def main() -> None:
    """Answer one question, JSON on standard input, by JSON on standard output."""
    question = json.load(sys.stdin)
    # what the module prints must not mix with the answer
    with redirect_stdout(sys.stderr):
        answer: dict[str, Any]
        if "function" in question:
            answer = {"mistake": _problem(**question)}
        else:
            answer = {"parameters": _parameters(question)} if "networks" in question else _settings(question)
    print(json.dumps(answer))


def _settings(question: Mapping[str, Any]) -> dict[str, Any]:
    from tdscale.study import check_settings

    folder = None if question["folder"] is None else Path(question["folder"])
    try:
        from tdscale.training.algorithms import named_algorithm
    except ModuleNotFoundError as error:
        return {"mistake": f'training needs {error.name}, which is not installed; pip install "tdscale[train]" installs it'}
    try:
        algorithm = named_algorithm(question["algorithm"], folder)
    except UserError as error:
        return {"mistake": f"{question['source']}, algorithm: {error}"}
    model, given, source = algorithm.settings, question["settings"], question["source"]
    try:
        if not question["sizes"]:
            return {"settings": {"": check_settings(model, given, source).model_dump(mode="json")}}
        checked = {name: check_settings(model, given, source, size=(name, size)) for name, size in question["sizes"].items()}
        return {"settings": {name: one.model_dump(mode="json") for name, one in checked.items()}}
    except UserError as error:
        return {"mistake": str(error)}


def _parameters(question: Mapping[str, Any]) -> dict[str, list[int]]:
    from tdscale.tasks import HOST, make_parallel_task
    from tdscale.training.algorithms import count_parameters, named_algorithm

    algorithm = named_algorithm(question["algorithm"], Path(question["folder"]))
    found: dict[str, list[int]] = {size: [] for size in question["networks"]}
    for name, suite in question["tasks"].items():
        task = make_parallel_task(suite, name, 1, HOST)
        for size, settings in question["networks"].items():
            found[size].append(count_parameters(algorithm, algorithm.settings(**settings), task))
        task.close()
    return found


def _problem(function: str, folder: str) -> str | None:
    from tdscale.training.custom_algorithm import load_custom_algorithm

    try:
        found: Any = load_custom_algorithm(function, Path(folder), "function")
    except UserError as error:
        return str(error)
    if not callable(found):
        return f"{function!r} is of type {type(found).__name__}, not a function"
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        return f"{function!r} can't be called with one argument, the run to train"
    except ValueError:
        pass  # it has no signature to look at
    return None


if __name__ == "__main__":
    main()

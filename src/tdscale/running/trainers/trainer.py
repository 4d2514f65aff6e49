"""`CustomTrainer`: the command or function of a user that trains a study's runs. Checked when the study is placed, kept in trainer.json.

The runs of a cell are trained by `trainers.cell`, each in a process of `trainers.run`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.running.custom_code import check_function
from tdscale.study import RunSpec, Study, TrainerOptions, asks_for, custom_file, module_of
from tdscale.study.sizes import MODEL_SIZE, size_settings

TRAINER_FILE = "trainer.json"
_WHOLE_FILE = 1 << 24


@dataclass(frozen=True, kw_only=True)
class CustomTrainer:
    """A command or a function that trains runs in the place of tdscale's agents.

    Attributes:
        command, function: of the study; one of them.
        folder: where processes run: that of the study's file.
        retries, stop_early: of the study's [trainer].
        model_size, actor_size: as the study gives them.
        versions: of the trainer's files.
        sizes: the study's [sizes].
    """

    command: tuple[str, ...] | None
    function: str | None
    folder: str
    retries: int
    stop_early: bool
    model_size: float | None
    actor_size: int | None
    versions: dict[str, str]
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def size_of(self, spec: RunSpec) -> dict[str, Any]:
        """The name of a run's size and its N where it is given, by their placeholders' names; {} in a study without [sizes]."""
        for name, size in self.sizes.items():
            if all(spec.settings.get(key) == value for key, value in size_settings(size).items()):
                return {"size": name} | {key: value for key, value in size.items() if key == MODEL_SIZE}
        return {}

    def model_size_of(self, spec: RunSpec) -> float | None:
        """N of a run's critics, as the study gives it."""
        given: float | None = self.size_of(spec).get(MODEL_SIZE, self.model_size)
        return given

    @property
    def goes_on(self) -> bool:
        """Whether it gets a folder for its state, so that a run that was interrupted may resume."""
        return self.command is None or asks_for(self.command, "checkpoint")

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "CustomTrainer":
        """From the JSON of `dataclasses.asdict`."""
        command = message["command"]
        return cls(**{**message, "command": None if command is None else tuple(command)})


def trainer_of(study: Study, study_file: Path, directory: Path) -> CustomTrainer:
    """What is to train a study's runs, with all checks that need no training.

    Processes run in the folder of the study's file; where that is the study's own folder, in the one that it was placed from.

    Args:
        study: with a command or a function.
        study_file: it was read from.
        directory: the study's folder.

    Raises:
        UserError: if there is no such program, or function, or the folder is gone.
    """
    folder = study_file.resolve().parent
    if folder == directory.resolve():
        folder = Path(_remembered(directory).get("folder", folder))
    if not folder.is_dir():
        raise UserError(
            f"{directory / TRAINER_FILE}: its trainer ran in {folder}, which is gone; `tdscale run STUDY.toml --dir {directory}` with the "
            f"study file in the trainer's new folder corrects this"
        )
    if study.command is not None:
        _check_program(study.command[0], folder, study_file.name)
        named = {part: path for part in study.command if (path := folder / part).is_file() and path.stat().st_size <= _WHOLE_FILE}
    else:
        assert study.function is not None
        file = function_file(study, study_file, directory)
        module_folder = folder if file is None else file.parent
        check_function(study.function, module_folder=module_folder, folder=folder, source=study_file.name)
        named = {} if file is None else {module_of(study.function): file}
    options = study.trainer or TrainerOptions()
    return CustomTrainer(
        command=study.command,
        function=study.function,
        folder=str(folder),
        retries=options.retries,
        stop_early=options.stop_early,
        model_size=study.model_size,
        actor_size=options.actor_size,
        versions={name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for name, path in named.items()},
        sizes=study.sizes,
    )


def function_file(study: Study, study_file: Path, directory: Path) -> Path | None:
    """The file of a study's function, which is put into its folder; None where its module is on Python's path."""
    return None if study.function is None else custom_file(study.function, study_file.parent) or custom_file(study.function, directory)


def remembered_text(trainer: CustomTrainer, directory: Path, *, bound: bool) -> str:
    """What `TRAINER_FILE` is to hold. `bound`: whether it must be the trainer that is remembered.

    Raises:
        UserError: if runs are there which another trainer made.
    """
    content = {"command": trainer.command, "function": trainer.function, "folder": trainer.folder, "versions": trainer.versions}
    content = json.loads(json.dumps(content))
    earlier = _remembered(directory)
    for key in ("command", "function", "versions") if earlier and bound else ():
        if earlier.get(key) != content[key]:
            what = key
            if key == "versions":
                what = next((name for name, version in content[key].items() if earlier[key].get(name) != version), "file")
            raise UserError(
                f"{directory}: its runs were made with another {what} than the one given now; give --dir another folder, or, if the "
                f"change does not affect those runs, --accept-changes"
            )
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _remembered(directory: Path) -> dict[str, Any]:
    path = directory / TRAINER_FILE
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["folder"], str) and isinstance(content["versions"], dict):
            return content
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path}: is damaged; remove it, and run the study file in the trainer's folder")


def _check_program(program: str, folder: Path, source: str) -> None:
    """As it will be looked for: on PATH, or, with a slash in it, from the folder that it runs in."""
    if os.path.dirname(program):
        if not os.access(folder / program, os.X_OK) or not (folder / program).is_file():
            raise UserError(f"{source}, command[0]: there is no program {program!r} (looked for from {folder})")
    elif shutil.which(program) is None:
        raise UserError(f"{source}, command[0]: there is no program {program!r} on PATH; give its path, or activate its environment first")

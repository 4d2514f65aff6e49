"""A study's folder: put there, opened, held by one process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdscale.errors import UserError
from tdscale.running.custom_code import custom_settings
from tdscale.running.trainers.trainer import TRAINER_FILE, CustomTrainer, function_file, remembered_text, trainer_of
from tdscale.runs.store import RunStore
from tdscale.study import Study, custom_file, is_custom, is_smoke, read_study, smoke_study, study_to_toml
from tdscale.study.sizes import size_settings
from tdscale.whole_file import write_whole

if TYPE_CHECKING:
    from filelock import FileLock

STUDY_FILE = "study.toml"
CUSTOM_FILE = "algorithm.json"
_LOCK = ".run.lock"


@dataclass(frozen=True, kw_only=True)
class StudyFiles:
    """A study's folder, opened.

    Attributes:
        directory, study, store: the folder, the question, the runs.
        trainer: the user's, where the study has one and was placed there to be run.
        size: where `study` is that of one size (`by_size`), its name.
    """

    directory: Path
    study: Study
    store: RunStore
    trainer: CustomTrainer | None = None
    size: str = ""

    def by_size(self) -> "dict[str, StudyFiles]":
        """The folder for each of the study's sizes, by name; this one, under "", where it has none."""
        return {name: replace(self, study=one, size=name) for name, one in self.study.by_size().items()} if self.study.sizes else {"": self}


def open_study(directory: Path | str) -> StudyFiles:
    """Open a study's folder, a path or its text. A user's algorithm is not imported. Raises UserError if it is not a study's folder."""
    directory = Path(directory)
    if not directory.exists():
        raise UserError(
            f"{directory}: no such folder; `tdscale run STUDY.toml --dir {directory}` or `tdscale import … --dir {directory}` makes it"
        )
    if not (directory / STUDY_FILE).is_file():
        raise UserError(f"{directory}: holds no {STUDY_FILE}, so it is not a study's folder; `tdscale run` and `tdscale import` make one")
    study = _with_known_settings(read_study(directory / STUDY_FILE), directory)
    return StudyFiles(directory=directory, study=study, store=RunStore(directory))


def prepare_study(study_file: Path, directory: Path, *, smoke: bool = False, accept_changes: bool = False) -> StudyFiles:
    """What `place_study` would put into the folder, checked as it would, and not put there.

    Raises:
        UserError: as `place_study`.
    """
    return _prepared(study_file, directory, smoke, accept_changes)[0]


def place_study(study_file: Path, directory: Path, *, smoke: bool = False, accept_changes: bool = False) -> StudyFiles:
    """Put a study file into its folder, making the folder. An edited study replaces the one there: what is new is run.

    The file of a user's algorithm is put beside it. Another process imports it to check the settings.

    Args:
        study_file: what the user wrote.
        directory: the study's folder.
        smoke: put the study's smoke size there (`study.smoke_study`).
        accept_changes: continue although the runs there were made with another version of the user's file.

    Raises:
        UserError: if the study can't be run, or is being run by another process; the folder is then left as it was.
    """
    prepared, texts = _prepared(study_file, directory, smoke, accept_changes)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with sole_runner(directory):
            for name, text in texts.items():
                _write(directory / name, text)
    except OSError as error:
        raise UserError(f"{directory}: can't be written ({error.strerror})") from None
    return prepared


def _prepared(study_file: Path, directory: Path, smoke: bool, accept_changes: bool) -> tuple[StudyFiles, dict[str, str]]:
    """The study as it will lie in its folder, and the texts of its files by name."""
    study = read_study(study_file)
    if study.sweep is None:
        raise UserError(f"{study_file}: has no [sweep], so there is nothing to run; see examples/ for a study that runs")
    files, trainer = {}, None
    # to the version that made what is there
    bound = (study.has_custom_trainer or is_custom(study.algorithm)) and not accept_changes and _has_runs(directory)
    if study.has_custom_trainer:
        if smoke:
            study = smoke_study(study)
        file = function_file(study, study_file, directory)
        if file is not None:
            files[file.name] = file.read_text(encoding="utf-8")
            _check_unchanged(directory / file.name, files[file.name], bound)
        trainer = trainer_of(study, study_file, directory)
        files[TRAINER_FILE] = remembered_text(trainer, directory, bound=bound)
    elif is_custom(study.algorithm):
        file = custom_file(study.algorithm, study_file.parent) or custom_file(study.algorithm, directory)
        study = _with_custom_settings(study, None if file is None else file.parent, study_file.name)
        if smoke:
            study = _with_custom_settings(smoke_study(study), None if file is None else file.parent, study_file.name)
        if file is not None:
            files[file.name] = file.read_text(encoding="utf-8")
            _check_unchanged(directory / file.name, files[file.name], bound)
        own: dict[str, Any] = {"algorithm": study.algorithm, "given": study.settings}
        if study.sizes:
            own |= {"sizes": study.sizes, "settings_by_size": {name: one.full_settings for name, one in study.by_size().items()}}
        else:
            own["settings"] = study.full_settings
        files[CUSTOM_FILE] = json.dumps(own, indent=1, ensure_ascii=False) + "\n"
    elif smoke:
        study = smoke_study(study)
    files[STUDY_FILE] = study_to_toml(study) if smoke else study_file.read_text(encoding="utf-8")
    _check_tasks(study, study_file.name)
    _check_kind(directory, study)
    return StudyFiles(directory=directory, study=study, store=RunStore(directory), trainer=trainer), files


def replace_study(files: StudyFiles, study: Study) -> StudyFiles:
    """Write another study into an open folder; the caller holds it."""
    _write(files.directory / STUDY_FILE, study_to_toml(study))
    return replace(files, study=study)


def _with_custom_settings(study: Study, folder: Path | None, source: str) -> Study:
    from tdscale.training.devices import cache_directory, single_thread_environment

    environment = single_thread_environment(cache_directory())
    sizes = {name: size_settings(size) for name, size in study.sizes.items()}
    settings = custom_settings(study.algorithm, study.settings, sizes, folder=folder, source=source, environment=environment)
    try:
        return study.with_full_settings(settings)
    except ValueError as error:
        raise UserError(f"{source}, {error}") from None


def _with_known_settings(study: Study, directory: Path) -> Study:
    """With the settings that were found when the study was placed, if it still says what it said then."""
    path = directory / CUSTOM_FILE
    if study.sweep is None or study.has_custom_trainer or not is_custom(study.algorithm) or not path.is_file():
        return study
    try:
        own: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (own["algorithm"], own["given"], own.get("sizes", {})) == (study.algorithm, study.settings, study.sizes):
            return study.with_full_settings(own["settings_by_size"] if study.sizes else {"": own["settings"]})
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: is damaged; `tdscale run {directory / STUDY_FILE}` writes it again") from None
    return study


def _check_unchanged(there: Path, text: str, bound: bool) -> None:
    """Runs of two versions of an algorithm must not count as runs of one."""
    if not bound or not there.is_file() or there.read_text(encoding="utf-8") == text:
        return
    raise UserError(
        f"{there.parent}: its runs were made with another {there.name} than the one given now; give --dir another folder, or, if the "
        f"change does not affect those runs, --accept-changes"
    )


def _has_runs(directory: Path) -> bool:
    """Whether there are runs that would stay; those that failed are run again."""
    return any(status.state != "failed" for status in RunStore(directory).statuses(problems=[]).values())


def _check_kind(directory: Path, study: Study) -> None:
    """Runs of a study and of its smoke size must not lie in one folder."""
    there = directory / STUDY_FILE
    if there.is_file() and is_smoke(read_study(there)) != is_smoke(study):
        what = "a full study" if is_smoke(study) else "a smoke run"
        raise UserError(f"{directory}: holds {what} already; give --dir another folder")


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    write_whole(path, text.encode())


def _check_tasks(study: Study, source: str) -> None:
    if study.has_custom_trainer:  # which knows them
        return
    from tdscale.tasks import check_task

    for name, task in study.tasks.items():
        try:
            check_task(task.suite, name)
        except UserError as error:
            raise UserError(f"{source}, tasks.{name}: {error}") from None


@contextmanager
def sole_runner(directory: Path) -> "Iterator[FileLock]":
    """Hold the study: two processes must not run one folder. The lock ends with the process, however it ends."""
    from filelock import FileLock, Timeout

    # not 0: a `tdscale status` that looks holds it for a moment
    lock = FileLock(directory / _LOCK, timeout=0.5)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{directory}: another process is running this study; `tdscale status {directory}` shows its progress") from None
    except OSError as error:
        raise UserError(f"{directory}: can't be written ({error.strerror or error}); check disk space and permissions") from None
    try:
        yield lock
    finally:
        lock.release()


def is_running(directory: Path) -> bool:
    """Whether a process holds the study, as `sole_runner` does; False where the folder can't be written."""
    from filelock import FileLock, Timeout

    if not (directory / _LOCK).exists():
        return False
    try:
        with FileLock(directory / _LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False

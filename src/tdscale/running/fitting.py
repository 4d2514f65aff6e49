"""The laws of a study: fitted to the runs that answer its question, kept in laws.json, and fitted again where either has changed."""

import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from tdscale.analysis.fit import FitOptions, Fitted, Measured, fit_measured, measure, with_times
from tdscale.analysis.laws_file import FILE_NAME, load_laws, write_laws
from tdscale.analysis.method import OFFSETS
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError
from tdscale.paper import METHODS, differences, power_law, published_laws
from tdscale.running.folder import STUDY_FILE, StudyFiles
from tdscale.runs.cells import load_cells
from tdscale.runs.selection import FITTED, Selection, select_runs
from tdscale.runs.types import RunWarning
from tdscale.runs.where import Where, parse_where
from tdscale.study import Study

# what a study file says of how cells are read
_READING = ("reset_critic_updates", "reset_env_steps", "aggregate")


@dataclass(frozen=True, kw_only=True)
class StudyFit(Fitted):
    """A study's laws with what they were fitted to; `selection`: the runs that answer its question."""

    selection: Selection


def fit_study(
    files: StudyFiles, method: str = "default", *, n_draws: int = 200, seed: int = 0, where: Where | None = None, write: bool = True
) -> StudyFit:
    """Fit the laws to the runs that answer the study's question, and write laws.json.

    Args:
        files: the study.
        method: "default", or "paper" for the authors' procedure; with "-offsets" behind it B*(σ) and η*(σ) have offsets.
        n_draws, seed: of the bootstrap.
        where: conditions on settings that the runs must meet.
        write: whether laws.json is written.

    Raises:
        UserError: where there is nothing to fit, or the runs differ in settings and `where` does not say which are meant.
    """
    return _Asked(files, fit_options(files.study, method, n_draws=n_draws, seed=seed, where=where)).fit(write=write)


def fitted_study(files: StudyFiles) -> StudyFit:
    """The laws on disk with what they were fitted to, where runs and question are the same; else fitted again in the same way.

    The way: method, draws, seed and `where` of the last fit; of a first fit the defaults. laws.json is written only where the
    laws were fitted.

    Raises:
        UserError: as `fit_study`, or where laws.json is damaged.
    """
    asked = _asked_before(files)
    laws = asked.current()
    return asked.fit() if laws is None else StudyFit(laws=laws, measured=asked.measured()[0], selection=asked.selection)


def current_laws(files: StudyFiles, *, times: bool = False) -> ScalingLaws:
    """As `fitted_study`, the laws alone: curves are read only for their fingerprint where nothing has changed.

    Args:
        files: the study.
        times: whether measured seconds are needed; laws.json holds them only where the study asks for them.
    """
    asked = _asked_before(files)
    laws = asked.current()
    if laws is None:
        return asked.fit().laws
    return with_times(laws, asked.measured()[0]) if times and not laws.asks_for_times else laws


class _Asked:
    """A fit that is asked for: the options, and the runs that answer."""

    def __init__(self, files: StudyFiles, options: FitOptions, last: ScalingLaws | None = None) -> None:
        self._files, self._options, self._last = files, options, last
        self._problems: list[RunWarning] = []
        self.selection = select_runs(files.store, files.study, where=parse_where(options.where), problems=self._problems)
        self._inputs = files.store.fingerprint(self.selection.fitted())

    def current(self) -> ScalingLaws | None:
        """The last fit's laws, if they are of these runs and this question."""
        laws = self._last
        return laws if laws is not None and laws.inputs == self._inputs and laws.asked == self._options.asked else None

    def measured(self) -> tuple[Measured, list[RunWarning]]:
        """The cells and their crossings, and what a person should know about the runs."""
        cells, warnings = load_cells(self._files.store, self._files.study, stages=FITTED, selection=self.selection)
        if not cells:
            what = "; ".join(w.message for w in [*self._problems, *warnings][:3]) or "there are no runs"
            raise UserError(f"{self._files.directory}: nothing to fit: {what}")
        try:
            measured = measure(cells, self._options)
        except ValueError as error:  # stage 2 has one B and η at each task and σ
            cure = "import them apart" if self._files.study.sweep is None else "`tdscale run` on the study's file records which are meant"
            raise UserError(f"{self._files.directory}: {error}, of different batch size or learning rate; {cure}") from None
        return measured, list(dict.fromkeys([*self._problems, *warnings]))

    def fit(self, *, write: bool = True) -> StudyFit:
        """Fit, and write laws.json."""
        measured, warnings = self.measured()
        laws = fit_measured(measured, inputs=self._inputs, versions=library_versions(), found=warnings)
        laws = replace(laws, warnings=(*laws.warnings, *differences(laws, measured)))
        if write:
            write_laws(laws, self._files.directory / FILE_NAME)
        return StudyFit(laws=laws, measured=measured, selection=self.selection)


def _asked_before(files: StudyFiles) -> _Asked:
    path = files.directory / FILE_NAME
    if not path.exists():
        return _Asked(files, fit_options(files.study, "default"))
    last = read_laws(path)
    where = parse_where(last.where)
    return _Asked(files, fit_options(files.study, last.method.name, n_draws=last.n_draws, seed=last.seed, where=where), last)


def fit_options(study: Study, method: str, *, n_draws: int = 200, seed: int = 0, where: Where | None = None) -> FitOptions:
    """What a study's file says of the fit, and the method of that name.

    Raises:
        UserError: if there is no such method, or it takes the mean over seeds alone and the file asks for another, or the file
            names published laws that there are not, or not for its tasks.
    """
    if method not in METHODS:
        raise UserError(f"method: there is no {method!r}; there are {', '.join(METHODS)}")
    if not METHODS[method].any_aggregate and study.aggregate != "mean":
        raise UserError(
            f'--method {method.removesuffix(OFFSETS)}: is made for the mean over seeds; take aggregate = "{study.aggregate}" out of '
            f"{STUDY_FILE}, or call `tdscale fit` without --method"
        )
    published = None
    if study.published_laws is not None:
        try:
            laws, tasks = published_laws(study.published_laws), tuple(study.tasks)
            published = (power_law(laws, "batch_size", tasks, n_draws), power_law(laws, "learning_rate", tasks, n_draws))
        except UserError as error:
            raise UserError(f"{STUDY_FILE}, published_laws: {error}") from None
    return FitOptions(
        study=study.name,
        tasks=tuple(study.tasks),
        thresholds=study.return_thresholds,
        method=METHODS[method],
        data_cost=study.data_cost,
        accounting=study.accounting,
        compute_unit=study.compute_unit,
        model_size=study.model_size,
        published=published,
        n_draws=n_draws,
        seed=seed,
        where=() if where is None else where.texts,
        reading=_reading(study),
    )


def _reading(study: Study) -> tuple[str, ...]:
    """What a study file says of how its cells are read, as text: `FitOptions.reading`."""
    said = [f"{name} = {value}" for name in _READING if (value := getattr(study, name)) not in (None, (), "mean")]
    return (*said, *(f"{name}: {task.low!r} to {task.high!r}" for name, task in study.tasks.items()))


def read_laws(path: Path | str) -> ScalingLaws:
    """Read a laws.json, or that of a study's folder, draws and all, fitted by any method.

    Raises:
        UserError: if it is missing, broken, or of another schema.
    """
    path = Path(path)
    return load_laws(path / FILE_NAME if path.is_dir() else path, METHODS)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide the laws' digits."""
    versions = {name: metadata.version(name) for name in ("tdscale", "numpy", "scipy")}
    return versions | {"python": ".".join(map(str, sys.version_info[:3]))}

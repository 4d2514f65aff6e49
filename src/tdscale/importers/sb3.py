"""Stable-Baselines3: monitor.csv files (`importers.monitors`), evaluations, progress files of the logger, a saved model beside them."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.archive import Archive
from tdscale.importers.files import CONFIGS, files_below, natural, read_settings, run_name
from tdscale.importers.formats import kind_of_text
from tdscale.importers.logged_run import Columns, LoggedRun, Unreadable, each, number, shown_keys
from tdscale.importers.monitors import MONITOR, Monitor, read_monitor, stepped_together
from tdscale.importers.moving_mean import companions, mean_of, preferred
from tdscale.importers.sb3_model import differ, hyperparameters, networks, read_model
from tdscale.importers.tables import reading, series_of

STEP, EVALUATED, TRAINED = "time/total_timesteps", "eval/mean_reward", "rollout/ep_rew_mean"
PROGRESS = ("progress.csv", "progress.json")


def _progress_below(source: Path) -> list[Path]:
    """The files of that kind below a folder, or the file itself; of a folder's two forms one."""
    if source.is_file():
        return [source] if kind_of_text(source) == "sb3" else []
    found: dict[Path, Path] = {}
    for path in sorted((path for name in PROGRESS for path in source.rglob(name)), key=lambda path: natural(path.as_posix())):
        if kind_of_text(path) == "sb3":
            found.setdefault(path.parent, path)
    return list(found.values())


def _read_progress(source: Path, paths: list[Path], columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The run of each progress file: its evaluations where it has them, else `rollout/ep_rew_mean`, a mean over the last episodes.

    `Columns.returns` may name another column, or be "evaluations".
    """
    step = columns.env_step or STEP
    wanted = _of_networks((path.parent for path in paths), columns)

    def read(path: Path) -> Iterator[LoggedRun]:
        with reading(path):
            more = [name for names in companions(columns.returns or TRAINED) for name in names]
            names, values, remarks = series_of(path, [step, TRAINED, EVALUATED, columns.returns or EVALUATED, *more])
        asked = EVALUATED if columns.returns == "evaluations" else columns.returns
        value = asked or (EVALUATED if EVALUATED in values and np.isfinite(values[EVALUATED]).any() else TRAINED)
        for key, option in ((step, "--env-step"), (value, "--return")):
            if key not in values:
                raise UserError(f"{path}: has no {key!r}; give {option} KEY; there are {shown_keys(names)}")
        logged = ~np.isnan(values[value])
        config = _config(path.parent, "", wanted)[0]
        yield LoggedRun(
            name=run_name(path.parent, source) if source.is_dir() else path.parent.resolve().name,
            config=config,
            steps=values[step][logged],
            returns=values[value][logged],
            nan_at_end_is_divergence=False,  # rows of another key's hold nothing here
            mean_of=mean_of(value, columns, config, values, lambda key: values[key][logged]),
            remarks=remarks,
            of_log=preferred(value, names, columns.returns),
        )

    return each(paths, read)


EVALUATIONS = "evaluations.npz"
_NETWORK, COUNTED = ("net_arch", "n_critics"), "critic_parameters"
_ON_THE_WAY = re.compile(r"best|_steps$|checkpoint|interrupt")  # models that were saved during the run
_ENVIRONMENT = re.compile(r"\d+\.monitor\.csv")

Floats = NDArray[np.float64]


def read_sb3(source: Path, columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The runs below a folder.

    A run is a folder's `monitor.csv`, or one other `NAME.monitor.csv`. `0.monitor.csv`, `1.monitor.csv`, … are one run of environments
    that are stepped together where their times and lengths allow it, else each a seed. `evaluations.npz` beside a run, or one folder
    below, belongs to it. The return is that of training episodes; `--return evaluations` takes the evaluations' means instead.

    Raises:
        UserError: if a file is not of Stable-Baselines3's form.
    """
    progress = _progress_below(source)
    if progress and (source.is_file() or not any(next(source.rglob(name), None) for name in (f"*{MONITOR}", EVALUATIONS))):
        yield from _read_progress(source, progress, columns)
        return
    if columns.returns not in (None, "r", "evaluations"):
        raise UserError(f"--return {columns.returns}: Stable-Baselines3 has r (training episodes) and evaluations")
    if columns.env_step not in (None, "l", "timesteps"):
        raise UserError(
            f"--env-step {columns.env_step}: Stable-Baselines3's env steps are counted from the episodes' lengths; leave it out"
        )
    files = files_below(source, lambda name: name.endswith(MONITOR) or name == EVALUATIONS)
    evaluations = {path.parent: path for path in files if path.name == EVALUATIONS}
    runs: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        if path.name.endswith(MONITOR):
            alone = path.name == MONITOR or _ENVIRONMENT.fullmatch(path.name)
            runs.setdefault((path.parent, "" if alone else path.name.removesuffix(MONITOR).rstrip(".")), []).append(path)
    # of several runs in one folder nobody knows whose evaluations they are
    alone_in = {folder for folder, _ in runs if sum(place == folder for place, _ in runs) == 1}
    owners: dict[tuple[Path, str], Path | None] = {}
    for folder, label in runs:
        beside = next((place for place in (folder, *sorted(p for p in evaluations if p.parent == folder)) if place in evaluations), None)
        owners[folder, label] = beside if folder in alone_in else None

    wanted = _of_networks([*(folder for folder, _ in runs), *evaluations], columns)

    def read(run: tuple[Path, str]) -> Iterator[LoggedRun]:
        folder, label = run
        where = run_name(folder, source) if source.is_dir() else source.name
        name = f"{where}/{label}" if label else where
        found = _runs(folder, label, name, sorted(runs[run], key=lambda path: natural(path.name)), columns, wanted)
        mine = owners[run] if len(found) == 1 else None
        evaluated = _evaluations(evaluations[mine]) if mine is not None else None
        if columns.returns != "evaluations":
            yield from (replace(one, evaluations=evaluated) for one in found)
        elif evaluated is not None:
            yield LoggedRun(name=name, config=found[0].config, steps=evaluated[0], returns=evaluated[1])

    def read_evaluations(folder: Path) -> Iterator[LoggedRun]:
        at, values = _evaluations(evaluations[folder])
        name = run_name(folder, source) if source.is_dir() else folder.resolve().name
        yield LoggedRun(name=name, config=_config(folder, "", wanted)[0], steps=at, returns=values)

    yield from each(runs, read)
    taken = set(owners.values()) | {folder for folder, _ in runs}
    yield from each([folder for folder in evaluations if folder not in taken], read_evaluations)


def _runs(folder: Path, label: str, name: str, paths: list[Path], columns: Columns, wanted: Collection[str]) -> list[LoggedRun]:
    """The runs that monitors of one folder are."""
    config, total = _config(folder, label, wanted)
    monitors = [read_monitor(path) for path in paths]
    if len(monitors) == 1:
        return [_run(name, config, monitors, total, columns)]
    groups, why = stepped_together(monitors)
    if columns.monitors is not None or number(config.get("n_envs")) == 1:
        groups = [monitors] if columns.monitors == "environments" else [[monitor] for monitor in monitors]
        why = "as --monitors says" if columns.monitors is not None else "the model beside them has one environment"
    if len(groups) == 1:
        said = f"{name}: its {len(monitors)} monitor files count as environments of one run ({why}); --monitors seeds makes each a run"
        run = _run(name, config, monitors, total, columns)
        return [replace(run, remarks=(*run.remarks, ("monitors", said)))]
    said = f"{name}: its {len(monitors)} monitor files count as {len(groups)} seeds, not as environments of one run ({why})"
    found = []
    for number_, group in enumerate(groups):
        index = int(group[0].path.name.split(".")[0]) if len(groups) == len(monitors) else number_
        run = _run(name, {**config, "seed": index}, group, None, columns)
        found.append(replace(run, remarks=(*run.remarks, ("monitors", said)) if number_ == 0 else run.remarks))
    return found


def _run(name: str, config: dict[str, Any], monitors: list[Monitor], total: float | None, columns: Columns) -> LoggedRun:
    """One run of environments that are stepped together: each has done its share of the steps."""
    count = len(monitors)
    steps = [monitor.steps() if count == 1 else np.cumsum(monitor.lengths) * count for monitor in monitors]
    at, returns = np.concatenate(steps), np.concatenate([monitor.returns for monitor in monitors])
    order = np.argsort(at, kind="stable") if count > 1 else np.arange(len(at))
    env_ids = [monitor.env_id for monitor in monitors if monitor.env_id is not None]
    # a monitor file for each environment, or one of all: then the log's own n_envs says how many
    config = {"n_envs": count} | config | ({"env_id": env_ids[-1]} if env_ids else {})
    begins = tuple((row, np.nan) for row in monitors[0].sessions) if count == 1 else ()
    run = LoggedRun(name=name, config=config, steps=at[order], returns=returns[order], begins=begins, total=total)
    return _agreeing(run, monitors, total, columns) if total is not None else run


def _agreeing(run: LoggedRun, monitors: list[Monitor], total: float, columns: Columns) -> LoggedRun:
    """With the env steps that the model counts, too. Raises UserError where the two can't both be right."""
    counted = len(monitors) * float(np.mean([monitor.total for monitor in monitors]))
    last = monitors[0].sessions[-1] if monitors[0].sessions and len(monitors) == 1 else 0
    environments = max(number(run.config.get("n_envs")) or 1.0, len(monitors))
    # each environment may have an unfinished episode that is in no file
    room = max(2 * environments * max(monitor.longest for monitor in monitors), 0.02 * total)
    alone = float(monitors[0].lengths[last:].sum())
    if min(abs(counted - total), abs(alone - total) if last else np.inf) <= room or columns.env_step_scale is not None:
        return run
    if counted < total and columns.resumed is not None:
        # the file begins where the model was loaded
        return replace(run, steps=run.steps + (np.floor(total - counted) if columns.resumed == "continue" else 0.0))
    both = f"{run.name}: its monitor counts {counted:,.0f} env steps, the model beside it {total:,.0f} (num_timesteps)"
    ratio = counted / total if counted else 0.0
    if counted > total:
        skip = f" of {ratio:.0f}" if round(ratio) > 1 and abs(ratio - round(ratio)) < 0.1 else ""
        scale = 1 / round(ratio) if skip else total / counted
        raise UserError(
            f"{both}; give --env-step-scale {scale:.4g} if the monitor counts inside a frame skip{skip}, or --env-step-scale 1 if the "
            "monitor is right, for example because learn() was called again"
        )
    raise UserError(
        f"{both}; give --resumed continue if the model had been trained before this monitor started (those env steps are added), or "
        "--env-step-scale 1 if the monitor is right"
    )


def _evaluations(path: Path) -> tuple[Floats, Floats]:
    with Archive(path) as archive:
        for name in ("timesteps.npy", "results.npy"):
            if name not in archive.names:
                raise UserError(f"{path}: has no {name.removesuffix('.npy')!r}; an evaluations file has timesteps and results")
        steps, results = archive.array("timesteps.npy", axes=1), archive.array("results.npy")
    if len(steps) != len(results):
        raise UserError(f"{path}: has {len(steps)} timesteps but {len(results)} rows of results")
    return steps, results.mean(axis=1)


def _of_networks(folders: Iterable[Path], columns: Columns) -> Collection[str]:
    """The keys of networks that runs are to have from the models beside them: none where all are alike and nobody asks for them."""
    asked = any(key in (text or "") for text in (columns.model_size, *columns.where, *columns.split_by) for key in _NETWORK)
    found = [networks(model) for folder in set(folders) for path in folder.glob("*.zip") if (model := read_model(path))]
    if not asked and not differ(found):
        return ()
    counted = all(one is not None and one.parameters is not None for one in found)
    return (*_NETWORK, *([COUNTED] if counted else []))


def _config(folder: Path, label: str, wanted: Collection[str]) -> tuple[dict[str, Any], float | None]:
    """Configuration from a model or JSON files saved beside the logs, and the env steps that the last model counts.

    Args:
        folder: of the logs.
        label: that the names of models begin with; "" for all of them.
        wanted: which keys of the networks are part of it.
    """
    config: dict[str, Any] = {}
    totals: list[float] = []
    models = sorted(folder.glob("*.zip"), key=lambda path: natural(path.name))
    for path in [p for p in models if not label or p.name.startswith(label)]:
        model = read_model(path)
        found = hyperparameters(model)
        built = networks(model) if wanted else None
        if built is not None:
            everything = {**built.settings, COUNTED: built.parameters}
            found |= {key: value for key, value in everything.items() if key.partition(".")[0] in wanted and value is not None}
        config = config or found
        total = number(found.get("num_timesteps"))
        if total is not None and total > 0 and not _ON_THE_WAY.search(path.stem):
            totals.append(total)
    for name in CONFIGS:
        config |= read_settings(folder / name)
    return config, max(totals, default=None)

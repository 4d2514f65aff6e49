"""Stable-Baselines3: monitor.csv files, evaluations.npz, and the hyperparameters of a saved model beside them."""

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.importers.archive import Archive
from tdscale.runs.importers.raw import Columns, RawRun, Unreadable, each, flat, number
from tdscale.runs.importers.sb3_progress import progress_below, read_progress
from tdscale.runs.importers.walk import files_below, natural, run_name

MONITOR, EVALUATIONS = "monitor.csv", "evaluations.npz"
_ENVIRONMENT = re.compile(r"\d+\.monitor\.csv")
_CONFIGS = ("config.json", "hyperparameters.json", "params.json", "args.json")
_MAX_CONFIG = 1 << 24
_MAX_LINE = 1 << 16

Floats = NDArray[np.float64]


def read_sb3(source: Path, columns: Columns) -> Iterator[RawRun | Unreadable]:
    """The runs below a folder.

    A run is a folder's `monitor.csv` or its `0.monitor.csv`, `1.monitor.csv`, … (one each of environments stepped together), or one
    other `NAME.monitor.csv`; `evaluations.npz` beside it, or one folder below, belongs to it. The return is that of training
    episodes; `--return evaluations` takes the evaluations' means instead.

    Raises:
        UserError: if a file is not of Stable-Baselines3's form.
    """
    progress = progress_below(source)
    if progress and (source.is_file() or not any(next(source.rglob(name), None) for name in (f"*{MONITOR}", EVALUATIONS))):
        yield from read_progress(source, progress, columns, lambda folder: _config(folder, ""))
        return
    if columns.returns not in (None, "r", "evaluations"):
        raise UserError(f"--return {columns.returns}: Stable-Baselines3 has r, of training episodes, and evaluations")
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

    def read(run: tuple[Path, str]) -> Iterator[RawRun]:
        folder, label = run
        steps, returns, config = _episodes(sorted(runs[run], key=lambda path: natural(path.name)))
        mine = owners[run]
        evaluated = _evaluations(evaluations[mine]) if mine is not None else None
        # a monitor file for each environment, or one of all: then the log's own n_envs says how many
        config = {"n_envs": len(runs[run])} | _config(folder, label) | config
        where = run_name(folder, source) if source.is_dir() else source.name
        name = f"{where}/{label}" if label else where
        if columns.returns != "evaluations":
            yield RawRun(name=name, config=config, steps=steps, returns=returns, evaluations=evaluated)
        elif evaluated is not None:
            yield RawRun(name=name, config=config, steps=evaluated[0], returns=evaluated[1])

    def read_evaluations(folder: Path) -> Iterator[RawRun]:
        at, values = _evaluations(evaluations[folder])
        name = run_name(folder, source) if source.is_dir() else folder.resolve().name
        yield RawRun(name=name, config=_config(folder, ""), steps=at, returns=values)

    yield from each(runs, read)
    taken = set(owners.values()) | {folder for folder, _ in runs}
    yield from each([folder for folder in evaluations if folder not in taken], read_evaluations)


def _episodes(paths: list[Path]) -> tuple[Floats, Floats, dict[str, Any]]:
    """Env steps of all environments at each episode's end, its return, and what the headers say."""
    steps, returns, config = [], [], dict[str, Any]()
    for path in paths:
        lengths, values, header = _monitor(path)
        # environments are stepped together: each has done its share of the steps
        steps.append(np.cumsum(lengths) * len(paths))
        returns.append(values)
        config |= header
    return np.concatenate(steps), np.concatenate(returns), config


def _monitor(path: Path) -> tuple[Floats, Floats, dict[str, Any]]:
    rows: list[tuple[float, float]] = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        first = file.readline(_MAX_LINE)
        try:
            header = json.loads(first.removeprefix("#")) if first.startswith("#") else None
            columns = next(csv.reader([file.readline(_MAX_LINE)]), [])
        except (ValueError, RecursionError, csv.Error):
            header = None
        if not isinstance(header, dict) or "r" not in columns or "l" not in columns:
            raise UserError(f"{path}: is no monitor file of Stable-Baselines3: a line of JSON after #, then the columns r,l,t")
        at, length = columns.index("r"), columns.index("l")
        torn = 0
        for line, text in enumerate(file, 3):
            cells = text.rstrip("\r\n").split(",")
            if not text.strip():
                continue
            if torn:
                raise UserError(f"{path}, line {torn}: is no row of r,l,t; only the last line of a run may be torn")
            count = number(cells[length]) if len(cells) == len(columns) and text.endswith("\n") else None
            if count is None or count < 1:
                torn = line
                continue
            rows.append((count, _float(cells[at])))
    values = np.array(rows, dtype=np.float64).reshape(-1, 2)
    env_id = header.get("env_id")
    return values[:, 0], values[:, 1], {"env_id": env_id} if isinstance(env_id, str) and env_id != "None" else {}


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _evaluations(path: Path) -> tuple[Floats, Floats]:
    with Archive(path) as archive:
        for name in ("timesteps.npy", "results.npy"):
            if name not in archive.names:
                raise UserError(f"{path}: has no {name.removesuffix('.npy')!r}; an evaluations file has timesteps and results")
        steps, results = archive.array("timesteps.npy", axes=1), archive.array("results.npy")
    if len(steps) != len(results):
        raise UserError(f"{path}: has {len(steps)} timesteps but {len(results)} rows of results")
    return steps, results.mean(axis=1)


def _config(folder: Path, label: str) -> dict[str, Any]:
    """Of a model saved beside the logs, and of JSON files of that purpose. What is pickled in a model is not looked at."""
    config: dict[str, Any] = {}
    models = sorted(folder.glob("*.zip"), key=lambda path: natural(path.name))
    for path in [p for p in models if not label or p.name.startswith(label)]:
        config = _model(path)
        if config:
            break
    for name in _CONFIGS:
        config |= _json(folder / name)
    return config


def _model(path: Path) -> dict[str, Any]:
    """`data` of a model: JSON, in which objects stand pickled as text; those are left out."""
    try:
        with zipfile.ZipFile(path) as model:
            entry = model.getinfo("data")
            if entry.file_size > _MAX_CONFIG:
                return {}
            values = json.loads(model.read(entry))
    except (OSError, KeyError, ValueError, RecursionError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}  # no model, or a torn one: the hyperparameters are asked for
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if value is None or isinstance(value, str | int | float | bool)}


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONFIG:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return flat(values) if isinstance(values, dict) else {}

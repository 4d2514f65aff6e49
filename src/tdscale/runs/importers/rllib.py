"""RLlib and Ray Tune: progress.csv or result.json, and params.json beside it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.runs.importers.raw import Columns, RawRun, Unreadable, each, flat, number, series_keys
from tdscale.runs.importers.walk import files_below, run_name

USUAL_STEPS = (
    "num_env_steps_sampled_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
    "num_env_steps_sampled",
    "timesteps_total",
)
USUAL_RETURNS = (
    "env_runners/episode_return_mean",
    "episode_return_mean",
    "env_runners/episode_reward_mean",
    "sampler_results/episode_reward_mean",
    "episode_reward_mean",
)
_PROGRESS, _RESULT, _PARAMS = "progress.csv", "result.json", "params.json"
_MAX_LINE = 1 << 24


def read_rllib(source: Path, columns: Columns) -> Iterator[RawRun | Unreadable]:
    """The trials below a folder. Where a trial has both files, progress.csv is read.

    Raises:
        UserError: if a file is torn before its last line, or has not the keys that were named.
    """
    folders: dict[Path, dict[str, Path]] = {}
    for path in files_below(source, lambda name: name in (_PROGRESS, _RESULT)):
        folders.setdefault(path.parent, {})[path.name] = path

    def read(folder: Path) -> Iterator[RawRun]:
        files = folders[folder]
        name = run_name(folder, source if source.is_dir() else folder)
        config = _params(folder / _PARAMS)
        progress = files.get(_PROGRESS)
        if progress is not None and progress.stat().st_size:
            rows, torn = _csv_rows(progress, columns)
        else:
            result = next(path for name, path in files.items() if path is not progress or len(files) == 1)
            rows, torn, inside = _json_rows(result, columns)
            config = inside | config
        values = np.array(rows, dtype=np.float64).reshape(-1, 2)
        remarks = (("torn-line", "its last line is not complete; the lines before it are taken"),) if torn else ()
        # RLlib's mean is NaN wherever no episode ended, at the end, too
        yield RawRun(name=name, config=config, steps=values[:, 0], returns=values[:, 1], nan_at_end_is_divergence=False, remarks=remarks)

    return each(folders, read)


def _params(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_LINE:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return flat(values) if isinstance(values, dict) else {}


def _csv_rows(path: Path, columns: Columns) -> tuple[list[tuple[float, float]], bool]:
    rows: list[tuple[float, float]] = []
    torn = False
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader)
            step, value = (header.index(key) for key in series_keys(columns, header, USUAL_STEPS, USUAL_RETURNS, str(path)))
            for cells in reader:
                if torn:
                    raise UserError(f"{path}, line {reader.line_num - 1}: is no whole row; only the last line of a run may be torn")
                torn = len(cells) != len(header)
                if not torn:
                    rows.append((_number(cells[step]), _number(cells[value])))
        except (csv.Error, StopIteration) as error:
            raise UserError(f"{path}: is no table of results ({error or 'it is empty'})") from None
    return rows, torn


def _json_rows(path: Path, columns: Columns) -> tuple[list[tuple[float, float]], bool, dict[str, Any]]:
    rows: list[tuple[float, float]] = []
    torn, config = False, dict[str, Any]()
    step = value = ""
    with path.open("rb") as file:
        for index, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b"")):
            if torn:
                raise UserError(f"{path}, line {index}: is not JSON; only the last line of a run may be torn")
            if not line.strip():
                continue
            try:
                result = json.loads(line)
            except (ValueError, RecursionError):
                torn = True
                continue
            if not isinstance(result, dict):
                raise UserError(f"{path}, line {index + 1}: is no JSON object; every line must be a result")
            found = result.pop("config", None)
            if not rows and isinstance(found, dict):
                config = flat(found)
            values = {key.replace(".", "/"): item for key, item in flat(result).items()}
            if not rows:
                step, value = series_keys(columns, values, USUAL_STEPS, USUAL_RETURNS, str(path))
            rows.append((_number(values.get(step)), _number(values.get(value))))
    return rows, torn, config


def _number(value: Any) -> float:
    found = number(value)
    return np.nan if found is None else found

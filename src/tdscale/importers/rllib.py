"""RLlib and Ray Tune: progress.csv or result.json, and params.json beside it."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.importers.files import files_below, read_settings, run_name
from tdscale.importers.formats import json_objects
from tdscale.importers.logged_run import Columns, Floats, LoggedRun, Unreadable, each, number, series_keys
from tdscale.importers.moving_mean import companions, mean_of
from tdscale.importers.tables import reading

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
# the last episodes' returns as a list, and how many of them ended in this iteration
_EPISODES = tuple(f"{place}hist_stats/episode_reward" for place in ("", "env_runners/", "sampler_results/"))
_ENDED = tuple(f"{place}episodes_this_iter" for place in ("", "env_runners/", "sampler_results/"))
_PROGRESS, _RESULT, _PARAMS = "progress.csv", "result.json", "params.json"


def read_rllib(source: Path, columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The trials below a folder. Where a trial has both files, progress.csv is read.

    Raises:
        UserError: if a file is torn before its last line, or has not the keys that were named.
    """
    folders: dict[Path, dict[str, Path]] = {}
    for path in files_below(source, lambda name: name in (_PROGRESS, _RESULT)):
        folders.setdefault(path.parent, {})[path.name] = path

    def read(folder: Path) -> Iterator[LoggedRun]:
        files = folders[folder]
        name = run_name(folder, source if source.is_dir() else folder)
        config = read_settings(folder / _PARAMS)
        progress, results = files.get(_PROGRESS), files.get(_RESULT)
        inside: dict[str, Any] = {}
        found = _Results(columns)
        if progress is not None and (progress.stat().st_size or results is None):
            torn = _csv_rows(progress, found)
        # its columns are those of the first result, before any episode has ended
        if results is not None and (progress is None or not found.has_return):
            found = _Results(columns)
            torn, inside = _json_rows(results, found)
        path = progress if results is None else results
        remarks = (("torn-line", "its last line is not complete; the lines before it are used"),) if torn else ()
        yield replace(found.run(name, inside | config, str(path)), remarks=remarks)

    return each(folders, read)


class _Results:
    """Values of the keys that may be wanted, result by result.

    Attributes:
        keys: all that there are.
    """

    def __init__(self, columns: Columns) -> None:
        """Which keys they are, `columns` says."""
        self._columns = columns
        self._returns = (columns.returns,) if columns.returns is not None else USUAL_RETURNS
        wanted = [*((columns.env_step,) if columns.env_step is not None else USUAL_STEPS), *self._returns, *_EPISODES, *_ENDED]
        wanted += [key for name in self._returns for keys in companions(name) for key in keys]
        self.keys: dict[str, None] = {}
        self._values: dict[str, list[Any]] = {key: [] for key in dict.fromkeys(wanted)}

    @property
    def has_return(self) -> bool:
        """Whether one of the results may hold a return."""
        return any(key in self.keys for key in self._returns)

    def add(self, result: Mapping[str, Any]) -> None:
        """The next result."""
        self.keys |= dict.fromkeys(result)
        for key, values in self._values.items():
            values.append(result.get(key))

    def run(self, name: str, config: Mapping[str, Any], where: str) -> LoggedRun:
        """The run that they are. Raises UserError if the return or the env steps are not there."""
        step, value = series_keys(self._columns, self.keys, USUAL_STEPS, USUAL_RETURNS, where)
        steps, returns = self._numbers(step), self._numbers(value)
        # RLlib's mean is NaN wherever no episode ended, at the end, too
        run = LoggedRun(name=name, config=config, steps=steps, returns=returns, nan_at_end_is_divergence=False)
        episodes = next((key for key in _EPISODES if any(self._values[key])), None)
        ended = next((key for key in _ENDED if any(self._values[key])), None)
        if self._columns.returns is None and episodes is not None and ended is not None:
            at, means = _ended_here(steps, self._values[episodes], self._numbers(ended))
            said = f"the return is that of single episodes, read from {episodes}, not {value}, a mean over many, which lags"
            return replace(run, steps=at, returns=means, of_log=(("no-moving-mean", said),))
        return replace(run, mean_of=mean_of(value, self._columns, config, self.keys, self._numbers))

    def _numbers(self, key: str) -> Floats:
        return np.array([_number(value) for value in self._values[key]], dtype=np.float64)


def _ended_here(steps: Floats, episodes: list[Any], ended: Floats) -> tuple[Floats, Floats]:
    """The means of the episodes that ended in each iteration, out of lists of the last ones, at the mean of their ends."""
    means = np.full(len(steps), np.nan)
    for row, (texts, count) in enumerate(zip(episodes, ended, strict=True)):
        try:
            values = json.loads(texts) if isinstance(texts, str) else texts
            last = [] if not values or not count >= 1 else [float(value) for value in values[-int(count) :]]
        except (ValueError, TypeError, RecursionError):
            last = []
        means[row] = np.mean(last) if last else np.nan
    rises = np.maximum(np.diff(steps, prepend=0.0), 0.0)
    # where a run was resumed the steps fall; its first episodes are few
    return np.rint(steps - rises * (1 - 1 / np.maximum(np.nan_to_num(ended), 1.0)) / 2), means


def _csv_rows(path: Path, found: _Results) -> bool:
    """Whether its last line is torn."""
    torn = False
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader)
            for cells in reader:
                if torn:
                    raise UserError(
                        f"{path}, line {reader.line_num - 1}: is not a complete row; only the last line of a run may be incomplete"
                    )
                torn = len(cells) != len(header)
                if not torn:
                    found.add(dict(zip(header, cells, strict=True)))
        except (csv.Error, StopIteration) as error:
            raise UserError(f"{path}: is not a table of results ({error or 'it is empty'})") from None
    return torn


def _json_rows(path: Path, found: _Results) -> tuple[bool, dict[str, Any]]:
    """Whether its last line is torn, and the configuration, which is in every result."""
    config: dict[str, Any] = {}
    with reading(path):
        for result in json_objects(path):
            if result is None:
                return True, config
            inside = {key.removeprefix("config."): result.pop(key) for key in list(result) if key == "config" or key.startswith("config.")}
            config = config or {key: value for key, value in inside.items() if key != "config"}
            found.add({key.replace(".", "/"): item for key, item in result.items()})
    return False, config


def _number(value: Any) -> float:
    found = number(value)
    return np.nan if found is None else found

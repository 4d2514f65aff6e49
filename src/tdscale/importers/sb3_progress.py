"""Stable-Baselines3's own progress.csv and progress.json: what its logger writes into a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.importers.formats import kind_of_text
from tdscale.importers.moving_mean import beside, companions, mean_of, preferred
from tdscale.importers.raw import Columns, LoggedRun, Unreadable, each, shown_keys
from tdscale.importers.tables import reading, series_of
from tdscale.importers.walk import natural, run_name

STEP, EVALUATED, TRAINED = "time/total_timesteps", "eval/mean_reward", "rollout/ep_rew_mean"
PROGRESS = ("progress.csv", "progress.json")


def progress_below(source: Path) -> list[Path]:
    """The files of that kind below a folder, or the file itself; of a folder's two forms one."""
    if source.is_file():
        return [source] if kind_of_text(source) == "sb3" else []
    found: dict[Path, Path] = {}
    for path in sorted((path for name in PROGRESS for path in source.rglob(name)), key=lambda path: natural(path.as_posix())):
        if kind_of_text(path) == "sb3":
            found.setdefault(path.parent, path)
    return list(found.values())


def read_progress(
    source: Path, paths: list[Path], columns: Columns, settings: Callable[[Path], dict[str, Any]]
) -> Iterator[LoggedRun | Unreadable]:
    """The run of each file: its evaluations where it has them, else `rollout/ep_rew_mean`, a mean over the last episodes.

    Args:
        source: the folder that was given.
        paths: of the files.
        columns: `returns` may name another column, or be "evaluations".
        settings: of a folder: what a model there says.
    """
    step = columns.env_step or STEP

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
        config = settings(path.parent)
        lengths, episodes = (None if key is None else values[key][logged] for key in beside(value, values))
        yield LoggedRun(
            name=run_name(path.parent, source) if source.is_dir() else path.parent.resolve().name,
            config=config,
            steps=values[step][logged],
            returns=values[value][logged],
            nan_at_end_is_divergence=False,  # rows of another key's hold nothing here
            mean_of=mean_of(value, columns, config, lengths, episodes),
            remarks=remarks,
            of_log=preferred(value, names, columns.returns),
        )

    return each(paths, read)

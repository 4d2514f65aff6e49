"""`tdscale predict`: what the laws say at UTD ratios that the user names. What is said: `tdscale.planning.prediction`."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdscale.amounts import number
from tdscale.cli.amounts import THRESHOLD, utds
from tdscale.cli.app import command
from tdscale.cli.options import Json, option
from tdscale.errors import UserError

if TYPE_CHECKING:
    from tdscale.planning import Prediction
    from tdscale.running.folder import StudyFiles

_COLUMNS = ("task", "utd", "threshold", "size")


@dataclass(frozen=True)
class _Point:
    """What is asked: None for the mean over tasks, the highest threshold, every size."""

    utd: float
    task: str | None = None
    threshold: float | None = None
    size: str | None = None


@command(epilog="Example:  tdscale predict my-study --utd 3    |    tdscale predict published:gym --utd 1/2,4 --task HalfCheetah-v4")
def predict(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The study's folder, or published:NAME for published laws.", show_default=False)
    ],
    utd: Annotated[list[str] | None, option(metavar="σ", what="UTD ratio, e.g. 3, 1/4, or 1,2,4. Can be repeated.")] = None,
    task: Annotated[str | None, option(metavar="T", what="One task instead of the mean over all tasks.")] = None,
    threshold: Annotated[
        float | None, option(metavar="J", parser=THRESHOLD, what="Return to reach, normalised, e.g. 800. [default: the highest]")
    ] = None,
    size: Annotated[str | None, option(metavar="NAME", what="One of the study's sizes, or any N, e.g. 1.5M. [default: each size]")] = None,
    points: Annotated[
        Path | None, option(metavar="FILE.csv", what="Points instead: columns utd and, where wanted, task, threshold, size.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What a run at a UTD ratio takes, and its best settings.

    Env steps, compute, time, batch size and learning rate, each with its 80 % interval.

    The laws are read, not fitted again. Each answer says whether it interpolates or extrapolates, and by what factor.
    """
    from tdscale.cli.console import for_people, print_json
    from tdscale.cli.prediction_results import print_predictions
    from tdscale.paper import NO_INTERVAL, published_name
    from tdscale.running.folder import open_study

    if (points is None) == (utd is None):
        raise UserError("predict takes either --utd, e.g. --utd 3, or --points FILE.csv")
    if points is not None and (task, threshold, size) != (None, None, None):
        raise UserError("--points: goes without --task, --threshold and --size, which are columns of the file")
    asked = list(_read(points)) if points is not None else [_Point(at, task, threshold, size) for at in dict.fromkeys(utds(utd or ()))]
    name = published_name(directory)
    found = _of_study(open_study(directory), asked) if name is None else _of_published(name, asked)
    notes = [] if name is None else [NO_INTERVAL, _use(name)]
    if as_json:
        print_json({"predictions": [one.to_dict() for one in found], "notes": notes})
    else:
        print_predictions(for_people(), found, notes)


def _use(name: str) -> str:
    from tdscale.paper import published_laws

    return f"which published set to use: {published_laws(name).use}"


def _of_published(name: str, asked: list[_Point]) -> "list[Prediction]":
    from tdscale.paper import predict as predict_published
    from tdscale.paper import published_laws

    laws = published_laws(name)
    if any(point.size is not None for point in asked):
        raise UserError(f"--size: published:{name} knows one network; `tdscale published TASK --model-size N` has the laws with model size")
    return [predict_published(laws, point.utd, task=point.task, threshold=point.threshold) for point in asked]


def _of_study(files: "StudyFiles", asked: list[_Point]) -> "list[Prediction]":
    from tdscale.analysis.views import at_size
    from tdscale.planning import networks_run
    from tdscale.planning import predict as predict_point
    from tdscale.running.fitting import current_laws

    laws = current_laws(files, times=True)
    known = {network.name: network.model_size for network in networks_run(laws)}
    found = []
    for point in asked:
        for size in [point.size] if point.size is not None or not known else known:
            at = laws
            if size is not None:
                model_size = known.get(size, number(size))
                if not known or model_size is None or model_size <= 0:
                    there = (
                        f"there is {', '.join(known)}, or any N, e.g. 1.5M" if known else "this study has no sizes ([sizes] in study.toml)"
                    )
                    raise UserError(f"--size: there is no {size!r}; {there}")
                at = at_size(laws, model_size, with_budgets=False)
            one = predict_point(at, point.utd, task=point.task, threshold=point.threshold)
            raw = None if point.task is None else files.study.raw_return(point.task, one.threshold)
            found.append(replace(one, raw_threshold=raw, size=size))
    return found


def _read(path: Path) -> Iterator[_Point]:
    """The rows of a table. Raises UserError with the place of what can't be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; it must be a CSV file with a column utd") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [(column or "").strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    unknown = [column for column in columns if column not in _COLUMNS]
    if "utd" not in columns or unknown or len(set(columns)) < len(columns):
        said = f"has a column {unknown[0]!r}" if unknown else "has a column twice" if "utd" in columns else "has no column utd"
        raise UserError(f"{path}: {said}; its first line must name utd and, where wanted, {', '.join(c for c in _COLUMNS if c != 'utd')}")
    rows = 0
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        cells = {name: (row[name] or "").strip() or None for name in columns}
        (at,) = utds([cells["utd"] or ""], where) if "," not in (cells["utd"] or "") else [float("nan")]
        level = cells.get("threshold")
        threshold = None if level is None else number(level)
        if None in row or at != at or (level is not None and threshold is None):
            raise UserError(f"{where}: must hold one value for each of {', '.join(columns)}, e.g. a utd of 0.5 and a threshold of 800")
        rows += 1
        yield _Point(at, cells.get("task"), threshold, cells.get("size"))
    if not rows:
        raise UserError(f"{path}: holds no points below its first line")

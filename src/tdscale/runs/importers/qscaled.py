"""The published learning curves (gym_ours.zip and the others) into the store.

Raw returns are stored as they are, every seed of them: copies, gaps and truncation are reported, and the method decides.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.duplicates import copies
from tdscale.runs.importers.archive import Archive
from tdscale.runs.importers.drafts import STUDY_FILE, existing_study, write_study
from tdscale.runs.importers.findings import Findings, missing_cells
from tdscale.runs.importers.layouts import ABLATION_PARAMETERS, LAYOUTS, Layout
from tdscale.runs.importers.report import ImportReport
from tdscale.runs.records import step_problem
from tdscale.runs.store import RunStore
from tdscale.runs.types import ENV_STEP, RETURN, RunResult, RunStatus, RunWarning
from tdscale.study import RunSpec, Study, Task


def import_qscaled(
    source: Path,
    directory: Path,
    *,
    layout: str | None = None,
    data_cost: float | None = None,
    model_size: float | None = None,
) -> ImportReport:
    """Import one of the published zips. A second import of the same file changes nothing.

    Args:
        source: the zip.
        directory: the study's folder. Its study.toml is written if there is none, and kept as it is if there is.
        layout: which of the published files it is, a key of `LAYOUTS`; None = seen from its content.
        data_cost: δ for study.toml, FLOPs per env step; None = the authors'.
        model_size: N for study.toml, parameters; None = the authors'.

    Raises:
        UserError: if the zip or an array in it is damaged or not of the layout, or the folder holds another study.
    """
    with Archive(source) as archive:
        chosen = _layout(archive, layout)
        entries = [(name, match) for name in archive.names if (match := chosen.match(name))]
        if not entries:
            raise UserError(f"{source}: holds no array of the layout {chosen.name!r}, e.g. {_example(chosen)}")
        study = _study(chosen, source, entries, data_cost, model_size)
        kept = existing_study(directory, study.tasks, study.algorithm, f"{study.name}.zip")
        findings = Findings(source=source.name, top=max(study.return_thresholds))
        messages = _messages_on_entries(archive, chosen, entries)
        store = RunStore(directory)
        runs = store.write_packed(_results(archive, chosen, entries, study, findings), _part_name(source, chosen))
    coarse = {name for name, task in study.tasks.items() if task.high <= 1}
    remarks = [RunWarning(code=code, message=message, where=source.name) for code, message in chosen.remarks]
    messages += remarks + findings.messages(coarse, fixed_length=not chosen.step_column and chosen.unverified_rows is None)
    if kept is None:
        write_study(study, directory / STUDY_FILE)
    elif kept != study:
        message = "study.toml was there already and is kept as it is; the conventions in it hold for these runs too"
        messages.append(RunWarning(code="study-kept", message=message, where=str(directory / STUDY_FILE)))
    return ImportReport(
        runs=runs,
        cells=len(entries),
        tasks=tuple(sorted(study.tasks)),
        utds=tuple(sorted({float(match["utd"]) for _, match in entries})),
        messages=messages,
        study=kept or study,
    )


def _layout(archive: Archive, name: str | None) -> Layout:
    if name is not None:
        if name not in LAYOUTS:
            raise UserError(f"layout {name!r} is not known; it must be one of {', '.join(LAYOUTS)}")
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        if any(layout.match(entry) for entry in archive.names):
            return layout
    if archive.path.stem in LAYOUTS:
        return LAYOUTS[archive.path.stem]
    raise UserError(f"{archive.path}: none of the published files; known are {', '.join(f'{known}.zip' for known in LAYOUTS)}")


def _example(layout: Layout) -> str:
    return {
        "dmc_sweep": "dmc_sweep/utd_1/walker-walk/online_returns/bs_64_lr_3e-4.npy",
        "dmc_bro_ablations": "ablations_rr/rr10_m/dog-run.npy",
        "simbav2": "simbav2_model_scaling/w256/utd_1/h1-stand-v0/avg_return/bs_256.npy",
    }.get(layout.name, f"{layout.root}/utd_2/Ant-v4/episode.return/bs_256_lr_0.0003.npy")


def _study(
    layout: Layout, source: Path, entries: list[tuple[str, re.Match[str]]], data_cost: float | None, model_size: float | None
) -> Study:
    tasks = {}
    for name, match in entries:
        maximum = layout.maximum(match["task"])
        if maximum is None:
            raise UserError(f"{source}, {name}: no maximum return is known for {match['task']!r}; known are {', '.join(layout.maxima)}")
        tasks[match["task"]] = Task(suite="imported", low=0.0, high=maximum, reward_scale=1.0, env_steps=None)
    for option, value in (("data_cost", data_cost), ("model_size", model_size)):
        if value is not None and not 0 < value < np.inf:
            raise UserError(f"{option} = {value:g}: it must be above 0, e.g. 4e9 FLOPs for data_cost, 1.5e5 parameters for model_size")
    return Study(
        name=layout.name,
        algorithm=layout.algorithm,
        return_thresholds=layout.thresholds,
        tasks=dict(sorted(tasks.items())),
        data_cost=data_cost or layout.data_cost,
        accounting="paper",
        model_size=model_size or layout.model_size,
        published_laws=layout.published_laws,
        origin=f"{layout.name}.zip, published by the paper's authors",
    )


def _messages_on_entries(archive: Archive, layout: Layout, entries: list[tuple[str, re.Match[str]]]) -> list[RunWarning]:
    said = []
    if archive.path.stem != layout.name:
        said.append(("renamed-file", f"its content is that of {layout.name}.zip, and it is read as that"))
    used = {name for name, _ in entries} | {_sibling(name, metric) for name, _ in entries for metric in layout.extras}
    left = sorted(set(archive.names) - used) + archive.others
    if left:
        said.append(
            ("skipped-entries", f"{len(left)} entries are not of the layout {layout.name!r} and are left out, the first: {left[0]}")
        )
    missing = missing_cells({(match["task"], float(match["utd"])) for _, match in entries})
    if missing:
        said.append(("missing-cells", f"{len(missing)} pairs of task and σ have no array, the first: {missing[0]}"))
    return [RunWarning(code=code, message=message, where=archive.path.name) for code, message in said]


def _results(
    archive: Archive, layout: Layout, entries: list[tuple[str, re.Match[str]]], study: Study, findings: Findings
) -> Iterator[RunResult]:
    for name, match in entries:
        where = f"{archive.path}, {name}"
        array = archive.array(name)
        steps, returns = _split(array, layout, where)
        extras = {
            column: _extra(archive, _sibling(name, metric), array)
            for metric, column in layout.extras.items()
            if _sibling(name, metric) in archive.names
        }
        copied = copies([(steps, row) for row in returns])
        count = sum(copy is not None for copy in copied)
        findings.add(name, match["task"], steps, returns, study.tasks[match["task"]].high, count, layout.unverified_rows)
        specs = [_spec(layout, match, seed, where) for seed in range(int(layout.step_column), array.shape[1])]
        for index, spec in enumerate(specs):
            notes: dict[str, str | bool] = {}
            copy = copied[index]
            if copy is not None:
                notes["duplicate_of"] = specs[copy].run_id
            if len(steps) == layout.unverified_rows:
                notes["steps_unverified"] = True
            size = spec.settings.get("model_size")
            yield RunResult(
                spec=spec,
                columns={ENV_STEP: steps, RETURN: returns[index]} | {column: values[index] for column, values in extras.items()},
                status=RunStatus(state="finished", last_step=int(steps[-1]), critic_parameters=size, notes=notes),
            )


def _split(array: NDArray[np.float64], layout: Layout, where: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Env steps of shape (n_steps,) and returns of shape (n_seeds, n_steps), checked."""
    if layout.step_column and array.shape[1] < 2:
        raise UserError(f"{where}: has {array.shape[1]} column; it must have the env step and at least one seed")
    returns = np.ascontiguousarray(array[:, int(layout.step_column) :].T)
    bad = np.argwhere(~np.isfinite(returns))
    if bad.size:
        seed, row = (int(i) for i in bad[0])
        raise UserError(
            f"{where}: row {row}, column {seed + int(layout.step_column)} is {returns[seed, row]}; every return must be a finite number"
        )
    if not layout.step_column:
        return layout.first_step + layout.step * np.arange(len(array), dtype=np.int64), returns
    problem = step_problem(array[:, 0])
    if problem:
        raise UserError(f"{where}: {problem} (column 0)")
    return array[:, 0].astype(np.int64), returns


def _extra(archive: Archive, name: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Another quantity of the same runs, shape (n_seeds, n_steps); NaN where it was not logged."""
    found = archive.array(name)
    if found.shape != array.shape or not np.array_equal(found[:, 0], array[:, 0]):
        raise UserError(f"{archive.path}, {name}: its steps and columns are not those of the returns beside it, {array.shape}")
    return np.ascontiguousarray(found[:, 1:].T)


def _sibling(name: str, metric: str) -> str:
    return name.replace("/avg_return/", f"/{metric}/")


def _spec(layout: Layout, match: re.Match[str], seed: int, where: str) -> RunSpec:
    groups = match.groupdict()
    try:
        utd = float(groups["utd"])
        batch_size = int(groups.get("batch_size") or layout.batch_size)
        learning_rate = float(groups.get("learning_rate") or layout.learning_rate)
    except ValueError:
        raise UserError(f"{where}: its name holds no learning rate; it must be like bs_256_lr_3e-4.npy") from None
    if not (utd > 0 and batch_size > 0 and 0 < learning_rate < 1):
        raise UserError(f"{where}: σ = {utd:g}, B = {batch_size}, η = {learning_rate:g} can't be; σ and B are above 0, η between 0 and 1")
    settings: dict[str, str | int] = {"origin": layout.name}
    if "size" in groups:
        settings |= {"size": groups["size"], "model_size": ABLATION_PARAMETERS[groups["size"]]}
    if "width" in groups:
        settings["width"] = int(groups["width"])
    return RunSpec(
        algorithm=layout.algorithm,
        suite="imported",
        task=groups["task"],
        utd=utd,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        stage=layout.stage,
        settings=settings,
    )


def _part_name(source: Path, layout: Layout) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", source.stem)[:80]
    return name if name.strip("_-") else layout.name

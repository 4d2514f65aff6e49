"""`tdscale import`: what was understood of a log, shown before it is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tdscale.analysis.estimate import short
from tdscale.cli.console import for_people, print_json
from tdscale.cli.summary import print_warnings
from tdscale.errors import UserError
from tdscale.importers import ImportReport, Preview, Scale, gather_runs, kind_of
from tdscale.importers.logged_run import columns_from
from tdscale.importers.preview import TaskPreview
from tdscale.runs.types import RunWarning

_SHOWN = 12


def bring(
    source: str,
    kind: str,
    directory: Path | None,
    mapping: Path | None,
    columns: dict[str, str | None],
    scale: dict[str, Any],
    layout: str | None,
    skip_bad: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Logs into the store, or with `dry_run` what they hold."""
    if directory is None and not dry_run:
        raise UserError("missing option '--dir': the study's folder that the runs go into (--dry-run needs none)")
    understood, named = columns_from(columns, mapping)
    chosen = kind_of(source, named if kind == "auto" and named is not None else kind)
    console = for_people()
    said = Scale(**_scale(scale))
    with gather_runs(source, chosen, understood, layout=layout, skip_bad=skip_bad) as gathered:
        if directory is None or dry_run:
            for label, part in gathered.parts.items():
                # what would be drafted is checked, too
                part.study(None if directory is None else directory / label, said, part.preview.messages)
            if as_json:
                print_json(_by_label({label: _preview_to_dict(part.preview) for label, part in gathered.parts.items()}))
                return
            for label, part in gathered.parts.items():
                _print_preview(console, source, part.preview, label)
                print_warnings(console, part.preview.messages)
            _line(console, "\nnothing was written")
            return
        if understood.split_by:
            reports = gathered.write_each(directory, said)
        else:
            show = None if as_json else lambda: _print_preview(console, source, gathered.preview)
            reports = {"": gathered.write(directory, said, show)}
    if as_json:
        print_json(_by_label({label: _to_dict(report) for label, report in reports.items()}))
        return
    for label, report in reports.items():
        if label and report.preview is not None:
            _print_preview(console, source, report.preview, label)
        print_warnings(console, report.messages)
        cells = f"{report.cells} {'cell' if report.cells == 1 else 'cells'}"
        _line(console, f"\n{report.runs} runs in {cells} are in {directory / label}; next: tdscale fit {directory / label}")


def _by_label(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of one study as it is; of several by their folders' names."""
    return found.get("", {"studies": found})


def _scale(given: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in given.items() if value is not None}
    if "thresholds" in found:
        try:
            found["thresholds"] = tuple(float(text) for text in found["thresholds"].split(","))
        except ValueError:
            raise UserError(f"--thresholds {found['thresholds']}: must be numbers with commas between, e.g. 300,500,800") from None
    return found


def _print_preview(console: Console, source: str, preview: Preview, label: str = "") -> None:
    kinds = {"sweep": "a sweep over B or η at some σ", "scaling": "one B and η at each σ", "baseline": "one B and η for every σ"}
    of = f"\n{label}, of " if label else ""
    _line(console, f"{of}{source} ({preview.kind}): {kinds[preview.stage]}")
    for task in preview.tasks:
        _line(console, f"\n{task.task}")
        _line(console, f"  σ       {_listed(task.utds)}")
        _line(console, f"  B       {_listed(task.batch_sizes)}")
        _line(console, f"  η       {_listed(task.learning_rates)}")
        _line(
            console, f"  runs    {task.runs} in {task.cells} {'cell' if task.cells == 1 else 'cells'}, seeds of a cell: {_span(task.seeds)}"
        )
        grids = "one grid of env steps" if task.grids == 1 else f"{task.grids} different grids of env steps"
        _line(console, f"  curves  {_span(task.points)} rows up to env step {_span(task.last_steps)}; {grids}")
        if task.duplicates:
            _line(console, f"  copies  {task.duplicates} runs equal another seed of their cell, byte for byte")
        if task.holes:
            _line(console, f"  holes   {_holes(task, preview.stage)}")
    if preview.keys:
        _line(console, "\nother keys in which runs differ")
        for note in preview.keys:
            more = f" … {len(note.values)} values" if len(note.values) > _SHOWN else ""
            _line(console, f"  {note.key}  {', '.join(note.values[:_SHOWN])}{more}; changes with {note.along}")


def _holes(task: TaskPreview, stage: str) -> str:
    if stage == "scaling":
        return f"σ = {_listed([utd for utd, _, _ in task.holes])}, which other tasks have"
    shown = [f"σ={short(u)} B={b} η={short(r)}" for u, b, r in task.holes[:3]]
    more = f" and {len(task.holes) - 3} more" if len(task.holes) > 3 else ""
    return f"no run has {'; '.join(shown)}{more}"


def _listed(values: Sequence[float]) -> str:
    more = f" … {len(values)} values" if len(values) > _SHOWN else ""
    return ", ".join(map(short, values[:_SHOWN])) + more


def _span(pair: tuple[int, int]) -> str:
    return f"{pair[0]:,}" if pair[0] == pair[1] else f"{pair[0]:,} to {pair[1]:,}"


def _preview_to_dict(preview: Preview) -> dict[str, Any]:
    return {
        "from": preview.kind,
        "stage": preview.stage,
        "preview": [
            {
                "task": task.task,
                "utds": list(task.utds),
                "batch_sizes": list(task.batch_sizes),
                "learning_rates": list(task.learning_rates),
                "runs": task.runs,
                "cells": task.cells,
                "seeds": list(task.seeds),
                "points": list(task.points),
                "last_steps": list(task.last_steps),
                "grids": task.grids,
                "duplicates": task.duplicates,
                "holes": [{"utd": u, "batch_size": b or None, "learning_rate": r or None} for u, b, r in task.holes],
            }
            for task in preview.tasks
        ],
        "keys": [{"key": note.key, "values": list(note.values), "along": note.along} for note in preview.keys],
        "messages": _messages(preview.messages),
    }


def _to_dict(report: ImportReport) -> dict[str, Any]:
    """As JSON types."""
    seen = {} if report.preview is None else _preview_to_dict(report.preview)
    return seen | {
        "study": report.study.name,
        "runs": report.runs,
        "cells": report.cells,
        "tasks": list(report.tasks),
        "utds": list(report.utds),
        "messages": _messages(report.messages),
    }


def _messages(messages: Sequence[RunWarning]) -> list[dict[str, str]]:
    return [{"code": m.code, "message": m.message, "where": m.where} for m in messages]


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)

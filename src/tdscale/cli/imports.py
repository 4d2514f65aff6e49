"""What `tdscale import` understood of a log, as a person reads it and as JSON."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from tdscale.analysis.estimate import short
from tdscale.cli.console import counted
from tdscale.importers import ImportReport, Preview
from tdscale.importers.preview import TaskPreview
from tdscale.importers.sizes import Size
from tdscale.runs.types import RunWarning

_SHOWN = 12


def by_label(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was found of one study as it is; of several, by the names of their folders."""
    return found.get("", {"studies": found})


def print_preview(console: Console, source: str, preview: Preview, label: str = "") -> None:
    """Its tasks with their σ, B, η, runs and curves; what is missing; other keys in which runs differ."""
    kinds = {"sweep": "a sweep over B or η at some σ", "scaling": "one B and η at each σ", "baseline": "one B and η for every σ"}
    of = f"\n{label}, of " if label else ""
    console.print(f"{of}{source} ({preview.kind}): {kinds['sweep' if preview.swept else preview.stage]}")
    for task in preview.tasks:
        console.print(f"\n{task.task}")
        console.print(f"  σ       {_listed(task.utds)}")
        console.print(f"  B       {_listed(task.batch_sizes, str)}")
        console.print(f"  η       {_listed(task.learning_rates)}")
        console.print(f"  runs    {task.runs} in {counted(task.cells, 'cell')}, seeds of a cell: {_span(task.seeds)}")
        grids = "one grid of env steps" if task.grids == 1 else f"{task.grids} different grids of env steps"
        console.print(f"  curves  {_span(task.points)} rows up to env step {_span(task.last_steps)}; {grids}")
        if task.duplicates:
            console.print(f"  copies  {task.duplicates} runs equal another seed of their cell, byte for byte")
        if task.holes:
            console.print(f"  holes   {_holes(task, preview.stage)}")
    if preview.sizes is not None:
        console.print(f"\nnetworks of {len(preview.sizes.sizes)} sizes, by {preview.sizes.key}; N is an axis of the laws")
        wide = max(len(size.name) for size in preview.sizes.sizes)
        for size in preview.sizes.sizes:
            console.print(f"  {size.name:<{wide}}  N {_parameters(size)}")
    if preview.keys:
        console.print("\nother keys in which runs differ")
        for note in preview.keys:
            more = f" … {len(note.values)} values" if len(note.values) > _SHOWN else ""
            console.print(f"  {note.key}  {', '.join(note.values[:_SHOWN])}{more}; changes with {note.along}")


def _holes(task: TaskPreview, stage: str) -> str:
    if stage == "scaling":
        return f"σ = {_listed([utd for utd, _, _ in task.holes])}, which other tasks have"
    shown = [f"σ={short(u)} B={b} η={short(r)}" for u, b, r in task.holes[:3]]
    more = f" and {len(task.holes) - 3} more" if len(task.holes) > 3 else ""
    return f"no run has {'; '.join(shown)}{more}"


def _listed(values: Sequence[Any], shown: Callable[[Any], str] = short) -> str:
    more = f" … {len(values)} values" if len(values) > _SHOWN else ""
    return ", ".join(map(shown, values[:_SHOWN])) + more


def _parameters(size: Size) -> str:
    return f"{size.most:,.0f}" if size.least == size.most else f"{size.least:,.0f} to {size.most:,.0f}, by task"


def _span(pair: tuple[int, int]) -> str:
    return f"{pair[0]:,}" if pair[0] == pair[1] else f"{pair[0]:,} to {pair[1]:,}"


def preview_to_dict(preview: Preview) -> dict[str, Any]:
    """As JSON types."""
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
    } | ({} if preview.sizes is None else {"sizes": preview.sizes.tables()})


def report_to_dict(report: ImportReport) -> dict[str, Any]:
    """As JSON types."""
    seen = {} if report.preview is None else preview_to_dict(report.preview)
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

"""`tdscale run --dry-run`: what a study will take, said plainly."""

from rich.console import Console
from rich.table import Table

from tdscale.analysis.estimate import short
from tdscale.cli.words import duration
from tdscale.running.forecast import Forecast

_BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def print_forecast(console: Console, found: Forecast) -> None:
    """A row for each stage, then disk, speeds and what was assumed."""
    total = found.to_dict()["total"]
    console.print(f"dry run of {found.study}: nothing is written into {found.directory}", highlight=False, markup=False)
    if not total["runs_to_go"]:
        console.print(f"all {total['runs']} runs are done", highlight=False, markup=False)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "cells to go", "runs to go", "env steps", "critic updates", "FLOPs", "time"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    rows = [{"stage": row.stage, **vars(row)} for row in found.stages] + ([{"stage": "in all", **total}] if len(found.stages) > 1 else [])
    for row in rows:
        table.add_row(
            row["stage"],
            _of(row["cells_to_go"], row["cells"]),
            _of(row["runs_to_go"], row["runs"]),
            _count(row["env_steps"]),
            _count(row["critic_updates"]),
            "?" if row["flops"] is None else short(row["flops"]),
            "?" if row["seconds"] is None else _time(row["seconds"]),
        )
    console.print(table)
    lines = []
    if total["seconds"] is not None and found.workers is not None:
        lines.append(f"time    with {found.workers} worker{'s' if found.workers > 1 else ''} on this machine, as it is loaded now")
    checkpoints = "" if not found.checkpoint_bytes else f"; while it runs, up to {_size(found.checkpoint_bytes)} of checkpoints"
    lines.append(f"disk    about {_size(found.disk_bytes)}{checkpoints}")
    for speed in found.speeds:
        update, step = speed.update_seconds, speed.step_seconds
        what = f"{speed.spec.task} B={speed.spec.batch_size}: {short(1 / update) if update else '?'} critic updates/s"
        lines.append(
            f"probe   {what}, {short(1 / step) if step else '?'} env steps/s without updates, {duration(speed.start_seconds)} to start"
        )
    for line in [*lines, *(f"  · {note}" for note in found.notes)]:
        console.print(line, highlight=False, markup=False)


def _of(left: int, whole: int) -> str:
    return str(left) if left == whole else f"{left} of {whole}"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**7 else short(number)


def _time(seconds: float) -> str:
    return duration(seconds) if seconds < 3 * 86_400 else f"{seconds / 86_400:,.0f} days"


def _size(count: float) -> str:
    for unit, size in _BYTES:
        if count >= size:
            return f"{count / size:.2g} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} bytes"

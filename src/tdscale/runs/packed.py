"""Many runs in two Parquet files: `runs.parquet`, one row a run, and `curves.parquet`, sorted by run_id.

Opening 100,000 small files takes minutes; two large ones take seconds, and a few runs are picked out of them by the
statistics Parquet keeps per row group (predicate push-down).
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.records import (
    SPEC_FIELDS,
    Curve,
    check_schema,
    checked_columns,
    spec_from,
    status_from,
    status_to_dict,
    step_problem,
    table_columns,
)
from tdscale.runs.types import COLUMNS, ENV_STEP, RunResult, RunStatus, in_order
from tdscale.study import RunSpec

RUNS, CURVES = "runs.parquet", "curves.parquet"
_RUN_ID = "run_id"
_AGAIN = "import its source again, or remove the part to have its runs trained again"
_ROWS_PER_GROUP = 1 << 17
_RUNS_SCHEMA = pa.schema([(_RUN_ID, pa.string()), ("n_rows", pa.int64()), ("spec", pa.string()), ("status", pa.string())])


@dataclass(frozen=True)
class _Spooled:
    """Where a run waits in the spool file, and its row in runs.parquet."""

    offset: int
    n_rows: int
    columns: tuple[str, ...]
    spec: str
    status: str


def write_part(results: Iterable[RunResult], folder: Path) -> int:
    """Write a packed part into an empty folder; returns the count of runs. A run given twice counts as given last.

    Runs come in any order and are sorted through a spool file, so that memory holds one row group and the specs.
    """
    spool_path = folder / "spool"
    waiting: dict[str, _Spooled] = {}
    with spool_path.open("w+b") as spool:
        for result in results:
            curve = checked_columns(result)
            offset = spool.tell()
            for values in curve.values():
                spool.write(np.ascontiguousarray(values).data)
            spec, status = (_compact(values) for values in (result.spec.to_dict(), status_to_dict(result.status)))
            waiting[result.spec.run_id] = _Spooled(offset, len(curve[ENV_STEP]), tuple(curve), spec, status)
        ordered = sorted(waiting.items())
        used = {name for _, run in ordered for name in run.columns} | set(COLUMNS[:2])
        names = in_order(used)
        schema = pa.schema([(_RUN_ID, pa.string()), *((name, pa.int64() if name == ENV_STEP else pa.float64()) for name in names)])
        with pq.ParquetWriter(folder / CURVES, schema, compression="zstd", use_dictionary=[_RUN_ID]) as writer:
            for group in _groups(ordered):
                curves = [_unspool(spool, run) for _, run in group]
                counts = [run.n_rows for _, run in group]
                ids = pa.array(np.repeat(np.array([run_id for run_id, _ in group]), counts))
                columns = [
                    np.concatenate([c[n] if n in c else np.full(k, np.nan) for c, k in zip(curves, counts, strict=True)]) for n in names
                ]
                writer.write_table(pa.table([ids, *map(pa.array, columns)], schema=schema), row_group_size=_ROWS_PER_GROUP)
    spool_path.unlink()
    rows = [(run_id, run.n_rows, run.spec, run.status) for run_id, run in ordered]
    arrays = (
        [pa.array(list(values), field.type) for values, field in zip(zip(*rows, strict=True), _RUNS_SCHEMA, strict=True)] if rows else []
    )
    pq.write_table(pa.Table.from_arrays(arrays, schema=_RUNS_SCHEMA) if rows else _RUNS_SCHEMA.empty_table(), folder / RUNS)
    return len(rows)


def _compact(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _groups(ordered: list[tuple[str, _Spooled]]) -> Iterator[list[tuple[str, _Spooled]]]:
    group: list[tuple[str, _Spooled]] = []
    rows = 0
    for item in ordered:
        group.append(item)
        rows += item[1].n_rows
        if rows >= _ROWS_PER_GROUP:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _unspool(spool: Any, run: _Spooled) -> Curve:
    spool.seek(run.offset)
    size = 8 * run.n_rows
    return {name: np.frombuffer(spool.read(size), np.int64 if name == ENV_STEP else np.float64) for name in run.columns}


def read_specs(folder: Path) -> dict[str, RunSpec]:
    """Specs by run_id. Raises UserError if the part is torn or a spec is not that of its run_id."""
    table = _runs_table(folder, ["spec"])
    return {run_id: _spec(text, run_id, folder) for run_id, text in _pairs(table)}


def _spec(text: str, run_id: str, folder: Path) -> RunSpec:
    values = _parsed(text, folder)
    # the text is the canonical form that run_id is the hash of; hashing it directly is 20 times faster
    if hashlib.sha256(text.encode()).hexdigest()[:16] == run_id and set(values) == SPEC_FIELDS:
        return RunSpec.from_dict(values)
    return spec_from(values, run_id, folder / RUNS)


def read_statuses(folder: Path) -> dict[str, RunStatus]:
    """Statuses by run_id. Raises UserError if the part is torn."""
    table = _runs_table(folder, ["status"])
    return {run_id: status_from(_parsed(text, folder), folder / RUNS) for run_id, text in _pairs(table)}


def read_status(folder: Path, run_id: str) -> RunStatus | None:
    """One run's status, None where this part does not hold the run. Raises UserError if the part is torn."""
    table = _runs_table(folder, ["status"])
    index = pc.index(table.column(_RUN_ID), run_id).as_py()
    return None if index < 0 else status_from(_parsed(table.column("status")[index].as_py(), folder), folder / RUNS)


def read_curves(folder: Path, run_ids: Collection[str] | None, columns: tuple[str, ...] | None) -> tuple[dict[str, Curve], dict[str, str]]:
    """Curves by run_id (all, or those of `run_ids` that are in this part), and what is wrong with the others.

    `columns` None means every column of the part.

    Raises:
        UserError: if the part itself is torn or foreign.
    """
    path = folder / CURVES
    counts = dict(_pairs(_runs_table(folder, ["n_rows"])))
    chosen = counts.keys() if run_ids is None else set(run_ids)
    wanted = [run_id for run_id in counts if run_id in chosen]
    if not wanted:
        return {}, {}
    try:
        schema = pq.read_schema(path)
        check_schema(schema, path, extra=(_RUN_ID,))
        columns = in_order(set(schema.names) - {_RUN_ID}) if columns is None else columns
        present = [name for name in columns if name in schema.names]
        if len(wanted) < len(counts):
            values = table_columns(pq.read_table(path, columns=present, filters=pc.field(_RUN_ID).isin(wanted)), columns, path)
        else:
            values = _all_rows(path, columns, present)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: can't be read as Parquet ({str(error).splitlines()[0]}); {_AGAIN}") from None
    ends = np.cumsum([counts[run_id] for run_id in wanted])
    n_rows = len(values[ENV_STEP])
    if ends[-1] != n_rows:
        raise UserError(f"{path}: holds {n_rows} rows where {RUNS} promises {ends[-1]}; {_AGAIN}")
    return _cut(values, wanted, ends, path)


def _all_rows(path: Path, columns: tuple[str, ...], present: list[str]) -> Curve:
    """Whole columns, row group by row group: memory holds them once. (read_table() would also import pandas, a second's work.)"""
    with pq.ParquetFile(path) as file:
        integer = pa.types.is_integer(file.schema_arrow.field(ENV_STEP).type)
        types = {name: np.int64 if name == ENV_STEP and integer else np.float64 for name in columns}
        values: Curve = {name: np.empty(file.metadata.num_rows, dtype) for name, dtype in types.items()}
        start = 0
        for group in range(file.num_row_groups):
            part = table_columns(file.read_row_group(group, present), columns, path)
            end = start + len(part[ENV_STEP])
            for name in columns:
                values[name][start:end] = part[name]
            start = end
    return values


def _cut(values: Curve, run_ids: list[str], ends: NDArray[np.int64], path: Path) -> tuple[dict[str, Curve], dict[str, str]]:
    steps = values.pop(ENV_STEP)
    bad = _bad_runs(steps, ends)
    curves, problems = {}, {}
    # runs of one length log at the same env steps: one array serves them all
    known: dict[bytes, NDArray[np.int64]] = {}
    starts = np.concatenate([[0], ends[:-1]])
    for index, (run_id, start, end) in enumerate(zip(run_ids, starts.tolist(), ends.tolist(), strict=True)):
        if index in bad:
            problems[run_id] = f"{path}: run {run_id}: {step_problem(steps[start:end])}"
            continue
        own = steps[start:end].astype(np.int64)
        shared = known.setdefault(hashlib.blake2b(own.tobytes(), digest_size=16).digest(), own)
        curves[run_id] = {ENV_STEP: shared} | {name: array[start:end] for name, array in values.items()}
    return curves, problems


def _bad_runs(steps: NDArray[Any], ends: NDArray[np.int64]) -> set[int]:
    """Indices of the runs whose env steps are not whole and rising; all runs at once."""
    wrong = np.zeros(len(steps), dtype=bool)
    if steps.dtype.kind == "f":
        wrong |= ~np.isfinite(steps) | (steps != np.floor(steps))
    falls = np.zeros(len(steps), dtype=bool)
    falls[1:] = ~(steps[1:] > steps[:-1])
    falls[ends[:-1][ends[:-1] < len(steps)]] = False
    wrong |= falls | (steps < 0)
    return set(np.unique(np.searchsorted(ends, np.flatnonzero(wrong), side="right")).tolist())


def _runs_table(folder: Path, columns: list[str]) -> pa.Table:
    path = folder / RUNS
    try:
        if not pq.read_schema(path).equals(_RUNS_SCHEMA):
            raise UserError(f"{path}: its columns are not those of a packed part; {_AGAIN}")
        return pq.ParquetFile(path).read([_RUN_ID, *columns])
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: can't be read as Parquet ({str(error).splitlines()[0]}); {_AGAIN}") from None


def _pairs(table: pa.Table) -> Iterator[tuple[str, Any]]:
    return zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True)


def _parsed(text: str, folder: Path) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{folder / RUNS}: holds broken JSON ({error}); {_AGAIN}") from None
    if not isinstance(values, dict):
        raise UserError(f"{folder / RUNS}: a record is not a JSON object; {_AGAIN}")
    return values

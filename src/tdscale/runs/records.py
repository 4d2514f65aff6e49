"""Specs, statuses and curves to and from the forms they have on disk, checked on the way in."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.types import ENV_STEP, KNOWN_COLUMNS, RETURN, RunResult, RunState, RunStatus, in_order, is_column
from tdscale.study import RunSpec

Curve = dict[str, NDArray[Any]]

_MAX_JSON_BYTES = 1 << 22
SPEC_FIELDS = {f.name for f in fields(RunSpec)}
_STATUS_FIELDS = {f.name for f in fields(RunStatus)}


def to_json(values: Mapping[str, Any]) -> str:
    """Sorted keys, an indent of 1 and a newline at the end, so that equal content is equal bytes."""
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError if the file is not one JSON object; FileNotFoundError passes."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise UserError(f"{path}: over 4 MiB is too large for a record of a run; remove the run's folder to have it run again")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: can't be read as JSON ({_short(error)}); remove the run's folder to have it run again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: is not a JSON object; remove the run's folder to have it run again")
    return values


def spec_from(values: Mapping[str, Any], run_id: str, where: Path | str) -> RunSpec:
    """A spec read back. Raises UserError if it is not a spec, or not that of `run_id`."""
    foreign = sorted(set(values) - SPEC_FIELDS)
    if foreign:
        raise UserError(f"{where}: {foreign[0]!r} is not a field of a run's spec")
    try:
        spec = RunSpec.from_dict(values)
        found = spec.run_id
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: is not a run's spec ({_short(error)})") from None
    if found != run_id:
        raise UserError(f"{where}: holds the spec of run {found}, not of {run_id}; it was edited or copied from elsewhere")
    return spec


def status_from(values: Mapping[str, Any], where: Path | str) -> RunStatus:
    """A status read back. Raises UserError if it is not one."""
    foreign = sorted(set(values) - _STATUS_FIELDS)
    if foreign:
        raise UserError(f"{where}: {foreign[0]!r} is not a field of a run's status")
    if values.get("state") not in get_args(RunState):
        raise UserError(f"{where}: state is {values.get('state')!r}; it must be one of {', '.join(get_args(RunState))}")
    last_step = values.get("last_step")
    if not isinstance(last_step, int) or isinstance(last_step, bool) or last_step < 0:
        raise UserError(f"{where}: last_step is {last_step!r}; it must be a number of env steps")
    notes = values.get("notes") or {}
    resets = notes.get("resets", []) if isinstance(notes, dict) else []
    if not isinstance(resets, list) or any(not isinstance(step, int) or isinstance(step, bool) for step in resets):
        raise UserError(f"{where}: notes.resets is {resets!r}; it must list env steps")
    return RunStatus(**values)


def status_to_dict(status: RunStatus) -> dict[str, Any]:
    """As plain JSON types."""
    values = {f.name: getattr(status, f.name) for f in fields(status)}
    return values | {"versions": dict(status.versions), "notes": dict(status.notes)}


def checked_columns(result: RunResult) -> Curve:
    """A result's columns in the store's order and types: `env_step` int64, the others float64.

    Raises:
        ValueError: on an unknown column, unequal lengths, or env steps that are not whole and strictly rising.
    """
    foreign = sorted(name for name in result.columns if not is_column(name))
    if foreign:
        raise ValueError(f"{foreign[0]!r} is not a column of a curve; known are {KNOWN_COLUMNS}")
    for name in (ENV_STEP, RETURN):
        if name not in result.columns:
            raise ValueError(f"a curve needs the column {name!r}")
    steps = np.asarray(result.columns[ENV_STEP])
    problem = step_problem(steps)
    if problem:
        raise ValueError(f"run {result.spec.run_id}: {problem}")
    curve: Curve = {ENV_STEP: steps.astype(np.int64)}
    for name in in_order(result.columns)[1:]:
        values = np.asarray(result.columns[name], dtype=np.float64)
        if values.shape != steps.shape:
            raise ValueError(f"run {result.spec.run_id}: {name} has shape {values.shape}, env_step {steps.shape}")
        curve[name] = values
    return curve


def step_problem(steps: NDArray[Any]) -> str | None:
    """What is wrong with an axis of env steps, shape (n_steps,), or None."""
    if steps.ndim != 1:
        return f"env_step has {steps.ndim} axes; it must have one"
    if steps.size and steps.dtype.kind not in "iuf":
        return f"env_step holds {steps.dtype}, not whole numbers"
    if steps.dtype.kind == "f":
        finite = np.isfinite(steps)
        if not finite.all():
            return f"env_step is not finite in row {int(np.argmin(finite))}"
        if not (steps == np.floor(steps)).all():
            return "env_step holds fractions; it must count env steps"
    falls = np.flatnonzero(steps[1:] <= steps[:-1])
    if falls.size:
        row = int(falls[0])
        return f"env_step must rise, but goes from {steps[row]:.0f} to {steps[row + 1]:.0f} in row {row + 1}"
    if steps.size and steps[0] < 0:
        return f"env_step starts at {steps[0]:.0f}; it can't be negative"
    return None


def check_schema(schema: pa.Schema, where: Path, extra: tuple[str, ...] = ()) -> None:
    """Raises UserError if a Parquet file's columns are not those of curves."""
    for field in schema:
        if field.name not in extra and not is_column(field.name):
            raise UserError(f"{where}: the column {field.name!r} does not belong to a curve; known are {KNOWN_COLUMNS}")
        if field.name not in extra and not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            raise UserError(f"{where}: the column {field.name!r} holds {field.type}, not numbers")
    for name in (ENV_STEP, RETURN, *extra):
        if name not in schema.names:
            raise UserError(f"{where}: has no column {name!r}, which every curve has")


def read_curve(path: Path, columns: tuple[str, ...] | None) -> Curve:
    """The curve of one run, None for every column that it has. Columns that were not logged come back as NaN.

    Raises UserError; FileNotFoundError passes.
    """
    try:
        with pq.ParquetFile(path) as file:
            check_schema(file.schema_arrow, path)
            columns = in_order(file.schema_arrow.names) if columns is None else columns
            present = [name for name in columns if name in file.schema_arrow.names]
            table = file.read(columns=present, use_threads=False)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: can't be read as Parquet ({_short(error)}); remove the run's folder to have it run again") from None
    curve = table_columns(table, columns, path)
    problem = step_problem(curve[ENV_STEP])
    if problem:
        raise UserError(f"{path}: {problem}")
    curve[ENV_STEP] = curve[ENV_STEP].astype(np.int64, copy=False)
    return curve


def table_columns(table: pa.Table, columns: tuple[str, ...], where: Path) -> Curve:
    """A table's columns as arrays, float64 but for `env_step`; NaN where one is absent."""
    curve: Curve = {}
    for name in columns:
        if name not in table.column_names:
            curve[name] = np.full(table.num_rows, np.nan)
            continue
        values = _array(table.column(name))
        curve[name] = values if name == ENV_STEP else values.astype(np.float64, copy=False)
    return curve


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    # to_numpy() would import pandas, which takes longer than reading a study
    chunks = [np.from_dlpack(chunk) if chunk.null_count == 0 else chunk.to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(chunks) if len(chunks) != 1 else chunks[0]


def write_curve(curve: Curve, path: Path) -> None:
    """One run's curve as Parquet."""
    pq.write_table(pa.table({name: pa.array(values) for name, values in curve.items()}), path, compression="zstd")


def _short(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text if len(text) <= 120 else text[:117] + "…"

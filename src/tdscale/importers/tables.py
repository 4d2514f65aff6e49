"""Tables, as text of any form or Parquet: long (one row a run and env step) or wide (one column a run); read in batches."""

import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.files import Spool, Spooled, files_below, run_name, settings_beside
from tdscale.importers.formats import BLANKS, JSON_LINES, TableFormat, form_of, kind_of_text, may_be_text, rows_of, stream_of
from tdscale.importers.headless import headless_runs
from tdscale.importers.logged_run import Columns, LoggedRun, Unreadable, each, series_key, series_keys, shown_keys
from tdscale.importers.meaning import columns_asked
from tdscale.importers.moving_mean import beside, mean_of
from tdscale.importers.patterns import USUAL_NAMES, from_name
from tdscale.importers.runs_of import KeyColumns, runs_of

Floats = NDArray[np.float64]

USUAL_STEPS = (
    *("env_step", "env_steps", "global_step", "timesteps", "total_timesteps", "num_timesteps", "total_steps", "time/total_timesteps"),
    *("step", "steps", "TotalEnvInteracts"),
)
USUAL_RETURNS = (
    *("return", "returns", "episodic_return", "charts/episodic_return", "episode_return", "episode_reward", "ep_return"),
    *("rollout/ep_rew_mean", "ep_rew_mean", "ep_rew", "score", "reward", "AverageTestEpRet", "AverageEpRet"),
    "value",  # of a table that holds several metrics, which another column separates
)
# names of evaluations, and of the training episodes that some programs log beside them
_EITHER = (("AverageTestEpRet", "AverageEpRet"),)
_BATCH_BYTES = 1 << 19  # the reader holds dozens of them
_BATCH_ROWS = 1 << 17
_PLAIN_ROWS = 1 << 13
_MAX_RUNS = 1_000_000
_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".tsv", ".txt", ".txt.gz", ".jsonl", ".ndjson", ".json", ".dat", ".data", ".log", ".out")
_PARQUET = "parquet"
_NO_VALUE = ["", "NA", "N/A", "null", "None"]


def read_csv(source: Path, columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The runs of a table that is text (CSV, tabs, blanks, JSON lines, with or without a header), or of those below a folder.

    A table is long if it has the return's column: rows that agree in the columns of σ, B, η, task and seed are a run. Else it is wide:
    `Columns.names` says what the names of the other columns mean. What a table does not say is taken from a `config.json` beside it.

    Raises:
        UserError: if a file is not a table, or it is not clear which column is which.
    """
    tables = (".csv", ".csv.gz")
    paths = files_below(
        source,
        lambda name: name.endswith(tables) or may_be_text(name),
        lambda path: path.name.endswith(tables) or kind_of_text(path) is not None,
    )
    yield from _tables(source, paths, columns)


def read_parquet(source: Path, columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The runs of a Parquet file, or of those below a folder: long or wide as `read_csv` has it. Raises UserError as that does."""
    yield from _tables(source, files_below(source, lambda name: name.endswith(".parquet")), columns)


def _tables(source: Path, paths: list[Path], columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    alone = {folder for folder, count in Counter(path.parent for path in paths).items() if count == 1}

    def read(path: Path) -> Iterator[LoggedRun]:
        name = run_name(path, source)
        for suffix in _SUFFIXES:
            if columns.names is None or not columns.names.endswith(suffix):
                name = name.removesuffix(suffix)
        known = settings_beside(path, alone=path.parent in alone)
        with reading(path):
            for run in _table(path, name, columns):
                yield replace(run, config={**known, **run.config})

    return each(paths, read)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says in one sentence what keeps a file from being read as a table."""
    try:
        yield
    except UnicodeDecodeError:
        raise UserError(f"{path}: can't be read as a table (it is not UTF-8 text)") from None
    except (OSError, pa.ArrowException, EOFError, csv.Error, zlib.error) as error:
        raise UserError(f"{path}: can't be read as a table ({_plainly(error)})") from None


def series_of(path: Path, wanted: Iterable[str]) -> tuple[tuple[str, ...], dict[str, Floats], tuple[tuple[str, str], ...]]:
    """The columns' names, those of the wanted ones that a table has, as numbers, NaN where there is none; and remarks."""
    form = _form(path)
    there = [key for key in dict.fromkeys(wanted) if key in form.names]
    odd = _OddRows()
    parts = [[_floats(batch.column(key)) for key in there] for batch in _batches(path, there, set(there), form, odd)]
    return form.names, {key: np.concatenate([part[n] for part in parts] or [np.empty(0)]) for n, key in enumerate(there)}, odd.take()


def _plainly(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    word = re.search(r"conversion error to double: invalid value '(.{0,60})", text)
    return f"'{word[1].removesuffix(chr(39))}' is there instead of a number" if word else text[:160]


def _table(path: Path, name: str, columns: Columns) -> Iterator[LoggedRun]:
    form = _form(path)
    names = list(form.names)
    if len(names) != len(set(names)):
        twice = next(key for key in names if names.count(key) > 1)
        raise UserError(f"{path}: has two columns {twice!r}; column names must be unique")
    if not form.header:
        odd = _OddRows()
        batches = (np.column_stack([_floats(batch.column(key)) for key in names]) for batch in _batches(path, names, set(names), form, odd))
        yield from headless_runs(path, name, batches, columns, odd.take)
        return
    for evaluated, trained in _EITHER:
        if columns.returns is None and evaluated in names and trained in names:
            raise UserError(
                f"{path}: has two returns; give --return {evaluated} for evaluations, or --return {trained} for training episodes"
            )
    value = next((key for key in USUAL_RETURNS if key in names), None) if columns.returns is None else columns.returns
    if value is None and columns.names is not None and from_name(columns.names, name) is None:
        step = series_key("env_step", columns.env_step, names, USUAL_STEPS, str(path))
        yield from _wide(path, name, names, step, columns, form)
        return
    step, value = series_keys(columns, names, USUAL_STEPS, USUAL_RETURNS, str(path))
    more = beside(value, names) if mean_of(value, columns, {}) else (None, None)
    taken = {step, value, *filter(None, more)}
    keys = [key for key in _keys(names, columns, taken) if key not in dict(form.constants)]
    series = {*taken, *keys, *USUAL_STEPS, *USUAL_RETURNS, *dict(form.constants)}
    others = KeyColumns([key for key in names if key not in series], columns.ignore)
    for run in _long(path, name, (step, value, *more), keys, others, columns, form):
        yield replace(run, config={**dict(form.constants), **run.config})


def _keys(names: list[str], columns: Columns, taken: set[str]) -> list[str]:
    """The columns that separate runs, by their names or by the user's options."""
    keys: list[str] = []
    for name, usual in USUAL_NAMES.items():
        asked = getattr(columns, name)
        # `=count` numbers runs that something else separates, which a column of seeds does best
        usually = asked is None or asked.startswith("=")
        # a key that names sizes may have their N beside it
        keys += [key for key in usual if key in names] if usually or name == "model_size" else []
        keys += [] if usually else columns_asked(asked, names)
    for asked in (*(text.partition("=")[0].rstrip("! ") for text in columns.where), *columns.split_by):
        keys += columns_asked(asked.strip(), names)
    keys += [key for key in ("gradient_steps", "train_freq", "n_envs", "run", "run_id", "run_name") if key in names]
    return [key for key in dict.fromkeys(keys) if key not in taken and key not in columns.ignore]


def _long(
    path: Path,
    name: str,
    series: tuple[str, str, str | None, str | None],
    keys: list[str],
    others: KeyColumns,
    asked: Columns,
    form: TableFormat,
) -> Iterator[LoggedRun]:
    step, value, *beside_it = series
    numbers = [step, value, *filter(None, beside_it)]
    odd = _OddRows()
    places: dict[tuple[Any, ...], list[tuple[list[Spooled], dict[str, Spooled]]]] = {}
    first: dict[tuple[tuple[Any, ...], str], float] = {}
    with Spool() as spool:
        for batch in _batches(path, [*numbers, *keys, *others.names], set(numbers), form, odd, others.names):
            logged = _valid(batch.column(value))
            rows_of = [_floats(batch.column(key))[logged] for key in numbers]
            texts = [_plain(batch.column(key)).filter(pa.array(logged)) for key in keys]
            codes = {key: others.codes(key, batch.column(key).filter(pa.array(logged))) for key in others.alive}
            for key, rows in _groups(texts, len(rows_of[0])):
                if key not in places and len(places) >= _MAX_RUNS:
                    raise UserError(f"{path}: has over {_MAX_RUNS} runs by {', '.join(keys)}; one of them does not belong to a run")
                known = {column: spool.add(one[rows]) for column, one in codes.items() if one is not None}
                for column, one in codes.items():
                    if one is not None and (one[rows] != first.setdefault((key, column), one[rows[0]])).any():
                        others.changes(column)
                places.setdefault(key, []).append(([spool.add(column[rows]) for column in rows_of], known))
        varied = {column for k, column in enumerate(keys) if len({key[k] for key in places}) > 1}
        for key, parts in places.items():
            config = {column: text for column, text in zip(keys, key, strict=True) if text is not None}
            found = {column: spool.get([part[0][k] for part in parts]) for k, column in enumerate(numbers)}
            columns = {column: spool.get([part[1][column] for part in parts]) for column in others.alive}
            for rows, more, apart in runs_of(found[step], found[value], columns, others):
                whole = config | more
                here = {key: found[key][rows] for key in numbers}
                differ = [f"{k} {v}" for k, v in whole.items() if k in varied or others.varied(k)]
                yield LoggedRun(
                    name=", ".join([name, *differ]),
                    path=name,
                    config=whole,
                    apart=apart,
                    steps=here[step],
                    returns=here[value],
                    in_order=False,
                    mean_of=mean_of(value, asked, whole, numbers, here.__getitem__),
                    remarks=odd.take(),
                )


def _wide(path: Path, name: str, names: list[str], step: str, columns: Columns, form: TableFormat) -> Iterator[LoggedRun]:
    # W&B's web page writes the least and the most beside each column
    spans = {key for key in names if key.endswith(("__MIN", "__MAX")) and key[:-5] in names}
    runs = [key for key in names if key != step and key not in spans and from_name(columns.names, name, key) is not None]
    if not runs:
        raise UserError(f"{path}: no column fits --names {columns.names}; the columns are {shown_keys(names)}")
    places: dict[str, list[tuple[Spooled, Spooled]]] = {key: [] for key in runs}
    odd = _OddRows()
    with Spool() as spool:
        for batch in _batches(path, [step, *runs], {step, *runs}, form, odd):
            steps = _floats(batch.column(step))
            for key in runs:
                logged = _valid(batch.column(key))
                places[key].append((spool.add(steps[logged]), spool.add(_floats(batch.column(key))[logged])))
        left = len(names) - 1 - len(runs) - len(spans)
        remarks = odd.take() + ((("columns-left-out", f"{left} columns don't fit --names and are left out"),) if left else ())
        for key, parts in places.items():
            yield LoggedRun(
                name=f"{name}/{key}",
                path=name,
                column=key,
                config={},
                steps=spool.get([part[0] for part in parts]),
                returns=spool.get([part[1] for part in parts]),
                # a shorter run's column is filled up with NaN
                nan_at_end_is_divergence=False,
                in_order=False,
                mean_of=mean_of(key, columns, {}),
                remarks=remarks if key == runs[0] else (),
            )


def _form(path: Path) -> TableFormat:
    with path.open("rb") as file:
        packed = file.read(4) == b"PAR1"
    if not packed:
        return form_of(path)
    with pq.ParquetFile(path) as file:
        return TableFormat(_PARQUET, tuple(file.schema_arrow.names))


class _OddRows:
    """Rows of another number of columns than the header's, as the last row of a program that was killed: left out, and reported once."""

    def __init__(self) -> None:
        self._first, self._count = "", 0

    def __call__(self, row: Any) -> str:
        self.note(f"{row.actual_columns} of {row.expected_columns} columns")
        return "skip"

    def note(self, what: str) -> None:
        self._first = self._first or what
        self._count += 1

    def take(self) -> tuple[tuple[str, str], ...]:
        count, self._count = self._count, 0
        rows = "a row is" if count == 1 else f"{count} rows are"
        return (("torn-rows", f"{rows} not whole ({self._first}) and left out"),) if count else ()


def _batches(
    path: Path, wanted: list[str], numbers: set[str], form: TableFormat, odd: _OddRows, few: Collection[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Pieces of a table, with columns of `few` values as categories where they are read as text."""
    coded = pa.dictionary(pa.int32(), pa.string())
    types = {key: pa.float64() if key in numbers else coded if key in few else pa.string() for key in wanted}
    if form.delimiter == _PARQUET:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False)
        return
    if form.delimiter in (BLANKS, JSON_LINES):
        yield from _plain_batches(path, types, form, odd)
        return
    reader = pa_csv.open_csv(
        stream_of(path),
        read_options=pa_csv.ReadOptions(block_size=_BATCH_BYTES, use_threads=False, column_names=list(form.names), skip_rows=form.skip),
        parse_options=pa_csv.ParseOptions(delimiter=form.delimiter, invalid_row_handler=odd),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted, column_types=types, null_values=_NO_VALUE, strings_can_be_null=True, check_utf8=False
        ),
    )
    with reader:
        yield from reader


def _plain_batches(path: Path, types: dict[str, pa.DataType], form: TableFormat, odd: _OddRows) -> Iterator[pa.RecordBatch]:
    """Batches of rows from a file that is not a CSV."""
    places = [form.names.index(key) for key in types]
    rows_in = rows_of(path, form)
    while rows := list(islice(rows_in, _PLAIN_ROWS)):
        whole = [row for row in rows if row is not None]
        for _ in range(len(rows) - len(whole)):
            odd.note("another number of columns" if form.delimiter == BLANKS else "no JSON object")
        arrays = []
        for place, (key, kind) in zip(places, types.items(), strict=True):
            cells = [None if row[place] is None or row[place] in _NO_VALUE else row[place] for row in whole]
            read = _number_in if pa.types.is_floating(kind) else _text_in
            values = [None if cell is None else read(cell, path, key) for cell in cells]
            arrays.append(pa.array(values, pa.string()).cast(kind) if pa.types.is_dictionary(kind) else pa.array(values, kind))
        yield pa.RecordBatch.from_arrays(arrays, names=list(types))


def _number_in(cell: Any, path: Path, key: str) -> float:
    try:
        return float(cell)
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"{path}: {str(cell)[:60]!r} is there instead of a number, in {key!r}") from None


def _text_in(cell: Any, path: Path, key: str) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell)


def _plain(column: pa.Array) -> pa.Array:
    """A column of categories as their values."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _valid(column: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(column.is_valid())


def _floats(column: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _groups(texts: list[pa.Array], count: int) -> Iterator[tuple[tuple[Any, ...], np.ndarray[Any, np.dtype[np.intp]]]]:
    """Each combination of keys with its rows, in the order they appear."""
    if not count:
        return
    code = np.zeros(count, dtype=np.int64)
    for text in texts:
        codes = np.asarray(text.dictionary_encode(null_encoding="encode").indices)
        _, code = np.unique(code * (int(codes.max()) + 1) + codes, return_inverse=True)
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for rows in sorted(np.split(order, starts[1:]), key=lambda rows: int(rows[0])):
        yield tuple(text[int(rows[0])].as_py() for text in texts), rows

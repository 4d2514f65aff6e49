"""TensorBoard event files, CleanRL's layout among them: a folder with event files is a run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.importers.files import files_below, natural, run_name
from tdscale.importers.logged_run import Columns, Floats, LoggedRun, Unreadable, series_key
from tdscale.importers.moving_mean import companions, mean_of, preferred
from tdscale.importers.patterns import SCALARS as USUAL_RETURNS

STEP = "global_step"
_START = 1  # of SessionLog
_TEXT = "/text_summary"
_ROW = re.compile(r"^\|([^|]+)\|(.*)\|\s*$")
_CLEANRL = re.compile(r"(?P<env_id>.+)__(?P<exp_name>.+)__(?P<seed>\d{1,18})__(?P<start_time>\d{9,11})")
_MAX_TEXT = 1 << 20


def read_tensorboard(source: Path, columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """The runs below a folder, or of one event file.

    Hyperparameters are those of a text summary that is a table of two columns, as CleanRL writes it, and of CleanRL's folder names.

    Raises:
        UserError: if TensorBoard is not installed, or no run has the return's tag.
    """
    loader = _loader()
    if columns.env_step not in (None, STEP, "step"):
        raise UserError(
            f'--env-step {columns.env_step}: TensorBoard stores one step with each value, and this step is used; it is called "{STEP}"'
        )
    folders: dict[Path, list[Path]] = {}
    for path in files_below(source, lambda name: "tfevents" in name):
        folders.setdefault(path.parent, []).append(path)
    found = [(folder, _Series(loader, paths, columns)) for folder, paths in folders.items()]
    usual = (columns.returns,) if columns.returns is not None else USUAL_RETURNS
    having = [series for _, series in found if not series.tags.keys().isdisjoint(usual)]
    used = [tag for tag in usual if having and all(tag in series.tags for series in having)][:1]
    used = used or [tag for tag in usual if any(tag in series.tags for series in having)]
    if not used:
        folder, series = max(found, key=lambda pair: len(pair[1].tags))
        series_key("returns", columns.returns, sorted(series.tags), USUAL_RETURNS, run_name(folder, source))
    for folder, series in found:
        tag = next((tag for tag in used if tag in series.tags), None)
        try:
            yield series.run(run_name(folder, source), folder.resolve().name, tag, used)
        except UserError as error:
            yield Unreadable(str(error))


def _loader() -> Any:
    try:
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    except ImportError:
        raise UserError("reading TensorBoard files needs TensorBoard; pip install 'tdscale[tensorboard]'") from None
    return LegacyEventFileLoader


class _Series:
    """What the event files of a folder hold, in the order of their first events.

    Attributes:
        tags: scalars by tag; (session, step, value, wall time) of those that may be wanted, the others empty. A session is a file, or
            what stands in one after a program says that it began.
    """

    def __init__(self, loader: Any, paths: list[Path], columns: Columns) -> None:
        """Read them."""
        self.tags: dict[str, list[tuple[int, int, float, float]]] = {}
        self._columns = columns
        self._wanted = {columns.returns} if columns.returns is not None else set(USUAL_RETURNS)
        self._wanted |= {name for key in list(self._wanted) for names in companions(key) for name in names}
        self._config: dict[str, Any] = {}
        self._remarks: list[tuple[str, str]] = []
        self._session, self._starts = 0, dict[int, float]()  # the env steps at which programs say that they began
        for path in sorted(paths, key=lambda path: (_begun(loader, path), natural(path.name))):
            self._session += 1
            self._read(loader, path)

    def _read(self, loader: Any, path: Path) -> None:
        rows, logged = 0, False
        try:
            for event in loader(str(path)).Load():
                rows += 1
                if event.HasField("session_log") and event.session_log.status == _START:
                    self._session += logged
                    self._starts[self._session] = float(event.step)
                for value in event.summary.value:
                    if value.tag.endswith(_TEXT):
                        self._config |= _table(value)
                    elif value.HasField("simple_value") or (value.HasField("tensor") and _is_scalar(value.tensor)):
                        series = self.tags.setdefault(value.tag, [])
                        logged = True
                        if value.tag in self._wanted:
                            series.append((self._session, event.step, _scalar(value), event.wall_time))
        except Exception as error:  # protobuf and the reader raise what they like at bytes that are no event
            said = f"{path.name} is damaged after {rows} events ({type(error).__name__}); the part before is used"
            self._remarks.append(("damaged-file", said))
        else:
            if rows == 0:
                self._remarks.append(("damaged-file", f"{path.name} holds no event"))

    def run(self, name: str, folder: str, tag: str | None, used: list[str]) -> LoggedRun:
        """The run that they are, its return read from a tag. Raises UserError where two programs wrote at one time."""
        if tag is None:
            return LoggedRun(name=name, config={}, steps=np.empty(0), returns=np.empty(0))
        match = _CLEANRL.fullmatch(folder)
        config = match.groupdict() | self._config if match else self._config
        remarks = list(self._remarks)
        if tag != used[0]:
            said = f"{name}: its return is read from {tag}, that of others from {used[0]}; --return TAG chooses one of them"
            remarks.append(("several-returns", said))
        rows = np.array(self.tags[tag], dtype=np.float64).reshape(-1, 4)
        first = np.flatnonzero(np.diff(rows[:, 0], prepend=-1.0))
        begins = tuple((int(row), self._starts.get(int(rows[row, 0]), np.nan)) for row in first if row)
        for row, _ in begins:
            if rows[row, 3] < rows[row - 1, 3] and rows[row, 1] <= rows[:row, 1].max():
                raise UserError(
                    f"{name}: two of its event files were written at the same time, so it holds more than one run; give each its own folder"
                )
        return LoggedRun(
            name=name,
            config=config,
            steps=rows[:, 1],
            returns=rows[:, 2],
            begins=begins,
            mean_of=mean_of(tag, self._columns, config, self.tags, lambda key: self._beside(key, rows)),
            remarks=tuple(remarks),
            of_log=preferred(tag, self.tags, self._columns.returns),
        )

    def _beside(self, key: str, rows: Floats) -> Floats:
        """Another tag's values at the rows' sessions and steps."""
        values = {(session, step): value for session, step, value, _ in self.tags[key]}
        return np.array([values.get((int(session), int(step)), np.nan) for session, step in rows[:, :2]])


def _begun(loader: Any, path: Path) -> float:
    """Time of a file's first event."""
    try:
        return float(next(iter(loader(str(path)).Load())).wall_time)
    except Exception:  # as above; it is reported where the file is read
        return np.inf


def _is_scalar(tensor: Any) -> bool:
    return tensor.dtype in (1, 2, 3, 9) and not any(d.size != 1 for d in tensor.tensor_shape.dim)


def _scalar(value: Any) -> float:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    from tensorboard.util.tensor_util import make_ndarray

    return float(make_ndarray(value.tensor).reshape(-1)[0])


def _table(value: Any) -> dict[str, Any]:
    """The rows of a markdown table of two columns."""
    if not value.HasField("tensor") or not value.tensor.string_val:
        return {}
    text = value.tensor.string_val[0][:_MAX_TEXT].decode("utf-8", "replace")
    rows = [match.groups() for line in text.split("\n") if (match := _ROW.match(line))]
    return {key.strip(): cell.strip() for key, cell in rows[2:] if cell.strip() not in ("", "None")}

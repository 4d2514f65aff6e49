"""monitor.csv of Stable-Baselines3: its rows, its sessions, and whether several are of environments stepped together."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.importers.logged_run import Floats, float_or_nan, number

MONITOR = "monitor.csv"
_MAX_LINE = 1 << 16
_APART = 600.0  # seconds by which environments of one run may begin after each other
_CLOCKS = 0.25  # of an episode's time: by this much the clocks of environments that are stepped together may differ


@dataclass(frozen=True)
class Monitor:
    """One file.

    Attributes:
        path: the file.
        lengths, returns, times: shape (n,), of episodes; times in seconds since the session began, NaN where there are none.
        sessions: rows at which the program was started again and wrote on.
        started: time of the first session's begin, None if the header does not say.
        env_id: the environment's name, None if the header does not say.
    """

    path: Path
    lengths: Floats
    returns: Floats
    times: Floats
    sessions: tuple[int, ...]
    started: float | None
    env_id: str | None

    @property
    def total(self) -> float:
        """Env steps of its episodes."""
        return float(self.lengths.sum())

    @property
    def longest(self) -> float:
        """Env steps of its longest episode."""
        return float(self.lengths.max(initial=0.0))

    def steps(self) -> Floats:
        """Env steps at the episodes' ends, counted from each session's begin."""
        return np.concatenate([np.cumsum(part) for part in np.split(self.lengths, self.sessions)])


def read_monitor(path: Path) -> Monitor:
    """One file. Raises UserError if it is none, or torn before its last line."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            header, columns = _header(file.readline(_MAX_LINE), file.readline(_MAX_LINE))
            if header is None or "r" not in columns or "l" not in columns:
                raise UserError(
                    f"{path}: is not a monitor file of Stable-Baselines3, which has a line of JSON after #, then the columns r,l,t"
                )
            rows, sessions = _rows(path, file, columns)
    except csv.Error as error:
        raise UserError(f"{path}: can't be read as CSV ({error})") from None
    values = np.array(rows, dtype=np.float64).reshape(-1, 3)
    env_id = header.get("env_id")
    fallen = np.flatnonzero(np.diff(values[:, 2]) < 0) + 1
    return Monitor(
        path=path,
        lengths=values[:, 0],
        returns=values[:, 1],
        times=values[:, 2],
        sessions=tuple(sorted({*sessions, *map(int, fallen)} - {0, len(rows)})),
        started=number(header.get("t_start")),
        env_id=env_id if isinstance(env_id, str) and env_id != "None" else None,
    )


def _header(first: str, second: str) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        header = json.loads(first.removeprefix("#")) if first.startswith("#") else None
        columns = next(csv.reader([second]), [])
    except (ValueError, RecursionError, csv.Error):
        return None, []
    return header if isinstance(header, dict) else None, columns


def _rows(path: Path, file: Any, columns: list[str]) -> tuple[list[tuple[float, float, float]], list[int]]:
    """Length, return and time of each episode, and the rows where a header appears again."""
    at, length, clock = columns.index("r"), columns.index("l"), columns.index("t") if "t" in columns else None
    rows: list[tuple[float, float, float]] = []
    sessions: list[int] = []
    torn = last = 0
    lines = _Lines(file)
    for cells in (reader := csv.reader(lines)):
        line, last = last + 3, reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if torn:
            break
        if cells[0].startswith("#") or cells == columns:
            sessions += [len(rows)] if cells != columns else []
            continue
        count = number(cells[length]) if len(cells) == len(columns) and lines.whole else None
        if count is None or count < 1:
            torn = line
        else:
            rows.append((count, float_or_nan(cells[at]), np.nan if clock is None else float_or_nan(cells[clock])))
    else:
        # a quotation mark that is not closed takes all that follows into its row
        if not torn or torn == last + 2:
            return rows, sessions
    raise UserError(f"{path}, line {torn}: is not a row of {','.join(columns)[:60]}; only the last line of a run may be incomplete")


class _Lines:
    """Lines of a file, and whether the last one has its end."""

    def __init__(self, file: Any) -> None:
        self._file, self.whole = file, True

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line: str = next(self._file)
        self.whole = line.endswith(("\n", "\r"))
        return line


def stepped_together(monitors: Sequence[Monitor]) -> tuple[list[list[Monitor]], str]:
    """Monitors of one folder by run, environments that are stepped together being one, and how that was seen."""
    groups: list[list[Monitor]] = []
    reasons: list[str] = []
    for monitor in monitors:
        for group in groups:
            reason = _apart(group[0], monitor)
            if reason is None:
                group.append(monitor)
                break
            reasons.append(reason)
        else:
            groups.append([monitor])
    return groups, reasons[0] if reasons else "they start together and are equally long"


def _apart(one: Monitor, other: Monitor) -> str | None:
    """Why two monitors can't be of environments stepped together; None if they can."""
    if one.started is not None and other.started is not None and abs(one.started - other.started) > _APART:
        return f"they start {_duration(abs(one.started - other.started))} apart (t_start)"
    # each may have an unfinished episode that is in no file
    if abs(one.total - other.total) > max(2 * max(one.longest, other.longest), 0.05 * max(one.total, other.total)):
        return f"their episodes add up to {one.total:,.0f} and {other.total:,.0f} env steps"
    if one.started is None or other.started is None or min(len(one.times), len(other.times)) < 3 or one.sessions or other.sessions:
        return None
    mine, theirs = one.steps(), other.steps()
    inside = (theirs >= mine[0]) & (theirs <= mine[-1]) & np.isfinite(other.times)
    known = np.isfinite(one.times)
    if not inside.any() or not known.any():
        return None
    clock = one.started + np.interp(theirs[inside], mine[known], one.times[known])
    later = other.started + other.times[inside] - clock
    offset = float(np.median(later))
    drift = float(np.median(np.abs(later - offset)))
    room = _CLOCKS * (float(np.median(np.diff(one.times[known]))) if known.sum() > 1 else 0.0) + 0.5
    if drift <= room and abs(offset) <= abs(one.started - other.started) + room:
        return None
    return f"the same env steps took them {_duration(max(drift, abs(offset)))} more or less"


def _duration(seconds: float) -> str:
    for name, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} seconds"

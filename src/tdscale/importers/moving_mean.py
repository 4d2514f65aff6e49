"""Returns that are means over the last episodes, turned back into the means of the episodes between two rows.

With w episodes in the window, m the logged mean and E the episodes that have ended, C(E), the sum of all returns so far, is known at
each row from the rows before: C(E) = n·m + C(E − n), n = min(w, E). What C grows by between two rows, divided by the episodes that
ended there, is their mean return. Between rows C is interpolated linearly, so the mean of any window equals the logged one: errors
don't shift the curve. A block's mean is placed at the mean of its episodes' ends.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdscale import amounts
from tdscale.errors import UserError
from tdscale.importers.logged_run import Columns, Floats, LoggedRun, MeanOf, Unreadable, number

_KEY = re.compile(r"(^|[/._])(ep_rew_mean|episode_return_mean|episode_reward_mean)$")
_USUAL_WINDOW = 100  # of Stable-Baselines3 and RLlib
_WINDOWS = ("stats_window_size", "_stats_window_size", "metrics_num_episodes_for_smoothing", "metrics_smoothing_episodes")
_LENGTHS = ("ep_len_mean", "episode_len_mean", "episode_length_mean")
_COUNTS = ("episodes", "num_episodes_lifetime", "episodes_total")
_LATE = 0.05  # of the env steps to the middle of a curve: a warning
_FEW = 8.5  # episodes between two rows: up to so many, an estimate shows how many
_BLOCK = 5  # episodes of a block at least, where their number is estimated
_ALONE, _MOVING = -0.33, -0.25  # autocorrelation of what rows differ by: below, noise of single rows; above, of a moving mean
_TELLING, _SEEN = 400, 1.5  # rows that must show a window, and by how many standard errors, or it is doubted


def is_mean(key: str) -> bool:
    """Whether programs call a mean over the last episodes so."""
    return bool(_KEY.search(key)) and not key.startswith("evaluation")


def companions(key: str) -> tuple[list[str], list[str]]:
    """Names that the mean length of the same episodes may have beside a return, and the count of episodes that have ended."""
    head = key[: len(key) - len(re.split(r"[/.]", key)[-1])]
    outer = head[: len(head) - len(re.split(r"[/.]", head[:-1])[-1]) - 1] if head else ""
    places = dict.fromkeys((head, outer, f"{outer}time/"))
    return [head + name for name in _LENGTHS], [place + name for name in _COUNTS for place in places]


def beside(key: str, there: Collection[str]) -> tuple[str | None, str | None]:
    """Those of `companions` that a log has."""
    lengths, counts = companions(key)
    return next((name for name in lengths if name in there), None), next((name for name in counts if name in there), None)


def preferred(key: str, there: Collection[str], asked: str | None) -> tuple[tuple[str, str], ...]:
    """The message where a log has moving means beside the return that is read."""
    means = sorted(name for name in there if is_mean(name))
    if asked is not None or is_mean(key) or not means:
        return ()
    return (("no-moving-mean", f"the return is read from {key}, not from {means[0]}, a mean over many episodes, which lags"),)


def mean_of(
    key: str, columns: Columns, config: Mapping[str, Any], there: Collection[str] = (), series: Callable[[str], Floats] | None = None
) -> MeanOf | None:
    """The mean that must be converted: None if it is not a moving mean. Raises UserError where `--return-window` is not a window.

    Args:
        key: the return's.
        columns, config: what the options and the run's configuration say.
        there: keys of the log.
        series: a key's values at the return's rows.
    """
    asked = None if columns.return_window is None else columns.return_window.removeprefix("=")
    if asked in (None, "none") and not is_mean(key):
        return None
    said = number(asked)
    if asked not in (None, "none") and (said is None or said < 1 or said != int(said)):
        raise UserError(
            f"--return-window {asked}: must be a count of episodes, e.g. {_USUAL_WINDOW}, or none for a return that is not a moving mean"
        )
    inside = [number(value) for name, value in config.items() if name.rpartition(".")[2] in _WINDOWS]
    known = [value for value in inside if value is not None and value >= 1]
    window = int(said or (known[0] if known else _USUAL_WINDOW))
    lengths, episodes = (None if name is None or series is None else series(name) for name in beside(key, there))
    return MeanOf(key=key, window=window, lengths=lengths, episodes=episodes, said=asked)


def turned_back(runs: Iterable[LoggedRun | Unreadable], columns: Columns) -> Iterator[LoggedRun | Unreadable]:
    """Runs whose returns are moving means with the means of the episodes between their rows instead, where that can be done.

    Raises:
        UserError: if `--episode-length` is not a length.
    """
    asked = None if columns.episode_length is None else amounts.number(columns.episode_length.removeprefix("="))
    if columns.episode_length is not None and (asked is None or asked < 1):
        raise UserError(f"--episode-length {columns.episode_length}: must be a number of env steps, e.g. 1000")
    waiting: dict[tuple[str, int], list[LoggedRun]] = defaultdict(list)
    for run in runs:
        mean = run.mean_of if isinstance(run, LoggedRun) else None
        if isinstance(run, Unreadable) or mean is None or mean.window == 1 or not np.isfinite(run.returns).any():
            yield run
        elif mean.said == "none":
            said = f"{mean.key} is taken as it is, because of --return-window none; if it is a mean over the last episodes, D is too large"
            yield replace(run, mean_of=None, of_log=(*run.of_log, ("moving-mean", said)))
        else:
            tidy = _tidy(run)
            if isinstance(tidy, Unreadable):
                yield tidy
            else:
                waiting[mean.key, mean.window].append(tidy)
    for (key, window), group in waiting.items():
        yield from _group(key, window, group, asked)


def _tidy(run: LoggedRun) -> LoggedRun | Unreadable:
    """Rows with a return alone, one for each env step."""
    known = np.flatnonzero(np.isfinite(run.returns) & np.isfinite(run.steps))
    known = known[np.argsort(run.steps[known], kind="stable")]
    at, first = np.unique(run.steps[known], return_index=True)
    rows = known[first]
    again = run.returns[known] != run.returns[rows][np.searchsorted(at, run.steps[known])]
    if again.any():
        step = run.steps[known][np.argmax(again)]
        return Unreadable(
            f"{run.name}: has several values of {run.mean_of.key if run.mean_of else 'the return'} at env step {step:,.0f}, which one "
            "run can't have; give --seed KEY to separate its runs"
        )
    ended = float(np.nanmax(run.steps)) if np.isfinite(run.steps).any() else 0.0
    begun = [float(run.steps[row]) for row, _ in run.begins if row < len(run.steps) and np.isfinite(run.steps[row])]
    starts = [(int(np.searchsorted(at, step)), step) for step in begun]
    return replace(run.take(rows), last_step=int(max(run.last_step, ended)), begins=tuple(starts))


@dataclass(frozen=True)
class _Ends:
    """Episodes that have ended at each row, and whether that is known or estimated."""

    counts: Floats
    exact: bool


def _group(key: str, window: int, runs: list[LoggedRun], length: float | None) -> Iterator[LoggedRun | Unreadable]:
    ends = [_ends(run, length) for run in runs]
    independent = float(np.mean([neighbours(run.returns) for run in runs]))
    unknown = [run for run, known in zip(runs, ends, strict=True) if known is None]
    overlap = [window / _rise(known.counts) for known in ends if known is not None and len(known.counts) > 1]
    rows = sum(len(run.returns) for run in runs)
    if not _is_said(runs[0]) and rows >= 30 and independent < _MOVING and (not overlap or np.median(overlap) >= 3):
        if independent > _ALONE:
            why = f"its rows do not show whether {key} is a mean over the last {window} episodes"
            yield from (Unreadable(f"{run.name}: {why}; {_ask(window)}") for run in runs)
            return
        said = (
            f"{key} is taken as it is: its rows scatter more than those of a mean over {window} episodes do (--return-window {window} says "
            "that it is one)"
        )
        yield from (replace(run, mean_of=None, of_log=(*run.of_log, ("no-moving-mean", said))) for run in runs)
        return
    known_ends = [known for known in ends if known is not None]
    doubt = None if _is_said(runs[0]) or length is not None or unknown else _doubtful(runs, known_ends, window)
    if doubt is not None:
        why = f"{key} is usually a mean over the last {window} episodes, {doubt}, else --return-window {window}"
        yield from (Unreadable(f"{run.name}: {why}") for run in runs)
        return
    if unknown:
        left = rows_of_window(unknown, window)
        if left is None:
            for run in unknown:
                why = f"{key} is a mean over the last {window} episodes, and the log does not show how long an episode is"
                yield Unreadable(f"{run.name}: {why}; give --episode-length N, or {_none()}")
            runs = [run for run, known in zip(runs, ends, strict=True) if known is not None]
            ends = [known for known in ends if known is not None]
        else:
            every = max(1, round(window / left))
            ends = [known or _Ends(every * np.arange(1.0, len(run.steps) + 1), True) for run, known in zip(runs, ends, strict=True)]
    done = [_undone(run, known, window) for run, known in zip(runs, ends, strict=True) if known is not None]
    if not done:
        return
    said = _said(key, window, [(run, known) for run, known in zip(runs, ends, strict=True) if known is not None])
    kept = sum(not whole for _, whole in done)
    if kept:
        said += f"; of {kept} of {len(done)} runs rows are missing, so each mean was only moved to the middle of its window"
    for run, _ in done:
        yield replace(run, of_log=(*run.of_log, ("moving-mean", said)))


def _is_said(run: LoggedRun) -> bool:
    """Whether the user says that it is a moving mean."""
    return run.mean_of is not None and run.mean_of.said is not None


def _ask(window: int) -> str:
    return f"give --return-window {window} if it is one, or {_none()}"


def _none() -> str:
    return "--return-window none if a row's value is a return that is averaged over no earlier rows"


def _rise(counts: Floats) -> float:
    return max(float(np.median(np.diff(counts, prepend=0.0))), 1e-9)


def _ends(run: LoggedRun, length: float | None) -> _Ends | None:
    mean = run.mean_of
    assert mean is not None
    counts = mean.episodes
    if counts is not None and np.isfinite(counts).all() and (np.diff(counts) >= 0).all() and counts[0] >= 1:
        return _Ends(counts, True)
    lengths = mean.lengths if length is None else np.full(len(run.steps), length)
    if lengths is None or not (lengths > 0).any():
        return None
    known = lengths > 0
    return _by_lengths(run.steps, np.interp(run.steps, run.steps[known], lengths[known]), mean.window)


def _by_lengths(steps: Floats, lengths: Floats, window: int) -> _Ends:
    """Episodes by the env steps that the window's episodes took: all of them so far, or w since the window's beginning."""
    early = steps <= window * lengths * (1 + 1e-6)
    whole = _whole(steps[early], lengths[early])
    first = steps[early] / lengths[early] if whole is None else whole
    # env steps of the unfinished episodes
    under_way = 0.0 if whole is None else max(float(np.median((steps[early] - whole * lengths[early])[len(whole) // 2 :])), 0.0)
    at, counts = np.zeros(len(steps) + 1), np.zeros(len(steps) + 1)
    at[1:] = np.maximum.accumulate(np.maximum(steps - under_way, 0.0))
    counts[1 : len(first) + 1] = first
    for row in range(len(first) + 1, len(steps) + 1):
        counts[row] = window + np.interp(at[row] - window * lengths[row - 1], at[:row], counts[:row])
    found = np.maximum.accumulate(counts[1:])
    regular = _regular(steps, found, whole)
    return _Ends(found, False) if regular is None else _Ends(regular, True)


def _whole(steps: Floats, lengths: Floats) -> Floats | None:
    """Episodes at rows whose mean length is that of all so far: a count by which the mean is a whole sum. None if there is none."""
    counts: list[int] = []
    for step, length in zip(steps, lengths, strict=True):
        most = int(step / length * (1 + 1e-6))
        for count in range(most, most // 2, -1):
            total = count * length
            # within 32 bits
            if abs(total - round(total)) <= 6.5e-8 * total + 1e-6 < 0.1:
                counts.append(count)
                break
        else:
            return None
    return np.array(counts, dtype=np.float64) if counts and (np.diff(counts, prepend=0) >= 0).all() and counts[0] else None


def _regular(steps: Floats, counts: Floats, whole: Floats | None) -> Floats | None:
    """Episodes where a row is logged whenever so many have ended; None where rows are not logged so."""
    rises = np.diff(whole, prepend=0.0) if whole is not None else np.empty(0)
    every = float(rises[0]) if rises.size >= 3 and (rises == rises[0]).all() else 0.0
    spacing = np.diff(steps)
    if not every and spacing.size >= 10 and np.ptp(spacing) > 0.02 * np.median(spacing):
        # rows at uneven env steps are logged at episodes' ends
        mean = float(counts[-1]) / len(counts)
        every = float(round(mean)) if 0.7 < mean < _FEW else 0.0
    regular = every * np.arange(1.0, len(steps) + 1)
    return regular if every and abs(regular[-1] - counts[-1]) < 0.3 * regular[-1] else None


def _undone(run: LoggedRun, ends: _Ends, window: int) -> tuple[LoggedRun, bool]:
    """A run of block means, and whether they could be computed; else its means are moved to the middles of their windows."""
    rows = _apart(ends.counts, 1.0 if ends.exact else float(min(_BLOCK, max(1, window // 4))))
    steps, returns, counts = run.steps[rows], run.returns[rows], ends.counts[rows]
    rises = np.diff(counts, prepend=0.0)
    length = np.diff(steps, prepend=0.0) / rises
    whole = bool(counts[0] <= window)
    if np.median(rises) >= window or not whole:
        at = steps - length * (np.minimum(window, counts) - 1) / 2
        values = returns
    else:
        at = steps - length * (rises - 1) / 2
        starts = sorted({0.0, *(float(ends.counts[row - 1]) for row, _ in run.begins if row > 0)})
        found = [_blocks(counts, returns, window, [0.0])]
        # whether a program that was resumed kept its window, or began a new one, shows in the scatter
        found += [_blocks(counts, returns, window, starts)] if len(starts) > 1 else []
        values = min(found, key=_scatter)
    at = np.maximum(np.rint(at), 0)
    at, first = np.unique(at, return_index=True)
    return replace(run, steps=at, returns=values[first], mean_of=None, begins=()), whole or bool(np.median(rises) >= window)


def _apart(counts: Floats, least: float) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows between which episodes ended."""
    rows, last = [], 0.0
    for row, count in enumerate(counts):
        if count - last >= least - 1e-9:
            rows.append(row)
            last = count
    return np.array(rows or [len(counts) - 1], dtype=np.intp)


def _blocks(counts: Floats, means: Floats, window: int, starts: list[float]) -> Floats:
    """The mean of the episodes between two rows; at each of `starts` the window was empty."""
    at, sums = np.zeros(len(counts) + 1), np.zeros(len(counts) + 1)
    at[1:] = counts
    since = np.array(starts)[np.searchsorted(starts, counts, side="left") - 1]
    inside = np.minimum(window, counts - since)
    for row, (count, mean, n) in enumerate(zip(counts, means, inside, strict=True), 1):
        sums[row] = n * mean + np.interp(count - n, at[:row], sums[:row])
    return np.diff(sums) / np.diff(at)


def _scatter(values: Floats) -> float:
    return float(np.mean(np.abs(np.diff(values, 2)))) if len(values) > 2 else 0.0


def _said(key: str, window: int, runs: list[tuple[LoggedRun, _Ends]]) -> str:
    lengths = [float(run.steps[-1] / ends.counts[-1]) for run, ends in runs]
    middles = [_middle(run) for run, _ in runs]
    length = float(np.median(lengths))
    late = (window - 1) / 2 * length
    typical = float(np.median(middles))
    share = f", {late / typical:.0%} of the env steps that half of a curve's rise takes" if late > _LATE * typical > 0 else ""
    return (
        f"{key} is a mean over the last {window} episodes of about {_short(length)} env steps: read off it, D would be up to "
        f"{_short(late)} env steps too large{share}; it is converted into means of the episodes between two rows"
    )


def _middle(run: LoggedRun) -> float:
    """Env step at which a curve has risen by half."""
    low, high = float(run.returns[0]), float(np.max(run.returns))
    return float(run.steps[int(np.argmax(run.returns >= (low + high) / 2))])


def _short(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}"


def _doubtful(runs: list[LoggedRun], ends: list[_Ends], window: int) -> str | None:
    """Why a window may be another one: a clause; None if the rows show it, or can't show it."""
    rises = np.concatenate([np.diff(known.counts) for known in ends])
    every = float(np.median(rises)) if rises.size else 0.0
    if not 0 < every < window / 2:
        return None
    most = int(4 * window / every) + 1
    rows = rows_of_window(runs, most)
    if rows is None:
        here = [pair for at, pair in leaving(runs, most).items() if abs(at - window / every) <= 1]
        even = all(known.exact for known in ends) and np.ptp(rises) == 0
        if not even or not here or max(count for _, count in here) < _TELLING or max(clear for clear, _ in here) >= _SEEN:
            return None
        return "but its rows don't scatter so; give --return-window N, as the program was set"
    if abs(rows - window / every) <= max(1.0, 0.1 * rows):
        return None
    near = [n for n in range(10, 4 * window + 1, 10) if abs(n / every - rows) <= 0.6]
    other = min(near, key=lambda n: abs(n / every - rows)) if near else round(rows * every)
    return f"but its rows scatter as those of one over {other} do; give --return-window {other} if so"


_FOUND = 4.0  # standard errors by which a window shows in the rows


def _local(values: Floats) -> Floats:
    """Medians of the values within 4 rows."""
    return np.array([np.median(values[max(0, i - 4) : i + 5]) for i in range(len(values))])


def neighbours(returns: Floats) -> float:
    """Autocorrelation of what neighbouring rows differ by, beyond the trend: -1/2 where each row has noise of its own."""
    rises = np.diff(returns)
    if rises.size < 4:
        return 0.0
    rises = rises - _local(rises)
    scale = _local(np.abs(rises))
    scaled = np.clip(rises / np.where(scale > 0, scale, np.inf), -3, 3)
    power = float(scaled @ scaled)
    return float(scaled[1:] @ scaled[:-1]) / power if power > 0 else 0.0


def leaving(runs: list[LoggedRun], most: int) -> dict[float, tuple[float, int]]:
    """How clearly episodes leave the window after so many rows: there the mean moves by their noise, turned round.

    Returns:
        By rows, in halves: standard errors, and how many rows they rest on.
    """
    series = []
    for run in runs:
        bends = np.diff(run.returns, 2)
        scale = _local(np.abs(bends)) if bends.size else bends
        scaled = np.clip(bends / np.where(scale > 0, scale, np.inf), -3, 3)
        power = float(np.mean(scaled**2)) if scaled.size else 0.0
        series += [scaled / np.sqrt(power)] if power > 0 else []
    products, counts = np.zeros(most + 3), np.zeros(most + 3)
    for bends in series:
        for lag in range(1, min(most + 3, len(bends) - 8)):
            products[lag] += float(bends[lag:] @ bends[: len(bends) - lag])
            counts[lag] += len(bends) - lag
    shown: dict[float, tuple[float, int]] = {}
    for lag in range(2, most + 1):
        if counts[lag + 2]:
            # second differences of a moving mean have these correlations: +1/4, -1/2, +1/4 about the window's length
            before, at, after, later = products[lag - 1 : lag + 3]
            shown[lag] = ((before + after) / 2 - at) / np.sqrt(1.5 * counts[lag]), int(counts[lag])
            # or, where episodes leave it between two rows: +1/8, -1/8, -1/8, +1/8
            shown[lag + 0.5] = (before + later - at - after) / np.sqrt(4 * counts[lag]), int(counts[lag])
    return shown


def rows_of_window(runs: list[LoggedRun], most: int) -> float | None:
    """After how many rows episodes leave the window; None if that does not show."""
    shown = {rows: clear for rows, (clear, _) in leaving(runs, most).items()}
    if not shown:
        return None
    best = max(shown, key=lambda lag: shown[lag])
    others = max((value for lag, value in shown.items() if abs(lag - best) > 1.5), default=0.0)
    return best if shown[best] >= _FOUND and others < 0.6 * shown[best] else None

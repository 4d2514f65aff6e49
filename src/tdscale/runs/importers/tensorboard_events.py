"""TensorBoard event files, CleanRL's layout among them: a folder with event files is a run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdscale.errors import UserError
from tdscale.runs.importers.raw import Columns, RawRun, series_key
from tdscale.runs.importers.walk import files_below, run_name

STEP = "global_step"
USUAL_RETURNS = (
    "charts/episodic_return",
    "rollout/ep_rew_mean",
    "eval/mean_reward",
    "episode/return",
    "episodic_return",
    "episode_return",
    "return",
)
_TEXT = "/text_summary"
_ROW = re.compile(r"^\|([^|]+)\|(.*)\|\s*$")
_CLEANRL = re.compile(r"(?P<env_id>.+)__(?P<exp_name>.+)__(?P<seed>\d{1,18})__(?P<start_time>\d{9,11})")
_MAX_TEXT = 1 << 20


def read_tensorboard(source: Path, columns: Columns) -> Iterator[RawRun]:
    """The runs below a folder, or of one event file.

    Hyperparameters are those of a text summary that is a table of two columns, as CleanRL writes it, and of CleanRL's folder names.

    Raises:
        UserError: if TensorBoard is not installed, or no run has the return's tag.
    """
    loader = _loader()
    if columns.env_step not in (None, STEP, "step"):
        raise UserError(
            f'--env-step {columns.env_step}: TensorBoard keeps one step beside each value, which is taken; it is called "{STEP}"'
        )
    folders: dict[Path, list[Path]] = {}
    for path in files_below(source, lambda name: "tfevents" in name):
        folders.setdefault(path.parent, []).append(path)
    without: list[tuple[str, list[str]]] = []
    used: list[str] = []
    for folder, paths in folders.items():
        name = run_name(folder, source)
        tags, config, remarks = _series(loader, paths, columns)
        match = _CLEANRL.fullmatch(folder.resolve().name)
        if match:
            config = match.groupdict() | config
        usual = (columns.returns,) if columns.returns is not None else USUAL_RETURNS
        tag = next((tag for tag in usual if tag in tags), None)
        if tag is None:
            without.append((name, sorted(tags)))
            continue
        if used and tag not in used:
            said = f"its return is read from {tag}, that of others from {used[0]}; --return TAG takes one of them"
            remarks.append(("several-returns", said))
        used.append(tag)
        rows = np.array(tags[tag], dtype=np.float64).reshape(-1, 2)
        yield RawRun(name=name, config=config, steps=rows[:, 0], returns=rows[:, 1], remarks=tuple(remarks))
    if used:
        for name, _ in without:
            yield RawRun(name=name, config={}, steps=np.empty(0), returns=np.empty(0))
    else:
        name, names = max(without, key=lambda pair: len(pair[1]), default=(str(source), []))
        series_key("returns", columns.returns, names, USUAL_RETURNS, name)


def _loader() -> Any:
    try:
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    except ImportError:
        raise UserError("reading TensorBoard's files needs its package; pip install 'tdscale[tensorboard]'") from None
    return LegacyEventFileLoader


def _series(
    loader: Any, paths: list[Path], columns: Columns
) -> tuple[dict[str, list[tuple[int, float]]], dict[str, Any], list[tuple[str, str]]]:
    """(step, value) of the tags that may be the return, other tags empty; the configuration; remarks."""
    wanted = {columns.returns} if columns.returns is not None else set(USUAL_RETURNS)
    tags: dict[str, list[tuple[int, float]]] = {}
    config: dict[str, Any] = {}
    remarks = []
    for path in sorted(paths):
        rows = 0
        try:
            for event in loader(str(path)).Load():
                rows += 1
                for value in event.summary.value:
                    if value.tag.endswith(_TEXT):
                        config |= _table(value)
                    elif value.HasField("simple_value") or (value.HasField("tensor") and _is_scalar(value.tensor)):
                        series = tags.setdefault(value.tag, [])
                        if value.tag in wanted:
                            series.append((event.step, _scalar(value)))
        except Exception as error:  # protobuf and the reader raise what they like at bytes that are no event
            remarks.append(
                ("damaged-file", f"{path.name} is damaged after {rows} events ({type(error).__name__}); what stands before is taken")
            )
        else:
            if rows == 0:
                remarks.append(("damaged-file", f"{path.name} holds no event"))
    return tags, config, remarks


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

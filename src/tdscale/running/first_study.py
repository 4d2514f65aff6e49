"""A study to begin with, of a task that nobody ran: an adaptive sweep over what the published laws leave open."""

import json
import math
import re

from tdscale.analysis.estimate import Estimate
from tdscale.errors import UserError
from tdscale.paper import PUBLISHED, FirstSettings, new_task
from tdscale.study import Study, parse_study

FIRST = 9  # runs of the first round: three (B, η) at each of three σ
_LONGEST = 20_000_000  # env steps of a run
_RATES = (1.0, 2.0, 5.0)


def first_study(
    task: str,
    settings: FirstSettings,
    *,
    env_steps: int | None = None,
    suite: str | None = None,
    low: float | None = None,
    high: float | None = None,
) -> str:
    """The text of a study file with `design = "adaptive"`: σ about the one to begin with, B and η over their 80 % ranges.

    Args:
        task: its name.
        settings: of `first_settings`.
        env_steps: of a run, at most; None: the upper end of the D that a new task takes at the least σ.
        suite: "gymnasium" or "dm_control"; None: by the task's name.
        low, high: returns that count as 0 and 1000; None: 0, and 1000 on DeepMind Control.

    Raises:
        UserError: where the return that counts as 1000 is not known, or the study can't be.
    """
    suite = suite or ("gymnasium" if re.search(r"-v\d+$|/", task) else "dm_control")
    if high is None:
        if suite != "dm_control":
            raise UserError(f"--high: what return of {task} counts as 1000 is not known; name a good agent's, e.g. --high 5000")
        high = 1000.0
    published = PUBLISHED[settings.laws]
    swept = [settings.utd / 2, settings.utd, settings.utd * 2]
    batches = [new_task(published, "batch_size", utd, settings.tasks) for utd in swept]
    rates = [new_task(published, "learning_rate", utd, settings.tasks) for utd in swept]
    longest = env_steps or _rounded(new_task(published, "data", swept[0], settings.tasks).high)
    text = f"""# A study to begin with on {" ".join(task.split())}. Its candidates span the 80 % ranges that the published laws
# {settings.laws} ({settings.algorithm}) leave a new task, after {", ".join(settings.tasks)}.
#
#     tdscale run FILE --dry-run    says what it would take
#     tdscale run FILE              runs it, in rounds

name = {_quoted(f"{task}-{settings.algorithm}".replace("/", "-"))}
algorithm = {_quoted(settings.algorithm)}
return_thresholds = [200, 300, 400, 500, 650, 800]    # normalised: low is 0, high is 1000
data_cost = {_number(settings.data_cost)}    # δ, FLOPs that one env step is worth, as published

[tasks.{_quoted(task)}]
suite = {_quoted(suite)}
low = {low or 0.0:g}
high = {high:g}

[sweep]
design = "adaptive"
utd = {_listed(swept)}
batch_size = {_listed(_powers(min(e.low for e in batches), max(e.high for e in batches)))}
learning_rate = {_listed(_steps(rates))}
seeds = 3

[scaling]
utd = {_listed([settings.utd * 2.0**power for power in range(-2, 3)])}
seeds = 5

[limits]
env_steps = {longest}
"""
    parse_study(text)
    return text


def as_study(text: str) -> Study:
    """The study that such a text is."""
    return parse_study(text)


def _quoted(text: str) -> str:
    """Text as TOML's basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _rounded(value: float) -> int:
    """Up to two digits, within what a run can be."""
    unit = int(10 ** max(math.floor(math.log10(value)) - 1, 0))
    return min(math.ceil(value / unit) * unit, _LONGEST)


def _powers(low: float, high: float) -> list[float]:
    """Powers of two from about `low` to about `high`, at least three."""
    first, last = round(math.log2(max(low, 8.0))), round(math.log2(high))
    return [2.0**power for power in range(first, max(last, first + 2) + 1)]


def _steps(ranges: list[Estimate]) -> list[float]:
    """1, 2, 5, 10 … from about the least to about the largest learning rate, below 0.1."""
    low, high = min(one.low for one in ranges), min(max(one.high for one in ranges), 0.05)
    every = [float(f"{digit * 10.0**power:.1g}") for power in range(-7, 0) for digit in _RATES]
    return [rate for rate in every if low / 1.3 <= rate <= high * 1.3]


def _listed(values: list[float]) -> str:
    return "[" + ", ".join(map(_number, values)) + "]"


def _number(value: float) -> str:
    return re.sub(r"e([-+])0*", lambda found: "e" + found[1].replace("+", ""), f"{value:g}")

"""N of each of a study's sizes, as an axis of its laws (METHOD.md, section 7)."""

from collections.abc import Iterable, Mapping

import numpy as np

from tdscale.runs.types import Cell


def model_sizes(cells: Iterable[Cell]) -> Mapping[str, float]:
    """N of each size by its name, rising: the geometric mean over tasks, as a network's first layer goes with a task's observations.

    Empty where the cells have no sizes, or one alone, or where N of one is not known: laws then know nothing of N.
    """
    known: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        if cell.size:
            by_task = known.setdefault(cell.size, {})
            by_task.setdefault(cell.spec.task, [])
            if cell.model_size is not None:
                by_task[cell.spec.task].append(float(np.log(cell.model_size)))
    found: dict[str, float] = {}
    for size, by_task in known.items():
        tasks = [float(np.mean(logs)) for _, logs in sorted(by_task.items()) if logs]
        if not tasks:
            return {}
        found[size] = float(np.exp(np.mean(tasks)))
    return {} if len(found) < 2 else dict(sorted(found.items(), key=lambda item: (item[1], item[0])))

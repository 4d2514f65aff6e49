"""`Sizes`: the networks of a study as an axis of its laws, ordered by N."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tdscale.analysis.estimate import round_digits
from tdscale.errors import UserError
from tdscale.runs.types import Cell


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Names and N of the sizes, N rising.

    Attributes:
        names: as the study has them.
        model_size: N, parameters of the critics that are trained: the geometric mean over tasks, whose observations differ in size.
    """

    names: tuple[str, ...]
    model_size: tuple[float, ...]

    def of_cell(self, cell: Cell) -> float:
        """N of a cell's size. Raises KeyError for a size that is none of these."""
        return dict(zip(self.names, self.model_size, strict=True))[cell.size]

    def nearest(self, model_size: float) -> str:
        """The name of the size next to an N."""
        return self.names[int(np.argmin(np.abs(np.log(np.array(self.model_size) / model_size))))]


def without_size(cells: Sequence[Cell]) -> list[str]:
    """The sizes of which no cell tells N."""
    return sorted({cell.size for cell in cells if cell.size} - {cell.size for cell in cells if cell.model_size is not None})


def find_sizes(cells: Sequence[Cell]) -> Sizes | None:
    """The sizes of cells; None where there are not two.

    Raises:
        UserError: where the N of a size is not known, or two sizes have one N.
    """
    names = sorted({cell.size for cell in cells if cell.size})
    if len(names) < 2:
        return None
    found = {}
    unknown = without_size(cells)
    if unknown:
        raise UserError(
            f"the N of size {unknown[0]!r} is not known: its runs recorded none; add model_size = …, its critics' parameters, to it in "
            "[sizes] of study.toml"
        )
    for name in names:
        known = {cell.spec.task: cell.model_size for cell in cells if cell.size == name and cell.model_size is not None}
        found[name] = round_digits(float(np.exp(np.mean(np.log(list(known.values()))))), 12)
    ordered = sorted(found, key=lambda name: found[name])
    for one, other in pairwise(ordered):
        if found[other] < 1.001 * found[one]:
            raise UserError(f"sizes {one!r} and {other!r} have one N, {found[one]:.6g}, so that no law can tell them apart; leave one out")
    return Sizes(names=tuple(ordered), model_size=tuple(found[name] for name in ordered))

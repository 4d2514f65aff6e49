"""`Method`: the steps of a fit in which methods differ. `DEFAULT` is tdscale's own, `tdscale.paper.PAPER` that of the paper's authors.

`fit.py` puts the steps together.
"""

from collections.abc import Sequence
from typing import ClassVar

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import BudgetRule
from tdscale.analysis.compute import Accounting
from tdscale.analysis.crossings import CrossingRule, Crossings
from tdscale.analysis.data_law import DataPoints, fit_data_laws
from tdscale.analysis.fitted_laws import DataLaw, PowerLaw
from tdscale.analysis.hyperparameters import SweepLaws, fit_surface_laws
from tdscale.analysis.size_fit import fit_size_laws
from tdscale.analysis.size_law import SizeLaw
from tdscale.runs.types import Cell, RunWarning

# what the name of a method with offsets ends with
OFFSETS = "-offsets"


class Method:
    """How a fit goes from cells to laws: tdscale's own way, whose steps another method overrides.

    Attributes:
        name: by which it is asked for, and that laws.json holds.
        title: for people.
        crossing: how a cell's D_J is read off its curves.
        budget: how the cheapest σ of a threshold is found, and which thresholds the law σ*(F) is fitted to.
        accounting: how compute is counted, with N as the runs recorded it where a study gives none; None for what the study asks.
        offsets: whether B*(σ) and η*(σ) of a sweep are B_min + β·σ^(−α) (equations D.2, D.3) in place of β·σ^(−α).
        follows_published: whether B*(σ) and η*(σ) are the published laws that a study names, where it has runs of stage 2 and
            no sweep.
        points_as_run: whether a figure's points show C at the B that was run, not at B*(σ).
        any_aggregate: whether another one than the mean may be taken over the seeds of a cell.
        knows_sizes: whether there are laws with model size.
        no_new_task: why the D of a task with runs at one σ only can't be predicted; empty where it can.
    """

    name: ClassVar[str] = "default"
    title: ClassVar[str] = "default"
    crossing: ClassVar[CrossingRule] = CrossingRule()
    budget: ClassVar[BudgetRule] = BudgetRule()
    accounting: ClassVar[Accounting | None] = None
    offsets: ClassVar[bool] = False
    follows_published: ClassVar[bool] = False
    points_as_run: ClassVar[bool] = True
    any_aggregate: ClassVar[bool] = True
    knows_sizes: ClassVar[bool] = True
    no_new_task: ClassVar[str] = ""

    def sweep_laws(self, cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...], seed: int) -> SweepLaws:
        """B*(σ) and η*(σ) from a sweep's cells and their crossings; None, with a warning, where there is no slope to fit."""
        return fit_surface_laws(cells, crossings, tasks, seed, offsets=self.offsets)

    def data_laws(self, points: DataPoints, seed: int) -> tuple[list[DataLaw], list[RunWarning]]:
        """One law D_J(σ) per threshold. A threshold whose law can't be identified is left out, with a warning that says why."""
        return fit_data_laws(points, seed)

    def size_laws(self, points: DataPoints, seed: int) -> tuple[list[SizeLaw], list[RunWarning]]:
        """One law D_J(σ, N) per threshold, of points with `model_size`; likewise."""
        return fit_size_laws(points, seed)

    def domain_batch_size(self, law: PowerLaw, utd: Floats) -> Floats:
        """B of the domain at σ of shape (n,): shape (n,). Here the geometric mean over tasks."""
        return law.predict(utd)


class MethodWithOffsets(Method):
    """The same with offsets of B*(σ) and η*(σ)."""

    name = f"default{OFFSETS}"
    title = "default, B* and η* with offsets"
    offsets = True


DEFAULT = Method()

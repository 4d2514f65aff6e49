"""What the report says of model size: tables and sentences of the laws over σ and N, and at which size all else stands."""

import numpy as np
import pandas as pd

from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_family import SizeFamily
from tdscale.analysis.views import at_size
from tdscale.planning.sizes import Paths, optimal_paths
from tdscale.report.style import plain_utd
from tdscale.report.tables import DOMAIN, Table

_SYMBOLS = {"d_min": "D_min", "a": "a", "alpha": "α", "b": "b", "beta": "β"}


def named_size(laws: ScalingLaws) -> str:
    """The size at which the laws stand, "N = 9.10e6 (512)"; empty for laws without sizes."""
    if laws.sizes is None or laws.model_size is None:
        return ""
    name = laws.sizes.ran(laws.model_size)
    return f"N = {short(laws.model_size)}" + (f" ({name})" if name is not None else "")


def at_which_size(laws: ScalingLaws) -> str:
    """A sentence for what is of σ alone; empty for laws without sizes."""
    where = named_size(laws)
    return f"At {where}." if where else ""


def paths_of(laws: ScalingLaws) -> Paths | None:
    """σ*(F) and N*(F), where δ and compute are known."""
    return None if laws.sizes is None or laws.data_cost is None or not laws.data else optimal_paths(laws, laws.data_cost)


def size_sentences(laws: ScalingLaws, paths: Paths | None) -> list[str]:
    """The answers on model size."""
    family = laws.sizes
    if family is None:
        return []
    sizes = family.sizes
    sentences = [
        f"Networks of {len(sizes.names)} sizes were run, N = {short(sizes.model_size[0])} ({sizes.names[0]}) to "
        f"{short(sizes.model_size[-1])} ({sizes.names[-1]}) parameters of the critics."
    ]
    if family.data:
        law = family.data[-1]
        (low, high), (small, large) = (float(law.utd.min()), float(law.utd.max())), law.size_range
        corners = [
            f"{at_size(laws, size, with_budgets=False).data[-1].estimate(utd)} at σ = {plain_utd(utd)}, N = {short(size)}"
            for utd, size in ((low, small), (high, small), (low, large), (high, large))
        ]
        sentences.append(f"To reach return {law.threshold:.4g} takes {'; '.join(corners)} (env steps).")
        if not law.identified:
            sentences.append(f"The parameters of D_J(σ, N) are not all identified at J = {law.threshold:.4g}; the warnings say which.")
    sentences += [_size_sentence(one) for one in (family.batch_size, family.learning_rate) if one is not None and one.source == "sweep"]
    if paths is not None:
        sentences += [f"{text[:1].upper()}{text[1:]}." for text in paths.told()]
    sentences.append(f"What follows of σ alone holds at {named_size(laws)}; the section “Model size” has the others.")
    return sentences


def _size_sentence(law: PowerLaw) -> str:
    name = "batch size" if law.quantity == "batch_size" else "learning rate"
    if law.size is None:
        return f"How the best {name} changes with N is not known: the law is the same at every N."
    slope = law.size.slope
    if not law.size.identified:
        return (
            f"The best {name} goes as N to the power {slope}: the interval holds 0, so that the runs don’t tell whether it changes with N."
        )
    return (
        f"The best {name} {'rises' if slope.value > 0 else 'falls'} with N, as N to the power {slope} at N = {short(law.size.reference)}."
    )


def size_formulas(laws: ScalingLaws) -> list[str]:
    """The laws over σ and N as text."""
    family = laws.sizes
    if family is None:
        return []
    return [law.formula() for law in family.data[-1:]] + [
        law.formula() for law in (family.batch_size, family.learning_rate) if law is not None and law.size is not None
    ]


def size_tables(laws: ScalingLaws, paths: Paths | None) -> list[Table]:
    """Parameters of the laws over σ and N, and D at every σ and N that was run. Empty without sizes."""
    family = laws.sizes
    if family is None:
        return []
    return [table for table in (_parameters(family, paths), _data(laws, family)) if not table.frame.empty]


def _parameters(family: SizeFamily, paths: Paths | None) -> Table:
    rows: list[tuple[str, float | None, str, str, Estimate, bool]] = []
    for symbol, law in (("B*(σ, N)", family.batch_size), ("η*(σ, N)", family.learning_rate)):
        if law is None or law.size is None:
            continue
        rows.append((symbol, None, DOMAIN, "exponent of σ", law.exponent_estimate, law.identified))
        rows.append((symbol, None, DOMAIN, f"slope in log N at N = {short(law.size.reference)}", law.size.slope, law.size.identified))
        rows += [
            (symbol, None, task, f"value at σ = 1, N = {short(law.size.reference)}", law.coefficient_estimate(task), True)
            for task in law.tasks
        ]
    for one in family.data:
        rows += [
            ("D_J(σ, N)", one.threshold, task or DOMAIN, _SYMBOLS[name], value, one.identified)
            for task in (None, *one.tasks)
            for name, value in one.parameters(task).items()
            if task is None or name == "d_min"
        ]
    if paths is not None:
        rows.append(("σ*(F)", None, DOMAIN, "exponent", paths.utd_exponent, True))
        rows.append(("N*(F)", None, DOMAIN, "exponent", paths.size_exponent, True))
    rows = [row for row in rows if np.isfinite(row[4].value)]
    frame = pd.DataFrame(
        [(law, j, task, name, e.value, e.low, e.high, e.level, known) for law, j, task, name, e, known in rows],
        columns=["law", "J", "task", "parameter", "value", "low", "high", "level", "identified"],
    )
    shown = pd.DataFrame(
        [
            (law, "" if j is None else f"{j:.4g}", task, name, str(e), "" if known else "not identified")
            for law, j, task, name, e, known in rows
        ],
        columns=["law", "J", "task", "parameter", "value [interval]", ""],
    )
    return Table(
        name="size_laws",
        title="Parameters of the laws over σ and N",
        note="D_J(σ, N) = D_min·(1 + (a/σ)^α + (b/N)^β), the sum form; predictions combine it with other forms. Where D_J is not "
        "identified at a J, the runs do not settle every one of its parameters there.",
        frame=frame,
        shown=shown,
    )


def _data(laws: ScalingLaws, family: SizeFamily) -> Table:
    rows: list[dict[str, object]] = []
    shown: list[dict[str, str]] = []
    names = family.sizes.names
    for name, size in zip(names, family.sizes.model_size, strict=True):
        seen = at_size(laws, size, with_budgets=False)
        for law, whole in zip(seen.data, family.data, strict=True):
            utds = np.unique(whole.utd)
            low, high = whole.size_range
            texts = {"size": name, "N": short(size)}
            for utd in map(float, utds):
                e = law.estimate(utd)
                beyond = max(low / size, size / high, 1.0)
                rows.append(
                    {"J": law.threshold, "size": name, "N": size, "σ": utd, "env_steps": e.value, "low": e.low, "high": e.high}
                    | {"compute": float(seen.compute_for(np.array([utd]), np.array([e.value]))[0]), "beyond_size": beyond}
                )
                texts[f"σ = {plain_utd(utd)}"] = str(e)
            if law is seen.data[-1]:
                shown.append(texts)
    top = f"J = {family.data[-1].threshold:.4g}" if family.data else ""
    return Table(
        name="sizes",
        title="Data until the highest threshold by size, D_J(σ, N)",
        note=f"Env steps until {top} by the law, mean over tasks, with 80 % intervals. The CSV has every J, and C.",
        frame=pd.DataFrame(rows),
        shown=pd.DataFrame(shown),
    )

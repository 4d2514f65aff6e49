"""Plans over σ and N both: which network, and how a budget is shared between updates and parameters (docs/equations.md, "Model size")."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import fit_line, minimum_on_grid
from tdscale.analysis.estimate import Estimate, short
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import at_size
from tdscale.errors import UserError
from tdscale.planning.plan import BySize, Plan
from tdscale.planning.tradeoff import cheapest, distance_price, tradeoff

# Of networks that are as good to this share the one that was run is named
_AS_GOOD = 0.01
# N between which the paths along the budget are sought, for each e-fold
_PER_EFOLD = 2


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that can be built.

    Attributes:
        name: the study's name of its size, or what makes it, for example "critic_width = 384".
        model_size: N, parameters of the critics.
        ran: whether the study ran it.
    """

    name: str
    model_size: float
    ran: bool = True


def networks_run(laws: ScalingLaws) -> list[Network]:
    """The sizes of a study, N rising; empty without sizes."""
    family = laws.sizes
    if family is None:
        return []
    named = zip(family.sizes.names, family.sizes.model_size, strict=True)
    return [Network(name=name, model_size=model_size) for name, model_size in named]


def plan_sizes(
    laws: ScalingLaws,
    ask: Callable[[ScalingLaws], Plan],
    networks: Sequence[Network] | None = None,
    *,
    most: float | None = None,
    size: str | None = None,
) -> Plan:
    """P1, P2 or P3 over σ, N, B and η: the answer at the network that serves the question best.

    Of networks whose answers differ by less than 1 % the one that was run is named, else the smaller one. A network outside the N that
    were run must save 10 % for each doubling of its distance from them.

    Args:
        laws: of a study with sizes; without, `ask` is asked of them as they are.
        ask: the plan of laws at one N.
        networks: those to choose from; None for those that were run.
        most: the largest N that may be named.
        size: the name of the one network to ask about; None to choose.

    Raises:
        UserError: if no network is left to choose from, or as `ask` does.
    """
    family = laws.sizes
    if family is None:
        if most is not None or size is not None:
            raise UserError(f"--{'size' if size else 'max-model-size'}: this study has no sizes ([sizes] in study.toml)")
        return ask(laws)
    every = list(networks if networks is not None else networks_run(laws))
    if size is not None:
        chosen = [network for network in every if network.name == size]
        if not chosen:
            raise UserError(f"--size: there is no {size!r}; there is {', '.join(family.sizes.names)}")
        every = chosen
    if most is not None:
        kept = [network for network in every if network.model_size <= most * (1 + 1e-9)]
        if not kept:
            smallest = min(every, key=lambda network: network.model_size)
            raise UserError(
                f"--max-model-size: {short(most)} leaves no network; the smallest is {smallest.name}, N = {short(smallest.model_size)}"
            )
        every = kept
    plans = []
    for network in every:
        plan = ask(at_size(laws, network.model_size))
        plans.append((network, replace(plan, model_size=network.model_size, size=network.name)))
    paths = _paths_of(laws, plans) if len(plans) > 1 else None
    best = _best(plans, family.sizes.model_size, paths)
    if best is None:
        return _nothing(plans)
    network, plan = best
    notes = [*plan.notes, *([] if paths is None else paths.told())]
    low, high = family.sizes.model_size[0], family.sizes.model_size[-1]
    outside = max(network.model_size / high, low / network.model_size)
    if outside > 1.05:
        notes.append(f"N = {short(network.model_size)} lies outside the N that were run, by a factor of {outside:.2g}: this extrapolates")
    if not network.ran:
        notes.append(f"a network of this size was not run; {network.name} has about this N")
    rows = tuple(
        BySize(
            size=other.name,
            model_size=other.model_size,
            feasible=found.feasible,
            threshold=found.threshold,
            utd=found.utd,
            batch_size=found.batch_size,
            data=found.data,
            compute=found.compute,
            budget=found.budget,
        )
        for other, found in plans
        if other.ran or other is network
    )
    return replace(plan, notes=tuple(notes), by_size=rows if len(rows) > 1 else ())


def _worth(plan: Plan) -> tuple[float, float]:
    """What is to be least, as a logarithm: D, C or, for a budget, 1/J; of the same J the least F."""
    if plan.problem == "budget":
        assert plan.budget is not None
        return -np.inf if plan.threshold is None else -float(np.log(plan.threshold)), float(np.log(plan.budget.value))
    value = plan.compute if plan.problem == "data" else plan.data
    if value is None:  # compute is not known: the least data
        value = plan.data
    assert value is not None
    return float(np.log(max(value.value, 1e-300))), 0.0


def _paths_of(laws: ScalingLaws, plans: Sequence[tuple[Network, Plan]]) -> "Paths | None":
    """Where the question is a total budget, how it is best shared along the way."""
    plan = plans[0][1]
    return optimal_paths(laws, plan.data_cost, task=plan.task) if plan.problem == "budget" and plan.data_cost is not None else None


def _best(plans: Sequence[tuple[Network, Plan]], ran: Sequence[float], paths: "Paths | None") -> tuple[Network, Plan] | None:
    feasible = [(network, plan) for network, plan in plans if plan.feasible]
    if not feasible:
        return None
    beyond = [pair for pair in feasible if pair[1].problem == "budget" and pair[1].threshold is None]
    if beyond and paths is not None and (wanted := paths.size_for(beyond[0][1].limit)) is not None:
        # no return tells them apart: the law N*(F) does
        return min(beyond, key=lambda pair: (round(abs(np.log(pair[0].model_size / wanted)), 2), not pair[0].ran))
    known = all(plan.compute is not None for _, plan in feasible)
    if not known and feasible[0][1].problem == "data":
        return feasible[0]  # the smallest network stands for the least compute
    far = [float(np.log(distance_price(network.model_size, (ran[0] / 1.01, ran[-1] * 1.01)))) for network, _ in feasible]
    costs = [(worth + dear, then + dear) for (worth, then), dear in zip((_worth(plan) for _, plan in feasible), far, strict=True)]
    least = min(worth for worth, _ in costs)
    alike = [(pair, then) for pair, (worth, then) in zip(feasible, costs, strict=True) if worth <= least + _AS_GOOD]
    if feasible[0][1].problem == "budget":  # of the same J the least F
        lowest = min(then for _, then in alike)
        alike = [(pair, then) for pair, then in alike if then <= lowest + _AS_GOOD]
    return min((pair for pair, _ in alike), key=lambda pair: (not pair[0].ran, pair[0].model_size))


def _nothing(plans: Sequence[tuple[Network, Plan]]) -> Plan:
    """No network has an answer: that of the likeliest, and a word on the others. Large ones need least data, small ones least C."""
    sign = 1.0 if plans[0][1].problem == "data" else -1.0
    network, plan = max(plans, key=lambda pair: (pair[1].chance or 0.0, sign * pair[0].model_size))
    if len(plans) == 1:
        return plan
    which = f"{network.name}, N = {short(network.model_size)}"
    return replace(plan, reason=f"{plan.reason}; no other size has an answer either (this is {which})")


@dataclass(frozen=True, kw_only=True)
class Paths:
    """How the cheapest way to a return goes along the budget: σ*(F) and N*(F).

    Attributes:
        thresholds: J, shape (n,).
        budget, utd, model_size, data, compute: of the cheapest σ and N to each J, shape (1 + n_draws, n), the point estimate first.
        utd_exponent, size_exponent: of the power laws through them; NaN with fewer than two J.
        all_on_updates, all_on_size: what twice the least budget of the lowest J spends too much, as a share, where N (σ) stays as it was
            there and σ (N) alone follows: mean over the J above.
        at_edge: whether N* lies at an end of the N that were run at some J; smallest: whether the smallest of them is it at the lowest J.
    """

    thresholds: Floats
    budget: Floats
    utd: Floats
    model_size: Floats
    data: Floats
    compute: Floats
    utd_exponent: Estimate
    size_exponent: Estimate
    all_on_updates: Estimate
    all_on_size: Estimate
    at_edge: bool
    smallest: bool

    def doubled(self) -> tuple[float, float]:
        """By what factors σ and N grow where the budget doubles."""
        return float(2**self.utd_exponent.value), float(2**self.size_exponent.value)

    def size_for(self, budget: float) -> float | None:
        """N*(F) by the power law through the points; None where there is none."""
        known = np.isfinite(self.budget[0])
        if np.isnan(self.size_exponent.value):
            return None
        log_n, log_f = np.log(self.model_size[0, known]).mean(), np.log(self.budget[0, known]).mean()
        return float(np.exp(log_n + self.size_exponent.value * (np.log(budget) - log_f)))

    def told(self) -> tuple[str, ...]:
        """In words: how a doubled budget is shared, and what spending it on σ or N alone costs."""
        if np.isnan(self.size_exponent.value):
            return ()
        utd, size = self.doubled()
        least, most = float(self.model_size[0].min()), float(self.model_size[0].max())
        if self.at_edge and most < 1.001 * least:
            side, other = ("smallest", "smaller") if self.smallest else ("largest", "larger")
            network = f"at every return the cheapest network is the {side} that was run, N = {short(least)}"
            return (f"{network}; a {other} one may be cheaper still; a doubled budget is best spent with σ times {short(utd)}",)
        edge = "; N* lies at an end of the N that were run at some J" if self.at_edge else ""
        powers = f"σ ∝ F^{self.utd_exponent}, N ∝ F^{self.size_exponent}{edge}"
        words = [f"a doubled budget is best spent with σ times {short(utd)} and N times {short(size)} ({powers})"]
        if not np.isnan(self.all_on_updates.value):
            alone = f"keeping N costs {_percent(self.all_on_updates)} more budget, keeping σ {_percent(self.all_on_size)}"
            words.append(f"from the lowest return on, {alone}")
        return tuple(words)


def _percent(share: Estimate) -> str:
    ends = "" if np.isnan(share.low) else f" [{100 * share.low:.0f}, {100 * share.high:.0f}]" if np.isfinite(share.high) else " [open]"
    return f"{100 * share.value:.0f}%{ends}"


def optimal_paths(laws: ScalingLaws, data_cost: float, *, task: str | None = None, batch_multiple: int = 16) -> Paths | None:
    """σ*(F) and N*(F) through the cheapest (σ, N) of each threshold, F = C + δ·D, N within what was run; None without sizes or compute.

    Args:
        laws: of a study with sizes.
        data_cost: δ, in the laws' unit per env step.
        task: None for the domain.
        batch_multiple: the least B.
    """
    family = laws.sizes
    if family is None or not laws.knows_compute:
        return None
    low, high = np.log(family.sizes.model_size[0]), np.log(family.sizes.model_size[-1])
    sizes = np.exp(np.linspace(low, high, max(int(np.ceil((high - low) * _PER_EFOLD)), 4) + 1))
    seen = [at_size(laws, float(size), with_budgets=False) for size in sizes]
    levels = [law.threshold for law in laws.data]
    budget, utd = (np.full((len(levels), len(sizes), 1 + laws.n_draws), np.inf) for _ in range(2))
    fixed = np.full((len(levels), len(sizes), 1 + laws.n_draws), np.inf)
    kept_utd: Floats | None = None
    for row, level in enumerate(levels):
        for column, one in enumerate(seen):
            every = tradeoff(one, one.data_law(level), task, batch_multiple)
            curves = every.part((every.utd >= every.run[0] * (1 - 1e-9)) & (every.utd <= every.run[1] * (1 + 1e-9)))
            if len(curves.utd) < 5:
                continue
            utd[row, column], budget[row, column] = cheapest(curves, data_cost)
            if kept_utd is not None:
                total = curves.compute + data_cost * curves.data
                fixed[row, column] = [np.interp(np.log(at), np.log(curves.utd), values) for at, values in zip(kept_utd, total, strict=True)]
        if row == 0:
            first = np.argmin(budget[0], axis=0)
            kept_utd = np.take_along_axis(utd[0], first[None], axis=0)[0]
    log_sizes, draws = np.log(sizes), np.arange(1 + laws.n_draws)
    least, at_utd, at_n = (np.empty((1 + laws.n_draws, len(levels))) for _ in range(3))
    data = np.full(least.shape, np.nan)
    best = np.argmin(budget, axis=1)
    for row, level in enumerate(levels):
        log_n, least[:, row], _ = minimum_on_grid(log_sizes, budget[row].T)
        at_n[:, row] = np.exp(log_n)
        at_utd[:, row] = np.exp([np.interp(log_n[draw], log_sizes, np.log(utd[row, :, draw])) for draw in draws])
        for column in np.unique(best[row]):
            law, where = seen[column].data_law(level), np.flatnonzero(best[row] == column)
            drawn = law.predict_draws(at_utd[where, row], task)
            for place, draw in enumerate(where):
                data[draw, row] = law.predict(at_utd[[draw], row], task)[0] if draw == 0 else drawn[draw - 1, place]
    if not np.isfinite(least[0]).any():
        return None
    log_f = np.log(np.where(np.isfinite(least), least, np.nan))
    slopes = [fit_line(np.where(np.isfinite(log_f), log_f, np.inf).T, np.log(values).T)[0] for values in (at_utd, at_n)]
    if len(levels) < 2:
        slopes = [np.full(1 + laws.n_draws, np.nan)] * 2
    over_n, over_utd = _spent_alone(budget, fixed, least)
    edge = (best[:, 0] == 0) | (best[:, 0] == len(sizes) - 1)
    return Paths(
        thresholds=np.array(levels),
        budget=least,
        utd=at_utd,
        model_size=at_n,
        data=data,
        compute=least - data_cost * data,
        utd_exponent=Estimate.from_open_draws(float(slopes[0][0]), slopes[0][1:]),
        size_exponent=Estimate.from_open_draws(float(slopes[1][0]), slopes[1][1:]),
        all_on_updates=over_n,
        all_on_size=over_utd,
        at_edge=bool(edge.any()),
        smallest=bool(best[0, 0] == 0),
    )


def _picked(values: Floats, which: NDArray[np.intp]) -> Floats:
    """values[row, which[row, draw], draw], for values of shape (n_rows, n, n_draws)."""
    return np.asarray(np.take_along_axis(values, which[:, None], axis=1)[:, 0])


def _spent_alone(budget: Floats, fixed: Floats, least: Floats) -> tuple[Estimate, Estimate]:
    """What keeping N, or σ, at the lowest J's best costs at the J above: mean share over the least F."""
    if len(budget) < 2:
        nothing = Estimate.from_draws(float("nan"), [])
        return nothing, nothing
    first = np.argmin(budget[0], axis=0)
    kept_size = _picked(budget[1:], np.broadcast_to(first, (len(budget) - 1, len(first))))
    with np.errstate(invalid="ignore"):
        return _share(kept_size, least[:, 1:]), _share(fixed[1:].min(axis=1), least[:, 1:])


def _share(spent: Floats, least: Floats) -> Estimate:
    share = (spent.T / least - 1).mean(axis=1)
    return Estimate.from_open_draws(float(share[0]), np.where(np.isfinite(share[1:]), share[1:], np.nan), least=0.0)

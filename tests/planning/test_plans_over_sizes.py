"""Plans over σ and N: the closed forms of METHOD.md, section 7, and brute force, against the planner.

D_J = D_min + (a/σ)^α + (b/N)^β alone, C = 10·N·B·σ·D with one B.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from tdscale.analysis.compute import ComputeModel
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.forms import FittedForm
from tdscale.analysis.method import DEFAULT
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_family import SizeFamily
from tdscale.analysis.size_forms import SUM
from tdscale.analysis.size_law import SizeLaw
from tdscale.analysis.sizes import Sizes
from tdscale.analysis.views import sized
from tdscale.errors import UserError
from tdscale.planning import Network, optimal_paths, plan_budget, plan_compute, plan_data, plan_sizes

B = 256
ALPHA, BETA, A, SIZE_B = 0.8, 1.1, 2.0e6, 3.0e11  # a and b of (a/σ)^α + (b/N)^β, in env steps
UTD, SIZES = np.array([0.25, 0.5, 1, 2, 4, 8, 16]), np.array([3e5, 1e6, 3e6, 1e7, 3e7])
FREE = {"any_utd": True, "batch_multiple": 1}
NETWORKS = [Network(name=f"{size:.3g}", model_size=float(size), ran=False) for size in np.geomspace(SIZES[0], SIZES[-1], 150)]


def truth(d_min, utd, size):
    return d_min + (A / utd) ** ALPHA + (SIZE_B / size) ** BETA


def law(threshold, d_min):
    utd, size = np.repeat(UTD, len(SIZES)), np.tile(SIZES, len(UTD))
    data = truth(d_min, utd, size)[None]
    form = FittedForm(
        form=SUM,
        weight=1.0,
        log_scale=np.full(2, np.log(d_min)),
        parameters=np.tile([ALPHA, ALPHA * np.log(A) - np.log(d_min), BETA, BETA * np.log(SIZE_B) - np.log(d_min)], (2, 1)),
        log_scale_draws=np.empty((0, 2)),
        parameter_draws=np.empty((0, 2, 4)),
    )
    return SizeLaw(
        threshold=threshold,
        tasks=("task",),
        forms=(form,),
        drift_draws=np.empty((0, 2)),
        size_drift_draws=np.empty((0, 2)),
        utd=utd,
        model_size=size,
        data=data,
        data_low=data,
        data_high=data,
        bound=data,
        field_weights=np.zeros((2, len(utd))),
        field_weight_draws=np.empty((0, 2, len(utd))),
        unseen_draws=np.empty((0, 2)),
    )


def constant(quantity, value):
    nothing = np.full((1, len(UTD)), np.nan)
    return PowerLaw(
        quantity=quantity,
        tasks=("task",),
        exponent=0.0,
        exponent_draws=np.empty(0),
        coefficients=np.array([value]),
        coefficient_draws=np.empty((0, 1)),
        utd=UTD,
        points=nothing,
        points_low=nothing,
        points_high=nothing,
    )


@pytest.fixture(scope="module")
def laws():
    names = tuple(f"{size:.3g}" for size in SIZES)
    family = SizeFamily(
        sizes=Sizes(names=names, model_size=tuple(SIZES.tolist())),
        data=(law(300.0, 6e4), law(500.0, 1.2e5), law(700.0, 2.4e5)),
        batch_size=constant("batch_size", float(B)),
        learning_rate=constant("learning_rate", 3e-4),
        models={name: {"flops": {"task": ComputeModel.paper(size)}} for name, size in zip(names, SIZES, strict=True)},
        used_batch_size={name: {"task": ()} for name in names},
    )
    alone = ScalingLaws(
        study="sizes",
        method=DEFAULT,
        n_draws=0,
        tasks=("task",),
        thresholds=(300.0, 500.0, 700.0),
        batch_size=None,
        learning_rate=None,
        data=(),
        budget=None,
        compute={},
        data_cost=1e10,
    )
    return sized(alone, family)


def cost(utd, size, data):
    return 10.0 * size * B * utd * data


@pytest.mark.parametrize("more", [1.4, 2.0, 3.0])
def test_a_data_limit_is_met_by_the_closed_forms_updates_and_parameters(laws, more):
    d_min = 2.4e5
    spare = (more - 1) * d_min
    utd = A * ((ALPHA + BETA) / (BETA * spare)) ** (1 / ALPHA)
    size = SIZE_B * ((ALPHA + BETA) / (ALPHA * spare)) ** (1 / BETA)
    assert truth(d_min, utd, size) == pytest.approx(more * d_min)
    plan = plan_sizes(laws, lambda at: plan_data(at, more * d_min, **FREE), NETWORKS)
    # networks as good to 1 % count alike, and the smallest of them is named
    assert plan.model_size == pytest.approx(size, rel=0.35)
    assert plan.compute.value == pytest.approx(cost(utd, size, more * d_min), rel=0.012)
    assert plan.data.value == pytest.approx(more * d_min, rel=1e-6)
    fine = [network for network in NETWORKS if abs(np.log(network.model_size / size)) < 0.016]
    near = plan_sizes(laws, lambda at: plan_data(at, more * d_min, **FREE), fine)
    assert near.utd == pytest.approx(utd, rel=0.04)
    assert near.model_size == pytest.approx(size, rel=0.016)


@pytest.mark.parametrize("compute", [2e15, 8e15, 5e16])
def test_a_compute_limit_is_spent_as_brute_force_spends_it(laws, compute):
    utd, size = np.meshgrid(np.geomspace(UTD[0], UTD[-1], 600), np.geomspace(SIZES[0], SIZES[-1], 600), indexing="ij")
    data = truth(1.2e5, utd, size)
    least = np.where(cost(utd, size, data) <= compute, data, np.inf).min()
    plan = plan_sizes(laws, lambda at: plan_compute(at, compute, threshold=500.0, **FREE), NETWORKS)
    assert plan.data.value == pytest.approx(least, rel=0.012)
    assert plan.compute.value <= compute * 1.001


def test_the_way_along_the_budget_is_brute_forces(laws):
    paths = optimal_paths(laws, 1e10)
    for row, d_min in enumerate((6e4, 1.2e5, 2.4e5)):

        def total(at, d_min=d_min):
            utd, size = np.exp(at)
            data = truth(d_min, utd, size)
            return np.log(cost(utd, size, data) + 1e10 * data)

        best = minimize(total, np.log([2.0, 3e6]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
        utd, size = np.exp(best.x)
        assert SIZES[0] < size < SIZES[-1]
        assert paths.budget[0, row] == pytest.approx(np.exp(best.fun), rel=0.003)
        assert paths.utd[0, row] == pytest.approx(utd, rel=0.05)
        assert paths.model_size[0, row] == pytest.approx(size, rel=0.05)


def test_a_budget_reaches_the_return_that_brute_force_reaches(laws):
    utd, size = np.meshgrid(np.geomspace(UTD[0], UTD[-1], 600), np.geomspace(SIZES[0], SIZES[-1], 600), indexing="ij")
    least = [(cost(utd, size, truth(d_min, utd, size)) + 1e10 * truth(d_min, utd, size)).min() for d_min in (6e4, 1.2e5, 2.4e5)]
    # log D is interpolated between J = 500 and 700
    data = np.sqrt(truth(1.2e5, utd, size) * truth(2.4e5, utd, size))
    between = (cost(utd, size, data) + 1e10 * data).min()
    few = NETWORKS[::10]
    for budget, threshold in ((1.002 * between, 600.0), (1.03 * least[2], 700.0)):
        plan = plan_sizes(laws, lambda at, budget=budget: plan_budget(at, budget, **FREE), few)
        assert plan.threshold == pytest.approx(threshold, rel=0.02)
    assert not plan_sizes(laws, lambda at: plan_budget(at, 0.98 * least[0], **FREE), NETWORKS).feasible


def test_keeping_the_size_or_the_updates_never_costs_less_than_following_both(laws):
    paths = optimal_paths(laws, 1e10)
    assert paths.all_on_updates.value >= -1e-9
    assert paths.all_on_size.value >= -1e-9


def test_no_larger_network_than_allowed_is_named(laws):
    free = plan_sizes(laws, lambda at: plan_data(at, 5e5, **FREE), NETWORKS)
    bounded = plan_sizes(laws, lambda at: plan_data(at, 5e5, **FREE), NETWORKS, most=free.model_size / 1.3)
    assert bounded.model_size <= free.model_size / 1.3
    assert bounded.compute.value > free.compute.value
    with pytest.raises(UserError, match="--max-model-size: 1000 leaves no network; the smallest is"):
        plan_sizes(laws, lambda at: plan_data(at, 5e5, **FREE), NETWORKS, most=1000)


def test_a_size_that_is_named_is_the_one_planned_with(laws):
    plan = plan_sizes(laws, lambda at: plan_data(at, 4e5, **FREE), size="3e+06")
    assert (plan.size, plan.model_size) == ("3e+06", 3e6)
    with pytest.raises(UserError, match="--size: there is no 'huge'; there is"):
        plan_sizes(laws, lambda at: plan_data(at, 4e5, **FREE), size="huge")


def test_of_networks_as_good_the_one_that_was_run_is_named(laws):
    plan = plan_sizes(laws, lambda at: plan_data(at, 3.4e5, **FREE))
    near = plan.model_size * 1.002
    both = [Network(name="ran", model_size=plan.model_size), Network(name="other", model_size=near, ran=False)]
    assert plan_sizes(laws, lambda at: plan_data(at, 3.4e5, **FREE), both).size == "ran"


def test_without_sizes_a_question_about_them_is_refused(laws):
    alone = replace(laws, sizes=None, model_size=None)
    with pytest.raises(UserError, match="this study has no sizes"):
        plan_sizes(alone, lambda at: plan_data(at, 3e5, **FREE), most=1e6)

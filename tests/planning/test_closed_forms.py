"""The closed forms of the paper's appendix A (A.1 to A.11, 4.3, 4.4) against the numerical solutions.

They hold for accounting "paper", the offset law alone and B as the power law gives it.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tdscale.analysis.compute import ComputeModel
from tdscale.analysis.fitted_laws import DataLaw, PowerLaw
from tdscale.analysis.forms import OFFSET, FittedForm
from tdscale.analysis.method import DEFAULT
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning import REACH, plan_budget, plan_compute, plan_data

N = 1.5e5
UTD = np.array([0.25, 0.5, 1, 2, 4, 8, 16])
NO_DRAWS = np.empty((0, 2))


def power_law(coefficient, exponent):
    nothing = np.full((1, len(UTD)), np.nan)
    return PowerLaw(
        quantity="batch_size",
        tasks=("task",),
        exponent=exponent,
        exponent_draws=np.empty(0),
        coefficients=np.array([coefficient]),
        coefficient_draws=np.empty((0, 1)),
        utd=UTD,
        points=nothing,
        points_low=nothing,
        points_high=nothing,
    )


def offset_law(threshold, d_min, beta, alpha):
    """Equation 4.1 alone, with no draws: b_J^α_J = D_min·β^α."""
    data = d_min * (1 + (UTD / beta) ** -alpha)[None]
    form = FittedForm(
        form=OFFSET,
        weight=1.0,
        log_scale=np.full(2, np.log(d_min)),
        parameters=np.tile([alpha, alpha * np.log(beta)], (2, 1)),
        log_scale_draws=NO_DRAWS,
        parameter_draws=np.empty((0, 2, 2)),
    )
    return DataLaw(
        threshold=threshold,
        tasks=("task",),
        forms=(form,),
        drift_draws=NO_DRAWS,
        utd=UTD,
        data=data,
        data_low=data,
        data_high=data,
        bound=data,
    )


def paper_laws(*data, batch_size=400.0, batch_exponent=-0.33, data_cost=None):
    return ScalingLaws(
        study="closed forms",
        method=DEFAULT,
        tasks=("task",),
        thresholds=tuple(law.threshold for law in data),
        batch_size=power_law(batch_size, batch_exponent),
        learning_rate=None,
        data=data,
        budget=None,
        compute={"task": ComputeModel.paper(N)},
        data_cost=data_cost,
    )


SHAPES = {
    "d_min": st.floats(1e4, 1e6),
    "beta": st.floats(0.3, 8.0),
    "alpha": st.floats(0.2, 2.0),
    "batch": st.floats(50.0, 1000.0),
    "alpha_batch": st.floats(0.05, 0.6),
}


def two_power_laws(utd, d_min, beta, alpha, batch, alpha_batch):
    """Equation A.4: C = 10·N·β_B·D_min·(σ^(1−α_B) + β^α·σ^(1−α_B−α))."""
    return 10 * N * batch * d_min * (utd ** (1 - alpha_batch) + beta**alpha * utd ** (1 - alpha_batch - alpha))


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries(SHAPES), st.floats(0.05, 60.0))
def test_compute_is_the_sum_of_two_power_laws_and_updates_are_sigma_times_data(shape, utd):
    law = offset_law(800.0, shape["d_min"], shape["beta"], shape["alpha"])
    laws = paper_laws(law, batch_size=shape["batch"], batch_exponent=-shape["alpha_batch"])
    at = np.array([utd])
    data = law.predict(at)
    # A.2, A.1, A.4
    assert data[0] == pytest.approx(shape["d_min"] + (shape["beta"] * shape["d_min"] ** (1 / shape["alpha"]) / utd) ** shape["alpha"])
    assert laws.compute_for(at, data)[0] == pytest.approx(10 * N * laws.batch_size.predict(at)[0] * utd * data[0])
    assert laws.compute_for(at, data)[0] == pytest.approx(two_power_laws(utd, **shape))
    # A.3
    steps = ComputeModel.gradient_steps(paper=True).compute_for(utd, 1.0, data[0])
    offset = (shape["beta"] ** shape["alpha"]) * shape["d_min"]
    assert steps == pytest.approx(utd * shape["d_min"] + offset * utd ** (1 - shape["alpha"]))


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries(SHAPES))
def test_the_least_compute_is_where_the_two_power_laws_balance(shape):
    first = 1 - shape["alpha_batch"]
    second = shape["alpha"] - first
    assume(second > 0.05)  # else C rises with σ all along
    # dC/dσ = 0: (1 − α_B)·σ^α = (α + α_B − 1)·β^α
    least = shape["beta"] * (second / first) ** (1 / shape["alpha"])
    assume(0.26 <= least <= 15)  # within a grid step of the smallest or largest σ that was run, a plan answers with that σ itself
    laws = paper_laws(
        offset_law(800.0, shape["d_min"], shape["beta"], shape["alpha"]), batch_size=shape["batch"], batch_exponent=-shape["alpha_batch"]
    )
    plan = plan_data(laws, 1e12, batch_multiple=1, any_utd=True)
    assert plan.utd_exact == pytest.approx(least, rel=1e-6)
    assert plan.binding == "The data limit does not bind: this UTD ratio needs the least compute of all."


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries(SHAPES), st.floats(1.1, 6.0))
def test_p2_on_the_limit_is_equation_a7_and_its_compute_4_4(shape, share):
    d_min, beta, alpha = shape["d_min"], shape["beta"], shape["alpha"]
    limit = share * d_min
    bound = beta * (d_min / (limit - d_min)) ** (1 / alpha)
    assume(0.25 / REACH * 1.01 < bound < 16 * REACH * 0.99)
    laws = paper_laws(offset_law(800.0, d_min, beta, alpha), batch_size=shape["batch"], batch_exponent=-shape["alpha_batch"])
    around = two_power_laws(bound * np.array([1.0, 1.01]), **shape)
    assume(around[1] > around[0] * 1.0001)  # C grows there: the bound itself is the answer
    plan = plan_data(laws, limit, batch_multiple=1, any_utd=True)
    assume(plan.binding == "The data limit binds.")
    assert plan.utd_exact == pytest.approx(bound, rel=1e-9)
    # 4.4, A.8: C = 10·N·B(σ*)·σ*·D, with the B that is run
    assert plan.data.value <= limit * (1 + 1e-9)
    assert plan.compute.value == pytest.approx(10 * N * plan.batch_size * plan.utd * plan.data.value, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries(SHAPES), st.floats(0.5, 14.0))
def test_p1_on_the_limit_is_the_largest_sigma_that_is_affordable_and_its_data_4_3(shape, utd):
    law = offset_law(800.0, shape["d_min"], shape["beta"], shape["alpha"])
    laws = paper_laws(law, batch_size=shape["batch"], batch_exponent=-shape["alpha_batch"])
    # the compute that this σ takes, where it is the largest σ that can be had for it
    limit = float(two_power_laws(utd, **shape))
    # well on the branch that rises: where C is all but flat, a plan takes a σ that costs as little and needs fewer data
    assume((two_power_laws(utd * np.geomspace(1.02, 200, 400), **shape) > 1.001 * limit).all())
    plan = plan_compute(laws, limit, batch_multiple=1, any_utd=True)
    assert plan.binding == "The compute limit binds."
    assert plan.utd_exact == pytest.approx(utd, rel=1e-6)
    # 4.3, A.11: D = C0/(10·N·B(σ*)·σ*), with the unrounded B
    at = np.array([plan.utd_exact])
    assert law.predict(at)[0] == pytest.approx(limit / (10 * N * laws.batch_size.predict(at)[0] * at[0]), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 0.9), st.floats(0.6, 1.4), st.floats(1e8, 1e10))
def test_p3_touches_the_frontier_where_data_and_compute_trade_at_the_price(alpha_batch, alpha, price):
    laws = paper_laws(
        *(offset_law(float(j), 1e5 * j / 200, 2.0, alpha) for j in (200, 400, 800)), batch_exponent=-alpha_batch, data_cost=price
    )
    top = laws.data[-1]
    grid = np.geomspace(0.25, 16, 20_001)
    total = laws.compute_for(grid, top.predict(grid)) + price * top.predict(grid)
    best = int(np.argmin(total))
    assume(0 < best < len(grid) - 1)
    plan = plan_budget(laws, float(total[best]) * 1.02, batch_multiple=1, any_utd=True)
    assert plan.threshold == 800
    assume(grid[0] * 1.01 < plan.utd_exact < grid[-1] / 1.01)
    assert plan.utd_exact == pytest.approx(grid[best], rel=2e-3)
    # the iso-budget line touches: dC/dσ = −δ·dD/dσ
    step = np.array([plan.utd_exact * (1 - 1e-5), plan.utd_exact * (1 + 1e-5)])
    data = top.predict(step)
    assert np.diff(laws.compute_for(step, data))[0] == pytest.approx(-price * np.diff(data)[0], rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e4, 1e6), st.floats(0.3, 8.0), st.floats(0.2, 2.0), st.floats(0.05, 0.999))
def test_no_sigma_gets_below_d_min(d_min, beta, alpha, share):
    plan = plan_data(paper_laws(offset_law(800.0, d_min, beta, alpha)), share * d_min, batch_multiple=1, any_utd=True)
    assert not plan.feasible
    assert not plan.refused
    assert "is not enough" in plan.reason

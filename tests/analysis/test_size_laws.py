"""D_J(σ, N): its forms, its field, and what it is at one N."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sized_truth import SIZES, TASKS, UTD, knees, sized_cells, sized_points
from tdscale.analysis.fit import FitOptions, fit_measured, measure
from tdscale.analysis.laws_file import laws_to_dict, load_laws, write_laws
from tdscale.analysis.size_fit import fit_size_laws
from tdscale.analysis.size_forms import PRODUCT, SIZE_POWER, SUM
from tdscale.analysis.sizes import find_sizes
from tdscale.analysis.views import at_size
from tdscale.errors import UserError
from tdscale.paper import METHODS
from tdscale.planning import plan_budget, plan_compute, plan_data

EXAMPLE = knees("sum", levels=(5e4, 1e5, 2e5), a=1.2, alpha=0.8, b=1e6, beta=0.7)
OPTIONS = FitOptions(study="sized", tasks=("one", "two"), thresholds=(300.0, 500.0, 650.0, 800.0), data_cost=3e9, n_draws=40)
COORDINATES = st.tuples(st.floats(0.1, 3), st.floats(-3, 4), st.floats(0.1, 3), st.floats(-3, 4)).map(np.array)
# log σ and log N, both from the middle of what is run
PLACES = np.stack([np.linspace(-1.4, 1.4, 7), np.array([3.0, -2.0, 0.0, 1.0, -1.0, 2.0, -3.0])])


@pytest.fixture(scope="module")
def points():
    return sized_points(EXAMPLE, noise=0.1, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def law(points):
    [law], _ = fit_size_laws(points, 0)
    return law


@pytest.fixture(scope="module")
def laws():
    return fitted(sized_cells())


def fitted(cells, options=OPTIONS):
    return fit_measured(measure(cells, options))


@given(COORDINATES)
def test_slopes_of_the_forms_are_those_of_differences(parameters):
    for form in (SUM, PRODUCT, SIZE_POWER):
        own = parameters if form is not SIZE_POWER else parameters[[0, 2]]
        slopes = form.gradient(PLACES, own)
        # search coordinates: log α, log a^α, log β, log b^β; those of the power law are its parameters
        theta = np.log(own[[0, 2]]) if form is not SIZE_POWER else own
        theta = np.array([theta[0], own[1], theta[1], own[3]]) if form is not SIZE_POWER else own
        for index in range(len(theta)):
            step = np.zeros(len(theta))
            step[index] = 1e-6
            up, down = (form.curve(PLACES, form.from_search(theta + sign * step)) for sign in (1, -1))
            np.testing.assert_allclose(slopes[index], (up - down) / 2e-6, atol=1e-6)


@given(COORDINATES, st.floats(-5, 5))
def test_a_form_at_one_size_is_the_law_of_both_there(parameters, log_size):
    alpha, ratio, beta, size_ratio = parameters
    utd, n, d_min = np.exp(PLACES[0]), np.exp(log_size), 1e5
    # by hand: (a/σ)^α with a^α = e^ratio
    of_utd, of_size = np.exp(ratio) * utd**-alpha, np.exp(size_ratio) * n**-beta
    whole = {
        SUM: d_min * (1 + of_utd + of_size),
        PRODUCT: d_min * (1 + of_utd) * (1 + of_size),
        SIZE_POWER: d_min * utd**-alpha * n**-beta,
    }
    for form, expected in whole.items():
        own = parameters if form is not SIZE_POWER else parameters[[0, 2]]
        log_scale, sliced = form.at_size(log_size, np.log(d_min), own)
        np.testing.assert_allclose(np.exp(log_scale + form.sliced.curve(np.log(utd), sliced)), expected, rtol=1e-9)


def test_a_law_at_one_size_is_its_forms_and_its_field_there(law):
    utd = np.array([0.25, 1.0, 3.0, 16.0])
    for n in (1e5, 2e6, 5e6, 2e8):
        for place, task in [(-1, None), *enumerate(law.tasks)]:
            log_data = np.zeros(len(utd))
            for form in law.forms:
                named = form.form.described(form.log_scale[place], form.parameters[place])
                s, size = utd, n
                if form.form.name == "size-held":  # between the ends of what was run
                    s, size = np.clip(utd, min(UTD), max(UTD)), np.clip(n, min(SIZES.values()), max(SIZES.values()))
                if form.form.name == "size-power":
                    data = named["coefficient"] * s ** named["exponent"] * size ** named["size_exponent"]
                else:
                    of_utd, of_size = (named["a"] / s) ** named["alpha"], (named["b"] / size) ** named["beta"]
                    data = named["d_min"] * (1 + of_utd + of_size if form.form.name == "sum" else (1 + of_utd) * (1 + of_size))
                log_data = log_data + form.weight * np.log(data)
            # the kernel falls to 1/e over 2 in log σ, 3 in log N
            apart = np.abs(np.log(utd[:, None] / law.utd)) / 2 + np.abs(np.log(n / law.model_size)) / 3
            log_data = log_data + np.exp(-apart) @ law.field_weights[place]
            np.testing.assert_allclose(np.log(law.at_size(n).predict(utd, task)), log_data, atol=1e-9)


def test_the_field_takes_a_tasks_bump_where_it_was_seen_and_nowhere_far_from_it(points):
    clean, far = knees("sum", levels=(5e4, 1e5, 2e5), a=1.2, alpha=0.8, b=1e6, beta=0.7), (8.0, 5e5)
    precise = sized_points(clean, noise=0.02, rng=np.random.default_rng(0))
    bump = 0.5 * ((precise.utd == 0.5) & (precise.model_size == 3.2e7))
    bumped = replace(precise, data=precise.data * np.exp(np.stack([bump, 0 * bump, 0 * bump]))[None, :, :, None])
    [before], [after] = (fit_size_laws(p, 0)[0] for p in (precise, bumped))

    def change(task, utd, n):
        return float(np.log(after.at_size(n).predict([utd], task)[0] / before.at_size(n).predict([utd], task)[0]))

    assert change("one", 0.5, 3.2e7) > 0.4
    assert abs(change("one", *far)) < 0.1
    assert abs(change("two", 0.5, 3.2e7)) < 0.2


@settings(max_examples=3, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_the_unit_of_n_does_not_matter(unit):
    points = sized_points(EXAMPLE, noise=0.1, rng=np.random.default_rng(3))
    [one], [other] = (fit_size_laws(p, 0)[0] for p in (points, replace(points, model_size=points.model_size * unit)))
    for n in (5e5, 3e6, 2e8):
        here, there = one.at_size(n), other.at_size(n * unit)
        for task in (None, *TASKS):
            np.testing.assert_allclose(there.predict([0.3, 2.0, 20.0], task), here.predict([0.3, 2.0, 20.0], task), rtol=1e-6)
            np.testing.assert_allclose(there.predict_draws([0.3, 2.0], task), here.predict_draws([0.3, 2.0], task), rtol=1e-6)
    assert other.size_range == pytest.approx(np.array(one.size_range) * unit)


def test_a_study_in_thousands_of_parameters_is_the_same_study(laws):
    thousands = [replace(cell, model_size=cell.model_size * 1000) for cell in sized_cells()]
    other = fitted(thousands)
    assert other.sizes.sizes.names == laws.sizes.sizes.names
    for n in (5e5, 5e6, 1e8):
        np.testing.assert_allclose(
            at_size(other, n * 1000).data[-1].predict([1.0, 3.0]), at_size(laws, n).data[-1].predict([1.0, 3.0]), rtol=1e-6
        )


def test_names_of_sizes_and_the_order_of_cells_do_not_matter(laws):
    turned = {"small": "z", "medium": "b", "large": "k", "huge": "a"}
    other = fitted(sized_cells(names=turned)[::-1])
    assert other.sizes.sizes.names == tuple(turned[name] for name in SIZES)
    named = laws_to_dict(laws)
    for entry in named["sizes"]:
        entry["size"] = turned[entry["size"]]
    changed = laws_to_dict(other)
    assert {key: changed[key] for key in ("sizes", "size_laws", "data", "compute", "budget", "model_size")} == {
        key: named[key] for key in ("sizes", "size_laws", "data", "compute", "budget", "model_size")
    }


def test_one_size_is_the_law_without_n_byte_for_byte(tmp_path):
    alone = sized_cells(sizes={"medium": 2e6})
    bare = [replace(cell, size="", model_size=None) for cell in alone]
    for name, cells in (("alone", alone), ("bare", bare)):
        write_laws(fitted(cells), tmp_path / name)
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "bare").read_bytes()


def test_at_a_size_that_was_run_compute_is_that_of_its_runs(laws):
    for name, n in SIZES.items():
        seen = at_size(laws, n)
        assert seen.model_size == n
        # a critic update is B·(8·critic + 2·actor), an actor update, one each env step, B·6·(critic + actor); warm-up is free
        critic, actor, data, batch = n, n / 2, 10_200.0, 64 * 2**-0.5
        expected = (data - 200) * batch * (2 * (8 * critic + 2 * actor) + 6 * (critic + actor))
        assert seen.compute_for(np.array([2.0]), np.array([data]), "one")[0] == pytest.approx(expected, rel=0.01)
        [alone] = [laws.sizes.models[key]["flops"] for key in laws.sizes.sizes.names if key == name]
        assert seen.compute == alone
        assert seen.used_batch_size == laws.sizes.used_batch_size[name]
        assert seen.used_batch_size["one"] == tuple((u, float(round(64 * u**-0.5))) for u in (0.5, 1.0, 2.0, 4.0))


def test_between_two_sizes_compute_lies_between_theirs_and_the_law_has_no_b_of_runs(laws):
    at = [at_size(laws, n).compute_for(np.array([2.0]), np.array([1e4]), "one")[0] for n in (2e6, 4e6, 8e6)]
    # all costs are proportional to N here, so that the middle in log N is the geometric mean
    assert at[1] == pytest.approx(np.sqrt(at[0] * at[2]))
    assert at_size(laws, 4e6).used_batch_size == {}


def test_laws_read_back_plan_as_before_at_any_size(laws, tmp_path):
    write_laws(laws, tmp_path / "laws.json")
    again = load_laws(tmp_path / "laws.json", METHODS)
    assert again.sizes.sizes.names == laws.sizes.sizes.names
    assert again.sizes.sizes.model_size == pytest.approx(laws.sizes.sizes.model_size)
    assert again.model_size == pytest.approx(laws.model_size)
    for n in (5e5, 2e6, 5e6, 1.3e8):
        before, after = at_size(laws, n), at_size(again, n)
        for one, two in zip(before.data, after.data, strict=True):
            for task in (None, "two"):
                np.testing.assert_allclose(two.predict([0.3, 1.0, 9.0], task), one.predict([0.3, 1.0, 9.0], task), rtol=1e-6)
                # the field of a draw is stored in five digits
                np.testing.assert_allclose(two.predict_draws([0.3, 1.0, 9.0], task), one.predict_draws([0.3, 1.0, 9.0], task), rtol=1e-4)
                assert two.refusal(2.0, task) == one.refusal(2.0, task)
            assert two.extrapolation(2.0) == pytest.approx(one.extrapolation(2.0))
        for plan, limit in ((plan_budget, 1e15), (plan_data, 3e4), (plan_compute, 1e15)):
            found, expected = plan(after, limit).to_dict(), plan(before, limit).to_dict()
            assert_close(found, expected)


def assert_close(found, expected):
    """The same but for the last digits, which laws.json rounds."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, two in zip(found, expected, strict=True):
            assert_close(one, two)
    elif isinstance(expected, float):
        # a regret is a small difference of two F
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True)
    else:
        assert found == expected


def test_laws_without_sizes_are_what_they_are_at_any_n():
    bare = fitted([replace(cell, size="", model_size=None) for cell in sized_cells(sizes={"medium": 2e6})])
    assert at_size(bare, 7e7) is bare


def test_beyond_the_sizes_that_were_run_intervals_widen_and_the_factor_is_told(law):
    def width(n):
        estimate = law.at_size(n).estimate(2.0, "one")
        return np.log(estimate.high / estimate.low)

    widths = [width(n) for n in (8e6, 3.2e7, 1.28e8, 5.12e8)]
    assert sorted(widths) == widths
    assert law.at_size(1.28e8).extrapolation(2.0) == pytest.approx(4)
    assert law.at_size(1.25e5).extrapolation(2.0) == pytest.approx(4)
    assert law.at_size(4e6).extrapolation(2.0) == 1


def test_too_few_sizes_or_ratios_that_reach_a_threshold_are_told(points):
    only = points.subset(points.model_size == 2e6)
    laws, [warning] = fit_size_laws(only, 0)
    assert laws == []
    assert "only size 2e+06 of the 1 that ran reaches it; a law with model size needs two" in warning.message
    _, [warning] = fit_size_laws(points.subset(points.utd == 2), 0)
    assert "only UTD ratio 2 of the 1" in warning.message
    silent = replace(points, data=np.full(points.data.shape, np.inf))
    _, [warning] = fit_size_laws(silent, 0)
    assert warning.code == "not-identified"


def test_censored_points_raise_the_law_and_never_lower_it(points):
    hidden = (points.utd == 0.5) & (points.model_size == 5e5)
    data, bound = points.data.copy(), points.bound.copy()
    data[:, :, hidden] = np.inf
    bound[:, hidden] = 3 * points.data[0, :, hidden, 0].T
    [above] = fit_size_laws(replace(points, data=data, bound=bound), 0)[0]
    [without] = fit_size_laws(points.subset(~hidden), 0)[0]
    for task in TASKS:
        assert above.at_size(5e5).predict([0.5], task)[0] > 1.1 * without.at_size(5e5).predict([0.5], task)[0]


def test_sizes_of_unknown_or_equal_n_are_refused():
    cells = sized_cells(utds=(1.0,))
    with pytest.raises(UserError, match="the N of size 'large' is not known: its runs recorded none; add model_size"):
        find_sizes([replace(cell, model_size=None) if cell.size == "large" else cell for cell in cells])
    with pytest.raises(UserError, match="sizes 'medium' and 'small' have one N, 500000"):
        find_sizes([replace(cell, model_size=5e5) if cell.size == "medium" else cell for cell in cells])


def test_n_of_a_size_is_the_geometric_mean_over_tasks():
    cells = [replace(cell, model_size=cell.model_size * (4 if cell.spec.task == "two" else 1)) for cell in sized_cells(utds=(1.0,))]
    np.testing.assert_allclose(find_sizes(cells).model_size, 2 * np.array(list(SIZES.values())))


def simulated(kind, spread, n_studies, seed):
    """Whether each task's true D lies in its interval inside and beyond, and the errors of the domain's log D inside."""
    inside, beyond, errors = [], [], []
    utd = np.array([1.4, 4.0])
    for study in range(n_studies):
        rng = np.random.default_rng([seed, study])
        alpha, beta = rng.uniform(0.4, 1.2, 2)
        truth = knees(
            kind,
            levels=np.exp(rng.normal(np.log(1e5), 0.7, 3)).tolist(),
            a=float(np.exp(rng.uniform(np.log(0.5), np.log(4)))),
            alpha=alpha,
            b=float(np.exp(rng.uniform(np.log(3e5), np.log(4e6)))),
            beta=beta,
            turns=(spread * rng.standard_normal(3)).tolist(),
        )
        [law], _ = fit_size_laws(sized_points(truth, noise=rng.uniform(0.1, 0.2), rng=rng), study)
        for n, held in ((4e6, inside), (4 * max(SIZES.values()), beyond)):
            at, true = law.at_size(n), truth(utd, np.full(2, n))
            for row, task in enumerate(TASKS):
                for column, ratio in enumerate(utd):
                    estimate = at.estimate(float(ratio), task)
                    held.append(bool(np.log(estimate.low) <= true[row, column] <= np.log(estimate.high)))
            if held is inside:
                errors += (np.log(at.predict(utd)) - true.mean(axis=0)).tolist()
    return np.mean(inside), np.mean(beyond), np.array(errors)


@pytest.mark.parametrize("kind", ["sum", "product"])
def test_intervals_hold_known_truths_of_tasks_that_turn_at_large_networks(kind):
    # in some published tasks D rises again at the largest N. The turns have a standard deviation of 15 % for each e-fold of N, chosen so
    # that they lie within what the law's field expects: at 25 % about 69 % are held beyond (docs/method.md)
    inside, beyond, errors = simulated(kind, 0.15, 40, seed=11)
    assert 0.7 <= inside <= 0.95
    assert 0.7 <= beyond <= 0.95
    assert abs(errors.mean()) < 0.05


@pytest.mark.parametrize("kind", ["sum", "product"])
def test_where_all_tasks_follow_the_form_intervals_hold_inside_and_are_wide_beyond(kind):
    # the law does not know that these tasks do not turn
    inside, beyond, errors = simulated(kind, 0.0, 40, seed=12)
    assert 0.7 <= inside <= 0.95
    assert beyond >= 0.9
    assert abs(errors.mean()) < 0.05

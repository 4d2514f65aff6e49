"""The numbers that come with the package, against those that were published."""

import numpy as np
import pytest

from tdscale.paper import PUBLISHED, scaling_laws


@pytest.mark.parametrize(
    ("name", "sweep", "fits"), [("gym-committed", "gym_sweep", "gym_ours"), ("dmc-committed", "dmc_sweep", "dmc_ours")]
)
def test_the_committed_laws(name, sweep, fits, golden, certify):
    laws = PUBLISHED[name]
    for law, exponent, key in (
        (laws.batch_size, laws.batch_size_exponent, "bs"),
        (laws.learning_rate, laws.learning_rate_exponent, "lr"),
    ):
        known = golden["committed"]["grid_fits"][sweep]["shared"][key]
        assert list(law) == list(known)
        certify(f"{name}: {key} at σ = 1", list(law.values()), [fit["coef_at_utd1"] for fit in known.values()], at_least=8)
        certify(f"{name}: slope of {key}", [exponent] * len(known), [fit["slope"] for fit in known.values()], at_least=8)
    # D up to the domain's scale, at three σ
    utd = np.array([0.3, 1.0, 7.0])
    a, b, c = np.array(golden["committed"]["data_law_abc"][fits]).T[:, :, None]
    data = np.array([law.predict(utd) for law in scaling_laws(name).data])
    scale = laws.data[-1].d_min / c[-1, 0]
    certify(f"{name}: D of 10 data laws", data / scale, c + (utd / b) ** -a, at_least=7)


def test_the_domains_scale_is_that_of_the_published_curves(golden, certify):
    scale = golden["rerun_fitted"]["gym_ours"]["median_of_medians"]
    c = golden["committed"]["data_law_abc"]["gym_ours"][-1][2]
    certify("gym-committed: D_min at J = 800", [PUBLISHED["gym-committed"].data[-1].d_min], [c * scale], at_least=7)


@pytest.mark.parametrize("name", ["gym", "dmc"])
def test_table_2(name, golden, certify):
    laws, table = PUBLISHED[name], golden["paper"][f"table2_{name}"]
    found = [(laws.learning_rate[task], laws.batch_size[task], laws.data[-1].tasks[task]) for task in table]
    certify(f"{name}: Table 2", found, list(table.values()), at_least=15)
    slopes = golden["paper"]["implied_slopes"]
    assert laws.batch_size_exponent == pytest.approx(slopes[f"{name}_B"], abs=0.005)
    assert laws.learning_rate_exponent == pytest.approx(slopes[f"{name}_lr"], abs=0.005)

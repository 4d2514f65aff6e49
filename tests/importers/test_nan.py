"""NaN in a log: a run that diverged, or nothing logged there."""

import numpy as np
import pandas as pd
import pytest
from known_logs import GIVEN, TRUE_SCALE, UNSAID, UTDS, assert_true, case, messages, true_returns

from tdscale.importers import import_runs
from tdscale.importers.curve import clean
from tdscale.importers.logged_run import LoggedRun
from tdscale.runs.store import RunStore


def table(blank):
    """A row for each log call, every fourth with a return; one seed of three was lost early."""
    frames = []
    for utd in UTDS:
        for seed in range(3):
            end = int((24_000 if seed == 2 else 180_000) * (1 + 1 / utd))
            steps = np.arange(250, end + 751, 250)
            returns = np.where(steps % 1000 == 0, true_returns(steps, utd, seed), np.nan)
            frames.append(pd.DataFrame({"env_step": steps, "return": returns, "utd": utd, "seed": seed}))
    return pd.concat(frames).to_csv(index=False, na_rep="" if blank else "NaN")


def test_cells_at_rows_of_other_keys_are_nothing_and_a_lost_seed_costs_the_others_nothing(tmp_path):
    curves = []
    for name, blank in (("blank", True), ("nan", False)):
        (tmp_path / f"{name}.csv").write_text(table(blank))
        import_runs(tmp_path / f"{name}.csv", "csv", tmp_path / name, **UNSAID, **TRUE_SCALE)
        assert_true(tmp_path / name, seeds=2)
        store = RunStore(tmp_path / name)
        assert {status.state for status in store.statuses().values()} == {"finished"}
        curves.append({run_id: (curve["return"].tolist(), store.statuses()[run_id].last_step) for run_id, curve in store.curves().items()})
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("returns", "diverged"),
    [
        ([1, 2, np.nan], True),
        ([np.nan, np.nan, 1, 2, np.nan], True),
        ([1, np.inf, np.inf], True),
        ([np.nan, np.nan, np.nan], False),
        ([1, np.nan, 2, np.nan], False),
        ([1, np.nan, 2, *[np.nan] * 12], True),
        ([1, 2, 3], False),
    ],
)
def test_a_run_diverged_if_its_returns_were_finite_and_are_nan_to_the_end(returns, diverged):
    steps = np.arange(1.0, len(returns) + 1)
    curve = clean(LoggedRun(name="r", config={}, steps=steps, returns=np.array(returns, float)))
    assert curve.diverged == diverged
    finite = steps[np.isfinite(returns)]
    assert curve.last_step == (steps[-1] if diverged else max(finite, default=0))


def test_how_many_runs_count_as_diverged_is_told(tmp_path):
    rows = [f"{100 * i},{'NaN' if seed == 1 and i > 20 else i},{seed}" for seed in range(3) for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["env_step,return,seed", *rows]))
    report = import_runs(tmp_path / "t.csv", "csv", tmp_path / "study", **GIVEN | {"seed": None})
    assert messages(report)["diverged"].startswith("1 run whose returns are NaN from some env step to the end: diverged")


def test_the_shared_tables_with_blanks_and_with_nan_have_one_law(tmp_path):
    for name in ("q_blank.csv", "q_nan.csv"):
        import_runs(case(name), "auto", tmp_path / name, **TRUE_SCALE)
        assert_true(tmp_path / name, seeds=2)

"""Diagnostics as they come from the store: the rows and columns that were logged, nothing else."""

import numpy as np

from tdscale.runs.diagnostics import load_diagnostics
from tdscale.runs.store import RunStore


def test_only_logged_rows_and_columns_of_own_runs_come_back(tmp_path, make_result, study):
    store = RunStore(tmp_path)
    norms = np.array([np.nan, 1.0, np.nan, 2.0])
    steps = np.arange(1, 5) * 100
    own = make_result(0, steps=steps, suite="gymnasium", columns={"critic_parameter_norm": norms})
    store.write(own)
    store.write(make_result(1, steps=steps, suite="gymnasium"))
    store.write(make_result(2, steps=steps, columns={"critic_parameter_norm": norms}))
    store.write(make_result(3, steps=steps, suite="gymnasium", columns={"critic_parameter_norm": norms}, status={"state": "failed"}))
    (found,) = load_diagnostics(store, study)
    assert found.spec.run_id == own.spec.run_id
    assert found.env_steps.tolist() == [200, 400]
    assert {name: values.tolist() for name, values in found.values.items()} == {"critic_parameter_norm": [1.0, 2.0]}
    assert load_diagnostics(store, study, stages=("scaling",)) == []

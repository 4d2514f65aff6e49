"""Diagnostics as they come from the store: the rows and columns that were logged, nothing else."""

import numpy as np
import pytest

from tdscale.runs.cells import load_diagnostics
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


def test_norms_of_any_number_of_layers_come_back_in_order_from_folders_and_packed_parts(tmp_path, make_result, study):
    names = [f"critic_parameter_norm_layer_{layer}" for layer in range(12)]
    columns = {name: np.full(10, float(layer)) for layer, name in enumerate(names)}
    shallow, deep = (
        make_result(0, suite="gymnasium", columns={names[0]: columns[names[0]]}),
        make_result(1, suite="gymnasium", columns=columns),
    )
    for name, packed in (("folders", False), ("packed", True)):
        store = RunStore(tmp_path / name)
        if packed:
            store.write_packed([shallow, deep], "part")
        else:
            store.write(shallow), store.write(deep)
        found = {run.spec.seed: run.values for run in load_diagnostics(store, study)}
        assert list(found[0]) == names[:1]
        assert list(found[1]) == names
        assert [found[1][name][0] for name in names] == list(range(12))
        asked = store.curves(columns=[names[10], "return"])
        assert np.isnan(asked[shallow.spec.run_id][names[10]]).all()
        assert store.problems() == []


@pytest.mark.parametrize(
    "name", ["critic_parameter_norm_layer_", "critic_parameter_norm_layer_01", "critic_parameter_norm_layer_-1", "x_layer_0"]
)
def test_a_layers_norm_has_its_number_at_the_end_and_nothing_else(tmp_path, make_result, name):
    store = RunStore(tmp_path)
    with pytest.raises(ValueError, match=r"not a column of a curve; known are .*critic_parameter_norm_layer_0, "):
        store.write(make_result(0, columns={name: np.zeros(10)}))
    with pytest.raises(ValueError, match="not a column"):
        store.curves(columns=[name])


def test_the_losses_of_imported_runs_come_back_with_their_size(tmp_path, make_result, study):
    store = RunStore(tmp_path)
    steps, losses = np.arange(1, 5) * 100, np.array([4.0, np.nan, 2.0, 1.0])
    for seed, (width, columns) in enumerate(
        [(64, {"validation_critic_loss": losses}), (256, {"validation_critic_loss": 3 * losses}), (256, {})]
    ):
        store.write(make_result(seed, steps=steps, stage="scaling", settings={"width": width}, columns=columns))
    sized = study.model_copy(update={"sizes": {"s": {"width": 64, "model_size": 1e3}, "l": {"width": 256, "model_size": 1e4}}})
    found = {run.size: run for run in load_diagnostics(store, sized)}
    assert sorted(found) == ["l", "s"]
    assert found["s"].env_steps.tolist() == [100, 300, 400]
    assert {name: values.tolist() for name, values in found["l"].values.items()} == {"validation_critic_loss": [12.0, 6.0, 3.0]}

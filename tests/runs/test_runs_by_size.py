"""Runs of several sizes of networks: which are of which size, which answer, and their cells."""

from dataclasses import replace

import pytest

from tdscale.errors import UserError
from tdscale.runs.cells import load_cells
from tdscale.runs.selection import select_runs
from tdscale.runs.store import RunStore
from tdscale.study import parse_study


def _store(folder, results):
    store = RunStore(folder)
    for result in results:
        store.write(result)
    return store


def _sized(study, **sizes):
    return study.model_copy(update={"sizes": {name: {"width": width, "model_size": n} for name, (width, n) in sizes.items()}})


@pytest.fixture
def store(make_result, tmp_path):
    """Three widths at two σ, two seeds each; one seed's width is written as text."""
    return _store(
        tmp_path,
        [
            make_result(seed, utd=utd, stage="scaling", settings={"width": str(width) if seed and width == 64 else width})
            for width in (64, 128, 256)
            for utd in (1.0, 2.0)
            for seed in (0, 1)
        ],
    )


def test_imported_runs_of_several_sizes_are_refused_where_the_study_names_none(store, study):
    with pytest.raises(UserError, match=r"differ in settings that decide a curve.*width is 64, 128, 256; choose with --where"):
        select_runs(store, study)


def test_imported_runs_answer_for_the_size_whose_settings_they_have_and_others_are_left_out_and_counted(store, study):
    selection = select_runs(store, _sized(study, m=(64, 5e3), l=("256", 6e4)))
    assert sorted({str(spec.settings["width"]) for spec in selection.specs.values()}) == ["256", "64"]
    assert len(selection.specs) == 8
    cells, _ = load_cells(store, _sized(study, m=(64, 5e3), l=("256", 6e4)))
    assert [(cell.size, cell.spec.utd, cell.seeds.tolist()) for cell in cells] == [
        (size, utd, [0, 1]) for size in ("m", "l") for utd in (1.0, 2.0)
    ]
    (left_out,) = selection.left_out
    assert left_out.code == "other-size"
    assert left_out.message == "4 runs are left out: of none of the study's sizes, which have width = 64 or 256"


def test_a_size_may_be_named_by_the_last_part_of_a_nested_key(make_result, study, tmp_path):
    store = _store(tmp_path, [make_result(seed, stage="scaling", settings={"critic.width": 64}) for seed in (0, 1)])
    assert len(select_runs(store, _sized(study, m=(64, 1e3))).specs) == 2


def test_imported_runs_must_agree_within_each_size_and_what_differs_between_sizes_is_said(make_result, study, tmp_path):
    depths = {64: 2, 256: 4}
    results = [make_result(seed, stage="scaling", settings={"width": w, "depth": d}) for w, d in depths.items() for seed in (0, 1)]
    store, sized = _store(tmp_path, results), _sized(study, m=(64, 1e3), l=(256, 1e4))
    assert [(one.code, one.message) for one in select_runs(store, sized).listed] == [
        ("settings-by-size", "depth differs between sizes (2, 4)")
    ]
    store.write(make_result(2, stage="scaling", settings={"width": 64, "depth": 3}))
    with pytest.raises(UserError, match=r"depth is 2, 3"):
        select_runs(store, sized)


def test_one_b_and_eta_at_each_size_is_no_sweep(make_result, study, tmp_path):
    pairs = {64: (32, 1e-3), 256: (64, 3e-4)}
    results = [
        make_result(seed, stage="scaling", batch_size=b, learning_rate=eta, settings={"width": w})
        for w, (b, eta) in pairs.items()
        for seed in (0, 1)
    ]
    store = _store(tmp_path, results)
    assert not select_runs(store, _sized(study, m=(64, 1e3), l=(256, 1e4))).is_sweep
    assert select_runs(store, study.model_copy(update={"sizes": {"m": {"x": 1}}})).specs == {}


def test_cells_know_their_size_and_n_and_are_never_merged(make_result, study, tmp_path):
    results = [
        make_result(seed, stage="scaling", settings={"width": width}, status={"critic_parameters": 7 * width})
        for width in (64, 256)
        for seed in (0, 1)
    ]
    sized = study.model_copy(update={"sizes": {"l": {"width": 256}, "m": {"width": 64, "model_size": 1234}}})
    cells, _ = load_cells(_store(tmp_path, results), sized)
    # in the study's order; N as the study gives it, else as the runs recorded it
    assert [(cell.size, cell.model_size, cell.spec.settings["width"], len(cell.seeds)) for cell in cells] == [
        ("l", 7 * 256, 256, 2),
        ("m", 1234, 64, 2),
    ]


def test_warnings_of_cells_that_differ_in_size_alone_name_it(make_result, study, tmp_path):
    sized = _sized(study, m=(64, 1e3), l=(256, 1e4))
    results = [make_result(seed, stage="scaling", settings={"width": width}) for width in (64, 256) for seed in (0, 1, 2)]
    results += [make_result(seed, utd=2.0, stage="scaling", settings={"width": width}) for width in (64, 256) for seed in (0, 1)]
    results += [make_result(seed, utd=4.0, stage="scaling", settings={"width": width}) for width in (64, 256) for seed in (0, 1, 2)]
    _, warnings = load_cells(_store(tmp_path, results), sized)
    assert [warning.where.split(", ")[-1] for warning in warnings if warning.code == "fewer-seeds"] == ["size m", "size l"]


TRAINED = """\
name = "sized"
algorithm = "sac"
return_thresholds = [500]

[tasks.Ant-v4]
high = 1000

[sweep]
utd = [1]
batch_size = [64]
learning_rate = [3e-4]

[limits]
env_steps = 40000

[sizes]
hidden_sizes = [[64, 64], [256, 256]]
"""


def test_a_study_that_is_trained_takes_the_runs_of_its_sizes_and_says_why_others_are_left_out(make_result, tmp_path):
    study = parse_study(TRAINED)
    specs = [*study.sweep_specs(), *parse_study(TRAINED.replace("[64, 64], ", "[32, 32], ")).sweep_specs()[:3]]
    specs += parse_study(TRAINED + "\n[settings]\ndiscount = 0.9\n").sweep_specs()[:1]
    store = _store(tmp_path, [replace(make_result(), spec=spec) for spec in specs])
    selection = select_runs(store, study)
    assert list(selection.specs) == sorted(spec.run_id for spec in study.sweep_specs())
    assert [warning.message for warning in selection.left_out] == [
        "1 run is left out: they have discount = 0.9, the study has 0.99",
        "3 runs are left out: they have hidden_sizes = [32, 32]; the study's sizes have hidden_sizes = [64, 64] or [256, 256]",
    ]

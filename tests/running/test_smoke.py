"""The smoke size of a study: small whatever the study is, and of the same kind."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_study_files import GOOD

from command import refused
from tdscale.running.folder import place_study
from tdscale.study import SETTINGS, Limits, Scaling, Study, Sweep, Task, is_smoke, parse_study, smoke_study, study_to_toml, with_scale

_utds = st.lists(st.floats(1e-4, 32).map(lambda value: float(f"{value:.3g}")), min_size=1, max_size=5, unique=True).map(tuple)


@st.composite
def _studies(draw):
    algorithm = draw(st.sampled_from(sorted(SETTINGS)))
    batch_sizes = st.lists(st.integers(1, 9000), min_size=1, max_size=4, unique=True).map(tuple)
    rates = st.lists(st.floats(1e-5, 1e-2), min_size=1, max_size=4, unique=True).map(tuple)
    return Study(
        name=draw(st.text("abc", min_size=1, max_size=200)),
        algorithm=algorithm,
        return_thresholds=(300.0, 800.0),
        tasks={"Pendulum-v1": Task(low=draw(st.floats(-1e6, 0)), high=1.0), "Reacher-v5": Task(high=5.0)},
        sweep=Sweep(utd=draw(_utds), batch_size=draw(batch_sizes), learning_rate=draw(rates), seeds=draw(st.integers(1, 9))),
        scaling=draw(st.none() | st.builds(Scaling, utd=_utds, seeds=st.integers(1, 9))),
        limits=Limits(env_steps=draw(st.integers(200_000, 10**7))),
    )


@given(_studies())
def test_a_smoke_study_is_small_and_of_the_same_algorithm(study):
    small = smoke_study(study)
    assert is_smoke(small)
    assert not is_smoke(study)
    assert small.algorithm == study.algorithm
    assert list(small.tasks) == ["Pendulum-v1"]
    specs = small.sweep_specs()
    assert 1 <= len(specs) <= 8
    assert all(spec.batch_size <= 64 for spec in specs)
    assert {spec.learning_rate for spec in specs} <= set(study.sweep.learning_rate)
    assert (small.scaling is None) == (study.scaling is None)
    if small.scaling is not None:
        assert len(small.scaling.utd) <= 3
        assert small.scaling.seeds <= 2
    settings = small.full_settings
    environments = settings.get("environments", 1)
    assert environments <= 8
    assert small.env_step_limit("Pendulum-v1") - settings["warm_up"] == 50 * environments
    widths = [*settings.get("hidden_sizes", []), *(value for name, value in settings.items() if name.endswith("_width"))]
    assert widths
    assert max(widths) <= 32
    whole = study.full_settings
    assert {name for name in whole if settings[name] != whole[name]} <= {
        *("warm_up", "evaluation_interval", "evaluation_episodes", "diagnostics_interval", "environments"),
        *("hidden_sizes", "critic_width", "actor_width"),
    }
    assert parse_study(study_to_toml(small)) == small


@given(_studies())
def test_it_keeps_the_utds_nearest_to_one_and_the_updates_of_a_step_of_all_environments(study):
    fewer = study.full_settings.get("environments", 1) / smoke_study(study).full_settings.get("environments", 1)
    raised = {min(utd * fewer, max(utd, 16.0)) for utd in study.sweep.utd}
    kept = smoke_study(study).sweep.utd
    assert set(kept) <= raised
    assert len(kept) == min(2, len(raised))
    farthest = max(abs(log(utd)) for utd in kept)
    assert all(abs(log(utd)) >= farthest for utd in raised - set(kept))


def test_no_cell_of_stage_one_stops_before_its_end():
    small = smoke_study(parse_study(GOOD))
    assert small.raw_return("Pendulum-v1", small.return_thresholds[-1]) > 1050 * 40


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_the_scale_puts_the_thresholds_where_returns_were_seen(returns):
    small = with_scale(smoke_study(parse_study(GOOD)), {"Pendulum-v1": [*returns, float("nan")]})
    reached = [small.raw_return("Pendulum-v1", threshold) for threshold in small.return_thresholds]
    span = reached[-1] - reached[0]
    assert span > 0
    below = sorted(returns)[: (len(returns) + 1) // 2 + 1]
    assert reached[-1] <= max(below) + 1e-6 * max(span, abs(max(below)))
    assert sum(value >= reached[-1] - 1e-6 * max(span, abs(value)) for value in returns) >= len(returns) // 2


def test_without_returns_the_scale_stays():
    small = smoke_study(parse_study(GOOD))
    assert with_scale(small, {"Pendulum-v1": [float("nan")]}) == small


@pytest.mark.parametrize("first", [True, False])
def test_a_study_and_its_smoke_run_never_share_a_folder(first, tmp_path):
    (tmp_path / "good.toml").write_text(GOOD)
    place_study(tmp_path / "good.toml", tmp_path / "study", smoke=first)
    before = (tmp_path / "study" / "study.toml").read_text()
    sentence = refused("run", "good.toml", "--dir", "study", *([] if first else ["--smoke"]), cwd=tmp_path)
    assert sentence == f"study: holds {'a smoke run' if first else 'a full study'} already; give --dir another folder"
    assert (tmp_path / "study" / "study.toml").read_text() == before

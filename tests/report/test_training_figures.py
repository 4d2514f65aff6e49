"""Figures of what runs logged beside their returns: drawn where it was logged, absent where not."""

from dataclasses import replace

import numpy as np
import pytest

from tdscale.report import figures
from tdscale.runs.types import RunDiagnostics


def make_runs(studied, names):
    rng = np.random.default_rng(0)
    runs = []
    for cell in studied.measured.cells:
        spec = cell.spec
        columns = {
            "td_error_uniform": np.ones(20),
            "td_error_newest": 1 + 0.2 * spec.utd + 0.001 * spec.batch_size + 0.01 * rng.random(20),
            "td_error_validation": 1 + 0.3 * spec.utd + 0.01 * rng.random(20),
            "critic_parameter_norm": 30 + 4 * np.log(spec.utd) + 5e3 * spec.learning_rate + np.arange(20.0),
            "critic_gradient_norm_squared_64": 1 + 300 / 64 + 0.05 * rng.random(20),
            "critic_gradient_norm_squared_1024": 1 + 300 / 1024 + 0.05 * rng.random(20),
        }
        values = {name: columns[name] for name in names}
        runs.append(RunDiagnostics(spec=spec, env_steps=np.arange(1, 21) * 500, values=values))
    return runs


ERRORS = ("td_error_uniform", "td_error_newest", "critic_parameter_norm")
GRADIENTS = ("critic_gradient_norm_squared_64", "critic_gradient_norm_squared_1024")


def test_overfitting_and_norms_are_drawn_against_what_was_varied(studied):
    figure = figures.overfitting_figure(make_runs(studied, ERRORS))
    assert [axes.get_xlabel() for axes in figure.axes] == ["UTD ratio σ", "batch size B", "UTD ratio σ", "learning rate η"]
    assert all(len(axes.lines) == 4 for axes in figure.axes)  # two tasks, points and line


def test_what_validation_transitions_say_has_panels_of_its_own_where_it_was_logged(studied):
    figure = figures.overfitting_figure(make_runs(studied, (*ERRORS, "td_error_validation")))
    assert [axes.get_ylabel() for axes in figure.axes[2:4]] == ["TD error, validation − uniform"] * 2
    assert [axes.get_xlabel() for axes in figure.axes[2:4]] == ["UTD ratio σ", "batch size B"]
    runner = figure.axes[2].lines[0]
    np.testing.assert_allclose(runner.get_ydata(), 0.3 * runner.get_xdata() + 0.005, atol=0.004)


def test_a_panel_whose_column_was_not_logged_is_absent(studied):
    assert len(figures.overfitting_figure(make_runs(studied, ERRORS[2:])).axes) == 2
    assert figures.overfitting_figure(make_runs(studied, GRADIENTS)) is None
    assert figures.overfitting_figure([]) is None


def test_the_critical_batch_size_is_drawn_where_gradient_norms_were_logged(studied):
    runs = make_runs(studied, GRADIENTS)
    (axes,) = figures.critical_batch_figure(runs).axes
    assert np.nanmedian(axes.lines[0].get_ydata()) == pytest.approx(300, rel=0.2)
    assert figures.critical_against_best_figure(studied.laws, runs) is not None
    assert figures.critical_batch_figure(make_runs(studied, ERRORS)) is None
    assert figures.critical_against_best_figure(studied.laws, make_runs(studied, ERRORS)) is None
    assert figures.critical_against_best_figure(replace(studied.laws, batch_size=None), runs) is None

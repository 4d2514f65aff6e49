"""What `fit` prints of a study with sizes, as a newcomer reads it."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tdscale.analysis.fit import FitOptions, fit_laws
from tdscale.analysis.views import at_size
from tdscale.cli.results import print_laws
from tdscale.runs.types import Cell
from tdscale.study import RunSpec

SIZES = {"narrow": 1e5, "small": 3e5, "middle": 1e6, "large": 3e6, "wide": 1e7}
TASKS = {"one": 2e4, "two": 5e4}
UTD = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def make_cell(task, utd, size, stage, batch_size=256):
    """A curve that reaches J = 500 after D_min·(1 + (1/σ)^1.3 + (5e5/N)^1.2) env steps, at B* = 50·N^0.1·σ^−0.5."""
    spec = RunSpec(
        algorithm="sac",
        suite="imported",
        task=task,
        utd=utd,
        batch_size=batch_size,
        learning_rate=1e-3,
        seed=0,
        stage=stage,
        settings={"width": size},
    )
    best = 50 * SIZES[size] ** 0.1 * utd**-0.5
    off = np.exp(0.1 * np.log(batch_size / best) ** 2) if stage == "sweep" else 1.0
    needed = TASKS[task] * (1 + utd**-1.3 + (5e5 / SIZES[size]) ** 1.2) * off
    rng = np.random.default_rng(int(spec.cell_id, 16) + list(SIZES).index(size))
    steps = (np.arange(1, 121) * 3 * needed / 120).astype(np.int64)
    seeds = needed * np.exp(0.05 * rng.standard_normal((3, 1)))
    nothing = np.zeros(3, dtype=bool)
    return Cell(
        spec=spec,
        seeds=np.arange(3),
        env_steps=steps,
        returns=500 * (steps / seeds) ** 0.9999,
        last_step=int(steps[-1]),
        diverged=nothing,
        duplicate=nothing,
        costs={"critic_parameters": SIZES[size], "actor_parameters": SIZES[size] / 2, "warm_up": 0.0},
        size=size,
        model_size=SIZES[size],
    )


def printed(laws):
    console = Console(file=io.StringIO(), width=160, soft_wrap=True, markup=False, highlight=False)
    print_laws(console, laws)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def laws():
    cells = [make_cell(task, utd, size, "scaling") for task in TASKS for utd in UTD for size in SIZES]
    cells += [
        make_cell(task, utd, size, "sweep", batch)
        for task in TASKS
        for utd in (1.0, 4.0)
        for size in SIZES
        for batch in (64, 128, 256, 512)
    ]
    options = FitOptions(study="mine", tasks=tuple(TASKS), thresholds=(500.0, 700.0), data_cost=1e8, n_draws=30)
    return fit_laws(cells, options)


@pytest.fixture(scope="module")
def text(laws):
    return printed(laws)


def test_the_sizes_come_first_with_their_numbers_of_parameters(text):
    heading = text.index("networks of 5 sizes; N: parameters of the critics")
    assert heading < text.index("batch size B*(σ, N) = ") < text.index("D_J(σ, N)")
    assert re.search(r"narrow +100,000\nsmall +300,000\nmiddle +1,000,000\nlarge +3,000,000\nwide +10,000,000\n", text)


def test_the_best_values_are_laws_over_n_or_say_that_they_are_not(text, laws):
    assert re.search(r"batch size B\*\(σ, N\) = .*N\^", text)
    assert "slope in log N, at N = 9.79e5" in text
    assert "learning rate η*(σ) = 0.001·σ^0, as the runs used it" in text
    found = laws.sizes.batch_size.size.slope
    assert str(found) in text
    assert found.value == pytest.approx(0.1, abs=0.05)


def test_the_data_law_has_the_part_of_n_with_intervals(text, laws):
    assert len(laws.sizes.data) == 2
    for law in laws.sizes.data:
        values = law.parameters()
        assert law.identified
        assert all(str(values[name]) in text for name in ("d_min", "a", "alpha", "b", "beta"))
    assert "data law D_J(σ, N) = D_min·(1 + (a/σ)^α + (b/N)^β), env steps" in text


def test_what_the_runs_do_not_settle_is_said_in_words(laws):
    open_ones = replace(laws.sizes, data=tuple(replace(law, identified=False) for law in laws.sizes.data))
    text = printed(replace(laws, sizes=open_ones))
    assert "data law D_J(σ, N) ∝ σ^x·N^y: D_min, a and b are not identified, as warned below" in text
    (row,) = re.findall(r"^500 +below .*$", text, flags=re.MULTILINE)
    power = next(form for form in laws.sizes.data[0].forms if form.form.name == "size-power")
    assert all(f"−{value:.3g}"[:4] in row for value in power.parameters[-1])


def test_the_forms_of_the_laws_over_both_are_named_not_those_of_a_slice(text):
    (combined,) = re.findall(r"predictions combine (.*) \(weighted", text)
    assert "sum of both knees" in combined
    assert "product of both knees" in combined
    assert "offset law" not in combined
    assert sum(int(share) for share in re.findall(r"(\d+)%", combined)) == pytest.approx(100, abs=3)


def test_data_by_size_is_what_the_law_predicts_there(text, laws):
    for name, size in SIZES.items():
        law = at_size(laws, size).data[-1]
        (row,) = re.findall(rf"^{name} .*\[.*$", text, flags=re.MULTILINE)
        assert str(law.estimate(0.25)) in row
        assert str(law.estimate(16.0)) in row


def test_it_says_at_which_size_the_rest_stands(text):
    place = text.index("what follows is at N = 1.00e6, size middle, the one in the middle")
    assert text.index("predictions combine") < place
    if "cheapest σ for each return" in text:
        assert place < text.index("cheapest σ for each return")


def test_a_study_without_sizes_says_nothing_of_n():
    cells = [make_cell(task, utd, "middle", "scaling") for task in TASKS for utd in UTD]
    text = printed(fit_laws(cells, FitOptions(study="mine", tasks=tuple(TASKS), thresholds=(500.0,), data_cost=1e8, n_draws=20)))
    assert "data law D_J(σ) = D_min·(1 + (σ/β)^−α)" in text
    assert "σ, N" not in text
    assert "sizes" not in text

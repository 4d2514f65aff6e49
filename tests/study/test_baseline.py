"""[baseline] at: runs at constant B and η at some of stage 2's σ."""

import pytest

from tdscale.errors import UserError
from tdscale.study.toml import parse_study, study_to_toml

STUDY = """
name = "constant"
algorithm = "sac"
return_thresholds = [300]

[tasks.Pendulum-v1]
low = -1200
high = -150

[sweep]
utd = [1, 2]
batch_size = [32, 64]
learning_rate = [1e-3, 3e-3]

[scaling]
utd = [0.25, 1, 2, 8]
seeds = 4

[baseline]
{at}

[limits]
env_steps = 10000
"""


def test_the_baseline_is_run_at_the_ratios_it_names_and_without_them_at_all_of_stage_2():
    some = parse_study(STUDY.format(at="at = [0.25, 8]\nseeds = 2"))
    specs = some.baseline_specs({"Pendulum-v1": (64, 1e-3)})
    assert sorted({spec.utd for spec in specs}) == [0.25, 8]
    assert len(specs) == 4
    every = parse_study(STUDY.format(at="utd = 2"))
    assert sorted({spec.utd for spec in every.baseline_specs({"Pendulum-v1": (64, 1e-3)})}) == [0.25, 1, 2, 8]
    assert parse_study(study_to_toml(some)) == some


def test_a_ratio_that_stage_2_does_not_run_is_refused():
    with pytest.raises(UserError, match=r"baseline\.at: 4 is not a σ of \[scaling\]"):
        parse_study(STUDY.format(at="at = [0.25, 4]"))

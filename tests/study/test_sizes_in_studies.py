"""[sizes] in a study's file: what is taken, what is refused, which runs it asks for."""

import pytest

from tdscale.errors import UserError
from tdscale.study import SETTINGS, filled, parse_study, smoke_study, study_to_toml
from tdscale.study.sizes import update_weight

STUDY = """\
name = "sized"
algorithm = "sac"
return_thresholds = [300]

[tasks.Pendulum-v1]
high = 1

[sweep]
utd = [1, 2]
batch_size = [16]
learning_rate = [1e-3, 3e-3]
seeds = 3
{sweep}
[scaling]
utd = [0.5, 1, 2]
seeds = 2

[limits]
env_steps = 40000
"""
PLAIN = STUDY.format(sweep="")
SIZED = PLAIN + "\n[sizes]\nsmall = { hidden_sizes = [64, 64] }\nlarge = { hidden_sizes = [256, 256] }\n"
COMMAND = PLAIN.replace(
    'algorithm = "sac"', 'command = ["train", "{utd}", "{learning_rate}", "{seed}", "{width}", "--n={model_size}", "{output}"]'
)
WIDE = '\n[sizes]\nm = { width = 64, model_size = 1000 }\n"l 2" = { width = 256, model_size = 2.5e6 }\n'


def test_a_study_with_sizes_asks_for_the_runs_of_each_size_as_if_it_stood_alone():
    alone = [parse_study(f"{PLAIN}\n[settings]\nhidden_sizes = {widths}\n") for widths in ("[64, 64]", "[256, 256]")]
    study = parse_study(SIZED)
    assert [spec.run_id for spec in study.sweep_specs()] == [spec.run_id for one in alone for spec in one.sweep_specs()]
    stages = study.expected_stages()
    assert [spec.run_id for spec in stages["scaling"]] == [spec.run_id for one in alone for spec in one.expected_stages()["scaling"]]


def test_one_size_is_the_study_with_these_settings():
    one = parse_study(PLAIN + "\n[sizes]\nhidden_sizes = [[64, 64]]\n")
    assert one.sweep_specs() == parse_study(PLAIN + "\n[settings]\nhidden_sizes = [64, 64]\n").sweep_specs()


def test_a_list_of_values_makes_a_size_of_each_named_by_it():
    study = parse_study(PLAIN + "\n[sizes]\nhidden_sizes = [[64, 64], [256, 256]]\n")
    assert list(study.sizes) == ["64x64", "256x256"]
    assert study.sweep_specs() == parse_study(SIZED).sweep_specs()


@pytest.mark.parametrize("text", [SIZED, COMMAND + WIDE, PLAIN + "\n[sizes]\n'0.5' = { hidden_sizes = [8] }\n"])
def test_a_study_with_sizes_written_to_toml_is_read_back_as_the_same(text):
    study = parse_study(text)
    assert parse_study(study_to_toml(study)) == study


def test_an_adaptive_study_asks_for_n_of_each_size_that_tdscale_does_not_build():
    adaptive = COMMAND.replace("[scaling]", 'design = "adaptive"\n\n[scaling]')
    assert parse_study(adaptive + WIDE).by_size()["m"].model_size == 1000
    asks = r"sizes\.l 2\.model_size: missing; the adaptive design needs N of each size, its critics' parameters, before its runs"
    with pytest.raises(UserError, match=asks):
        parse_study(adaptive.replace("--n={model_size}", "x") + WIDE.replace(", model_size = 2.5e6", ""))
    assert parse_study(SIZED.replace("[scaling]", 'design = "adaptive"\n\n[scaling]')).sweep.is_adaptive


MISTAKES = {
    "misspelt": ("hidden_sizes = [256", "hiden_sizes = [256", "sizes.large.hiden_sizes: unknown key; did you mean 'hidden_sizes'?"),
    "not-allowed": ("[256, 256]", "[256, 0]", "sizes.large.hidden_sizes[1]: 0 is not allowed; it must be ≥ 1"),
    "not-a-table": ("small = { hidden_sizes = [64, 64] }", "small = 64", "sizes.small: 64 is not a table"),
    "another-table": ("[sizes]", "[size]", "size: unknown key; did you mean 'sizes'?"),
    "twice": ("[sizes]", "[settings]\nhidden_sizes = [8]\n\n[sizes]", "sizes.small.hidden_sizes: is in [settings] too; a setting of"),
    "counted": (
        "[64, 64] }",
        "[64, 64], model_size = 5e3 }",
        "sizes.small.model_size: tdscale counts N of its own networks; leave it out",
    ),
    "no-network": (
        "hidden_sizes = [64, 64]",
        "discount = 0.9",
        "sizes.small: discount does not change the size of the critics; it must set hidden_sizes",
    ),
    "one-n": (
        'name = "sized"',
        'name = "sized"\nmodel_size = 100',
        "model_size: can't be combined with [sizes], whose networks have an N each",
    ),
    "alike": ("[256, 256]", "[64, 64]", "sizes: large: has the settings of 'small'; give each size once"),
    "unequal": ("[256, 256]", "[256, 256], discount = 0.9", "sizes: large: sets discount, hidden_sizes, another size hidden_sizes"),
    "warm-up": ("[64, 64] }", "[64, 64], warm_up = 50000 }", "sizes.small: settings.warm_up: 50000 env steps of warm-up leave nothing"),
    "recorded": ("[64, 64] }", "[64, 64], evaluation_interval = 5 }", "sizes.small.evaluation_interval: only controls recording"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_sizes_is_one_sentence(mistake):
    right, wrong, said = MISTAKES[mistake]
    assert right in SIZED
    text = SIZED.replace(right, wrong)
    if mistake in ("warm-up", "recorded"):  # all sizes set the same
        text = text.replace("[256, 256] }", f"[256, 256], {wrong[len('[64, 64], ') :]}")
    if mistake == "no-network":
        text = text.replace("hidden_sizes = [256, 256]", "discount = 0.8")
    with pytest.raises(UserError) as error:
        parse_study(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_checked_together_with_each_size():
    with pytest.raises(UserError, match=r"study.toml, settings.discount: 2 is not allowed; it must be < 1"):
        parse_study(SIZED + "\n[settings]\ndiscount = 2\n")


def test_a_size_may_be_made_of_any_setting_of_the_critics():
    text = PLAIN.replace('"sac"', '"bro"') + "\n[sizes]\nshallow = { critic_blocks = 1 }\ndeep = { critic_blocks = 4 }\n"
    assert [spec.settings["critic_blocks"] for spec in parse_study(text).sweep_specs()[::12]] == [1, 4]


def test_a_programs_arguments_name_the_size_its_settings_and_n():
    study = parse_study(COMMAND + WIDE)
    spec = study.sweep_specs()[-1]
    assert dict(spec.settings) == {"width": 256}
    arguments = filled(["p", "{size}", "{width}", "{model_size}"], spec, 10, {}, {"size": "l 2", "model_size": 2.5e6})
    assert arguments == ["p", "l 2", "256", "2500000"]


COMMAND_MISTAKES = {
    "no-n": (
        "width = 64, model_size = 1000",
        "width = 64",
        "there is no placeholder {model_size} where a size has no model_size; give it in",
    ),
    "forgotten": ('"{width}", "--n={model_size}"', '"64"', "command: nowhere says {size} or {width}, so that runs of 2 sizes would all be"),
    "a-placeholder": ("width = ", "utd = ", "sizes.m.utd: is the name of a placeholder that every command has"),
    "another-size": ("width = ", "size = ", "sizes.m.size: is the name of a placeholder that every command has"),
    "a-setting": ("[sizes]", "[settings]\nsize = 3\n\n[sizes]", "settings.size: is the name of a placeholder that every command has"),
}


@pytest.mark.parametrize("mistake", COMMAND_MISTAKES)
def test_a_command_that_can_not_tell_sizes_apart_is_refused(mistake):
    right, wrong, said = COMMAND_MISTAKES[mistake]
    assert right in COMMAND + WIDE
    with pytest.raises(UserError) as error:
        parse_study((COMMAND + WIDE).replace(right, wrong))
    assert said in str(error.value)


def test_without_sizes_size_is_a_setting_as_any_other():
    text = COMMAND.replace('"--n={model_size}"', '"{size}"') + '\n[settings]\nwidth = 3\nsize = "m"\n'
    assert parse_study(text).sweep_specs()[0].settings == {"width": 3, "size": "m"}


def test_a_smoke_study_keeps_the_smallest_and_the_largest_network_small_and_apart():
    study = smoke_study(parse_study(PLAIN + "\n[sizes]\nhidden_sizes = [[64, 64], [128, 128], [256, 256]]\n"))
    assert study.sizes == {"64x64": {"hidden_sizes": [16, 16]}, "256x256": {"hidden_sizes": [32, 32]}}
    assert len({spec.cell_id for spec in study.sweep_specs()}) == 2 * 2 * 1 * 2
    turned = smoke_study(parse_study(PLAIN + "\n[sizes]\nhidden_sizes = [[20, 20], [16, 16]]\n"))
    assert turned.sizes == {"20x20": {"hidden_sizes": [20, 20]}, "16x16": {"hidden_sizes": [16, 16]}}


def test_an_update_is_weighed_by_the_products_of_its_layers():
    # 32·256 + 256·256 + 256 products, in units of 256·256
    assert update_weight(SETTINGS["sac"]().model_dump(mode="json"), None) == pytest.approx(1.1289, abs=1e-4)
    narrow, wide = ({"hidden_sizes": [width, width]} for width in (512, 1024))
    assert 3.8 < update_weight(wide, None) / update_weight(narrow, None) < 4
    assert update_weight({}, 2.8e6) == 2 * update_weight({"width": 9}, 1.4e6)

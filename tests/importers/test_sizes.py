"""Logs of networks of several sizes: which runs are of one size, what N each has, and what is asked where nobody says."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from known_logs import answers_in, long_table, messages, rising
from test_loggers import write_monitor

from command import called, refused
from tdscale.amounts import number
from tdscale.errors import UserError
from tdscale.importers import Columns, gather_runs, import_runs
from tdscale.runs.store import RunStore
from tdscale.study import read_study

TOLD = "width:64=12k,256=0.2M"


def table(path, **keys):
    """A long table with one size for each of the keys' values."""
    sizes = [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]
    pd.concat([long_table(**size) for size in sizes]).to_csv(path, index=False)
    return path


def sizes_in(folder):
    return read_study(folder / "study.toml").sizes


def parameters_in(folder):
    """N that the runs recorded, by their width."""
    store = RunStore(folder)
    return {spec.settings["width"]: store.statuses()[run_id].critic_parameters for run_id, spec in store.specs().items()}


# --- what a person says


@pytest.mark.parametrize(
    ("text", "n"),
    [("2.8e6", 2.8e6), ("2800000", 2.8e6), ("2.8M", 2.8e6), ("550k", 5.5e5), (" 1.5B ", 1.5e9), (7, 7), ("0", 0)]
    + [(text, None) for text in ("m", "nan", "inf", "1e400", "1e999M", "2.8 M", "", "[64, 64]", True, None, "0x10", "١٢")],
)
def test_numbers_of_parameters_are_read_as_people_write_them(text, n):
    assert number(text) == n


def test_widths_are_sizes_once_their_n_is_said(tmp_path):
    table(tmp_path / "w.csv", width=(64, 256))
    report = import_runs(tmp_path / "w.csv", "csv", tmp_path / "d", model_size=TOLD)
    assert (report.runs, report.cells) == (24, 8)
    assert report.preview.stage == "scaling"
    assert sizes_in(tmp_path / "d") == {"64": {"width": 64, "model_size": 12_000}, "256": {"width": 256, "model_size": 200_000}}
    assert report.study.model_size is None
    assert parameters_in(tmp_path / "d") == {64: 12_000, 256: 200_000}


def test_widths_without_n_are_a_question_whose_answer_makes_them_sizes(tmp_path):
    path = table(tmp_path / "w.csv", width=(64, 256))
    for columns in (Columns(), Columns(model_size="width")):
        with pytest.raises(UserError, match="64, 256") as refusal:
            gather_runs(path, "csv", columns)
        (answer,) = answers_in(str(refusal.value), "--model-size")
        assert answer == "width:64=N,256=N"
    with pytest.raises(UserError, match="N is not given for 256") as refusal:
        gather_runs(path, "csv", Columns(model_size="width:64=12000"))
    (answer,) = answers_in(str(refusal.value), "--model-size")
    import_runs(path, "csv", tmp_path / "d", model_size=answer.replace("=N", "=2e5"))
    assert {name: size["model_size"] for name, size in sizes_in(tmp_path / "d").items()} == {"64": 12_000, "256": 200_000}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("width:64=0,256=2e5", "'0' can't be N"),
        ("width:64=-1e5,256=2e5", "'-1e5' can't be N"),
        ("width:64=nan,256=2e5", "'nan' can't be N"),
        ("width:64=1e400,256=2e5", "'1e400' can't be N"),
        ("width:64=true,256=2e5", "'true' can't be N"),
        ("width:64=1e5,64=2e5", "gives N of width = 64 twice"),
        ("width:64=1e5,64.0=2e5", "gives N of width = 64 twice"),
        ("width:64=1e5,256=100k", "64 and 256 have the same N"),
        ("width:=1e5", "must be VALUE=N"),
        ("width:64=1e5,256", "'256' must be VALUE=N"),
        ("wdth:64=1e5,256=2e5", "has no 'wdth', which --model-size names"),
        ("width", "width is 64, 256, which is not N"),
        ("=0", "'0' can't be N"),
        ("=nan", "'nan' can't be N"),
        ("=1e400", "'1e400' can't be N"),
        ("=True", "'True' can't be N"),
    ],
)
def test_an_n_that_can_be_none_is_one_sentence(given, says, tmp_path):
    table(tmp_path / "w.csv", width=(64, 256))
    sentence = refused("import", "w.csv", "--dir", "d", "--model-size", given, cwd=tmp_path)
    assert says in sentence
    assert "--model-size" in sentence
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("value", ["0", "-5", "inf", "1e400"])
def test_a_logged_n_that_can_be_none_is_one_sentence(value, tmp_path):
    table(tmp_path / "w.csv", n_params=(value,))
    assert "can't be N" in refused("import", "w.csv", "--dir", "d", "--model-size", "n_params", cwd=tmp_path)


# --- what a log says


def test_a_key_of_numbers_of_parameters_makes_sizes_by_the_setting_they_go_with(tmp_path):
    table(tmp_path / "n.csv", width=(64, 256), n_params=("64k", "0.26M"))
    import_runs(tmp_path / "n.csv", "csv", tmp_path / "d", model_size="n_params")
    assert sizes_in(tmp_path / "d") == {"64": {"width": 64, "model_size": 64_000}, "256": {"width": 256, "model_size": 260_000}}


def test_numbers_of_parameters_alone_make_sizes_that_the_study_selects_runs_by(tmp_path):
    table(tmp_path / "n.csv", n_params=(64_000, 256_000))
    import_runs(tmp_path / "n.csv", "csv", tmp_path / "d", model_size="n_params")
    found = sizes_in(tmp_path / "d")
    assert [size["model_size"] for size in found.values()] == [64_000, 256_000]
    for size in found.values():
        (key,) = size.keys() - {"model_size"}
        chosen = [spec for spec in RunStore(tmp_path / "d").specs().values() if spec.settings[key] == size[key]]
        assert len(chosen) == 12
        assert {spec.settings["model_size"] for spec in chosen} == {size["model_size"]}


@pytest.mark.parametrize(("key", "values"), [("width", (2048, 8192)), ("hidden_dim", (10_000, 20_000)), ("size", (512, 20_000))])
def test_a_width_is_never_taken_for_n(tmp_path, key, values):
    table(tmp_path / "n.csv", **{key: values})
    with pytest.raises(UserError, match=f"--model-size {key}:{values[0]}=N,{values[1]}=N"):
        gather_runs(tmp_path / "n.csv", "csv", Columns(model_size=key))


def test_one_size_is_a_study_without_sizes(tmp_path):
    table(tmp_path / "n.csv", width=(64,), n_params=(64_000,))
    report = import_runs(tmp_path / "n.csv", "csv", tmp_path / "d", model_size="n_params")
    assert report.study.model_size == 64_000
    assert "sizes" not in (tmp_path / "d/study.toml").read_text()
    assert report.preview.sizes is None


def test_sizes_by_name_have_the_n_that_the_log_has_beside_them(tmp_path):
    table(tmp_path / "n.csv", preset=("small", "large one"), critic_parameters=(64_000, 256_000))
    import_runs(tmp_path / "n.csv", "csv", tmp_path / "d", model_size="preset")
    assert sizes_in(tmp_path / "d") == {
        "small": {"preset": "small", "model_size": 64_000},
        "large_one": {"preset": "large one", "model_size": 256_000},
    }


def test_a_size_with_two_n_is_asked_about(tmp_path):
    table(tmp_path / "n.csv", preset=("small", "small", "large"), critic_parameters=(64_000, 65_000, 256_000))
    with pytest.raises(UserError, match="differ in critic_parameters: 64000, 65000, 256000") as refusal:
        gather_runs(tmp_path / "n.csv", "csv", Columns(model_size="preset"))
    (answer,) = answers_in(str(refusal.value), "--model-size")
    import_runs(tmp_path / "n.csv", "csv", tmp_path / "d", model_size=answer)
    assert [size["model_size"] for size in sizes_in(tmp_path / "d").values()] == [64_000, 65_000, 256_000]


def test_n_that_differs_between_tasks_is_left_to_the_runs(tmp_path):
    both = [("Ant-v4", 64, 70_000), ("Ant-v4", 256, 300_000), ("Hopper-v4", 64, 50_000), ("Hopper-v4", 256, 240_000)]
    rows = [long_table(env_id=task, width=width, n=n) for task, width, n in both]
    pd.concat(rows).to_csv(tmp_path / "n.csv", index=False)
    report = import_runs(tmp_path / "n.csv", "csv", tmp_path / "d", model_size="n")
    assert sizes_in(tmp_path / "d") == {"64": {"width": 64}, "256": {"width": 256}}
    store = RunStore(tmp_path / "d")
    recorded = {(spec.task, spec.settings["width"], store.statuses()[i].critic_parameters) for i, spec in store.specs().items()}
    assert recorded == set(both)
    assert report.cells == 16
    # without the widths nobody knows which networks of two tasks are of one size
    pd.concat([row.drop(columns="width") for row in rows]).to_csv(tmp_path / "m.csv", index=False)
    report = import_runs(tmp_path / "m.csv", "csv", tmp_path / "e", model_size="n")
    assert "--model-size KEY" in messages(report)["sizes-unclear"]
    assert sizes_in(tmp_path / "e") == {}


@pytest.mark.parametrize("written", ["2.8M", "2800000", "2.8e6"])
def test_names_say_n_as_people_write_it(written, tmp_path):
    for n, width in ((written, 512), ("300k", 128)):
        for utd in (1, 2, 4):
            path = tmp_path / f"logs/w{width}p{n}_u{utd}.csv"
            path.parent.mkdir(exist_ok=True)
            pd.DataFrame({"env_step": 100 * np.arange(30), "return": rising(utd, width)}).to_csv(path, index=False)
    given = {"batch_size": "=64", "learning_rate": "=3e-4", "task": "=Hopper-v4", "seed": "=count"}
    import_runs(tmp_path / "logs", "csv", tmp_path / "d", names="w{width}p{model_size}_u{utd}", **given)
    assert sizes_in(tmp_path / "d") == {"128": {"width": 128, "model_size": 300_000}, "512": {"width": 512, "model_size": 2_800_000}}
    with pytest.raises(UserError, match="model_size is 128, 512, which is not N"):
        gather_runs(tmp_path / "logs", "csv", Columns(names="w{model_size}p{rest}_u{utd}", **given))


# --- into a folder that is there


def test_a_second_import_adds_sizes_and_nothing_else(tmp_path):
    for width in (64, 256):
        table(tmp_path / f"{width}.csv", width=(width,))
    import_runs(tmp_path / "64.csv", "csv", tmp_path / "d")
    mine = (tmp_path / "d/study.toml").read_text().replace("high = ", "# measured\nhigh = 9") + "# the end"
    (tmp_path / "d/study.toml").write_text(mine)
    said = messages(import_runs(tmp_path / "256.csv", "csv", tmp_path / "d"))
    assert (tmp_path / "d/study.toml").read_text() == mine
    (answer,) = answers_in(said["sizes-not-told"], "--model-size")
    assert answer == "width:64=N,256=N"
    report = import_runs(tmp_path / "256.csv", "csv", tmp_path / "d", model_size=TOLD)
    assert "64, 256" in messages(report)["sizes-added"]
    now = (tmp_path / "d/study.toml").read_text()
    assert now.startswith(mine)
    assert sizes_in(tmp_path / "d") == {"64": {"width": 64, "model_size": 12_000}, "256": {"width": 256, "model_size": 200_000}}
    # again, it is as it was
    import_runs(tmp_path / "256.csv", "csv", tmp_path / "d", model_size=TOLD)
    assert (tmp_path / "d/study.toml").read_text() == now
    assert len(RunStore(tmp_path / "d").specs()) == 24
    # a third size goes to the others, whatever stands after them
    (tmp_path / "d/study.toml").write_text(now + '\n[settings]\nkept = "as it is"\n')
    table(tmp_path / "32.csv", width=(32,))
    import_runs(tmp_path / "32.csv", "csv", tmp_path / "d", model_size="width:32=4000,64=12000,256=2e5")
    study = read_study(tmp_path / "d/study.toml")
    assert study.sizes["32"] == {"width": 32, "model_size": 4000}
    assert (len(study.sizes), study.settings) == (3, {"kept": "as it is"})


def test_an_n_that_the_study_says_otherwise_is_refused_and_kept(tmp_path):
    path = table(tmp_path / "w.csv", width=(64, 256))
    import_runs(path, "csv", tmp_path / "d", model_size=TOLD)
    before = (tmp_path / "d/study.toml").read_bytes()
    with pytest.raises(UserError, match="exists already and has N = 200000 for '256', not 300000; edit that file"):
        import_runs(path, "csv", tmp_path / "d", model_size="width:64=12000,256=3e5")
    assert (tmp_path / "d/study.toml").read_bytes() == before


def test_a_size_that_cannot_be_added_is_said_with_the_line_to_write(tmp_path):
    for width in (64, 256):
        table(tmp_path / f"{width}.csv", width=(width,))
    import_runs(tmp_path / "64.csv", "csv", tmp_path / "d")
    text = (tmp_path / "d/study.toml").read_text()
    (tmp_path / "d/study.toml").write_text("sizes = { small = { width = 64, model_size = 12000 } }\n" + text)
    with pytest.raises(UserError, match=r"write into its \[sizes\]: 256 = { width = 256, model_size = 200000 }"):
        import_runs(tmp_path / "256.csv", "csv", tmp_path / "d", model_size=TOLD)


# --- Stable-Baselines3


def space(length):
    return {":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": "gAWV", "dtype": "float32", "_shape": [length]}


def write_sb3(logs, layers, utd, seed, module="stable_baselines3.sac.policies", **changes):
    """A run as Stable-Baselines3 leaves it: Hopper-v4 has 11 observations and 3 actions."""
    folder = logs / f"{'x'.join(map(str, layers or ['usual']))}_u{utd}_s{seed}"
    write_monitor(folder / "monitor.csv", [200] * 30, rising(utd, seed), env_id="Hopper-v4")
    data = {
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gAWV", "__module__": module},
        "policy_kwargs": {"use_sde": False} | ({} if layers is None else {"net_arch": layers}),
        "observation_space": space(11),
        "action_space": space(3),
        "batch_size": 64,
        "learning_rate": 1e-3,
        "seed": seed,
    } | changes
    with zipfile.ZipFile(folder / "model.zip", "w") as model:
        model.writestr("data", json.dumps(data))


SB3 = {"names": "*_u{utd}_s{seed}"}


def test_the_critics_of_saved_models_are_counted_from_their_net_arch(tmp_path):
    for utd in (1, 2):
        for layers in ([64, 64], {"pi": [8], "qf": [64, 64]}, None)[::2]:
            write_sb3(tmp_path / "logs", layers, utd, 0)
    import_runs(tmp_path / "logs", "sb3", tmp_path / "d", **SB3)
    # twins: 14·64 + 64, 64·64 + 64, 64 + 1; without net_arch SAC has [256, 256]
    small, large = 2 * (15 * 64 + 65 * 64 + 65), 2 * (15 * 256 + 257 * 256 + 257)
    assert {name: size["model_size"] for name, size in sizes_in(tmp_path / "d").items()} == {"64x64": small, "256x256": large}
    assert {spec.settings["net_arch"] for spec in RunStore(tmp_path / "d").specs().values()} == {"[64, 64]", "[256, 256]"}


def test_models_whose_critics_cannot_be_counted_are_asked_about(tmp_path):
    for layers in ([64, 64], [256, 256]):
        write_sb3(tmp_path / "logs", layers, 1, 0, module="mine.policies")
    with pytest.raises(UserError, match="differ in net_arch") as refusal:
        gather_runs(tmp_path / "logs", "sb3", Columns(**SB3))
    (answer,) = answers_in(str(refusal.value), "--model-size")
    assert answer == "net_arch:[64,64]=N,[256,256]=N"
    answer = answer.replace("]=N", "]=1e4", 1).replace("]=N", "]=1e5")
    import_runs(tmp_path / "logs", "sb3", tmp_path / "d", model_size=answer, **SB3)
    assert {name: size["model_size"] for name, size in sizes_in(tmp_path / "d").items()} == {"64x64": 10_000, "256x256": 100_000}


def test_models_of_one_network_say_nothing_of_it(tmp_path):
    for utd in (1, 2):
        write_sb3(tmp_path / "logs", [64, 64], utd, 0)
    report = import_runs(tmp_path / "logs", "sb3", tmp_path / "d", **SB3)
    assert (report.study.sizes, report.study.model_size) == ({}, None)
    assert {tuple(spec.settings) for spec in RunStore(tmp_path / "d").specs().values()} == {()}


@pytest.mark.parametrize("layers", ["[64]", [0], [-1], [1.5], [True], [[64]], {"pi": [64]}, [10**9], None])
def test_a_net_arch_that_is_none_is_passed_over(tmp_path, layers):
    write_sb3(tmp_path / "logs", [64, 64], 1, 0)
    write_sb3(tmp_path / "logs", [256, 256], 1, 1, policy_kwargs={"net_arch": layers}, module="mine.policies")
    with gather_runs(tmp_path / "logs", "sb3", Columns(**SB3)) as gathered:
        assert gathered.preview.sizes is None


# --- the published files

SIMBA = {128: 604_362, 256: 2_322_634, 512: 9_101_514, 1024: 36_028_618, 2048: 143_360_202}
BRO = {"xs": 0.55e6, "s": 1.05e6, "sm": 2.83e6, "m": 4.92e6, "l": 26.31e6}


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [("simbav2", "width", SIMBA), pytest.param("dmc_bro_ablations", "size", BRO, marks=pytest.mark.slow)],
)
def test_the_published_files_have_their_sizes_by_themselves(published_data, tmp_path, name, key, expected):
    answer = called("import", published_data / f"{name}.zip", "--dir", "d", cwd=tmp_path)
    assert f" sizes, by {key}" in answer.stdout
    assert "has no N" not in answer.stdout
    assert {size[key]: size["model_size"] for size in sizes_in(tmp_path / "d").values()} == expected
    assert list(sizes_in(tmp_path / "d")) == list(map(str, expected))
    store = RunStore(tmp_path / "d")
    statuses = store.statuses()
    recorded = {(spec.settings[key], statuses[run_id].critic_parameters) for run_id, spec in store.specs().items()}
    assert recorded == set(expected.items())


def test_the_n_of_a_published_file_may_be_said_otherwise(published_data, tmp_path):
    report = import_runs(published_data / "simbav2.zip", "qscaled", tmp_path / "d", model_size="=5e6")
    assert (report.study.model_size, report.study.sizes) == (5e6, {})


def test_a_published_file_again_keeps_what_the_study_says_of_sizes(published_data, tmp_path):
    import_runs(published_data / "simbav2.zip", "qscaled", tmp_path / "d")
    path = tmp_path / "d/study.toml"
    whole = path.read_text()
    path.write_text(whole.replace("604362", "604000"))
    report = import_runs(published_data / "simbav2.zip", "qscaled", tmp_path / "d")
    assert "N = 604000 for '128', not 604362; it is not changed" in messages(report)["sizes-kept"]
    assert read_study(path).sizes["128"]["model_size"] == 604_000
    path.write_text(whole[: whole.index("[sizes]")])
    report = import_runs(published_data / "simbav2.zip", "qscaled", tmp_path / "d")
    (answer,) = answers_in(messages(report)["sizes-missing"], "--model-size")
    assert sizes_in(tmp_path / "d") == {}
    import_runs(published_data / "simbav2.zip", "qscaled", tmp_path / "d", model_size=answer)
    assert {size["width"]: size["model_size"] for size in sizes_in(tmp_path / "d").values()} == SIMBA

"""Study files: every mistake is one sentence; specs have identities that depend on what they say, not on how it is written."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from command import refused, tdscale
from tdscale.study import SETTINGS, RunSpec, Study, parse_study, read_study, study_to_toml

GOOD = """\
name = "tiny"
algorithm = "sac"
return_thresholds = [300, 500]

[tasks.Pendulum-v1]
low = -1200
high = -150

[sweep]
utd = [1, 2]
batch_size = [16, 32]
learning_rate = [1e-3, 3e-3]
seeds = 2

[scaling]
utd = [0.5, 4]

[limits]
env_steps = 1000

[settings]
hidden_sizes = [8]
warm_up = 100
"""
SWEEP = GOOD[GOOD.index("[sweep]") : GOOD.index("[scaling]")]
LIMITS = GOOD[GOOD.index("[limits]") : GOOD.index("[settings]")]

# what is replaced, by what, the key's place, what would be right
MISTAKES = {
    "unknown-key": ("seeds = 2", "colour = 3", "sweep.colour", "known here: utd, batch_size, learning_rate, seeds"),
    "misspelt-key": ("env_steps", "env_stpes", "limits.env_stpes", "did you mean 'env_steps'?"),
    "misspelt-table": ("[settings]", "[setings]", "setings", "did you mean 'settings'?"),
    "misspelt-setting": ("hidden_sizes", "hidden_size", "settings.hidden_size", "did you mean 'hidden_sizes'?"),
    "missing-key": ('name = "tiny"', "", "name: missing", 'e.g. "my study"'),
    "text-for-a-number": ("seeds = 2", 'seeds = "2"', "sweep.seeds", "not a whole number, e.g. 3"),
    "boolean-for-a-number": ("utd = [1, 2]", "utd = [true, 2]", "sweep.utd[0]", "true is not a number"),
    "fraction-for-a-count": ("[16, 32]", "[16, 3.5]", "sweep.batch_size[1]", "3.5 is not a whole number"),
    "number-for-a-list": ("hidden_sizes = [8]", "hidden_sizes = 8", "settings.hidden_sizes", "e.g. [256, 256]"),
    "list-for-a-table": ("[limits]", "[[limits]]", "limits", "not a table"),
    "empty-sweep": ("utd = [1, 2]", "utd = []", "sweep.utd", "at least one value, e.g. [0.25, 1, 4]"),
    "no-tasks": (GOOD[GOOD.index("[tasks") : GOOD.index("[sweep]")], "[tasks]\n", "tasks", "at least one"),
    "utd-of-zero": ("utd = [1, 2]", "utd = [0, 2]", "sweep.utd[0]", "0 is not a UTD ratio; it must be > 0, e.g. 0.25"),
    "negative-utd": ("utd = [0.5, 4]", "utd = [0.5, -4]", "scaling.utd[1]", "it must be > 0"),
    "negative-interval": ("[limits]", "[checkpoints]\nminutes = -1\n\n[limits]", "checkpoints.minutes", "it must be ≥ 0"),
    "misspelt-option": ("[limits]", "[checkpoints]\nkept = true\n\n[limits]", "checkpoints.kept", "did you mean 'keep'?"),
    "unknown-aggregate": ('name = "tiny"', 'name = "tiny"\naggregate = "mode"', "aggregate", "must be 'mean', 'iqm' or 'median'"),
    "resets-of-agents": ('name = "tiny"', 'name = "tiny"\nreset_critic_updates = 5', "reset_critic_updates", "settings.reset_rule"),
    "resets-that-fall": ('name = "tiny"', 'name = "tiny"\nreset_env_steps = [5, 4]', "reset_env_steps", "[15001, 50001]"),
    "resets-after-nothing": (
        'name = "tiny"',
        'name = "tiny"\nreset_critic_updates = 0',
        "reset_critic_updates",
        "must be ≥ 1",
    ),
    "resets-without-end": (
        'name = "tiny"',
        f'name = "tiny"\nreset_env_steps = [5, 1{"0" * 400}]',
        "reset_env_steps[1]",
        "must be ≤ 1e+15",
    ),
    "learning-rate-of-one": ("3e-3", "1.0", "sweep.learning_rate[1]", "it must be < 1"),
    "batch-too-large-to-be": ("[16, 32]", "[16, 9999999]", "sweep.batch_size[1]", "it must be ≤ 1048576"),
    "threshold-above-the-range": ("[300, 500]", "[300, 5000]", "return_thresholds", "at most 1000 (high)"),
    "threshold-of-zero": ("[300, 500]", "[0, 500]", "return_thresholds", "above 0 (low)"),
    "thresholds-not-rising": ("[300, 500]", "[500, 300]", "return_thresholds", "must rise from one to the next"),
    "batch-that-cannot-be-filled": ("[16, 32]", "[16, 5000]", "sweep.batch_size[1]", "collects at most 1000 transitions"),
    "warm-up-beyond-the-limit": ("warm_up = 100", "warm_up = 1000", "settings.warm_up", "leave nothing of Pendulum-v1's 1000"),
    "no-such-algorithm": ('"sac"', '"scc"', "algorithm", "there is 'sac'"),
    "no-such-task": ("Pendulum-v1", "Pendulm-v1", "tasks.Pendulm-v1", "did you mean 'Pendulum-v1'"),
    "no-such-dm-control-task": ("high = -150", 'high = -150\nsuite = "dm_control"', "tasks.Pendulum-v1", "a name looks like"),
    "discrete-actions": ("Pendulum-v1", "CartPole-v1", "tasks.CartPole-v1", "they must be continuous and bounded"),
    "imported-task-to-be-run": (
        "high = -150",
        'high = -150\nsuite = "imported"',
        "tasks.Pendulum-v1",
        "'gymnasium', 'dm_control' or 'tdscale'",
    ),
    "no-such-suite": ("high = -150", 'high = -150\nsuite = "atari"', "tasks.Pendulum-v1.suite", "'gymnasium', 'dm_control'"),
    "duplicate-values": ("[16, 32]", "[16, 16]", "sweep.batch_size", "16 is there twice"),
    "nan": ("high = -150", "high = nan", "tasks.Pendulum-v1.high", "NaN is not a finite number"),
    "infinite-threshold": ("[300, 500]", "[300, inf]", "return_thresholds[1]", "Infinity is not a finite number"),
    "low-not-below-high": ("high = -150", "high = -1200", "tasks.Pendulum-v1", "high = -1200 must be above low = -1200"),
    "log-std-bounds-crossed": ("warm_up = 100", "warm_up = 100\nlog_std_min = 5", "settings", "must be below log_std_max = 2"),
    "bro-does-not-know-hidden-sizes": ('"sac"', '"bro"', "settings.hidden_sizes", "unknown key; known here: warm_up"),
    "scaling-without-sweep": (SWEEP, "", "sweep: missing", "[scaling] needs the B and η that a [sweep] finds"),
    "missing-limits": (LIMITS, "", "limits: missing", "e.g. [limits] env_steps = 100000"),
    "broken-toml": ("[sweep]", "[sweep", "not valid TOML", "at line 9"),
    "twice-the-same-key": ("seeds = 2", "seeds = 2\nseeds = 3", "not valid TOML", "at line 14"),
    "a-number-without-end": ("seeds = 2", f"seeds = {'9' * 5000}", "not valid TOML", "digits"),
    "brackets-without-end": ("seeds = 2", f"seeds = {'[' * 100_000}", "not valid TOML", ""),
}


def _broken(mistake: str) -> str:
    right, wrong, _, _ = MISTAKES[mistake]
    assert right in GOOD
    return GOOD.replace(right, wrong, 1)


def test_the_good_study_is_read():
    study = parse_study(GOOD)
    assert len(study.sweep_specs()) == 16
    assert study.env_step_limit("Pendulum-v1") == 1000
    assert study.raw_return("Pendulum-v1", 500) == -675


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_the_keys_place_and_what_would_be_right(mistake, tmp_path):
    (tmp_path / "bad.toml").write_text(_broken(mistake), encoding="utf-8")
    sentence = refused("run", "bad.toml", "--dir", "study", cwd=tmp_path)
    _says(sentence, *MISTAKES[mistake][2:])
    assert not (tmp_path / "study").exists()


def test_a_process_of_its_own_says_the_same(tmp_path):
    (tmp_path / "bad.toml").write_text(_broken("no-such-task"), encoding="utf-8")
    sentence = refused("run", "bad.toml", cwd=tmp_path, how=tdscale)
    _says(sentence, *MISTAKES["no-such-task"][2:])
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def _says(sentence: str, place: str, right: str) -> None:
    assert sentence.startswith("bad.toml"), sentence
    assert place in sentence
    assert right in sentence
    assert "\n" not in sentence
    assert "pydantic" not in sentence


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00."), "is not UTF-8 text (byte 0)"),
        (lambda path: path.write_bytes(b"\0" * 100), "is not valid TOML"),
        (lambda path: path.write_bytes(b"#" * (1 << 21)), "over 1 MiB"),
        (lambda path: path.write_text(""), "missing"),
        (lambda path: path.write_text(GOOD[: GOOD.index("[sweep]")]), "has no [sweep], so there is nothing to run"),
    ],
    ids=["missing", "folder", "binary", "zeros", "huge", "empty", "nothing-to-run"],
)
def test_a_file_that_is_no_study_is_one_sentence(make, said, tmp_path):
    make(tmp_path / "bad.toml")
    assert said in refused("run", "bad.toml", "--dir", "study", cwd=tmp_path)


def test_a_bad_study_does_not_replace_the_one_in_the_folder(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(_broken("no-such-task"))
    refused("run", "bad.toml", "--dir", "study", cwd=tmp_path)
    assert (tmp_path / "study" / "study.toml").read_text() == GOOD


_number = st.floats(1e-3, 1e3).map(lambda value: float(f"{value:.4g}"))
_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20)


def _distinct(values):
    return st.lists(values, min_size=1, max_size=4, unique=True)


_task = st.fixed_dictionaries(
    {"high": _number.map(lambda value: value + 1)},
    optional={
        "suite": st.sampled_from(["gymnasium", "dm_control", "tdscale", "imported"]),
        "low": _number.map(lambda v: -v),
        "reward_scale": _number,
    },
)
_studies = st.fixed_dictionaries(
    {
        "name": _text,
        "algorithm": st.just("sac"),
        "return_thresholds": _distinct(st.floats(1, 1000)).map(sorted),
        "tasks": st.dictionaries(_text, _task, min_size=1, max_size=3),
        "limits": st.fixed_dictionaries({"env_steps": st.integers(10_000, 10**9)}, optional={"margin": st.floats(0, 10)}),
        "sweep": st.fixed_dictionaries(
            {
                "utd": _distinct(_number),
                "batch_size": _distinct(st.integers(1, 10_000)),
                "learning_rate": _distinct(st.floats(1e-9, 0.99)),
            },
            optional={"seeds": st.integers(1, 9)},
        ),
    },
    optional={
        "scaling": st.fixed_dictionaries({"utd": _distinct(_number)}, optional={"batch_multiple": st.integers(1, 64)}),
        "checkpoints": st.fixed_dictionaries({}, optional={"minutes": st.floats(0, 1000), "keep": st.booleans()}),
        "data_cost": _number,
        "origin": _text,
        "settings": st.fixed_dictionaries(
            {}, optional={"hidden_sizes": _distinct(st.integers(1, 512)), "warm_up": st.integers(1, 9999), "discount": st.floats(0.1, 0.99)}
        ),
    },
).map(lambda values: Study(**values))


@given(_studies)
@settings(max_examples=100, deadline=None)
def test_a_study_written_as_toml_is_read_back_as_itself(study):
    assert parse_study(study_to_toml(study)) == study


def test_the_keys_order_in_the_file_changes_no_run():
    parts = GOOD.split("\n\n")
    shuffled = parse_study("\n\n".join([parts[0], *reversed(parts[1:])]))
    assert {spec.run_id for spec in shuffled.sweep_specs()} == {spec.run_id for spec in parse_study(GOOD).sweep_specs()}


def test_a_whole_number_where_a_fraction_could_be_changes_no_run():
    written = [GOOD.replace("warm_up = 100", f"warm_up = 100\ninitial_temperature = {value}") for value in ("2", "2.0", "2e0")]
    one, *others = ({spec.run_id for spec in parse_study(text).sweep_specs()} for text in written)
    assert all(other == one for other in others)


_name = st.text(string.ascii_letters, min_size=1, max_size=8)
_specs = st.fixed_dictionaries(
    {
        "algorithm": _name,
        "suite": _name,
        "task": _name,
        "utd": st.integers(1, 64),
        "batch_size": st.integers(1, 4096),
        "learning_rate": st.floats(1e-6, 0.9),
        "seed": st.integers(0, 10**6),
        "stage": st.sampled_from(["sweep", "scaling"]),
        "reward_scale": st.integers(1, 100),
        "settings": st.dictionaries(_name, st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), _name), max_size=4),
    }
)


@given(_specs, st.randoms())
def test_a_run_is_the_same_however_its_numbers_and_keys_are_written(values, random):
    keys = list(values)
    random.shuffle(keys)
    settings_keys = list(values["settings"])
    random.shuffle(settings_keys)
    other = {key: values[key] for key in keys} | {
        "utd": float(values["utd"]),
        "reward_scale": float(values["reward_scale"]),
        "settings": {key: values["settings"][key] for key in settings_keys},
    }
    assert RunSpec(**values).run_id == RunSpec(**other).run_id
    assert RunSpec.from_dict(RunSpec(**values).to_dict()).run_id == RunSpec(**values).run_id
    assert len({RunSpec(**values), RunSpec(**other)}) == 1


@given(_specs, st.data())
def test_every_field_is_part_of_a_runs_identity(values, data):
    spec = RunSpec(**values)
    for field in values:
        if field == "stage":
            changed = "sweep" if values["stage"] == "scaling" else "scaling"
        elif field == "settings":
            changed = values["settings"] | {"another": 1}
        elif field in ("algorithm", "suite", "task"):
            changed = values[field] + "x"
        else:
            changed = values[field] * 2 + (field == "seed")
        other = RunSpec(**(values | {field: changed}))
        assert other.run_id != spec.run_id, field
        assert (other.cell_id == spec.cell_id) == (field == "seed"), field


def test_identities_do_not_change_between_versions_of_the_package():
    spec = RunSpec(
        algorithm="sac", suite="gymnasium", task="Pendulum-v1", utd=1, batch_size=64, learning_rate=3e-4, seed=0, stage="sweep"
    )  # fmt: skip
    assert len(spec.run_id) == 16
    assert spec.run_id == "37eab255750ba29f"


def test_a_studys_seeds_are_fresh_in_stage_two():
    study = parse_study(GOOD)
    chosen = {("Pendulum-v1", utd): (32, 1e-3) for utd in (0.5, 4.0)}
    first, second = study.sweep_specs(), study.scaling_specs(chosen)
    assert {spec.seed for spec in first}.isdisjoint(spec.seed for spec in second)
    assert len({spec.cell_id for spec in second}) == 2


def test_the_example_studies_are_read():
    folder = Path(__file__).resolve().parents[2] / "examples"
    for path in folder.glob("*.toml"):
        assert read_study(path).sweep is not None


@pytest.mark.parametrize("algorithm", ["sac", "bro", "bro-minimal"])
def test_a_spec_of_one_environment_is_what_it_was_before_there_could_be_several(algorithm: str):
    plain, several = SETTINGS[algorithm](), SETTINGS[algorithm](environments=4, n_step=2)
    unsaid = {"environments", "n_step", "critic_updates_per_actor_update", "matmul_precision"}
    assert not unsaid & plain.model_dump().keys()
    assert several.model_dump() == plain.model_dump() | {"environments": 4, "n_step": 2}


@pytest.mark.parametrize("algorithm", SETTINGS)
@pytest.mark.parametrize(
    "chosen",
    [{}, {"environments": 1, "n_step": 1, "critic_updates_per_actor_update": 1}, {"environments": 7}, {"matmul_precision": "bfloat16"}],
)
def test_settings_written_into_a_spec_are_read_back_as_they_were(algorithm: str, chosen: dict[str, int]):
    made = SETTINGS[algorithm](**chosen)
    assert SETTINGS[algorithm](**made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    ("algorithm", "chosen", "sentence"),
    [
        ("pql", {"exploration_std_min": 0.9}, "exploration_std_min = 0.9 must not be above exploration_std_max = 0.8"),
        ("pql-d", {"value_max": -20}, "value_min = -10 must be below value_max = -20"),
        ("pql", {"atoms": 51}, "Extra inputs"),
        ("sac", {"matmul_precision": "float16"}, "'float32' or 'bfloat16'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(algorithm: str, chosen: dict[str, float], sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        SETTINGS[algorithm](**chosen)

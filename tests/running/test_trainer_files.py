"""`command` and `function` in a study's file: what is taken, what is refused, and what a program gets as arguments."""

import pytest

from tdscale.errors import UserError
from tdscale.study import RunSpec, filled, parse_study, smoke_study, study_to_toml

COMMAND = """\
command = ["python", "train.py", "--utd", "{utd}", "-b{batch_size}", "{learning_rate}", "--seed={seed}", "{task}", "{output}"]\
"""
STUDY = f"""\
name = "own"
{COMMAND}
return_thresholds = [300]

[tasks.chain]
high = 1

[sweep]
utd = [1, 2]
batch_size = [16]
learning_rate = [1e-3, 3e-3]

[limits]
env_steps = 400

[settings]
hidden = [8, 8]
depth = 2
"""
MISTAKES = {
    "unknown": ('"{task}"', '"{tusk}"', "command[7]: there is no placeholder {tusk}; there is {algorithm}, {suite}, {task}, {utd}"),
    "no-output": ("{output}", "out.csv", "command: has no {output}"),
    "lone-brace": ('"{task}"', '"{task"', "command[7]: '{task' has a lone {; write a brace as {{"),
    "lone-closing": ('"{task}"', '"task}"', "has a lone }; write a brace as }}"),
    "a-format": ('"{utd}"', '"{utd!r}"', "there is no placeholder {utd!r}"),
    "an-attribute": ('"{utd}"', '"{utd.real}"', "there is no placeholder {utd.real}"),
    "empty": (COMMAND, "command = []", "command: is empty; it must be a program and its arguments"),
    "a-program-that-changes": ('"python", ', '"{task}", ', "command[0]: is the program"),
    "forgotten-utd": ('"{utd}"', '"1"', "command: nowhere says {utd}, so that runs with 2 values of it would all be the same one"),
    "forgotten-seed": ('"--seed={seed}", ', "", "command: nowhere says {seed}"),
    "nul": ('"train.py"', '"train\\u0000.py"', "command[1]: holds a NUL character"),
    "both": (COMMAND, f'{COMMAND}\nfunction = "a:b"', "function: can't be combined with command"),
    "no-function": (COMMAND, 'function = "train.py"', "function: 'train.py' names no function"),
    "a-placeholder-as-setting": ("depth = 2", "output = 2", "settings.output: is the name of a placeholder"),
    "misspelt-option": ("[limits]", "[trainer]\nretry = 2\n\n[limits]", "trainer.retry: unknown key; did you mean 'retries'?"),
}


def test_a_study_of_a_trainer_needs_neither_an_algorithms_name_nor_suites():
    study = parse_study(STUDY)
    assert (study.algorithm, study.tasks["chain"].suite) == ("own", "own")
    (spec, *_) = study.sweep_specs()
    assert (spec.algorithm, spec.suite, dict(spec.settings)) == ("own", "own", {"hidden": [8, 8], "depth": 2})
    named = parse_study('algorithm = "sac"\n' + STUDY)
    assert named.sweep_specs()[0].settings == {"hidden": [8, 8], "depth": 2}
    assert parse_study(study_to_toml(study)) == study


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_trainer_is_one_sentence(mistake):
    right, wrong, sentence = MISTAKES[mistake]
    assert right in STUDY
    with pytest.raises(UserError) as caught:
        parse_study(STUDY.replace(right, wrong, 1))
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("study.toml, ")
    assert sentence in said


def test_a_string_is_no_command_and_options_are_no_trainer():
    with pytest.raises(UserError, match="trainer: needs a command or a function, and there is none"):
        parse_study(STUDY.replace(COMMAND, 'algorithm = "x:y"').replace("[limits]", "[trainer]\nretries = 2\n\n[limits]"))
    with pytest.raises(UserError, match=r'command: "python train.py \{output\}" is not a list, e\.g\. \["python", "train\.py"'):
        parse_study(STUDY.replace(COMMAND, 'command = "python train.py {output}"'))


@pytest.mark.parametrize("task", ["--help", "a b", "; touch x", "$(touch x)", "`touch x`", "a'\"b", "*", "{utd}", "{{", "ü\n"])
def test_values_stay_one_argument_whatever_they_hold(task):
    spec = RunSpec(algorithm="own", suite="own", task=task, utd=0.25, batch_size=16, learning_rate=1e-5, seed=3, stage="sweep")
    command = ["sh", "{task}", "--t={task}", "{utd}|{learning_rate}", "{{x}}", "{output}", "{env_steps}", "{reward_scale}"]
    arguments = filled(command, spec, 1000, {"output": "/a b/out.csv"})
    assert arguments == ["sh", task, f"--t={task}", "0.25|1e-05", "{x}", "/a b/out.csv", "1000", "1"]


def test_settings_are_placeholders():
    spec = RunSpec(
        algorithm="own", suite="own", task="t", utd=1, batch_size=1, learning_rate=0.1, seed=0, stage="sweep",
        settings={"hidden": [8, 8], "double": True, "name": "x y"},
    )  # fmt: skip
    assert filled(["p", "{hidden}", "{double}", "{name}", "{utd}"], spec, 10, {}) == ["p", "[8, 8]", "true", "x y", "1"]


def test_the_smoke_size_of_a_trainers_study_leaves_its_settings_alone():
    smoke = smoke_study(parse_study(STUDY))
    assert smoke.settings == {"hidden": [8, 8], "depth": 2}
    assert smoke.command == parse_study(STUDY).command
    assert parse_study(study_to_toml(smoke)) == smoke

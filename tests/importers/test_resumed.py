"""Runs that were resumed, in every kind of log, against the D that their curves have."""

import csv

import numpy as np
import pandas as pd
import pytest
from known_logs import TRUE_SCALE, UNSAID, UTDS, assert_true, case, true_returns

from tdscale.errors import UserError
from tdscale.importers import Columns, import_runs, mended
from tdscale.importers.logged_run import LoggedRun, Unreadable

TAG = "charts/episodic_return"


def sessions(kind, utd, seed):
    """(env steps, returns, what the second session says it begins at): a run that was interrupted at 0.4 of its way."""
    whole = np.arange(1000, int(180_000 * (1 + 1 / utd)), 1000)
    returns = true_returns(whole, utd, seed)
    cut = int(0.25 * len(whole))
    if kind == "clean":
        return [(whole, returns, None)]
    if kind == "checkpoint":  # what was logged beyond it goes another way
        dead = np.arange(1000, whole[cut] * 2, 1000)
        beyond = np.where(dead < whole[cut], true_returns(dead, utd, seed + 50), 0.0)
        return [(dead, beyond, None), (whole[cut:], returns[cut:], int(whole[cut]))]
    if kind == "zero":
        return [(whole[:cut], returns[:cut], None), (whole[cut:] - whole[cut - 1], returns[cut:], 0)]
    assert kind == "anew"  # from the beginning, after the first try had come far
    return [(whole[: 2 * cut], true_returns(whole[: 2 * cut], utd, seed + 50), None), (whole, returns, 0)]


def write_session(folder, steps, returns, begin, at):
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{at}.host").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=at, file_version="brain.Event:2").SerializeToString())
        if begin:
            writer.write(Event(wall_time=at, step=begin, session_log=SessionLog(status=SessionLog.START)).SerializeToString())
        for i, (step, value) in enumerate(zip(steps, returns, strict=True)):
            summary = Summary(value=[Summary.Value(tag=TAG, simple_value=value)])
            writer.write(Event(wall_time=at + i, step=int(step), summary=summary).SerializeToString())


def tensorboard(folder, parts):
    # names in the order of time that is not that of text
    for (steps, returns, begin), at in zip(parts, (999_000_000, 1_000_900_000), strict=False):
        write_session(folder, steps, returns, begin, at)


def rllib(folder, parts):
    folder.mkdir(parents=True)
    with (folder / "progress.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["num_env_steps_sampled_lifetime", "episode_return"])
        table.writerows((int(step), value) for steps, returns, _ in parts for step, value in zip(steps, returns, strict=True))
    (folder / "params.json").write_text("{}")


def monitor(folder, parts):
    folder.mkdir(parents=True)
    with (folder / "monitor.csv").open("w") as file:
        file.write('#{"t_start": 1700000000.0, "env_id": "HalfCheetah-v4"}\nr,l,t\n')
        for _, returns, _ in parts:
            file.writelines(f"{value},1000,{10 * i}\n" for i, value in enumerate(returns, 1))


def imported(folder, kind, write, how, **options):
    for utd in UTDS:
        for seed in range(3):
            write(folder / f"logs/utd{utd:g}_s{seed}", sessions(how, utd, seed))
    given = UNSAID | TRUE_SCALE | {"names": "utd{utd}_s{seed}"} | options
    return import_runs(folder / "logs", kind, folder / "study", **given)


@pytest.mark.parametrize("how", ["clean", "checkpoint", "zero", "anew"])
@pytest.mark.parametrize(("kind", "write"), [("tensorboard", tensorboard), ("rllib", rllib)])
def test_a_resumed_run_has_the_d_of_one_that_was_not(tmp_path, kind, write, how):
    report = imported(tmp_path, kind, write, how, **({"returns": "episode_return"} if kind == "rllib" else {}))
    said = [message.message for message in report.messages if message.code == "resumed-run"]
    assert len(said) == (0 if how == "clean" else 9)
    words = {"checkpoint": "it was resumed at env step", "zero": "counter of env steps starts again", "anew": "it was started again"}
    assert all(words[how] in text for text in said)
    assert_true(tmp_path / "study", seeds=3)


@pytest.mark.parametrize("how", ["zero", "anew"])
def test_a_monitor_that_a_second_program_writes_on_goes_on_or_begins_anew(tmp_path, how):
    imported(tmp_path, "sb3", monitor, how)
    assert_true(tmp_path / "study", seeds=3)


def test_a_table_is_cut_where_a_run_was_resumed_from_a_checkpoint(tmp_path):
    tables = []
    for utd in UTDS:
        for seed in range(2):
            for steps, returns, _ in sessions("checkpoint", utd, seed):
                tables.append(pd.DataFrame({"env_step": steps, "return": returns, "utd": utd, "seed": seed}))
    pd.concat(tables).to_csv(tmp_path / "t.csv", index=False)
    import_runs(tmp_path / "t.csv", "csv", tmp_path / "study", **UNSAID, **TRUE_SCALE)
    assert_true(tmp_path / "study", seeds=2)


def run_of(steps, returns, begins=(), **changes):
    return LoggedRun(name="r", config={}, steps=np.array(steps, float), returns=np.array(returns, float), begins=begins, **changes)


def test_a_counter_that_begins_again_before_anything_was_learnt_is_asked_about_and_either_answer_holds(tmp_path):
    steps = np.arange(100, 3000, 100)
    flat = np.random.default_rng(0).normal(0, 10, len(steps))
    run = run_of([*steps[:12], *steps], [*flat[:12], *flat], begins=((12, np.nan),))
    (asked,) = mended([run], Columns())
    assert isinstance(asked, Unreadable)
    assert "fall from 1,200 to 100" in asked.why
    assert "--resumed continue" in asked.why
    (added,) = mended([run], Columns(resumed="continue"))
    assert added.steps.tolist() == [*steps[:12], *(1200 + steps)]
    (anew,) = mended([run], Columns(resumed="restart"))
    assert anew.steps.tolist() == steps.tolist()
    # what a model counts tells, too
    (told,) = mended([run_of(run.steps, run.returns, run.begins, total=4100.0)], Columns())
    assert told.steps[-1] == 4100
    with pytest.raises(UserError, match="must be continue"):
        Columns(resumed="maybe")


def test_rows_that_are_merely_out_of_order_and_tables_of_several_runs_are_left_as_they_are():
    shuffled = np.random.default_rng(0).permutation(np.arange(0.0, 5000, 100))
    several = np.tile(np.arange(100.0, 2000, 100), 3)
    late = [100, 200, 300, 500, 400, 600, 700, 800, 900, 1000]
    for steps, changes in ((shuffled, {}), (several, {"in_order": False}), (late, {})):
        run = run_of(steps, np.asarray(steps) / 10, **changes)
        (found,) = mended([run], Columns())
        assert found is run


def test_two_programs_that_wrote_at_one_time_are_no_resumed_run(tmp_path):
    steps = np.arange(1000, 50_000, 1000)
    for at in (1_000_000, 1_000_010):
        write_session(tmp_path / "logs/utd1_s0", steps, true_returns(steps, 1, at % 7), None, at)
    with pytest.raises(UserError, match="written at the same time"):
        import_runs(tmp_path / "logs", "tensorboard", tmp_path / "study", utd="=1", **UNSAID)


def test_evaluations_follow_the_same_rule_as_returns():
    run = LoggedRun(
        name="r",
        config={},
        steps=np.array([100.0, 200, 300, 150, 250]),
        returns=np.arange(5.0),
        evaluations=(np.array([*range(100, 1100, 100), *range(600, 1500, 100)], float), np.arange(19.0)),
        begins=((3, 150.0),),
    )
    (found,) = mended([run], Columns())
    assert found.steps.tolist() == [100, 150, 250]
    assert found.evaluations[0].tolist() == list(range(100, 1500, 100))
    assert found.evaluations[1].tolist() == [0, 1, 2, 3, 4, *range(10, 19)]


@pytest.mark.parametrize("name", ["resumed-clean", "resumed-ckpt", "resumed-zero"])
def test_the_shared_resumed_logs_have_their_d(tmp_path, name):
    import_runs(case(name), "auto", tmp_path, names="utd{utd}_s{seed}", **UNSAID, **TRUE_SCALE)
    assert_true(tmp_path, seeds=3)

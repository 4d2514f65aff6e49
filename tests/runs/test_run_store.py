"""The store keeps what it was given, and says what it can't read."""

import contextlib
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdscale.errors import UserError
from tdscale.runs import whole_folder
from tdscale.runs.store import RunStore

_DEADLINE_FREE = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_run_comes_back_as_it_was_written_from_its_folder_and_from_a_packed_part(tmp_path, make_result):
    result = make_result(3, columns={"temperature": np.linspace(1, 0, 10)}, status={"reason": None, "notes": {"x": 1}, "flops": 1e9})
    run_id = result.spec.run_id
    single, packed = RunStore(tmp_path / "a"), RunStore(tmp_path / "b")
    assert single.write(result)
    assert packed.write_packed([result], "part") == 1
    for store in (single, packed):
        assert store.specs() == {run_id: result.spec}
        assert store.statuses() == {run_id: result.status}
        curve = store.curves(columns=("return", "temperature", "td_error_newest"))[run_id]
        assert curve["env_step"].dtype == np.int64
        for name, values in result.columns.items():
            np.testing.assert_array_equal(curve[name], values)
        assert np.isnan(curve["td_error_newest"]).all()  # a column that was not logged
    assert single.fingerprint() == packed.fingerprint()


@_DEADLINE_FREE
@given(data=st.data())
def test_any_set_of_runs_survives_packing_in_any_order(tmp_path_factory, make_result, data):
    lengths = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=12))
    results = []
    for seed, length in enumerate(lengths):
        steps = np.cumsum(data.draw(st.lists(st.integers(1, 10**12), min_size=length, max_size=length)) or [], dtype=np.int64)
        returns = data.draw(st.lists(st.floats(allow_nan=True, width=64), min_size=length, max_size=length))
        results.append(make_result(seed, steps=steps, returns=returns))
    store = RunStore(tmp_path_factory.mktemp("packed"))
    store.write_packed(data.draw(st.permutations(results)), "part")
    curves = store.curves()
    assert list(curves) == sorted(result.spec.run_id for result in results)
    for result in results:
        np.testing.assert_array_equal(curves[result.spec.run_id]["env_step"], result.columns["env_step"])
        np.testing.assert_array_equal(curves[result.spec.run_id]["return"], result.columns["return"])
    some = [result.spec.run_id for result in results[::2]]
    assert list(store.curves([*some, "0" * 16])) == sorted(some)
    shutil.rmtree(store.directory)


def test_a_few_runs_out_of_many_row_groups_are_the_right_ones(tmp_path, make_result, monkeypatch):
    monkeypatch.setattr("tdscale.runs.packed._ROWS_PER_GROUP", 25)
    results = {r.spec.run_id: r for r in (make_result(seed) for seed in range(40))}
    store = RunStore(tmp_path)
    store.write_packed(results.values(), "part")
    assert pq.ParquetFile(tmp_path / "runs/packed/part/curves.parquet").num_row_groups > 5
    wanted = list(results)[5:9]
    found = store.curves(wanted)
    assert set(found) == set(wanted)
    for run_id in wanted:
        np.testing.assert_array_equal(found[run_id]["return"], results[run_id].columns["return"])


def test_a_run_in_its_own_folder_wins_over_the_packed_one(tmp_path, make_result):
    store = RunStore(tmp_path)
    store.write_packed([make_result(0, steps=[100], returns=[1.0])], "part")
    longer = make_result(0, steps=[100, 200], returns=[1.0, 2.0])
    store.write(longer)
    assert store.curves()[longer.spec.run_id]["return"].tolist() == [1.0, 2.0]
    assert store.statuses()[longer.spec.run_id].last_step == 200


def test_a_longer_result_replaces_a_shorter_one_and_keeps_its_checkpoint_but_not_the_reverse(tmp_path, make_result):
    store = RunStore(tmp_path)
    short, long = make_result(0, steps=[100], returns=[1.0]), make_result(0, steps=[100, 200], returns=[1.0, 2.0])
    failed = make_result(0, steps=[], returns=[], status={"state": "failed", "last_step": 0, "reason": "out of memory"})
    assert store.write(failed)
    assert store.write(short)
    checkpoint = store.checkpoint_directory(short.spec.run_id)
    checkpoint.mkdir()
    (checkpoint / "state").write_bytes(b"weights")
    assert store.write(long)
    assert (checkpoint / "state").read_bytes() == b"weights"
    assert not store.write(short)
    assert not store.write(failed)
    assert store.statuses()[long.spec.run_id].last_step == 200


def test_a_folder_that_holds_a_checkpoint_alone_is_a_run_that_has_not_ended(tmp_path, make_result):
    store = RunStore(tmp_path)
    store.checkpoint_directory(make_result(0).spec.run_id).mkdir(parents=True)
    assert store.specs() == {}
    assert store.problems() == []


def test_the_fingerprint_depends_on_curves_and_ends_alone(tmp_path, make_result):
    def fingerprint(name, **status):
        store = RunStore(tmp_path / name)
        store.write(make_result(0, status=status))
        return store.fingerprint()

    plain = fingerprint("a")
    assert fingerprint("b", wall_seconds=3.0, env_seconds=1.0, versions={"jax": "9"}, flops=7.0) == plain
    assert fingerprint("c", state="diverged", reason="NaN") != plain
    assert fingerprint("d", last_step=1001) != plain
    store = RunStore(tmp_path / "e")
    store.write(make_result(0, returns=np.arange(10.0)))
    assert store.fingerprint() != plain


def test_equal_results_are_equal_bytes(tmp_path, make_result):
    for name in ("a", "b"):
        RunStore(tmp_path / name).write(make_result(0))
    first, second = (sorted(p for p in (tmp_path / name / "runs").rglob("*") if p.is_file() and p.name != ".lock") for name in "ab")
    assert [p.name for p in first] == ["curve.parquet", "spec.json", "status.json"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    text = first[1].read_text()
    assert text.endswith("\n")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n"


@pytest.mark.parametrize("kept", [0, 1, 4, 50, 0.5, -8, -1])
@pytest.mark.parametrize("file", ["curve.parquet", "packed/part/curves.parquet", "packed/part/runs.parquet"])
def test_a_truncated_file_is_named_and_the_other_runs_stay_readable(tmp_path, make_result, kept, file):
    store = RunStore(tmp_path)
    store.write(make_result(0))
    store.write_packed([make_result(1)], "part")
    path = tmp_path / "runs" / (file if "/" in file else f"{make_result(0).spec.run_id}/{file}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(UserError, match=path.name):
        store.specs(), store.curves()
    problems = store.problems()
    assert problems
    assert all(str(path) in problem.message and "\n" not in problem.message for problem in problems)
    assert len(store.curves(problems=[])) == 1


def _spec(values, **changes):
    return json.dumps(values | changes)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("spec.json", lambda v: "{", "can't be read as JSON"),
        ("spec.json", lambda v: "[1]", "not a JSON object"),
        ("spec.json", lambda v: "[" * 100_000, "can't be read as JSON"),
        ("spec.json", lambda v: _spec(v, seed=99), "not of"),
        ("spec.json", lambda v: _spec(v, colour="red"), "'colour'"),
        ("spec.json", lambda v: json.dumps({k: x for k, x in v.items() if k != "utd"}), "not a run's spec"),
        ("spec.json", lambda v: _spec(v, utd="fast"), "not a run's spec"),
        ("status.json", lambda v: "\x00\xff", "JSON"),
        ("status.json", lambda v: _spec(v, state="happy"), "'happy'"),
        ("status.json", lambda v: _spec(v, last_step=-1), "last_step"),
        ("status.json", lambda v: _spec(v, last_step=None), "last_step"),
        ("status.json", lambda v: _spec(v, mood="good"), "'mood'"),
    ],
)
def test_a_broken_record_is_named_in_one_sentence(tmp_path, make_result, file, change, said):
    store = RunStore(tmp_path)
    store.write(make_result(0))
    store.write(make_result(1))
    path = tmp_path / "runs" / make_result(0).spec.run_id / file
    path.write_text(change(json.loads(path.read_text())), encoding="latin-1")
    read = store.specs if file == "spec.json" else store.statuses
    with pytest.raises(UserError, match=said) as caught:
        read()
    assert str(path) in str(caught.value)
    problems: list = []
    assert list(read(problems=problems)) == [make_result(1).spec.run_id]
    assert [p.where for p in problems] == [make_result(0).spec.run_id]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"env_step": [1, 2], "return": [0.0, 1.0], "colour": [1, 2]}, "'colour'"),
        ({"env_step": [1, 2]}, "no column 'return'"),
        ({"return": [0.0]}, "no column 'env_step'"),
        ({"env_step": ["a", "b"], "return": [0.0, 1.0]}, "not numbers"),
        ({"env_step": [1.0, float("nan")], "return": [0.0, 1.0]}, "not finite in row 1"),
        ({"env_step": [1.0, float("inf")], "return": [0.0, 1.0]}, "not finite in row 1"),
        ({"env_step": [1.5, 2.0], "return": [0.0, 1.0]}, "fractions"),
        ({"env_step": [1, 3, 3], "return": [0.0, 1.0, 2.0]}, "from 3 to 3 in row 2"),
        ({"env_step": [-1, 3], "return": [0.0, 1.0]}, "negative"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_foreign_curve_is_named_in_one_sentence(tmp_path, make_result, columns, said, packed):
    store = RunStore(tmp_path)
    run_id = make_result(0).spec.run_id
    length = len(next(iter(columns.values())))
    result = make_result(0, steps=np.arange(length), returns=np.zeros(length))
    if packed:
        store.write_packed([result], "part")
        path = tmp_path / "runs/packed/part/curves.parquet"
        columns = {"run_id": [run_id] * length} | columns
    else:
        store.write(result)
        path = tmp_path / "runs" / run_id / "curve.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=said) as caught:
        store.curves()
    assert str(path) in str(caught.value)
    assert store.curves(problems=[]) == {}


def test_a_lost_file_is_named(tmp_path, make_result):
    store = RunStore(tmp_path)
    store.write(make_result(0))
    (tmp_path / "runs" / make_result(0).spec.run_id / "curve.parquet").unlink()
    with pytest.raises(UserError, match=r"curve\.parquet"):
        store.curves()
    assert [p.code for p in store.problems()] == ["unreadable-run"]


@pytest.mark.parametrize(
    "columns", [{"colour": np.zeros(10)}, {"env_step": np.zeros(10)}, {"return": np.zeros(3)}, {"env_step": np.full(10, np.nan)}]
)
def test_a_curve_that_could_not_be_read_back_is_not_written(tmp_path, make_result, columns):
    store = RunStore(tmp_path)
    with pytest.raises(ValueError, match=r"column|env_step|shape"):
        store.write(make_result(0, columns=columns))
    assert store.specs() == {}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, make_result, monkeypatch, packed, at):
    store = RunStore(tmp_path)

    def write(result):
        if packed:
            store.write_packed([result], "part")
        else:
            store.write(result)

    write(make_result(0, steps=[100], returns=[1.0]))
    syncs = 4 if packed else 5  # two or three files, the new folder, the folder that it is in
    before = store.fingerprint()
    calls = 0

    def full(path):
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_folder, "sync", full)
    said = pytest.raises(UserError, match=r"^[^\n]*No space left[^\n]*$") if at <= syncs else contextlib.nullcontext()
    with said:
        write(make_result(0))
    monkeypatch.undo()
    assert store.problems() == []
    new = RunStore(tmp_path / "new")
    new.write(make_result(0))
    assert store.fingerprint() in (before, new.fingerprint())
    RunStore(tmp_path).write(make_result(5))  # the next opening for writing
    assert len(store.specs()) == 2
    assert not [p for p in tmp_path.rglob(".*") if p.name.startswith((".new-", ".old-"))]


def test_an_empty_store_holds_nothing(tmp_path):
    store = RunStore(tmp_path / "absent")
    assert (store.specs(), store.statuses(), store.curves(), store.problems()) == ({}, {}, {}, [])
    assert not (tmp_path / "absent").exists()  # reading makes nothing
    store.write_packed([], "empty")
    assert store.curves() == {}


def test_a_folder_that_can_not_be_made_is_one_sentence(tmp_path, make_result):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        RunStore(Path(tmp_path / "file")).write(make_result(0))

"""A checkpoint appears whole or not at all, a damaged or foreign one is refused in a sentence, and only new rows are written."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdscale.errors import UserError
from tdscale.training.checkpoint import Checkpoint, CheckpointFolder, CheckpointRefused, Snapshot
from tdscale.training.experience import Replay

RUN = "0123456789abcdef"


def rows_of(first: int, end: int) -> np.ndarray:
    """Row i holds 3·i, 3·i + 1, 3·i + 2."""
    return np.arange(3 * first, 3 * end, dtype=np.float32).reshape(-1, 3)


def snapshot(replay: Replay, step: int = 0) -> Snapshot:
    values = {"step": step, "generator": np.random.default_rng(step).bit_generator.state}
    return Snapshot(values=values, arrays={"agent/0": np.full((4, 2), step, np.float32)}, rows={"replay": replay})


def folder(path: Path, run_id: str = RUN) -> CheckpointFolder:
    return CheckpointFolder(path / "checkpoint", run_id)


def filled(path: Path, *ends: int, capacity: int = 100) -> None:
    """Checkpoints at so many rows; each at the step of that number."""
    writer, replay = folder(path), Replay(capacity, 3)
    for end in ends:
        replay.add(rows_of(replay.added, end))
        writer.write(snapshot(replay, end))
    writer.close()


def found(path: Path, run_id: str = RUN) -> tuple[Checkpoint | None, list[str]]:
    told: list[str] = []
    reader = folder(path, run_id)
    checkpoint = reader.newest(told.append)
    reader.close()
    return checkpoint, told


def files(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "checkpoint").iterdir() if file.name != ".lock")


def test_what_was_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "agent/floats": np.array([[0.1, -0.0, np.nan, np.inf]], np.float32),
        "a scalar": np.array(True),
        "nothing": np.zeros((0, 5)),
        "names": np.array(["return", "é"]),
        "key": np.array([1, 2**32 - 1], np.uint32),
    }
    generator = np.random.default_rng(5)
    values = {"generator": generator.bit_generator.state, "third": 1 / 3, "reason": None}
    replay = Replay(10, 3)
    folder(tmp_path).write(Snapshot(values=values, arrays=arrays, rows={"replay": replay}))
    checkpoint, told = found(tmp_path)
    assert checkpoint is not None
    assert told == []
    loaded = checkpoint.arrays()
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].tobytes() == array.tobytes()
    assert checkpoint.values == values
    again = np.random.default_rng(0)
    again.bit_generator.state = checkpoint.values["generator"]
    np.testing.assert_array_equal(again.random(8), generator.random(8))
    assert list(checkpoint.rows("replay")) == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(capacity=st.integers(1, 40), gains=st.lists(st.integers(0, 30), min_size=1, max_size=5), reopened=st.integers(0, 5))
def test_a_ring_read_back_is_the_ring_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, capacity: int, gains: list[int], reopened: int
) -> None:
    path = tmp_path_factory.mktemp("ring")
    writer, replay = folder(path), Replay(capacity, 3)
    for count, gain in enumerate(gains):
        if count == reopened:  # another process goes on
            writer.close()
            writer = folder(path)
            writer.newest(pytest.fail)
        replay.add(rows_of(replay.added, replay.added + gain))
        writer.write(snapshot(replay, count))
    writer.close()
    checkpoint, _ = found(path)
    assert checkpoint is not None
    again = Replay(capacity, 3)
    again.restore(checkpoint.added("replay"), checkpoint.rows("replay"))
    assert (again.added, len(again)) == (replay.added, len(replay))
    np.testing.assert_array_equal(again.back(np.arange(len(again), 0, -1)), replay.back(np.arange(len(replay), 0, -1)))
    # placed alike: the same index draws the same row
    np.testing.assert_array_equal(again.between(0, len(again)), replay.between(0, len(replay)))
    # and nothing is kept of rows that both of the last two checkpoints have overwritten
    kept = sum(file.stat().st_size for file in (path / "checkpoint").glob("replay-*"))
    assert kept <= 4 * 3 * (min(replay.added, capacity) + sum(gains[-2:]) + 2 * max(gains))


def test_a_checkpoint_writes_only_the_rows_that_are_new(tmp_path: Path) -> None:
    filled(tmp_path, 40, 50, 50, 57)
    sizes = {file.name: file.stat().st_size // 12 for file in (tmp_path / "checkpoint").glob("replay-*")}
    assert sizes == {"replay-000001.f32": 40, "replay-000002.f32": 10, "replay-000004.f32": 7}


def test_the_last_two_checkpoints_are_kept_and_no_more(tmp_path: Path) -> None:
    filled(tmp_path, 10, 20, 30)
    assert [name for name in files(tmp_path) if not name.startswith("replay")] == [
        "manifest-000002.json",
        "manifest-000003.json",
        "state-000002.npz",
        "state-000003.npz",
    ]


def test_a_ring_that_gained_more_than_it_holds_is_written_once(tmp_path: Path) -> None:
    filled(tmp_path, 8, 200, 500, capacity=10)
    checkpoint, _ = found(tmp_path)
    assert checkpoint is not None
    ((first, rows),) = checkpoint.rows("replay")
    assert first == 490
    np.testing.assert_array_equal(rows, rows_of(490, 500))


@pytest.mark.parametrize("name", ["manifest-000003.json", "state-000003.npz", "replay-000003.f32"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_one_cut_short_anywhere_is_refused_and_the_one_before_is_used(tmp_path: Path, name: str, share: float) -> None:
    filled(tmp_path, 10, 20, 30)
    path = tmp_path / "checkpoint" / name
    os.truncate(path, int(share * path.stat().st_size))
    checkpoint, told = found(tmp_path)
    assert checkpoint is not None
    assert checkpoint.values["step"] == 20
    assert len(told) == 1
    assert name in told[0]
    assert "\n" not in told[0]
    assert [len(rows) for _, rows in checkpoint.rows("replay")] == [10, 10]


@pytest.mark.parametrize("name", ["manifest-000003.json", "state-000003.npz", "replay-000003.f32"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_with_a_flipped_bit_is_refused_and_the_one_before_is_used(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: float, bit: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("flipped")
    filled(tmp_path, 10, 20, 30)
    path = tmp_path / "checkpoint" / name
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    checkpoint, told = found(tmp_path)
    assert checkpoint is not None
    # a manifest's spaces and line breaks may change without changing what it says
    harmless = name.startswith("manifest") and checkpoint.values["step"] == 30
    assert (checkpoint.values["step"], len(told)) == ((30, 0) if harmless else (20, 1))
    if harmless:
        assert checkpoint.arrays()["agent/0"][0, 0] == 30


def test_a_file_that_is_gone_is_told_and_the_one_before_is_used(tmp_path: Path) -> None:
    filled(tmp_path, 10, 20, 30)
    (tmp_path / "checkpoint" / "state-000003.npz").unlink()
    checkpoint, told = found(tmp_path)
    assert checkpoint is not None
    assert checkpoint.values["step"] == 20
    assert "state-000003.npz: can't be read (No such file or directory)" in told[0]


def test_where_no_checkpoint_is_whole_there_is_none_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    filled(tmp_path, 10, 20)
    os.truncate(tmp_path / "checkpoint" / "replay-000001.f32", 5)  # both are made of it
    reader, told = folder(tmp_path), []
    assert reader.newest(told.append) is None
    assert len(told) == 2
    replay = Replay(100, 3)
    replay.add(rows_of(0, 4))
    reader.write(snapshot(replay, 4))
    assert files(tmp_path) == ["manifest-000003.json", "replay-000003.f32", "state-000003.npz"]


def test_after_a_torn_one_training_goes_on_from_the_one_before_and_its_files_are_not_mixed_up(tmp_path: Path) -> None:
    filled(tmp_path, 10, 20, 30)
    os.truncate(tmp_path / "checkpoint" / "state-000003.npz", 9)
    reader, replay = folder(tmp_path), Replay(100, 3)
    assert reader.newest(lambda _: None) is not None
    replay.add(rows_of(0, 25))
    reader.write(snapshot(replay, 25))
    reader.close()
    checkpoint, told = found(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.values["step"], told) == (25, [])
    again = Replay(100, 3)
    again.restore(25, checkpoint.rows("replay"))
    np.testing.assert_array_equal(again.back(np.arange(25, 0, -1)), rows_of(0, 25))
    assert "replay-000003.f32" not in files(tmp_path)


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 10)
    checkpoint, told = found(tmp_path, "fedcba9876543210")
    assert checkpoint is None
    assert told[0].endswith(f"manifest-000001.json: belongs to run {RUN}, not to fedcba9876543210")


def test_one_of_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdscale.training.checkpoint._FORMAT", 2)
    filled(tmp_path, 10)
    monkeypatch.undo()
    assert "has format 2, this version reads 1" in found(tmp_path)[1][0]


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"body": {}, "sha256": 3}', "\udcff", "[" * 100_000])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    filled(tmp_path, 10)
    (tmp_path / "checkpoint" / "manifest-000009.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    checkpoint, told = found(tmp_path)
    assert checkpoint is not None
    assert checkpoint.values["step"] == 10
    assert "manifest-000009.json" in told[0]


def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    from tdscale.training import checkpoint as module

    filled(tmp_path, 10)
    path = tmp_path / "checkpoint" / "manifest-000001.json"
    (tmp_path / "elsewhere").write_bytes(b"")
    body = json.loads(path.read_text())["body"]
    body["rows"]["replay"]["files"][0][0] = "../elsewhere"
    body["files"]["../elsewhere"] = body["files"].pop("replay-000001.f32")
    path.write_text(json.dumps({"body": body, "sha256": module._digest(body)}))
    checkpoint, told = found(tmp_path)
    assert checkpoint is None
    assert "names files that do not belong to a checkpoint" in told[0]


def test_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    bad = Snapshot(values={}, arrays={"a": np.array([{}], object)}, rows={})
    with pytest.raises(TypeError, match="Python objects"):
        folder(tmp_path).write(bad)
    np.savez(tmp_path / "state-000001.npz", a=np.array([{}], object))
    with pytest.raises(CheckpointRefused, match="is not an archive of arrays"):
        Checkpoint(tmp_path, 1, {}, {}, {}).arrays()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    filled(tmp_path, 10, 20)
    writer = folder(tmp_path)
    writer.newest(pytest.fail)
    replay, before = Replay(100, 3), files(tmp_path)
    replay.add(rows_of(0, 30))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(UserError, match=r"can't be written \(No space left on device\)"):
            writer.write(snapshot(replay, 30))
    assert files(tmp_path) == before
    replay.add(rows_of(30, 40))
    writer.write(snapshot(replay, 40))  # there is space again: nothing that was to be written is missing
    writer.close()
    checkpoint, _ = found(tmp_path)
    assert checkpoint is not None
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in checkpoint.rows("replay")]), rows_of(0, 40))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("a file")
    with pytest.raises(UserError, match="a checkpoint can't be written"):
        folder(tmp_path).write(snapshot(Replay(10, 3)))


def test_only_one_process_writes_a_runs_checkpoints(tmp_path: Path) -> None:
    first, second = folder(tmp_path), folder(tmp_path)
    first.write(snapshot(Replay(10, 3)))
    with pytest.raises(UserError, match="another process"):
        second.write(snapshot(Replay(10, 3)))
    first.close()
    second.newest(pytest.fail)
    second.write(snapshot(Replay(10, 3), 1))


def test_removed_means_gone_with_the_folder_of_a_run_that_has_nothing_else(tmp_path: Path) -> None:
    writer = folder(tmp_path / RUN)
    writer.write(snapshot(Replay(10, 3)))
    writer.remove()
    assert list(tmp_path.iterdir()) == []


# One child process is forked for each step of the write and killed there, until one gets through.
_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoint import RUN, filled, folder, rows_of, snapshot
from tdscale.training.experience import Replay
import tdscale.runs.whole_folder

def die_at(n):
    count = 0
    def counted(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    os.fsync, os.replace = map(counted, (os.fsync, os.replace))
    Path.unlink, Path.open, Path.write_bytes = map(counted, (Path.unlink, Path.open, Path.write_bytes))

for n in range(1, 100):
    path = Path(sys.argv[1]) / f"{n:03d}"
    child = os.fork()  # the parent never starts a thread, so forking it is safe
    if child == 0:
        filled(path, 10, 20)
        writer, replay = folder(path), Replay(100, 3)
        writer.newest(print)
        replay.add(rows_of(0, 30))
        die_at(n)
        writer.write(snapshot(replay, 30))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.exit(0 if os.WEXITSTATUS(status) == 0 else 3)
sys.exit(4)
"""


def test_a_writer_killed_at_any_step_leaves_the_checkpoint_before_or_the_new_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    seen = []
    for path in sorted(tmp_path.iterdir()):
        checkpoint, told = found(path)
        assert checkpoint is not None
        assert told == []
        step = checkpoint.values["step"]
        np.testing.assert_array_equal(np.concatenate([rows for _, rows in checkpoint.rows("replay")]), rows_of(0, step))
        assert checkpoint.arrays()["agent/0"][0, 0] == step
        seen.append(step)
        # the next one cleans up after the one that was killed
        writer, replay = folder(path), Replay(100, 3)
        writer.newest(pytest.fail)
        replay.add(rows_of(0, 40))
        writer.write(snapshot(replay, 40))
        writer.close()
        assert not [name for name in files(path) if name.startswith(".")]
        assert sum(name.startswith("manifest") for name in files(path)) == 2
    assert seen == sorted(seen)
    assert set(seen) == {20, 30}
    assert len(seen) > 10

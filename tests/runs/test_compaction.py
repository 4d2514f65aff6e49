"""Folders of runs that ended become one part: nothing that is read changes, and what may go on stays."""

import threading
from pathlib import Path

import pytest

from tdscale.errors import UserError
from tdscale.runs import store as store_module
from tdscale.runs.store import RunStore


def _read(store: RunStore):
    curves = {i: {name: values.tolist() for name, values in curve.items()} for i, curve in store.curves().items()}
    return store.specs(), store.statuses(), curves, store.fingerprint()


def _folders(store: RunStore) -> set[str]:
    return {path.name for path in store.runs.iterdir() if path.is_dir() and path.name != "packed"}


def test_what_is_read_is_the_same_before_and_after(tmp_path: Path, make_result):
    store = RunStore(tmp_path)
    for seed in range(6):
        store.write(make_result(seed, columns={"temperature": [0.5] * 10} if seed % 2 else None))
    before = _read(store)
    assert store.compact(at_least=7) == 0
    assert _read(store) == before
    assert len(_folders(store)) == 6
    assert store.compact(at_least=6) == 6
    assert _read(store) == before
    assert not _folders(store)
    assert store.compact() == 0
    assert store.problems() == []


def test_what_failed_is_unreadable_or_may_go_on_keeps_its_folder(tmp_path: Path, make_result):
    store = RunStore(tmp_path)
    failed, torn, going, asked, _ = results = [make_result(seed, status={"state": "failed"} if seed == 0 else None) for seed in range(5)]
    for result in results:
        store.write(result)
    (store.runs / torn.spec.run_id / "curve.parquet").write_bytes(b"torn")
    store.checkpoint_directory(going.spec.run_id).mkdir()
    assert store.compact(skip=[asked.spec.run_id]) == 1
    assert _folders(store) == {result.spec.run_id for result in (failed, torn, going, asked)}
    assert set(store.statuses()) == {result.spec.run_id for result in results}
    assert store.compact(skip=[asked.spec.run_id]) == 0


def test_a_run_that_went_on_wins_over_its_packed_beginning_and_packs_again(tmp_path: Path, make_result):
    store = RunStore(tmp_path)
    short, long = (make_result(0, steps=range(100, end, 100)) for end in (600, 1100))
    store.write(short)
    store.compact()
    assert store.write(long)
    assert store.statuses()[long.spec.run_id].last_step == 1000
    assert store.compact() == 1
    assert store.statuses()[long.spec.run_id].last_step == 1000
    assert len(store.curves()[long.spec.run_id]["return"]) == 10
    # nor does a shorter result, or a failure, hide what was packed
    assert not RunStore(tmp_path).write(short)
    assert not store.write(make_result(0, status={"state": "failed"}))
    assert store.statuses()[long.spec.run_id].last_step == 1000


def test_a_compacted_run_wins_over_an_imported_one(tmp_path: Path, make_result):
    store = RunStore(tmp_path)
    store.write_packed([make_result(0, steps=range(100, 300, 100))], "zzz")
    store.write(make_result(0))
    store.compact()
    assert store.statuses()[make_result(0).spec.run_id].last_step == 1000


def test_a_reader_that_listed_the_folders_finds_the_runs_packed_since(tmp_path: Path, make_result, monkeypatch):
    store = RunStore(tmp_path)
    for seed in range(4):
        store.write(make_result(seed))
    before = store.statuses()
    reading = store_module._read_status

    packed = []

    def late(folder, run_id):
        if not packed:
            packed.append(None)
            packed.append(RunStore(tmp_path).compact())
        return reading(folder, run_id)

    monkeypatch.setattr(store_module, "_read_status", late)
    assert store.statuses() == before
    assert packed == [None, 4]


def test_readers_see_every_run_while_folders_are_packed(tmp_path: Path, make_result):
    store = RunStore(tmp_path)
    for seed in range(40):
        store.write(make_result(seed))
    before, seen = store.fingerprint(), []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(RunStore(tmp_path).fingerprint())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for kept in (30, 20, 10, 0):
            store.compact(sorted(store.specs())[:kept])
    finally:
        ended.set()
        reader.join()
    assert seen
    assert set(seen) == {before}


def test_a_part_that_can_not_be_written_leaves_the_folders(tmp_path: Path, make_result, monkeypatch):
    store = RunStore(tmp_path)
    store.write(make_result(0))
    before = _read(store)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.packed, "write_part", full)
    with pytest.raises(UserError, match="No space left"):
        store.compact()
    assert _read(store) == before
    assert len(_folders(store)) == 1

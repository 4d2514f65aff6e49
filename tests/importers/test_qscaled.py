"""Import of zips in the published layouts, made here: what is kept, what is said, and what is refused."""

import io
import stat
import zipfile

import numpy as np
import pytest

from tdscale.errors import UserError
from tdscale.importers import import_runs
from tdscale.importers.conventions import reaches
from tdscale.runs.cells import load_cells
from tdscale.runs.selection import select_runs
from tdscale.runs.store import RunStore
from tdscale.runs.where import parse_where
from tdscale.study import read_study, study_to_toml

ENTRY = "gym_ours/utd_0.25/Ant-v4/episode.return/bs_128_lr_15e-5.npy"


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def gym(seeds=3, steps=20, rng=0, high=6625.0):
    """Env steps and, per seed, a noisy rise to `high`."""
    noise = np.random.default_rng(rng).normal(0, 300, (steps, seeds))
    return np.column_stack([np.arange(1, steps + 1) * 1000.0, np.linspace(0, high, steps)[:, None] + noise])


@pytest.fixture
def make_zip(tmp_path):
    def make(entries, name="gym_ours.zip"):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, content in entries.items():
                archive.writestr(entry, content if isinstance(content, bytes | str) else npy(content))
        return path

    return make


@pytest.fixture
def refused(make_zip, tmp_path):
    """The sentence with which an import of these entries is refused; nothing of it stays in the folder."""

    def refused(entries, **options):
        path = entries if not isinstance(entries, dict) else make_zip(entries)
        with pytest.raises(UserError) as caught:
            import_runs(path, "qscaled", tmp_path / "study", **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "study" / "study.toml").exists()
        assert RunStore(tmp_path / "study").specs() == {}
        return str(caught.value)

    return refused


def _codes(report):
    return {message.code for message in report.messages}


def test_an_array_becomes_a_cell_with_raw_returns_and_the_studys_conventions(make_zip, tmp_path):
    array = gym()
    path = make_zip({ENTRY: array, "__MACOSX/gym_ours/._x.npy": b"junk", "gym_ours/.DS_Store": b"junk", "gym_ours/utd_0.25/": b""})
    report = import_runs(path, "qscaled", tmp_path / "s")
    assert (report.runs, report.cells, report.tasks, report.utds) == (3, 1, ("Ant-v4",), (0.25,))
    assert _codes(report) == set()
    assert report.study == read_study(tmp_path / "s" / "study.toml")
    assert report.study.tasks["Ant-v4"].high == 6625.0
    assert (report.study.data_cost, report.study.model_size, report.study.accounting) == (4e9, 1.5e5, "paper")
    assert report.study.return_thresholds[-1] == pytest.approx(800)
    store = RunStore(tmp_path / "s")
    for run_id, spec in store.specs().items():
        assert (spec.learning_rate, spec.batch_size, spec.utd, spec.stage, spec.suite) == (15e-5, 128, 0.25, "scaling", "imported")
        curve = store.curves([run_id])[run_id]
        np.testing.assert_array_equal(curve["return"], array[:, spec.seed])
        np.testing.assert_array_equal(curve["env_step"], array[:, 0])
    (cell,), warnings = load_cells(store, report.study)
    assert warnings == []
    np.testing.assert_allclose(cell.returns, array[:, 1:].T / 6.625)


def test_a_second_import_changes_nothing_and_another_stage_stands_beside_it(make_zip, tmp_path):
    ours, baseline = (
        make_zip({ENTRY: gym()}),
        make_zip({ENTRY.replace("gym_ours", "gym_baseline_utd2"): gym(rng=1)}, "gym_baseline_utd2.zip"),
    )
    import_runs(ours, "qscaled", tmp_path / "s")
    files = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    import_runs(ours, "qscaled", tmp_path / "s")
    assert {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()} == files
    report = import_runs(baseline, "qscaled", tmp_path / "s")
    assert _codes(report) == {"study-kept"}
    stages = [spec.stage for spec in RunStore(tmp_path / "s").specs().values()]
    assert sorted(stages) == ["baseline"] * 3 + ["scaling"] * 3


def test_an_edited_study_is_kept_and_said_to_be(make_zip, tmp_path):
    path = make_zip({ENTRY: gym()})
    report = import_runs(path, "qscaled", tmp_path / "s", data_cost=5e9)
    assert report.study.data_cost == 5e9
    edited = study_to_toml(report.study).replace("6625", "6000")
    (tmp_path / "s" / "study.toml").write_text(edited)
    report = import_runs(path, "qscaled", tmp_path / "s")
    assert _codes(report) == {"study-kept"}
    assert report.study.tasks["Ant-v4"].high == 6000
    assert (tmp_path / "s" / "study.toml").read_text() == edited


def test_another_domains_file_does_not_go_into_the_same_study(make_zip, tmp_path):
    import_runs(make_zip({ENTRY: gym()}), "qscaled", tmp_path / "s")
    other = make_zip({"dmc_sweep/utd_1/walker-walk/online_returns/bs_32_lr_3e-4.npy": np.zeros((5, 2))}, "dmc_sweep.zip")
    with pytest.raises(UserError, match="another folder"):
        import_runs(other, "qscaled", tmp_path / "s")
    assert len(RunStore(tmp_path / "s").specs()) == 3


def test_what_the_arrays_show_is_said(make_zip, tmp_path):
    copied, gappy = gym(), gym(4, rng=2)
    copied[:, 3] = copied[:, 1]
    gappy[10:, 0] += 5000
    slow = gym(rng=3, high=3000.0)
    entries = {ENTRY: copied, ENTRY.replace("0.25", "2"): gappy, ENTRY.replace("0.25", "4"): slow}
    report = import_runs(make_zip(entries), "qscaled", tmp_path / "s")
    said = {message.code: message.message for message in report.messages}
    assert set(said) == {"duplicate-seeds", "unequal-seeds", "step-gaps", "never-reached"}
    assert said["duplicate-seeds"].startswith("1 of 3 files hold byte-identical seed columns (1 copies among 10 runs)")
    assert "3 of 10 single seeds (30.0%) and 1 of 3 mean curves" in said["never-reached"]
    statuses = RunStore(tmp_path / "s").statuses()
    assert [status.notes.get("duplicate_of") in statuses for status in statuses.values()].count(True) == 1


def test_the_sweeps_traps_are_said(make_zip, tmp_path):
    rising = np.maximum.accumulate(np.random.default_rng(0).uniform(0, 990, (30, 4)), axis=0)
    capped = np.linspace(0, 999, 1000)[:, None] * np.array([1.0, 0.99])
    entries = {
        "dmc_sweep/utd_1/finger-spin/online_returns/bs_32_lr_3e-4.npy": np.floor(rising).astype(np.int64),
        "dmc_sweep/utd_1/walker-walk/online_returns/bs_32_lr_15e-5.npy": rising,
        "dmc_sweep/utd_2/walker-walk/online_returns/bs_64_lr_15e-5.npy": capped,
    }
    report = import_runs(make_zip(entries, "renamed.zip"), "qscaled", tmp_path / "s")
    said = {message.code: message.message for message in report.messages}
    assert {"renamed-file", "assumed-steps", "unverified-steps", "truncated-returns", "already-isotonic", "missing-cells"} <= set(said)
    assert "finger-spin" in said["truncated-returns"]
    assert "walker-walk" not in said["truncated-returns"]
    assert said["missing-cells"].endswith("finger-spin σ=2")
    cells, _ = load_cells(RunStore(tmp_path / "s"), report.study)
    assert cells[0].env_steps[:2].tolist() == [5000, 6000]
    assert len(cells[0].seeds) == 4
    assert report.study.data_cost == 1e10


def test_model_sizes_and_widths_are_in_the_specs(make_zip, tmp_path):
    curve = np.random.default_rng(0).uniform(0, 900, (40, 3))
    path = make_zip({f"ablations_rr/rr10_{size}/{task}.npy": curve for size in ("s", "sm") for task in ("dog-run", "myo-reach")})
    report = import_runs(path, "qscaled", tmp_path / "a", layout="dmc_bro_ablations")
    assert report.study.tasks["myo-reach"].high == 1.0
    store = RunStore(tmp_path / "a")
    chosen = [select_runs(store, report.study, where=parse_where([f"size={size}"])) for size in ("s", "sm")]
    cells = [cell for selection in chosen for cell in load_cells(store, report.study, selection=selection)[0]]
    assert {(c.spec.settings["size"], c.spec.settings["model_size"], c.costs["critic_parameters"]) for c in cells} == {
        ("s", 1_050_000, 1_050_000.0),
        ("sm", 2_830_000, 2_830_000.0),
    }
    assert cells[0].env_steps[0] == 25_000
    # every 2.5e6 critic updates, at σ = 10
    assert cells[0].resets == (250_000, 500_000, 750_000, 1_000_000)
    root = "simbav2_model_scaling/w256/utd_1/h1-stand-v0"
    array = gym(high=900)
    loss = array.copy()
    loss[0, 1:] = np.nan
    path = make_zip({f"{root}/avg_return/bs_256.npy": array, f"{root}/critic_loss/bs_256.npy": loss}, "simbav2.zip")
    report = import_runs(path, "qscaled", tmp_path / "b")
    assert "skipped-entries" not in _codes(report)
    store = RunStore(tmp_path / "b")
    for run_id, spec in store.specs().items():
        assert spec.settings["width"] == 256
        np.testing.assert_array_equal(store.curves([run_id], ["critic_loss"])[run_id]["critic_loss"], loss[:, spec.seed])


class _Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickled_objects_are_never_loaded(refused, capsys):
    objects = np.array([[_Bomb(), 1], [2, 3]], dtype=object)
    assert "Python objects" in refused({ENTRY: npy(objects, allow_pickle=True)})
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a NumPy array"),
        (b"hello", "not a NumPy array"),
        (npy(gym())[:200], "promises an array of shape (20, 4)"),
        (npy(gym()).replace(b"(20, 4)", b"(99, 4)"), "promises"),
        (npy(gym()).replace(b"(20, 4), }   ", b"(10**9, 4), }"), "not a NumPy array"),
        (npy(gym()).replace(b"(20, 4), }      ", b"(9999999, 4), } "), "promises"),
        (np.zeros(5), "1 axes"),
        (np.zeros((2, 2, 2)), "3 axes"),
        (np.zeros((0, 3)), "is empty"),
        (np.ones((5, 1)), "at least one seed"),
        (np.array([["a", "b"]]), "not numbers"),
        (gym() * 1j, "not numbers"),
        (np.where(np.arange(80).reshape(20, 4) == 6, np.nan, gym()), "row 1, column 2 is nan"),
        (np.where(np.arange(80).reshape(20, 4) == 6, np.inf, gym()), "row 1, column 2 is inf"),
        (np.where(np.arange(80).reshape(20, 4) == 8, np.nan, gym()), "env_step is not finite in row 2"),
        (gym()[::-1], "must rise"),
        (gym() + 0.5, "fractions"),
    ],
)
def test_a_broken_array_is_named_in_one_sentence(refused, content, said):
    message = refused({ENTRY: content})
    assert said in message
    assert ENTRY in message


@pytest.mark.parametrize("name", ["../evil.npy", "/etc/evil.npy", "a/../../evil.npy", "C:\\evil.npy", "..\\evil.npy"])
def test_entries_that_point_out_of_the_archive_are_refused(refused, name):
    assert "points out of the archive" in refused({ENTRY: gym(), name: gym()})


def test_links_are_refused(refused, tmp_path):
    path = tmp_path / "gym_ours.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo(ENTRY)
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "a link" in refused(path)


def test_bombs_are_refused_before_they_are_unpacked(refused):
    assert "would unpack to" in refused({ENTRY: bytes(30 << 20)})
    assert "would unpack to" in refused({ENTRY: gym(), "readme.txt": bytes(65 << 20)})


def test_a_total_that_is_too_large_is_refused(refused, monkeypatch):
    monkeypatch.setattr("tdscale.importers.archive._MAX_TOTAL_BYTES", 1000)
    assert "would unpack to more than" in refused({ENTRY: gym(), ENTRY.replace("0.25", "4"): gym()})


@pytest.mark.parametrize("kept", [0, 10, 300, -30])
def test_half_a_zip_is_refused(refused, make_zip, kept):
    path = make_zip({ENTRY: gym()})
    path.write_bytes(path.read_bytes()[:kept])
    assert "not a complete zip file" in refused(path)


def test_a_zip_with_flipped_bytes_is_refused(refused, make_zip):
    path = make_zip({ENTRY: gym()})
    content = bytearray(path.read_bytes())
    content[200:204] = b"\0\0\0\0"
    path.write_bytes(bytes(content))
    assert "damaged" in refused(path)


def test_what_is_no_published_file_is_refused(refused, tmp_path):
    text = tmp_path / "gym_ours.zip"
    text.write_text("<html>404</html>")
    assert "not a complete zip file" in refused(text)
    assert "no such file" in refused(tmp_path / "absent.zip")
    (tmp_path / "empty").mkdir()
    assert "has no file of this kind" in refused(tmp_path / "empty")
    assert "holds no array of the layout 'gym_ours'" in refused({"readme.txt": "nothing here"})
    assert "holds no array of the layout 'dmc_sweep'" in refused({ENTRY: gym()}, layout="dmc_sweep")
    assert "must be one of gym_ours" in refused({ENTRY: gym()}, layout="gym")
    assert "learning rate" in refused({ENTRY.replace("15e-5", "1e-2e-3"): gym()})
    assert "can't be" in refused({ENTRY.replace("15e-5", "15"): gym()})
    assert "--data-cost" in refused({ENTRY: gym()}, data_cost=-1.0)
    assert "has no option 'colour'" in refused({ENTRY: gym()}, colour="red")
    with pytest.raises(UserError, match="no such kind"):
        import_runs(text, "excel", tmp_path / "study")


@pytest.mark.parametrize(
    ("curve", "expected"), [([0, 900, 0, 0], False), ([0, 0, 900], True), ([500, 500, 900, 700], True), ([799] * 4, False)]
)
def test_a_curve_reaches_a_threshold_where_a_tail_of_it_has_that_mean(curve, expected):
    assert reaches(np.array(curve, dtype=float), 800.0) == expected

"""Stable-Baselines3's SAC as a trainer of one's own: examples/sb3, cut down."""

import os
import sys
from pathlib import Path

import pytest

from command import tdscale
from tdscale.runs.store import RunStore

pytestmark = pytest.mark.peers
EXAMPLE = Path(__file__).parents[2] / "examples" / "sb3"


def test_a_sweep_over_sigma_is_trained_and_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    text = (EXAMPLE / "study.toml").read_text(encoding="utf-8")
    head, _, _ = text.partition("[sweep]")
    cut = "[sweep]\nutd = [0.5, 2]\nbatch_size = [32]\nlearning_rate = [1e-3]\nseeds = 1\n\n[limits]\nenv_steps = 800\n\n"
    settings = '[settings]\nwarm_up = 400\nwidth = 16\nactor_updates = "per-critic-update"\n'
    (tmp_path / "study.toml").write_text(head + cut + settings, encoding="utf-8")
    (tmp_path / "train.py").write_bytes((EXAMPLE / "train.py").read_bytes())
    answer = tdscale("run", "study.toml", "--dir", "sb3", "--workers", 2, cwd=tmp_path)
    store = RunStore(tmp_path / "sb3")
    specs, statuses, curves = store.specs(), store.statuses(), store.curves()
    assert {spec.utd for spec in specs.values()} == {0.5, 2.0}, answer
    for run_id, spec in specs.items():
        status = statuses[run_id]
        assert (status.state, status.last_step) == ("finished", 800), status
        assert curves[run_id]["env_step"].tolist() == [200, 400, 600, 800], "Pendulum's episodes"
        # σ updates of the critic for each env step after the warm-up, give or take the block in which they are due
        assert abs(status.critic_updates - spec.utd * 400) <= 2
        assert status.flops > 0

"""BRO in the training loop, and its resets."""

from typing import Any

import numpy as np
import pytest

from tdscale.study import SETTINGS, RunSpec
from tdscale.training import train_cell

toys = pytest.importorskip("toys", reason='needs pip install "tdscale[train]"')

# one set of shapes for each, so that JAX compiles twice
SHAPES = {
    "bro": {"critic_width": 64, "critic_blocks": 1, "actor_width": 64, "quantiles": 10},
    "bro-minimal": {"critic_width": 8, "critic_blocks": 1, "actor_width": 8, "actor_blocks": 0, "quantiles": 5},
}
TASKS = {"bro": "Pendulum-v1", "bro-minimal": "Walk-v0"}


def spec_of(algorithm: str, **settings: Any) -> RunSpec:
    """Two updates per env step after 40 of warm-up."""
    chosen = SHAPES[algorithm] | {"warm_up": 40, "evaluation_interval": 0, "diagnostics_interval": 0} | settings
    return RunSpec(
        algorithm=algorithm,
        suite="gymnasium",
        task=TASKS[algorithm],
        utd=2.0,
        batch_size=8,
        learning_rate=3e-3,
        seed=0,
        stage="sweep",
        settings=SETTINGS[algorithm](**chosen).model_dump(mode="json"),
    )


@pytest.mark.slow
def test_bro_trains_evaluates_and_counts_what_it_did() -> None:
    from tdscale.agents import bro

    spec = spec_of("bro", evaluation_interval=200, evaluation_episodes=1, diagnostics_interval=100)
    (result,) = train_cell([spec], env_steps=400, target=None)
    status, columns = result.status, result.columns
    assert (status.state, status.last_step) == ("finished", 400)
    assert (status.critic_updates, status.actor_updates) == (720, 720)
    assert columns["env_step"].tolist() == [100, 200, 300, 400]
    assert np.isfinite(columns["return"]).sum() == 2
    assert np.isfinite(columns["evaluation_return"]).sum() == 2
    # stem, a block's two layers, head
    layers = [columns[f"critic_parameter_norm_layer_{layer}"] for layer in range(4)]
    assert not {f"critic_parameter_norm_layer_{len(layers)}"} & set(columns)
    np.testing.assert_allclose(np.sum(np.square(layers), axis=0), columns["critic_parameter_norm"] ** 2, rtol=1e-5)
    for name in ("td_error_newest", "td_error_validation", "critic_dormant_share", "critic_feature_rank"):
        assert np.isfinite(columns[name]).sum() == 4
    assert "resets" not in status.notes
    config = bro.BROConfig(observation_size=3, action_size=1, **SHAPES["bro"])  # type: ignore[arg-type]
    costs = bro.costs(bro.init(config, np.uint32(0)))
    assert (status.critic_parameters, status.actor_parameters) == (costs.critic_parameters, costs.actor_parameters)
    assert (status.critic_update_flops, status.actor_update_flops) == (costs.critic_update_flops, costs.actor_update_flops)
    assert status.flops == 8 * 720 * (costs.critic_update_flops + costs.actor_update_flops)


def _states_before_updates(monkeypatch: pytest.MonkeyPatch, spec: RunSpec, env_steps: int) -> tuple[list[Any], list[int], Any]:
    """(critic updates since the networks were fresh, at every call of the update), env steps noted as resets, the learner."""
    from tdscale.training.batch import RunBatch

    batch = RunBatch([spec], env_steps)
    (run,), learner = batch.runs, batch._learner
    ages = []
    update = learner.update

    def watched(flags: Any, generators: Any) -> None:
        ages.append((run.env_step, run.critic_updates, int(learner.state.critic_optimiser.count), len(flags)))  # type: ignore[attr-defined]
        update(flags, generators)

    monkeypatch.setattr(learner, "update", watched)
    batch.advance(env_steps)
    notes = batch.result(run.spec.run_id, {}).status.notes
    batch.close()
    return ages, list(notes.get("resets", [])), learner


def test_resets_by_env_steps_begin_anew_before_that_steps_updates_and_keep_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("bro-minimal", reset_rule="env-steps", reset_env_steps=[60, 81])
    ages, resets, learner = _states_before_updates(monkeypatch, spec, 100)
    assert resets == [60, 81]
    assert len(learner.replay) == 100
    age = {env_step: optimiser_steps for env_step, _, optimiser_steps, _ in ages}
    assert [age[step] for step in (41, 59, 60, 61, 80, 81, 100)] == [0, 36, 0, 2, 40, 0, 38]


def test_resets_by_gradient_steps_come_after_exactly_so_many_critic_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("bro-minimal", reset_rule="gradient-steps", reset_critic_updates=51)
    ages, resets, _ = _states_before_updates(monkeypatch, spec, 100)
    assert all(optimiser_steps == critic_updates % 51 for _, critic_updates, optimiser_steps, _ in ages)
    assert all(critic_updates // 51 == (critic_updates + count - 1) // 51 for _, critic_updates, _, count in ages)
    assert resets == [40 + 26, 40 + 51]


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["initial", "fresh"])
def test_a_reset_forgets_everything_learnt_and_gives_back_the_first_weights_or_fresh_ones(weights: str) -> None:
    import jax

    from tdscale.agents import bro
    from tdscale.training.batch import RunBatch

    batch = RunBatch([spec_of("bro", reset_rule="none", reset_weights=weights)], 100)
    learner: Any = batch._learner
    first = state_of(learner)
    batch.advance(60)
    assert not np.array_equal(first.actor.head.weight, state_of(learner).actor.head.weight)
    batch._reset()
    second = state_of(learner)
    same = weights == "initial"
    # the random key, too: the same noise follows
    for part in ("actor", "critics", "key"):
        pairs = zip(jax.tree.leaves(getattr(first, part)), jax.tree.leaves(getattr(second, part)), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs if np.any(one)) is same
    for one, other in zip(jax.tree.leaves(second.critics), jax.tree.leaves(second.target_critics), strict=True):
        np.testing.assert_array_equal(one, other)
    learnt = (second.critic_optimiser, second.actor_optimiser, second.temperature_optimiser, second.optimism.explorer_optimiser)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(learnt))
    initial = bro.init(batch._config, np.uint32(0))
    assert initial.optimism is not None
    assert (second.log_temperature, second.optimism.raw_optimism) == (initial.log_temperature, initial.optimism.raw_optimism)
    batch.close()


def state_of(learner: Any) -> Any:
    """A copy of an agent, its random key as numbers."""
    import jax

    return jax.tree.map(np.array, learner.state._replace(key=jax.random.key_data(learner.state.key)))


def test_the_named_reset_rules_are_the_published_ones() -> None:
    assert SETTINGS["bro"]().resets.env_steps == (15001, 50001, 250001, 500001, 750001, 1000001, 1500001, 2000001)
    assert SETTINGS["bro"](reset_rule="bro-fast").resets.env_steps == (15001,)
    minimal = SETTINGS["bro-minimal"]().resets
    assert (minimal.env_steps, minimal.critic_updates) == ((), 2_500_000)
    none = SETTINGS["bro"](reset_rule="none").resets
    assert (none.env_steps, none.critic_updates) == ((), None)

"""What training asks of an algorithm, and which algorithms there are.

Another one is a file that holds an `Algorithm`, named in a study as "module:name" (docs/custom_algorithm.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tdscale.agents import bro, pql, sac
from tdscale.agents.costs import Costs
from tdscale.agents.host import BROPolicy, SACPolicy
from tdscale.agents.rows import unpack
from tdscale.errors import UserError
from tdscale.study import SETTINGS, RunSpec, TrainingSettings, is_custom
from tdscale.tasks import ParallelTask, Task
from tdscale.training.custom_algorithm import load_custom_algorithm

Step = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class Policy(Protocol):
    """A frozen copy of what acts, on the host."""

    def act(self, observations: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """As `Algorithm.act`, in NumPy."""
        ...


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """An algorithm as functions. A `state` is a pytree; rows are packed as in `agents.rows`.

    Attributes:
        settings: what a study's [settings] may say.
        config: a frozen dataclass with `observation_size`, `action_size`, `row_size`, and everything else that shapes the compiled
            functions: its other fields are taken from the settings' attributes of the same name.
        init: (config, 32-bit seed) to a fresh state; called again at every reset.
        act: (config, state, observations of shape (n, observation_size), noise) to actions in [-1, 1], shape (n, action_size):
            explored with standard normal noise of that shape, or evaluated (None).
        critic_step: (config, state, batch, learning_rate) to the state after one update of the critics and their targets, and its
            loss: a scalar, or a pytree of several. A run ends as diverged at the first one that is not finite.
        actor_step: the same for what acts. `update` calls both as the schedule wants them.
        diagnose: (config, state, uniform rows, newest rows, validation rows, seed) to a named tuple of scalars: `finite` and columns
            of the curve; a field that is a tuple of scalars stands for as many columns (`agents.diagnosis.diagnosis_columns`).
        costs: state, or what `jax.eval_shape` says of one, to the networks' sizes and the FLOPs of an update.
        policy: (config, state) to what acts until the next update; optional: on one observation NumPy is quicker than a device.
        observe: (config, state, observations) to a state whose statistics of observations have seen these; optional.
        prepare: (config, state, rows) to the batch that the steps are given; without it they are given an `agents.rows.Batch`.

    All but `costs` and `policy` are traced by JAX, and by `jax.vmap` over states where runs advance together on a GPU.
    """

    settings: type[TrainingSettings]
    config: type[Any]
    init: Callable[[Any, np.uint32], Any]
    act: Callable[[Any, Any, Any, Any], Any]
    critic_step: Step
    actor_step: Step
    diagnose: Callable[[Any, Any, Any, Any, Any, Any], Any]
    costs: Callable[[Any], Costs]
    policy: Callable[[Any, Any], Policy] | None = None
    observe: Callable[[Any, Any, Any], Any] | None = None
    prepare: Callable[[Any, Any, Any], Any] | None = None

    def configure(self, settings: TrainingSettings, task: Task | ParallelTask) -> Any:
        """The config of these settings on a task."""
        named = {field.name: getattr(settings, field.name) for field in fields(self.config) if hasattr(settings, field.name)}
        return self.config(observation_size=task.observation_size, action_size=task.action_size, **named)

    @partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
    def update(
        self, config: Any, state: Any, batches: Any, do_critic: Any, do_actor: Any, count: Any, learning_rate: Any
    ) -> tuple[Any, jax.Array]:
        """Apply the first `count` minibatches in turn. The given state is consumed.

        Args:
            config: static; with the shape of `batches` it decides the compilation.
            state: the agent.
            batches: shape (chunk, batch_size, row_size); entries from `count` on are ignored.
            do_critic: shape (chunk,), whether a minibatch is used for `critic_step`.
            do_actor: shape (chunk,), whether it is used for `actor_step`, after the critics.
            count: at most chunk; 0 only compiles.
            learning_rate: η.

        Returns:
            The new state, and whether every loss was finite.
        """
        steps = ((do_critic, self.critic_step), (do_actor, self.actor_step))

        def apply(index: Any, carried: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            batch = self._prepare(config, carried[0], batches[index])
            for due, step in steps:
                carried = jax.lax.cond(due[index], partial(_checked, step, config), _unchanged, *carried, batch, learning_rate)
            return carried

        updated: tuple[Any, jax.Array] = jax.lax.fori_loop(0, count, apply, (state, jnp.array(True)))
        return updated

    def _prepare(self, config: Any, state: Any, rows: Any) -> Any:
        return unpack(rows, config.observation_size, config.action_size) if self.prepare is None else self.prepare(config, state, rows)


def _checked(step: Step, config: Any, state: Any, finite: jax.Array, batch: Any, learning_rate: Any) -> tuple[Any, jax.Array]:
    """A step, and whether its losses and those before it were finite."""
    state, losses = step(config, state, batch, learning_rate)
    for loss in jax.tree.leaves(losses):
        finite &= jnp.isfinite(loss)
    return state, finite


def _unchanged(state: Any, finite: jax.Array, batch: Any, learning_rate: Any) -> tuple[Any, jax.Array]:
    return state, finite


def _ours(name: str, module: Any, config: type[Any], **optional: Any) -> Algorithm:
    """One of tdscale's own: its functions are the module's of the same names."""
    parts = {part: getattr(module, part) for part in ("init", "act", "critic_step", "actor_step", "diagnose", "costs")}
    return Algorithm(settings=SETTINGS[name], config=config, **parts, **optional)


# what differs between the two forms of BRO, and of PQL, is in their settings
ALGORITHMS: dict[str, Algorithm] = {
    "sac": _ours("sac", sac, sac.SACConfig, policy=SACPolicy),
    "bro": _ours("bro", bro, bro.BROConfig, policy=BROPolicy),
    "bro-minimal": _ours("bro-minimal", bro, bro.BROConfig, policy=BROPolicy),
    "pql": _ours("pql", pql, pql.PQLConfig, observe=pql.observe, prepare=pql.prepare),
    "pql-d": _ours("pql-d", pql, pql.PQLConfig, observe=pql.observe, prepare=pql.prepare),
}


def named_algorithm(name: str, folder: Path | None = None) -> Algorithm:
    """The algorithm of that name; one named as "module:name" is imported (`load_custom_algorithm`).

    Raises:
        UserError: if there is no such algorithm, or it can't be imported.
    """
    if not is_custom(name):
        if name not in ALGORITHMS:
            raise UserError(f"algorithm {name!r} can't be trained; there is {', '.join(map(repr, ALGORITHMS))}")
        return ALGORITHMS[name]
    found = load_custom_algorithm(name, folder)
    if not isinstance(found, Algorithm):
        raise UserError(f"algorithm {name!r} is of type {type(found).__name__}, not a tdscale.training.algorithms.Algorithm")
    return found


def count_parameters(algorithm: Algorithm, settings: TrainingSettings, task: Task | ParallelTask) -> int:
    """N: parameters of the critics that these settings train on a task. The networks are traced, not made."""
    state = jax.eval_shape(partial(algorithm.init, algorithm.configure(settings, task)), np.uint32(0))
    return algorithm.costs(state).critic_parameters


def find_algorithm(spec: RunSpec, folder: Path | None = None) -> tuple[Algorithm, TrainingSettings]:
    """The algorithm that a spec names, and its settings. Raises UserError as `named_algorithm`."""
    algorithm = named_algorithm(spec.algorithm, folder)
    return algorithm, algorithm.settings(**spec.settings, **spec.recording)

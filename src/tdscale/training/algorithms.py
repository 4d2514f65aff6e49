"""What training asks of an algorithm, and which algorithms there are.

Another one is a file that holds an `Algorithm`, named in a study as "module:name" (docs/own_algorithm.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tdscale.agents import bro, pql, sac
from tdscale.agents.bro_host import bro_policy
from tdscale.agents.costs import Costs
from tdscale.agents.host import HostPolicy
from tdscale.errors import UserError
from tdscale.study import SETTINGS, RunSpec, TrainingSettings, is_own
from tdscale.tasks import ParallelTask, Task
from tdscale.training.own import load_own


class Policy(Protocol):
    """A frozen copy of what acts, on the host."""

    def act(self, observations: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """As `Algorithm.act`, in NumPy."""
        ...


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """An algorithm as functions. A `state` is a pytree with a boolean scalar `finite`; rows are packed as in `agents.rows`.

    Attributes:
        settings: what a study's [settings] may say.
        config: a frozen dataclass with `observation_size`, `action_size`, `row_size`, and whatever else shapes the compiled
            functions: its other fields are taken from the settings' attributes of the same name.
        init: (config, 32-bit seed) to a fresh state; called again at every reset.
        act: (config, state, observations of shape (n, observation_size), noise) to actions in [-1, 1], shape (n, action_size):
            explored with standard normal noise of that shape, or evaluated (None).
        update: (config, state, batches, do_critic, do_actor, count, learning_rate) to the state after the first `count`
            minibatches, as `agents.sac.update`; it may consume the given state. count = 0 only compiles.
        diagnose: (config, state, uniform rows, newest rows, validation rows, seed) to a named tuple of scalars: `finite` and columns
            of the curve; a field that is a tuple of scalars stands for as many columns (`agents.diagnosis.diagnosis_columns`).
        costs: state to the networks' sizes and the FLOPs of an update.
        policy: (config, state) to what acts until the next update; optional: on one observation NumPy is quicker than a device.
        observe: (config, state, observations) to a state whose statistics of observations have seen these; optional.

    All but `costs` and `policy` are traced by JAX, and by `jax.vmap` over states where runs advance together on a GPU.
    """

    settings: type[TrainingSettings]
    config: type[Any]
    init: Callable[[Any, np.uint32], Any]
    update: Callable[[Any, Any, Any, Any, Any, Any, Any], Any]
    act: Callable[[Any, Any, Any, Any], Any]
    diagnose: Callable[[Any, Any, Any, Any, Any, Any], Any]
    costs: Callable[[Any], Costs]
    policy: Callable[[Any, Any], Policy] | None = None
    observe: Callable[[Any, Any, Any], Any] | None = None

    def configure(self, settings: TrainingSettings, task: Task | ParallelTask) -> Any:
        """The config of these settings on a task."""
        named = {field.name: getattr(settings, field.name) for field in fields(self.config) if hasattr(settings, field.name)}
        return self.config(observation_size=task.observation_size, action_size=task.action_size, **named)


_BRO = Algorithm(
    settings=SETTINGS["bro"],
    config=bro.BROConfig,
    init=bro.init,
    act=bro.act,
    update=bro.update,
    diagnose=bro.diagnose,
    costs=bro.costs,
    policy=bro_policy,
)

_PQL = Algorithm(
    settings=SETTINGS["pql"],
    config=pql.PQLConfig,
    init=pql.init,
    act=pql.act,
    update=pql.update,
    diagnose=pql.diagnose,
    costs=pql.costs,
    observe=pql.observe,
)

ALGORITHMS: dict[str, Algorithm] = {
    "sac": Algorithm(
        settings=SETTINGS["sac"],
        config=sac.SACConfig,
        init=sac.init,
        act=sac.act,
        update=sac.update,
        diagnose=sac.diagnose,
        costs=sac.costs,
        policy=lambda config, state: HostPolicy(config, state.actor),
    ),
    "bro": _BRO,
    "bro-minimal": replace(_BRO, settings=SETTINGS["bro-minimal"]),  # which say that it has no explorer
    "pql": _PQL,
    "pql-d": replace(_PQL, settings=SETTINGS["pql-d"]),  # which say that its critics are distributional
}


def named_algorithm(name: str, folder: Path | None = None) -> Algorithm:
    """The algorithm of that name; one named as "module:name" is imported (`training.own.load_own`).

    Raises:
        UserError: if there is no such algorithm, or it can't be imported.
    """
    if not is_own(name):
        if name not in ALGORITHMS:
            raise UserError(f"algorithm {name!r} can't be trained; there is {', '.join(map(repr, ALGORITHMS))}")
        return ALGORITHMS[name]
    found = load_own(name, folder)
    if not isinstance(found, Algorithm):
        raise UserError(f"algorithm {name!r} is of type {type(found).__name__}, not a tdscale.training.algorithms.Algorithm")
    return found


def find_algorithm(spec: RunSpec, folder: Path | None = None) -> tuple[Algorithm, TrainingSettings]:
    """The algorithm that a spec names, and its settings. Raises UserError as `named_algorithm`."""
    algorithm = named_algorithm(spec.algorithm, folder)
    return algorithm, algorithm.settings(**spec.settings, **spec.recording)

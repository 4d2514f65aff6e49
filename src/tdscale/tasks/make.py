"""Tasks by suite and name. A suite's simulator is imported when one of its tasks is opened."""

import numpy as np

from tdscale.errors import UserError, first_line
from tdscale.tasks.task import ParallelTask, Task, TaskGroup

HOST = "mujoco"  # the backend that leaves a GPU to others


def make_task(suite: str, name: str) -> Task:
    """Open one environment of suite "gymnasium" (any id) or "dm_control" (domain-task).

    Raises:
        UserError: if the suite or task does not exist, its actions or observations are not continuous, or the
            simulators are not installed.
    """
    try:
        match suite:
            case "gymnasium":
                from tdscale.tasks.suites import GymnasiumTask

                return GymnasiumTask(name)
            case "dm_control":
                from tdscale.tasks.suites import DMControlTask

                return DMControlTask(name)
    except ModuleNotFoundError as error:
        raise _missing(name, error) from None
    raise UserError(f"task {name!r}: there is no suite {suite!r} to run; it must be 'gymnasium', 'dm_control' or 'tdscale'")


def check_task(suite: str, name: str) -> None:
    """Raise UserError where the task can't be opened, or begins no episode. Takes no GPU, and holds nothing open."""
    task = make_parallel_task(suite, name, 1, HOST)
    try:
        task.reset(np.zeros(1, np.intp), np.zeros(1, np.uint32))
    except Exception as error:
        raise UserError(f"task {name!r} opens, but can't start an episode: {type(error).__name__}: {first_line(error)}") from error
    finally:
        task.close()


def make_parallel_task(suite: str, name: str, environments: int, backend: str | None = None) -> ParallelTask:
    """Open `environments` environments that are stepped together: of `make_task`'s tasks, or Franka-Push ("tdscale", "franka-push").

    Args:
        suite, name: as of `make_task`; franka-push has one cube, franka-push-6 six; with -shaped an agent's rewards are shaped.
        environments: how many.
        backend: of Franka-Push: "mujoco" (C MuJoCo, threads) or "mjx" (MJX, on JAX's device); None takes MJX where JAX has a GPU and
            MJX is installed. The others have theirs.

    Raises:
        UserError: as `make_task`.
    """
    if suite != "tdscale":
        return TaskGroup([make_task(suite, name) for _ in range(environments)])
    try:
        from tdscale.tasks.franka_push import franka_push

        return franka_push(name, environments, backend)
    except ModuleNotFoundError as error:
        raise _missing(name, error) from None


def _missing(name: str, error: ModuleNotFoundError) -> UserError:
    return UserError(f'task {name!r} needs {error.name}, which is not installed; pip install "tdscale[train]" installs it')

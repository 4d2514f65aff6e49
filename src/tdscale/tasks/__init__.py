"""Environments: Gymnasium ids, DeepMind Control tasks and Franka-Push, with one interface (`tasks.task`)."""

from tdscale.tasks.make import HOST, check_task, make_parallel_task, make_task
from tdscale.tasks.task import ParallelTask, Steps, Task

__all__ = ["HOST", "ParallelTask", "Steps", "Task", "check_task", "make_parallel_task", "make_task"]

"""Environments: Gymnasium ids and DeepMind Control tasks, behind one face."""

from tdscale.tasks.make import HOST, check_task, make_parallel_task, make_task
from tdscale.tasks.task import ParallelTask, Steps, Task

__all__ = ["HOST", "ParallelTask", "Steps", "Task", "check_task", "make_parallel_task", "make_task"]

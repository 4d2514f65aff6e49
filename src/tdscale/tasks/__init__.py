"""Environments: Gymnasium ids and DeepMind Control tasks, behind one face."""

from tdscale.tasks.make import check_task, make_parallel_task, make_task
from tdscale.tasks.task import ParallelTask, Steps, Task

__all__ = ["ParallelTask", "Steps", "Task", "check_task", "make_parallel_task", "make_task"]

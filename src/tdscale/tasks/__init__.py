"""Environments: Gymnasium ids and DeepMind Control tasks, behind one face."""

from tdscale.tasks.make import check_task, make_task
from tdscale.tasks.task import Task

__all__ = ["Task", "check_task", "make_task"]

"""Environments: Gymnasium ids and DeepMind Control tasks, behind one face."""

from tdscale.tasks.task import Task, check_task, make_task

__all__ = ["Task", "check_task", "make_task"]

"""Algorithms as pure functions: init, act, update. One module each; `sac` is soft actor-critic."""

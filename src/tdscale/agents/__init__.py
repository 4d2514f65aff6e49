"""Algorithms as pure functions, one module each: `sac`, `bro`, `pql`. The other modules are parts that they share."""

"""Seconds and FLOPs of any run, from the shapes that a probe measured (`running.probe`)."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tdscale.running.probe import Speed
from tdscale.running.trainers.costs import due_updates
from tdscale.runs.sizes import Sizes
from tdscale.study import CellJob, RunSpec, Study
from tdscale.study.sizes import update_weight


def shapes_of(jobs: Sequence[CellJob]) -> list[RunSpec]:
    """One run of each (task, B, size), at the σ nearest to 1: the largest B of each (task, size) first, then the smallest, the rest."""
    found: dict[tuple[str, int, str], RunSpec] = {}
    for job in jobs:
        spec = job.specs[0]
        if job.shape not in found or abs(np.log(spec.utd)) < abs(np.log(found[job.shape].utd)):
            found[job.shape] = spec
    networks: dict[tuple[str, str], list[RunSpec]] = {}
    for (task, _, size), spec in found.items():
        networks.setdefault((task, size), []).append(spec)
    ordered = []
    for specs in networks.values():
        specs.sort(key=lambda spec: -spec.batch_size)
        ordered.append([specs[0], *specs[:0:-1]])
    return [specs[place] for place in range(max(map(len, ordered))) for specs in ordered if place < len(specs)]


class Rates:
    """Seconds and FLOPs of any shape of a study, from those that were measured.

    Where nothing was measured of a run's network, the nearest measured size is used, with its updates' FLOPs in proportion to
    what the two networks' widths say (`sizes.update_weight`).
    """

    def __init__(self, speeds: Sequence[Speed], study: Study) -> None:
        self._speeds, self._study = speeds, study
        self.known = bool(speeds)
        self.start = float(np.mean([speed.start_seconds for speed in speeds])) if speeds else 0.0

    @cached_property
    def _sizes(self) -> Sizes:
        return Sizes(self._study)

    @cached_property
    def _weights(self) -> dict[str, float]:
        """What updates of each size take, by the widths of its networks."""
        return {name: update_weight(one.full_settings, None) for name, one in self._sizes.studies.items()} if self._study.sizes else {}

    def alike(self, spec: RunSpec) -> Sequence[Speed]:
        """Speeds of a run's network on its task; where there is none, on the others; else the same of the nearest network."""
        if not self._study.sizes:
            return [speed for speed in self._speeds if speed.spec.task == spec.task] or self._speeds
        measured = dict.fromkeys(self._sizes.of(speed.spec) or "" for speed in self._speeds)
        if not measured:
            return []
        own = self._sizes.of(spec) or ""
        size = min(measured, key=lambda name: abs(np.log(self._weights[name] / self._weights[own])))
        found = [speed for speed in self._speeds if self._sizes.of(speed.spec) == size]
        return [speed for speed in found if speed.spec.task == spec.task] or found

    def update_flops(self, spec: RunSpec) -> tuple[float, float]:
        """FLOPs of a critic's and of an actor's update, per transition."""
        speed = self.alike(spec)[0]
        factor = 1.0
        if self._study.sizes:
            factor = self._weights[self._sizes.of(spec) or ""] / self._weights[self._sizes.of(speed.spec) or ""]
        return factor * speed.critic_update_flops, factor * speed.actor_update_flops

    def run_seconds(self, spec: RunSpec, env_steps: int) -> float:
        """Seconds that one run takes."""
        speeds = self.alike(spec)
        critic, actor = due_updates(spec, env_steps)
        updates = self._work(spec, critic, actor) * self._seconds_per_work(speeds, spec.batch_size)
        interval = spec.recording.get("evaluation_interval") or 0
        evaluations = env_steps // interval * float(np.mean([s.evaluation_seconds for s in speeds])) if interval else 0.0
        return float(updates + env_steps * np.mean([s.step_seconds for s in speeds]) + evaluations)

    def _work(self, spec: RunSpec, critic: float, actor: float) -> float:
        """FLOPs of updates per transition: what their seconds are shared out by at a given B."""
        flops = self.update_flops(spec)
        return critic * flops[0] + actor * flops[1]

    def _seconds_per_work(self, speeds: Sequence[Speed], batch_size: int) -> float:
        """At a B: on the line through those measured; with one alone, by what small and large ones usually take."""
        known = {}
        for speed in speeds:
            critic, actor = due_updates(speed.spec, 100_000 + int(speed.spec.settings.get("warm_up", 0)))
            known[speed.spec.batch_size] = speed.update_seconds * critic / max(self._work(speed.spec, critic, actor), 1.0)
        sizes = sorted(known)
        if len(sizes) == 1:
            return known[sizes[0]] * (64 + batch_size) / (64 + sizes[0])
        line = np.polyfit(sizes, [known[size] for size in sizes], 1)
        inside = sizes[0] <= batch_size <= sizes[-1]
        value = np.interp(batch_size, sizes, [known[size] for size in sizes]) if inside else np.polyval(line, batch_size)
        return float(max(value, 0.1 * min(known.values())))

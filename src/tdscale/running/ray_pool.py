"""`RayPool`: slots on a Ray cluster. Ray places them, starts them again where it can, and says when one is gone.

A slot is an actor that holds the resources and one worker process of `running.pool.LocalPool`: what happens to a run when its actor
dies is what happens to it when `tdscale run` dies on one machine, and the programs that a slot has compiled stay with it.
"""

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tdscale.errors import UserError
from tdscale.running.pool import READY, Answers, Ending, LocalPool

_SPARE = 2  # slots asked for beyond the cores that are free: where a node is added they are the first there
_PAUSE = 2.0  # seconds between two looks at what is free
_GRACE = 60.0  # seconds for an actor that can't be reached to be found dead, or to answer
_ANSWERS_WITHIN = 10.0
_STILLBORN = 5  # slots that end before they are there: then something is wrong with all
PROOF_FILE = ".shared"


class _SlotActor:
    """An actor: one worker process at a time, in the study's folder."""

    def __init__(self, directory: str, proof: str, environment: Callable[[], dict[str, str]]) -> None:
        self._directory, self._proof = Path(directory), proof
        self._pool = LocalPool(self._directory, workers=1, environment=environment(), pinned=False, name=_actor_name())

    def greet(self) -> tuple[str, str, str | None]:
        """The node's id and address, and why nothing can be trained here, if that is so."""
        identity, node = _node()
        try:
            same = (self._directory / PROOF_FILE).read_text(encoding="utf-8") == self._proof
        except OSError:
            same = False
        shared = f"node {node} does not see {self._directory}; put the study into a folder that all nodes share (--dir)"
        return identity, node, None if same else shared

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The answers to a request; the last one is of a kind that ends it, or says that the worker was lost."""
        left = len(request["jobs"])
        self._pool.want(1)
        while left:
            slot, answer = self._pool.answers.get()
            if answer is None:
                ending = self._pool.ending(slot)
                yield {"event": "lost", "how": ending.how, "where": ending.where, "preempted": ending.preempted}
                return
            if answer["event"] == "ready":
                self._pool.give(slot, request)
                continue
            yield answer
            left = 0 if answer["event"] == "error" else left - (answer["event"] == "done")
        self._pool.release(0)


def _node() -> tuple[str, str]:
    import ray

    return ray.get_runtime_context().get_node_id(), str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _actor_name() -> str:
    import ray

    return f"worker-{_node()[1]}-{str(ray.get_runtime_context().get_actor_id())[:8]}"


@dataclass
class _Slot:
    actor: Any
    ready: bool = False
    released: bool = False
    ending: Ending | None = None
    node: str = ""
    address: str = ""
    requests: "queue.SimpleQueue[Mapping[str, Any] | None]" = field(default_factory=queue.SimpleQueue)


class RayPool:
    """Slots of one core each, or one GPU, as many as the cluster has room for. See `running.pool.Pool`."""

    def __init__(
        self,
        directory: Path,
        *,
        address: str,
        environment: Callable[[], dict[str, str]],
        workers: int | None = None,
        gpu: bool = False,
        cores: int = 1,
    ) -> None:
        """Connect; no slot is asked for yet.

        Args:
            directory: the study's folder, which every node must see under the same path.
            address: of the cluster, as for `ray.init`; "auto": the one this machine belongs to, or else this machine alone.
            environment: called on a slot's node: variables that its worker starts with.
            workers: the most slots; None for as many as there is room for.
            gpu: whether each slot holds a GPU.
            cores: that each slot holds.

        Raises:
            UserError: if Ray is not installed or the cluster can't be reached.
        """
        self.answers: Answers = queue.Queue()
        self._directory, self._environment, self._workers = directory.resolve(), environment, workers
        self._resources = {"num_cpus": cores, "num_gpus": int(gpu)}
        self._slots: dict[int, _Slot] = {}
        self._looked, self._stillborn = -_PAUSE, 0
        self._ray = _connected(address)
        self.place = _described(self._ray)
        self._proof = f"{time.time_ns()}"
        (self._directory / PROOF_FILE).write_text(self._proof, encoding="utf-8")
        self._actor = self._ray.remote(_SlotActor)

    def want(self, waiting: int) -> None:
        """See `Pool.want`."""
        if time.monotonic() < self._looked + _PAUSE and self._slots:
            return
        self._looked = time.monotonic()
        asked = sum(not slot.ready for slot in self._slots.values())
        free = self._ray.available_resources()
        needs = {"CPU": self._resources["num_cpus"], "GPU": self._resources["num_gpus"]}
        room = min(int(free.get(name, 0) // count) for name, count in needs.items() if count)
        most = waiting if self._workers is None else min(waiting, self._workers - len(self._slots) + asked)
        for _ in range(min(most, room + _SPARE) - asked):
            self._ask()

    def give(self, slot: int, request: Mapping[str, Any]) -> None:
        """See `Pool.give`."""
        self._slots[slot].requests.put(request)

    def release(self, slot: int) -> None:
        """See `Pool.release`. What it held goes back to the cluster."""
        self._end(self._slots.pop(slot))

    def ending(self, slot: int) -> Ending:
        """See `Pool.ending`."""
        ended = self._slots.pop(slot)
        self._end(ended)
        assert ended.ending is not None
        return ended.ending

    def close(self) -> None:
        """End every slot, and leave the cluster."""
        for slot in self._slots.values():
            self._end(slot)
        self._slots.clear()
        (self._directory / PROOF_FILE).unlink(missing_ok=True)
        self._ray.shutdown()

    def _ask(self) -> None:
        index = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
        actor = self._actor.options(**self._resources, max_restarts=0).remote(str(self._directory), self._proof, self._environment)
        slot = self._slots[index] = _Slot(actor=actor)
        threading.Thread(target=self._attend, args=(index, slot), daemon=True).start()

    def _end(self, slot: _Slot) -> None:
        slot.released = True
        slot.requests.put(None)
        self._ray.kill(slot.actor)

    def _attend(self, index: int, slot: _Slot) -> None:
        """What a slot's thread does. Every error is answered: no job waits for ever."""
        try:
            self._serve(index, slot)
        except (Exception, SystemExit) as error:  # Ray raises SystemExit in threads that wait for it while it shuts down
            if not slot.released:
                message = f"a worker on {slot.address or 'the cluster'}: {_first_line(error)}"
                self.answers.put((index, {"event": "unfit", "message": message}))

    def _serve(self, index: int, slot: _Slot) -> None:
        """Pass requests on to the actor, and its answers back."""
        try:
            slot.node, slot.address, problem = self._ray.get(slot.actor.greet.remote())
            slot.ready, self._stillborn = True, 0
            self.answers.put((index, READY if problem is None else {"event": "unfit", "message": problem}))
            while (request := slot.requests.get()) is not None:
                for reference in slot.actor.work.options(num_returns="streaming").remote(dict(request)):
                    answer = self._ray.get(reference)
                    if answer["event"] == "lost":
                        slot.ending = Ending(how=answer["how"], where=answer["where"], preempted=answer["preempted"])
                        self.answers.put((index, None))
                        return
                    self.answers.put((index, answer))
        except self._ray.exceptions.RayActorError as error:
            if slot.released:
                return
            if not slot.ready:
                self._stillborn += 1
                if self._stillborn >= _STILLBORN:
                    self.answers.put((index, {"event": "unfit", "message": f"no worker can be started: {_first_line(error)}"}))
                    return
            slot.ending = self._why(slot, error)
            self.answers.put((index, None))

    def _why(self, slot: _Slot, error: Exception) -> Ending:
        """How an actor was lost: by itself, or with its node."""
        problems, deadline = self._ray.exceptions, time.monotonic() + _GRACE
        while isinstance(error, problems.ActorUnavailableError) and time.monotonic() < deadline:
            try:
                self._ray.get(slot.actor.greet.remote(), timeout=_GRACE)
                break  # it is there; what it was at is lost
            except problems.RayActorError as newer:
                error = newer
                time.sleep(0.5)
            except problems.GetTimeoutError:
                break
        alive = any(node["Alive"] for node in self._ray.nodes() if node["NodeID"] == slot.node)
        by_itself = alive and not isinstance(error, problems.ActorUnavailableError)
        how = "was killed (out of memory?)" if by_itself else "was lost with its node"
        return Ending(
            how=f"on {slot.address} {how}", where=f"{self._directory / 'logs'} and the logs of Ray there", preempted=not by_itself
        )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _described(ray: Any) -> str:
    """The cluster, as it is now."""
    nodes = sum(node["Alive"] for node in ray.nodes())
    resources = ray.cluster_resources()
    parts = [(nodes, "node"), (int(resources.get("CPU", 0)), "core"), (int(resources.get("GPU", 0)), "GPU")]
    size = ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in parts if count)
    return f"Ray at {ray.get_runtime_context().gcs_address}: {size}"


def _connected(address: str) -> Any:
    """Ray, connected."""
    # unless the user has said otherwise: a cluster that starts here reports to nobody, and what has no GPU leaves CUDA's variables alone
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
        import ray.util
    except ModuleNotFoundError:
        raise UserError('--ray needs Ray, which is not installed; pip install "tdscale[ray]" installs it') from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address.startswith("ray://"):
        raise UserError("--ray ray://…: run the study from a machine of the cluster, with HOST:PORT or auto")
    host, colon, port = address.rpartition(":")
    if colon:  # Ray itself would try for minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN).close()
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f"--ray {address}: there is no Ray cluster ({error})") from None
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        if address != "auto":
            raise UserError(f"--ray {address}: there is no Ray cluster ({str(error).splitlines()[0]})") from None
        ray.init(include_dashboard=False, **quiet)
    return ray

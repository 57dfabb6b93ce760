"""`engine: ray`: runs whole shards on the tasks and actors of a Ray cluster.

Tasks that load models run on a fixed pool of actors, which keep the models; all others are Ray tasks. Ray itself never
retries: the death of a worker is handled as on one machine, and its shard is placed again. Only names, parameters and
counts are sent; image bytes never enter the object store.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import ray
from ray import exceptions

from curation.errors import StageError, in_one_line
from curation.recipe import Recipe
from curation.tasks import Demand, Outcome
from curation.workspace import Workspace
from pipelines.engine import Attempt, Engine, Slot, WorkerDied
from pipelines.worker import ONE_THREAD, work

OBJECT_STORE = 100_000_000
"""Size in bytes of the object store of a Ray started here, of which a job uses little."""
MOST_SLOTS = 1000
"""Maximum number of shards processed at once."""


class RayEngine(Engine["ray.ObjectRef[Outcome]"]):
    """Runs tasks on a Ray cluster: the recipe's, `RAY_ADDRESS`'s, or one started here for the run.

    All nodes must see the workspace, since workers write the notes on their rows there.

    Args:
        recipe: the recipe, with the address, the number of workers and their resources.
        workspace: the recipe's workspace.

    Raises:
        StageError: no Ray answers at the address.
    """

    def __init__(self, recipe: Recipe, workspace: Workspace) -> None:
        super().__init__(recipe.image_timeout)
        self.recipe = recipe
        self.notes = workspace.root / ".notes"
        self._slots: dict[Demand, list[Slot[ray.ObjectRef[Outcome]]]] = {}
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(recipe)
        self._stdout = sys.stdout
        sys.stdout = _WithoutRay(sys.stdout)

    def prepare(self, demands: set[Demand], tasks: int) -> None:
        """Implements Engine.

        Raises:
            StageError: the cluster cannot hold one worker of each kind at the same time.
        """
        for demand in set(self._slots) - demands:  # their actors would hold resources that the new demands need
            self._end(self._slots.pop(demand))
        nodes = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        for demand, count in pools(demands, nodes, min(self.recipe.workers or MOST_SLOTS, tasks)).items():
            slots = self._slots.setdefault(demand, [])
            kind = _ActorSlot if demand.models else _TaskSlot
            while len(slots) < count:
                name = f"{socket.gethostname()}.{os.getpid()}.{id(slots)}.{len(slots)}"
                slots.append(
                    kind(
                        self.notes / name,
                        demand,
                        self.recipe.worker_memory or max(demand.memory, _share(demand, nodes)),
                    )
                )

    def slots(self, demand: Demand) -> "Sequence[Slot[ray.ObjectRef[Outcome]]]":
        """Implements Engine."""
        return self._slots[demand]

    def wait(self, handles: "list[ray.ObjectRef[Outcome]]", seconds: float) -> "Iterable[ray.ObjectRef[Outcome]]":
        """Implements Engine."""
        return ray.wait(handles, num_returns=1, timeout=seconds, fetch_local=False)[0] if handles else []

    def close(self) -> None:
        """Implements Engine; shuts down a Ray that was started for the run."""
        for slots in self._slots.values():
            self._end(slots)
        self._slots.clear()
        sys.stdout = self._stdout
        with contextlib.suppress(OSError):
            self.notes.rmdir()
        if self._ours:
            ray.shutdown()

    @staticmethod
    def _end(slots: "Sequence[Slot[ray.ObjectRef[Outcome]]]") -> None:
        for slot in slots:
            slot.kill()
            slot.note.unlink(missing_ok=True)


def pools(demands: set[Demand], nodes: list[dict[str, float]], most: int) -> dict[Demand, int]:
    """Counts how many workers of each kind the cluster can hold at the same time: at least one of each kind.

    The remaining resources go first to workers with GPUs. Actors keep their resources, so that one worker too many
    would wait for ever.

    Args:
        demands: the kinds of workers.
        nodes: resources of each node, by Ray's names.
        most: maximum number of workers of one kind.

    Raises:
        StageError: the cluster cannot hold one worker of each kind.
    """
    free = [dict(node) for node in nodes]
    counts = dict.fromkeys(sorted(demands, key=lambda d: (-d.gpus, -d.cpus)), 0)
    for demand in counts:
        if not _take(demand, free):
            beside = " beside the other workers" if any(counts.values()) else ""
            raise StageError(
                f"ray.resources: no node of the cluster has {_amounts(demand)}{beside}; lower it, or add nodes"
            )
        counts[demand] = 1
    for with_gpu in (True, False):
        growing = [d for d in counts if (d.gpus > 0) == with_gpu]
        while growing := [d for d in growing if counts[d] < most and _take(d, free)]:
            for demand in growing:
                counts[demand] += 1
    return counts


def _take(demand: Demand, free: list[dict[str, float]]) -> bool:
    """Subtracts a worker's resources from the first node that has them; returns whether there is such a node."""
    amounts = {"CPU": demand.cpus, "GPU": demand.gpus, "memory": demand.memory}
    for node in free:
        if all(amount <= node.get(name, 0) + 1e-9 for name, amount in amounts.items()):
            node.update({name: node.get(name, 0) - amount for name, amount in amounts.items()})
            return True
    return False


def _share(demand: Demand, nodes: list[dict[str, float]]) -> int:
    """Returns the bytes that a worker may hold if the recipe sets no limit: its cores' share of the smallest node."""
    each = [node.get("memory", 0) / max(1, node["CPU"]) for node in nodes if node.get("CPU")]
    return int(min(each, default=0) * max(1, demand.cpus))


class _WithoutRay:
    """Standard output that drops what Ray's own threads print when a worker dies, which would break `--json`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _RaySlot(Slot["ray.ObjectRef[Outcome]"]):
    def __init__(self, note: Path, demand: Demand, memory: int) -> None:
        super().__init__(note)
        self.memory = memory
        passed = {name: value for name, value in os.environ.items() if name.startswith("CURATE_")}
        self.options: dict[str, Any] = {"num_cpus": demand.cpus, "num_gpus": demand.gpus}
        self.options["runtime_env"] = {"env_vars": ONE_THREAD | passed}  # not on the job, which may set these too
        if demand.memory:
            self.options["memory"] = demand.memory

    def outcome(self, handle: "ray.ObjectRef[Outcome]") -> Outcome:
        try:
            outcome = ray.get(handle)
            self.ended()
            return outcome
        except exceptions.RayTaskError as error:  # an exception of the task itself
            self.ended()
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except exceptions.RayError as error:
            self.ended()
            self.lost()
            raise WorkerDied(_node_lost(error), in_one_line(error, 200)) from None

    def ended(self) -> None:
        """Reacts to the end of the task; a kind of slot may override it."""

    def lost(self) -> None:
        """Reacts to the death of the worker; a kind of slot may override it."""


class _TaskSlot(_RaySlot):
    """A slot that runs one Ray task at a time."""

    _running: "ray.ObjectRef[Outcome] | None" = None

    def start(self, attempt: Attempt) -> "ray.ObjectRef[Outcome]":
        self._running = _task.options(**self.options).remote(*attempt.arguments(self.note, self.memory))
        return self._running

    def kill(self) -> None:
        # Force only kills a worker that hangs: if the task is just ending, Ray's driver would abort itself.
        if self._running is not None:
            with contextlib.suppress(exceptions.RayError):
                ray.cancel(self._running, force=self.late)

    def ended(self) -> None:
        self._running = None


class _ActorSlot(_RaySlot):
    """A slot with an actor, which keeps its models from task to task."""

    _actor: Any = None

    def start(self, attempt: Attempt) -> "ray.ObjectRef[Outcome]":
        if self._actor is None:
            self._actor = _Actor.options(**self.options).remote()  # type: ignore[attr-defined]
        return self._actor.work.remote(*attempt.arguments(self.note, self.memory))

    def kill(self) -> None:
        if self._actor is not None:
            with contextlib.suppress(exceptions.RayError):
                ray.kill(self._actor)
        if not self.late:  # the death of a late worker is handled in `outcome`
            self._actor = None

    def lost(self) -> None:
        self._actor = None


@ray.remote(max_retries=0)
def _task(*arguments: Any) -> Outcome:
    return work(*arguments)


@ray.remote(max_restarts=0, max_task_retries=0)
class _Actor:
    def work(self, *arguments: Any) -> Outcome:
        return work(*arguments)


def _connect(recipe: Recipe) -> None:
    """Connects to the cluster, or starts one on this machine that listens on the loopback interface only."""
    address = recipe.ray.address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends no usage statistics
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "error",
    }
    if not address:
        options |= {
            "address": "local",
            "num_cpus": recipe.workers or len(os.sched_getaffinity(0)),
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
    else:
        options["address"] = address
    try:
        _knock(address)
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        cause = in_one_line(error, 200)
        token = "; a cluster that asks for a token wants RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH" if address else ""
        raise StageError(f"ray.address: no Ray at {address or 'this machine'}: {cause}{token}") from None


def _knock(address: str | None) -> None:
    """Raises OSError at once if nobody answers at the address, since Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _amounts(demand: Demand) -> str:
    """Returns the resources of a worker in words."""
    parts = [f"{demand.cpus:g} CPU{'s' * (demand.cpus > 1)}"]
    parts += [f"{demand.gpus:g} GPU{'s' * (demand.gpus > 1)}"] if demand.gpus else []
    parts += [f"{demand.memory / 1e9:g} GB of memory"] if demand.memory else []
    return " and ".join(parts)


def _node_lost(error: exceptions.RayError) -> bool:
    """Returns whether the worker's machine was lost with it, for which no image is to blame."""
    return isinstance(error, exceptions.NodeDiedError) or "node has died" in str(error)

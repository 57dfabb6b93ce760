"""`engine: local` on a machine with GPUs: as many workers as there are GPUs for, each with its own, one or several."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.tasks import Demand, Outcome, Watch
from pipelines import worker
from pipelines.local import MEMORY_SHARE, LocalEngine
from pipelines.worker import machine_memory, visible_gpus

TASKS = 4


@dataclass(frozen=True)
class Which:
    """Says which GPUs and memory its worker was given, once as many tasks have begun as there are to be workers."""

    shard: str
    demands: tuple[Demand, ...]
    folder: Path
    together: int
    corpus: str = "c"
    rows: int = 1

    def run(self, watch: Watch) -> Outcome:
        (self.folder / self.shard).touch()
        until = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < self.together and time.monotonic() < until:
            time.sleep(0.05)
        assert worker._guard._followed is not None
        return Outcome(notes=[str(os.getpid()), os.environ["CUDA_VISIBLE_DEVICES"], str(worker._guard._followed[1])])


def placed(engine: LocalEngine, folder: Path, gpus: float, together: int) -> list[tuple[int, str, int]]:
    """Process, GPUs and memory of each worker that did some of the tasks, sorted by GPUs."""
    folder.mkdir()
    tasks = [Which(str(n), (Demand(gpus=gpus),), folder, together) for n in range(TASKS)]
    found = {tuple(outcome.notes) for _task, outcome in engine.run(tasks)}
    return sorted(((int(pid), given, int(memory)) for pid, given, memory in found), key=lambda worker: worker[1])


@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "visible", "given"), [
    (1.0, "GPU-a,GPU-b", ["GPU-a", "GPU-b"]),
    (0.5, "GPU-a", ["GPU-a", "GPU-a"]),
    (2.0, "GPU-a,GPU-b", ["GPU-a,GPU-b"]),
    (2.0, "0,1,2,3,4", ["0,1", "2,3"]),
    (1.5, "0,1,2,3", ["0,1", "2,3"]),
    (3.0, "0,1", ["0,1"]),
    (0.4, "0", ["0", "0"]),
    (1.0, "", ["", "", ""]),
    (0.0, "GPU-a", ["GPU-a", "GPU-a", "GPU-a"]),
])  # fmt: skip
def test_each_worker_has_gpus_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: float, visible: str, given: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with LocalEngine(workers=3) as engine:
        found = placed(engine, tmp_path / "begun", gpus, len(given))
    assert [gpus for _pid, gpus, _memory in found] == given


@pytest.mark.slow
def test_the_next_stage_may_want_other_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers that it cannot use are ended, as they hold memory; those that it can use go on."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with LocalEngine(workers=3) as engine:
        share = int(MEMORY_SHARE * machine_memory() / 3)
        every = placed(engine, tmp_path / "a", 0, 3)
        assert [(gpus, memory) for _pid, gpus, memory in every] == [("0", share), ("0", share), ("1", share)]
        alone = placed(engine, tmp_path / "b", 1, 2)
        half = int(MEMORY_SHARE * machine_memory() / 2)
        assert [(gpus, memory) for _pid, gpus, memory in alone] == [("0", half), ("1", half)]
        assert {pid for pid, *_ in alone} < {pid for pid, *_ in every}
        assert sum(os.path.exists(f"/proc/{pid}") for pid, *_ in every) == 2
        both = placed(engine, tmp_path / "c", 2, 1)
        assert [(gpus, memory) for _pid, gpus, memory in both] == [("0,1", int(MEMORY_SHARE * machine_memory()))]
        assert not any(os.path.exists(f"/proc/{pid}") for pid, *_ in every)
    with LocalEngine(workers=3, memory=2**33) as engine:
        assert {memory for *_, memory in placed(engine, tmp_path / "d", 1, 2)} == {2**33}


@pytest.mark.parametrize(("named", "found"), [("0, 2", ["0", "2"]), ("", []), ("-1", []), ("GPU-12", ["GPU-12"])])
def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, named: str, found: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == found


def test_visible_gpus_without_a_word_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = "/proc/driver/nvidia/gpus"
    assert len(visible_gpus()) == (len(os.listdir(folder)) if os.path.isdir(folder) else 0)

"""`engine: local` on a machine with GPUs: as many workers as there are GPUs for, each with its own."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.tasks import Demand, Outcome, Watch
from pipelines.local import LocalEngine
from pipelines.worker import visible_gpus

TASKS = 4


@dataclass(frozen=True)
class Which:
    """Says which GPU its worker was given, once as many tasks have begun as there are to be workers."""

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
        return Outcome(notes=[f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}"])


@pytest.mark.parametrize(("gpus", "visible", "given"), [
    (1.0, "GPU-a,GPU-b", ["GPU-a", "GPU-b"]),
    (0.5, "GPU-a", ["GPU-a", "GPU-a"]),
    (2.0, "GPU-a,GPU-b", ["GPU-a"]),
    (1.0, "", ["", "", ""]),
    (0.0, "GPU-a", ["GPU-a", "GPU-a", "GPU-a"]),
])  # fmt: skip
def test_each_worker_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: float, visible: str, given: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    tasks = [Which(str(n), (Demand(gpus=gpus),), tmp_path, len(given)) for n in range(TASKS)]
    with LocalEngine(workers=3) as engine:
        found = {outcome.notes[0].partition(" ")[::2] for _task, outcome in engine.run(tasks)}
    assert sorted(gpu for _pid, gpu in found) == given


@pytest.mark.parametrize(("named", "found"), [("0, 2", ["0", "2"]), ("", []), ("-1", []), ("GPU-12", ["GPU-12"])])
def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, named: str, found: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == found


def test_visible_gpus_without_a_word_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = "/proc/driver/nvidia/gpus"
    assert len(visible_gpus()) == (len(os.listdir(folder)) if os.path.isdir(folder) else 0)

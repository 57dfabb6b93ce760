"""What is Ray's alone: nodes that are lost, resources of signals, an address, the object store."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from curation.errors import StageError
from curation.tasks import Demand, Watch
from pipelines import stages
from pipelines.ray_engine import pools
from tests import bench

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
LOOKS = '''
import os, time
from typing import ClassVar
import pyarrow as pa
from curation.signals.base import PerImage, Row, Scores

class {Name}(PerImage):
    """Says on which GPUs and in which process it runs."""
    name: ClassVar[str] = "{name}"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = 64
    cost: ClassVar[float] = {cost}
    needs: ClassVar[tuple[str, ...]] = {needs}
    columns: ClassVar[dict[str, pa.DataType]] = {{"{name}_gpus": pa.string(), "{name}_pid": pa.int64()}}

    def score_one(self, row: Row) -> Scores:
        time.sleep({seconds})
        return {{"{name}_gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""), "{name}_pid": os.getpid()}}
'''


def write_signal(folder: Path, name: str, cost: float = 1.0, needs: tuple[str, ...] = (), seconds: float = 0) -> None:
    folder.mkdir(exist_ok=True)
    text = LOOKS.format(Name=name.title(), name=name, cost=cost, needs=needs, seconds=seconds)
    (folder / f"{name}.py").write_text(text)


@pytest.fixture
def cluster(no_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes on this machine, one CPU each; the second has a GPU in name."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'pipelines'}")
    monkeypatch.setenv("CURATE_SIGNALS", str(tmp_path / "own"))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    made.second = made.add_node(num_cpus=1, num_gpus=1, object_store_memory=100_000_000)
    yield made
    ray.shutdown()  # before its nodes go
    made.shutdown()


def corpus(folder: Path, shards: int = 3, pictures: int = 6) -> None:
    for shard in range(shards):
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", {
            f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n)) for n in range(pictures)
        })  # fmt: skip


def test_a_node_that_is_lost_costs_no_image(cluster: Any, tmp_path: Path) -> None:
    write_signal(tmp_path / "own", "slow", seconds=0.25)
    corpus(tmp_path)
    own_signal(tmp_path)
    made = bench.recipe(
        tmp_path, engine="ray", workers=2, ray={"address": cluster.address}, signals={"photo": {}, "slow": {}}
    )
    assert stages.index(bench.opened(made)).ok
    raylet = psutil.Process(cluster.second.all_processes["raylet"][0].process.pid)

    killed: list[bool] = []

    def lose() -> None:
        for _ in range(600):  # until both nodes are at work
            notes = list((tmp_path / "work" / ".notes").glob("*"))
            if sum(bool(Watch.read(note).rows) for note in notes) == 2:
                raylet.send_signal(signal.SIGKILL)
                killed.append(True)
                return
            time.sleep(0.1)

    killer = threading.Thread(target=lose)
    killer.start()
    summary = stages.score(bench.opened(made))
    killer.join()
    assert killed and summary.ok and summary.done == 3 and not summary.failed, summary
    states = [
        row["slow_state"]
        for shard in range(3)
        for row in bench.rows(tmp_path / f"work/signals/slow/c/{shard:05d}.parquet")
    ]
    assert states == ["scored"] * 18


def test_signals_are_given_what_the_recipe_says(cluster: Any, tmp_path: Path) -> None:
    write_signal(tmp_path / "own", "plain", cost=1)
    write_signal(tmp_path / "own", "heavy", cost=2, needs=("plain",))
    write_signal(tmp_path / "own", "after", cost=3, needs=("heavy",))
    own_signal(tmp_path)
    corpus(tmp_path)
    signals = {"plain": {}, "heavy": {}, "after": {}}
    resources = {"heavy": {"cpus": 0.5, "gpus": 0.5}, "plain": {"cpus": 0.5}, "after": {"cpus": 0.5}}
    made = bench.recipe(
        tmp_path, engine="ray", ray={"address": cluster.address, "resources": {"signals": resources}}, signals=signals
    )
    assert stages.index(bench.opened(made)).ok and stages.score(bench.opened(made)).ok
    rows = {name: bench.rows(tmp_path / f"work/signals/{name}/c/00001.parquet") for name in signals}
    assert all(row["heavy_gpus"] == "0" for row in rows["heavy"])
    assert not any(row[f"{name}_gpus"] for name in ("plain", "after") for row in rows[name])
    assert {r["heavy_pid"] for r in rows["heavy"]}.isdisjoint(r["plain_pid"] for r in rows["plain"])
    assert stages.score(bench.opened(made)).done == 0
    greedy = bench.recipe(tmp_path, engine="ray", signals={"plain": {}},
                          ray={"address": cluster.address, "resources": {"signals": {"plain": {"gpus": 4}}}})  # fmt: skip
    with pytest.raises(StageError, match="ray.resources: no node of the cluster has 1 CPU and 4 GPUs"):
        stages.score(bench.opened(greedy))


@pytest.mark.parametrize(("demands", "nodes", "most", "counts"), [
    ([Demand()], [{"CPU": 4}], 10, [4]),
    ([Demand()], [{"CPU": 4}], 3, [3]),
    ([Demand(cpus=2)], [{"CPU": 3}, {"CPU": 3}], 10, [2]),
    ([Demand(gpus=0.5), Demand()], [{"CPU": 8, "GPU": 2}], 100, [4, 4]),
    ([Demand(gpus=1), Demand()], [{"CPU": 1, "GPU": 1}, {"CPU": 2}], 100, [1, 2]),
    ([Demand(memory=6)], [{"CPU": 8, "memory": 13}], 100, [2]),
])  # fmt: skip
def test_pools_fit_into_the_cluster(demands: list[Demand], nodes: list[dict], most: int, counts: list[int]) -> None:
    assert pools(set(demands), nodes, most) == dict(zip(demands, counts, strict=True))


def test_pools_that_would_wait_for_each_other_are_refused() -> None:
    with pytest.raises(StageError, match="no node of the cluster has 1 CPU beside the other workers"):
        pools({Demand(gpus=1), Demand()}, [{"CPU": 1, "GPU": 1}], 10)


def test_no_ray_at_the_address_is_one_line(no_ray: None, tmp_path: Path) -> None:
    corpus(tmp_path, 1, 1)
    made = bench.recipe(tmp_path, engine="ray", ray={"address": "127.0.0.1:1"})
    with pytest.raises(StageError, match="ray.address: no Ray at 127.0.0.1:1") as caught:
        stages.index(bench.opened(made))
    assert "\n" not in str(caught.value)


def test_more_workers_than_the_cluster_holds_are_not_waited_for(ray_here: None, tmp_path: Path) -> None:
    corpus(tmp_path, shards=6, pictures=1)
    made = bench.recipe(tmp_path, engine="ray", workers=16)
    assert stages.index(bench.opened(made)).ok and stages.score(bench.opened(made)).done == 6


def test_images_stay_out_of_the_object_store(ray_here: None, tmp_path: Path) -> None:
    for shard in range(4):
        pictures = {
            f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n, (1600, 1200), 400), quality=95) for n in range(8)
        }
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", pictures)
    assert sum(p.stat().st_size for p in (tmp_path / "raw").iterdir()) > 20_000_000
    made = bench.recipe(tmp_path, engine="ray")
    whole = ray.cluster_resources()["object_store_memory"]
    least, stop = [whole], threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            least[0] = min(least[0], ray.available_resources().get("object_store_memory", whole))

    watcher = threading.Thread(target=look)
    watcher.start()
    for stage in stages.STAGES.values():
        assert stage(bench.opened(made), None).ok
    stop.set()
    watcher.join()
    assert whole - least[0] < 1_000_000


def own_signal(folder: Path) -> None:
    """Makes the signals of the folder known to this process too."""
    from curation import signals
    from curation.signals.base import signal_backends, signal_names

    if str(folder / "own") not in signals.__path__:
        signals.__path__.append(str(folder / "own"))
    signal_names.cache_clear()
    signal_backends.cache_clear()


@pytest.fixture(autouse=True)
def forget_own_signals() -> Iterator[None]:
    from curation import signals
    from curation.signals.base import signal_backends, signal_names

    before = list(signals.__path__)
    yield
    signals.__path__[:] = before
    signal_names.cache_clear()
    signal_backends.cache_clear()

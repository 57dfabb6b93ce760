"""The whole job under faults: whatever is killed, and whenever, a rerun ends with the bytes of an undisturbed run."""

import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from curation.errors import reason_of
from curation.recipe import load_recipe
from curation.recipe.yaml_text import write_yaml
from curation.scoring.stage import plan
from curation.tasks import Watch
from curation.workspace import Workspace
from curation.workspace.lock import lock
from pipelines.placing import placing
from tests import bench
from tests.soak import SEED, rounds

pytestmark = [pytest.mark.faults, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
CURATE = [sys.executable, "-c", "from curation.cli import main; main()"]
PARENT_KILLS, WORKER_KILLS, RAY_KILLS = rounds(6, 60), rounds(6, 60), rounds(4, 40)
SLOW = '''
import time
from typing import ClassVar
import pyarrow as pa
from curation.models.plugin import PluginParams
from curation.signals.base import PerImage, Row, Scores

class SlowParams(PluginParams):
    seconds: float = 0.02

class Slow(PerImage):
    """Takes its time, so that there is a time at which to be killed."""
    name: ClassVar[str] = "slow"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = 64
    Params: ClassVar[type[PluginParams]] = SlowParams
    columns: ClassVar[dict[str, pa.DataType]] = {"red": pa.float32()}

    def score_one(self, row: Row) -> Scores:
        time.sleep(self.params.seconds)
        return {"red": float(row.picture.bgr(64)[:, :, 2].mean())}
'''


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Six shards of ten pictures, some of them broken, a signal that is slow, and what an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "own").mkdir()
    (folder / "own" / "slow.py").write_text(SLOW)
    for shard in range(6):
        members = {}
        for n in range(10):
            data = bench.encoded(bench.picture(10 * shard + n, (260, 200)))
            members[f"{n}.jpg"] = data[:3000] if n == 7 else b"no image" if n == 8 else data
            members[f"{n}.txt"] = f"picture {n} of shard {shard}".encode()
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", members)
    write(folder, "undisturbed")
    done = curate(folder, "undisturbed").wait(300)
    assert done == 0
    yield folder


def write(folder: Path, name: str, **values: object) -> None:
    """The recipe NAME.yaml, with a workspace of its own."""
    given = {
        "name": "set", "workspace": f"./{name}", "workers": 2, "corpora": [{"name": "c", "path": "./raw"}], "max_failed_share": 0.3,
        "signals": {"photo": {}, "caption": {}, "slow": {}, "aesthetic": {}},
        "select": {"where": {"size": "width >= 100", "red": "red >= 0", "sharp": "sharpness >= 0"}},
        "shards": {"samples_per_shard": 9},
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(write_yaml(given | values))


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "CURATE_SIGNALS": str(folder / "own")}


def curate(folder: Path, name: str, verb: str = "run", **options: object) -> "subprocess.Popen[str]":
    """The command, in a process group of its own."""
    return subprocess.Popen(
        [*CURATE, verb, f"{name}.yaml"], cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **{"env": environment(folder)} | options,  # type: ignore[call-overload]
    )  # fmt: skip


def finished(folder: Path, name: str) -> None:
    """Runs the job to its end and compares what it made, byte by byte."""
    job = curate(folder, name)
    out, err = job.communicate(timeout=300)
    assert job.returncode == 0, out + err
    made, wanted = bench.tree(folder / name), bench.tree(folder / "undisturbed")
    assert made.keys() == wanted.keys()
    assert [path for path in made if made[path] != wanted[path]] == []
    leftovers = [p for p in (folder / name).rglob("*.tmp")]
    assert leftovers == [], leftovers


@pytest.mark.soak
def test_the_parent_is_killed_at_random_moments(ground: Path) -> None:
    write(ground, "parents")
    rng = random.Random(SEED)
    began = time.monotonic()
    finished(ground, "parents")
    whole = time.monotonic() - began
    kills = 0
    while kills < PARENT_KILLS:
        shutil.rmtree(ground / "parents")
        while kills < PARENT_KILLS:
            job = curate(ground, "parents")
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.communicate(timeout=rng.uniform(0.3 * whole, 0.9 * whole))
            if job.poll() is not None:
                break  # it got to its end
            workers = psutil.Process(job.pid).children(recursive=True)
            job.kill()
            job.wait()
            kills += 1
            _gone, alive = psutil.wait_procs(workers, timeout=20)
            assert not alive, "a worker outlived its parent"
            left = [path for path in (ground / "parents" / "shards").rglob(".*") if path.is_file()]
            assert left == [], "an unfinished file lies in the product"
        finished(ground, "parents")


def kill_workers(stop: threading.Event, find: Callable[[], list[int]], seed: int, kills: list[int]) -> None:
    """Kills a random worker now and then, until told to stop."""
    rng = random.Random(seed)
    while not stop.wait(rng.uniform(0.15, 0.6)):
        if found := find():
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(found), signal.SIGKILL)
                kills.append(1)


def under_fire(folder: Path, name: str, wanted: int, find: Callable[[int], list[int]]) -> None:
    """Runs the job again and again, its workers being killed, until so many have been; each time to the same bytes."""
    kills: list[int] = []
    for attempt in range(100):
        shutil.rmtree(folder / name, ignore_errors=True)
        job = curate(folder, name)
        stop = threading.Event()
        killer = threading.Thread(target=kill_workers, args=(stop, lambda: find(job.pid), SEED + attempt, kills))  # noqa: B023
        killer.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.communicate(timeout=240)
        stop.set()
        killer.join()
        assert job.poll() in (0, 1), (
            f"the job hangs, or ended with {job.poll()}"
        )  # 1: a shard was given up, since its worker died again and again
        finished(folder, name)
        if len(kills) >= wanted:
            return
    raise AssertionError(f"only {len(kills)} workers could be killed")


@pytest.mark.soak
def test_workers_are_killed_at_random_moments(ground: Path) -> None:
    write(ground, "workers")
    under_fire(ground, "workers", WORKER_KILLS, spawned)


def spawned(pid: int) -> list[int]:
    """Worker processes of the local engine."""
    with contextlib.suppress(psutil.Error):
        return [p.pid for p in psutil.Process(pid).children() if "spawn_main" in " ".join(p.cmdline())]
    return []


@pytest.mark.ray
@pytest.mark.soak
def test_workers_of_ray_are_killed_at_random_moments(ground: Path) -> None:
    write(ground, "rays", engine="ray")

    def noted(pid: int) -> list[int]:
        notes = (ground / "rays" / ".notes").glob("*")
        with contextlib.suppress(OSError):
            return [pid for note in notes if (pid := Watch.read(note).pid) and psutil.pid_exists(pid)]
        return []

    under_fire(ground, "rays", RAY_KILLS, noted)


def test_a_run_beside_a_running_one_is_told_who_holds_the_workspace(ground: Path) -> None:
    write(ground, "beside")
    first = curate(ground, "beside")
    lock = ground / "beside" / ".lock.json"
    until(lambda: lock.exists() and "score" in lock.read_text())
    second = curate(ground, "beside", "score")
    out, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"is in use by curate score (process {first.pid} on " in err and err.count("\n") == 1
    assert first.wait(240) == 0
    finished(ground, "beside")


def test_status_is_read_while_a_stage_runs(ground: Path) -> None:
    write(ground, "seen", workers=1, signals={"photo": {}, "slow": {"seconds": 0.3}})
    job = curate(ground, "seen")
    until(
        lambda: (
            (ground / "seen" / ".running.json").exists()
            and '"score"' in (ground / "seen" / ".running.json").read_text()
        )
    )
    seen = subprocess.run([*CURATE, "status", "seen.yaml", "--json"], cwd=ground, env=environment(ground),
                          capture_output=True, text=True, check=True)  # fmt: skip
    found = json.loads(seen.stdout)
    assert found["running"]["stage"] == "score" and found["running"]["pid"] == job.pid
    assert found["running"]["total"] == 60 and 0 <= found["running"]["done"] <= 60
    assert found["stages"]["index"]["failed"] == {"not_an_image": 6}
    job.kill()
    job.communicate()
    seen = subprocess.run([*CURATE, "status", "seen.yaml", "--json"], cwd=ground, env=environment(ground),
                          capture_output=True, text=True, check=True)  # fmt: skip
    found = json.loads(seen.stdout)
    assert found["running"] is None and sum(found["stages"]["score"]["left"].values()) > 0


def test_a_full_disk_stops_the_stage_with_one_line_and_loses_nothing(ground: Path) -> None:
    """The kernel refuses to write past a size, in every process of the job, as it does on a disk that is full."""
    write(ground, "full")
    most = 2500

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    uncounted = environment(ground)
    uncounted.pop("COVERAGE_PROCESS_CONFIG", None)  # the counts of lines could not be written either
    job = curate(ground, "full", preexec_fn=limit, env=uncounted)
    out, err = job.communicate(timeout=240)
    assert job.returncode == 1, out + err
    assert "cannot write" in out + err and "File too large" in out + err and "Traceback" not in out + err
    finished(ground, "full")


def test_a_disk_that_is_really_full(ground: Path) -> None:
    disk = ground / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True, check=False
    ).returncode:
        pytest.skip("no file system may be mounted here")
    write(ground, "disk")
    try:
        job = curate(ground, "disk")
        out, err = job.communicate(timeout=240)
        assert job.returncode == 1 and "No space left on device" in out + err and "Traceback" not in out + err
        assert "shards left" in out
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        finished(ground, "disk")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_may_not_be_written_is_one_line(ground: Path) -> None:
    write(ground, "closed")
    assert curate(ground, "closed", "index").wait(120) == 0
    folder = ground / "closed" / "signals" / "photo" / "c"
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    try:
        job = curate(ground, "closed", preexec_fn=obey_modes)
        out, err = job.communicate(timeout=240)
    finally:
        folder.chmod(0o755)
    assert job.returncode == 1
    assert "Permission denied" in out + err and "Traceback" not in out + err
    finished(ground, "closed")


def obey_modes() -> None:
    """Even root obeys a folder's mode once it has given up two of its capabilities (capabilities(7))."""
    if os.geteuid() == 0:
        drop_from_bounding_set, override, search = 24, 1, 2
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (override, search):
            assert libc.prctl(drop_from_bounding_set, capability, 0, 0, 0) == 0


def test_a_worker_whose_run_has_ended_writes_nothing(ground: Path) -> None:
    write(ground, "orphan")
    assert curate(ground, "orphan", "index").wait(120) == 0
    recipe = load_recipe(ground / "orphan.yaml", ["signals={photo: {}}", "select={}"])
    tasks = plan(bench.opened(recipe)).tasks[:1]
    with placing(bench.opened(recipe)) as engine:
        with lock(Workspace(recipe.workspace), "score") as mine:
            pass  # it ended, as if it had been killed
        with lock(Workspace(recipe.workspace), "score"):
            ended = list(engine.run(tasks, token=mine))
    assert "has ended; nothing is written" in str(ended[0][1].error)
    assert not list((ground / "orphan" / "signals").rglob("*.parquet"))


def until(ask: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ask():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


DEADLY = '''
import ctypes, time
from typing import ClassVar
import pyarrow as pa
from curation.signals.base import PerImage, Row, Scores

class Deadly(PerImage):
    """Does to its process what the caption says."""
    name: ClassVar[str] = "deadly"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = 64
    inputs: ClassVar[tuple[str, ...]] = ("caption",)
    columns: ClassVar[dict[str, pa.DataType]] = {"blue": pa.float32()}

    def score_one(self, row: Row) -> Scores:
        if row.sample["caption"] == "segfault":
            ctypes.string_at(0)
        if row.sample["caption"] == "hang":
            time.sleep(600)
        if row.sample["caption"] == "memory":
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * 10_000_000))
        return {"blue": float(row.picture.bgr(64)[:, :, 0].mean())}
'''


@pytest.mark.ray
def test_a_picture_that_kills_its_process_costs_itself_on_either_engine(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "deadly.py").write_text(DEADLY)
    for shard, deadly in enumerate([{3: "segfault"}, {0: "hang", 39: "segfault"}, {20: "memory"}]):
        members = {}
        for n in range(40):  # more than a micro-batch
            members[f"{n:02d}.jpg"] = bench.encoded(bench.picture(100 * shard + n, (80, 60)))
            members[f"{n:02d}.txt"] = deadly.get(n, "harmless").encode()
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", members)
    for engine in ("local", "ray"):
        write(tmp_path, engine, engine=engine, image_timeout=4, worker_memory="1.5 GB", signals={"photo": {}, "deadly": {}},
              select={"where": {"sharp": "sharpness >= 0"}})  # fmt: skip
        for verb in ("index", "score"):
            job = curate(tmp_path, engine, verb)
            out, err = job.communicate(timeout=300)
            assert job.returncode == 0, out + err
        assert "2 × deadly crashed" in out and "1 × deadly timeout" in out and "1 × deadly memory" in out, out
    rows = [row for shard in range(3) for row in bench.rows(tmp_path / f"local/signals/deadly/c/{shard:05d}.parquet")]
    failed = {row["key"]: reason_of(row["deadly_error"]) for row in rows if row["deadly_state"] == "failed"}
    assert failed == {"c/00000/03": "crashed", "c/00001/00": "timeout", "c/00001/39": "crashed", "c/00002/20": "memory"}
    assert sum(row["deadly_state"] == "scored" for row in rows) == 116
    assert bench.tree(tmp_path / "local") == bench.tree(tmp_path / "ray")

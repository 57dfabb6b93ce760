"""Both engines: every shard ends once, whatever its workers do."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from curation.errors import StageError
from curation.tasks import Demand, Outcome, Watch
from pipelines.placing import placing
from tests import bench


@dataclass(frozen=True)
class Chore:
    """Writes one line for each row, in micro-batches of four; some rows are deadly."""

    out: Path
    shard: str
    rows: int
    killers: tuple[int, ...] = ()
    sleepers: tuple[int, ...] = ()
    gluttons: tuple[int, ...] = ()
    once: int | None = None
    error: str = ""
    corpus: str = "c"
    demands: tuple[Demand, ...] = (Demand(),)

    def run(self, watch: Watch) -> Outcome:
        outcome = Outcome()
        if self.error == "user":
            raise StageError("cannot write: No space left on device")
        if self.error == "bug":
            raise ZeroDivisionError("a mistake")
        if self.error == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        lines = []
        for batch in watch.batches(list(range(self.rows)), [0] * self.rows, 4, 1):
            watch.note(os.getpid(), batch[0], batch[-1] + 1)
            for row in batch:
                if verdict := watch.verdict(row):
                    outcome.failed[verdict] += 1
                    continue
                if row in self.killers:
                    os.kill(os.getpid(), signal.SIGSEGV)
                if row in self.sleepers:
                    time.sleep(600)
                if row == self.once and len(deaths := list(self.out.glob("death*"))) < 2:
                    (self.out / f"death{len(deaths)}").touch()  # once in a batch, once alone
                    os.kill(os.getpid(), signal.SIGKILL)
                if row in self.gluttons:
                    hoard = [bytearray(os.urandom(1_000_000)) for _ in range(5_000)]
                    assert len(hoard) == 0, "the worker ought to be dead by now"
                lines.append(f"{row}\n")
                outcome.rows += 1
        watch.note(os.getpid())
        (self.out / self.shard).write_text("".join(lines))
        return outcome


RAYS = [pytest.param(kind, marks=pytest.mark.ray) for kind in ("ray tasks", "ray actors")]


@pytest.fixture(params=["local", *RAYS])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., dict[str, Outcome]]:
    """Runs chores on an engine of two workers, and gives each one's outcome."""
    if request.param != "local":
        request.getfixturevalue("ray_here")

    def run_all(chores: list[Chore], **options: float) -> dict[str, Outcome]:
        made = bench.recipe(tmp_path, engine=request.param.split()[0], workers=2, **options)
        demands = (Demand(models=request.param == "ray actors"),)
        with placing(bench.opened(made)) as engine:
            ended = [(t.shard, o) for t, o in engine.run([replace(c, demands=demands) for c in chores])]
        assert len(ended) == len(chores)
        return dict(ended)

    return run_all


Run = Callable[..., dict[str, Outcome]]


def test_every_shard_ends_once(tmp_path: Path, run: Run) -> None:
    outcomes = run([Chore(tmp_path, str(n), 10) for n in range(6)])
    assert sorted(outcomes) == [str(n) for n in range(6)]
    assert all(o.rows == 10 and not o.error for o in outcomes.values())


@pytest.mark.slow
def test_a_row_that_kills_its_worker_costs_itself_alone(tmp_path: Path, run: Run) -> None:
    outcomes = run([Chore(tmp_path, "a", 20, killers=(6, 13)), Chore(tmp_path, "b", 20), Chore(tmp_path, "c", 20)])
    assert outcomes["a"].failed == Counter(crashed=2)
    assert (tmp_path / "a").read_text().split() == [str(n) for n in range(20) if n not in (6, 13)]
    assert outcomes["b"].rows == outcomes["c"].rows == 20


@pytest.mark.slow
def test_a_row_that_hangs_is_failed_as_timeout(tmp_path: Path, run: Run) -> None:
    outcomes = run([Chore(tmp_path, "a", 6, sleepers=(5,)), Chore(tmp_path, "b", 6)], image_timeout=1.5)
    assert outcomes["a"].failed == Counter(timeout=1), outcomes["a"]
    assert (tmp_path / "a").read_text().split() == ["0", "1", "2", "3", "4"]


@pytest.mark.slow
def test_a_row_that_eats_the_memory_is_failed_as_memory(tmp_path: Path, run: Run) -> None:
    outcomes = run([Chore(tmp_path, "a", 6, gluttons=(2,)), Chore(tmp_path, "b", 6)], worker_memory="700 MB")
    assert outcomes["a"].failed == Counter(memory=1)
    assert (tmp_path / "a").read_text().split() == ["0", "1", "3", "4", "5"]


@pytest.mark.slow
def test_one_death_of_a_lone_row_may_come_from_outside(tmp_path: Path, run: Run) -> None:
    outcomes = run([Chore(tmp_path, "a", 6, once=3), Chore(tmp_path, "b", 6)])
    assert outcomes["a"].failed == Counter() and outcomes["a"].rows == 6


@pytest.mark.slow
def test_a_worker_that_dies_with_no_row_in_hand_gives_its_shard_up(tmp_path: Path, run: Run) -> None:
    outcomes = run([Chore(tmp_path, "a", 4, error="die"), Chore(tmp_path, "b", 4)])
    assert "died twice" in str(outcomes["a"].error)
    assert outcomes["b"].rows == 4


@pytest.mark.parametrize(("kind", "says"), [("user", "No space left"), ("bug", "ZeroDivisionError: a mistake")])
def test_an_error_costs_its_shard_and_is_one_line(tmp_path: Path, run: Run, kind: str, says: str) -> None:
    outcomes = run([Chore(tmp_path, "a", 4, error=kind), Chore(tmp_path, "b", 4)])
    assert says in str(outcomes["a"].error) and "\n" not in str(outcomes["a"].error)
    assert outcomes["b"].rows == 4


@pytest.mark.slow
def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from tests.pipelines.test_engines import Chore\n"
        "from pipelines.local import LocalEngine\n"
        "if __name__ == '__main__':\n"
        "    for _ in LocalEngine(1).run([Chore(Path(sys.argv[1]), 'a', 4, sleepers=(2,))]): pass\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=os.environ | {"PYTHONPATH": str(root)})
    worker = _until(lambda: _children(parent.pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: [True] if not any(_alive(pid) for pid in worker) else [])


def _until(ask, seconds: float = 30):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def _children(pid: int) -> list[int]:
    """Worker processes that have begun: the resource tracker and those still starting are not among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            command = (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

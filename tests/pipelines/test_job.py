"""`ray job submit`: a stage as a job on a real head with token authentication."""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import bench

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@dataclass(frozen=True)
class Head:
    """A Ray head on this machine."""

    dashboard: str
    environment: dict[str, str]

    def submit(self, *command: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RAY, "job", "submit", "--address", self.dashboard, "--", *command],
            capture_output=True, text=True, timeout=300, env=self.environment | changed, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head with two CPUs that asks every caller for a token; it and all it started end with the test."""
    temporary = Path("/tmp") / f"curate-ray-{os.getpid()}"  # its sockets' names may not be long
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(secrets.token_hex(32))
    gcs, dashboard = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": str(ROOT)}
    environment |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(temporary),
    }
    # These have fixed numbers unless they are told, and without its agent a head that comes second takes no job.
    others = [f"--{name}-port={free_port()}" for name in ("ray-client-server", "dashboard-agent-listen")]
    process = subprocess.Popen(
        [*RAY, "start", "--head", "--block", "--num-cpus=2", "--node-ip-address=127.0.0.1", f"--port={gcs}",
         "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={temporary}",
         "--object-store-memory=100000000", "--disable-usage-stats", *others],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield Head(f"http://127.0.0.1:{dashboard}", environment)
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_stage_is_a_job_and_wants_the_token(head: Head, tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(5)})
    bench.recipe(tmp_path, engine="ray")
    wait_for(head)
    refused = head.submit("true", RAY_AUTH_TOKEN_PATH="/dev/null", RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert refused.returncode != 0 and "auth" in (refused.stdout + refused.stderr).lower()
    recipe = str(tmp_path / "recipe.yaml")
    done = head.submit(sys.executable, "-m", "pipelines", "run", recipe, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    assert [stage["ok"] for stage in json.loads(said)["stages"]] == [True] * 5
    local = bench.recipe(tmp_path, workspace="./local")
    from pipelines import stages

    for stage in stages.STAGES.values():
        assert stage(bench.opened(local), None).ok
    assert bench.tree(tmp_path / "work") == bench.tree(tmp_path / "local")
    broken = head.submit(sys.executable, "-m", "pipelines", "index", str(tmp_path / "none.yaml"))
    assert broken.returncode != 0 and "none.yaml: no such recipe" in broken.stdout + broken.stderr


def wait_for(head: Head) -> None:
    """Until the head takes jobs, which is later than it answers: an agent must have come to it."""
    import time

    for _ in range(60):
        done = head.submit("true")
        if done.returncode == 0:
            return
        time.sleep(1)
    raise AssertionError(f"the head takes no jobs: {done.stdout + done.stderr}")

"""One stage writes at a time."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import StageError, UserError
from curation.workspace import Workspace
from curation.workspace.lock import lock


@pytest.mark.parametrize("below", ["", "work"])
def test_a_workspace_that_cannot_be_written_is_a_users_mistake(read_only: Path, below: str) -> None:
    with pytest.raises((UserError, StageError), match="Permission denied") as caught:
        with lock(Workspace(read_only / below), "index"):
            pass
    assert str(read_only) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_in_the_place_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        with lock(Workspace(tmp_path / "work"), "index"):
            pass


@contextlib.contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the workspace's lock."""
    code = (
        "import sys, time; from curation.workspace import Workspace; from curation.workspace.lock import lock\n"
        "with lock(Workspace(sys.argv[1]), 'score'):\n    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_lock_says_who_holds_it_and_falls_with_its_holder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with holder(tmp_path) as process:
        with pytest.raises(StageError) as caught, lock(workspace, "index"):
            pass
        message = str(caught.value)
        assert "curate score" in message and f"process {process.pid} " in message and str(tmp_path) in message
        assert "\n" not in message
        process.send_signal(signal.SIGKILL)
        process.wait()
    with lock(workspace, "index"):
        said = json.loads((tmp_path / ".lock.json").read_text())
        assert said["stage"] == "index" and said["pid"] == os.getpid()


def test_a_lock_is_released_after_an_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(ValueError), lock(workspace, "index"):
        raise ValueError
    with lock(workspace, "score"):
        pass
    assert not (tmp_path / ".lock.json").exists()


def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    with lock(workspace, "score"):
        left = workspace.signal("photo", "c", "00000").parent / ".00000.parquet.host.1.tmp"
        left.parent.mkdir(parents=True)
        left.write_text("half")
        said = (workspace.root / ".lock.json").read_text()
    with lock(workspace, "score"):
        assert left.exists()  # the last run ended well: nobody looks
    (workspace.root / ".lock.json").write_text(said)  # as a killed run leaves it
    with lock(workspace, "score"):
        assert not left.exists()

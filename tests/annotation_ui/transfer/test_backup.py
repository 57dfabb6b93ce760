"""A copy of the database while it is written: whole, checked, and never over another file."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from annotation_ui.settings import sqlite_file
from annotation_ui.transfer.backup import back_up
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from tests import voted
from tests.command import ROOT, environment

WRITER = """
import sys
from pathlib import Path
from curation.recipe import load_recipe
from tests import voted

with voted.opened(load_recipe(sys.argv[1])) as tool:
    revision = 0
    (claimed,) = voted.claim(tool, "Ann", wanted=1)
    while True:
        voted.cast(tool, "Ann", claimed, revision, level=1 + revision % 5)
        revision += 1
        print(revision, flush=True)
"""


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return voted.workspace(tmp_path)


def test_a_copy_beside_a_writer_holds_every_vote_acknowledged_before(made: Recipe, tmp_path: Path) -> None:
    with voted.opened(made):
        pass
    with contextlib.closing(sqlite3.connect(sqlite_file(made))) as connection:  # so that the copy takes many steps
        connection.execute("create table ballast (data blob)")
        connection.executemany("insert into ballast values (zeroblob(?))", [(1_000_000,)] * 60)
        connection.commit()
    call = [sys.executable, "-c", WRITER, str(tmp_path / "recipe.yaml")]
    acknowledged = tmp_path / "acknowledged"
    with open(acknowledged, "wb") as file:
        writer = subprocess.Popen(call, cwd=ROOT, env=environment(), stdout=file)
    try:
        deadline = time.monotonic() + 60
        while acknowledged.stat().st_size < 60 and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in range(3):
            before = int(acknowledged.read_text().split("\n")[-2])
            size = back_up(made, tmp_path / f"copy-{number}.sqlite")
            after = int(acknowledged.read_text().split("\n")[-2])
            with contextlib.closing(sqlite3.connect(tmp_path / f"copy-{number}.sqlite")) as copy:
                votes, last = copy.execute("select count(*), max(revision) from votes").fetchone()
                assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
            assert votes == last and before <= votes <= after + 1 and size > 60_000_000
        assert after > before > 10  # it went on while the copy was made
    finally:
        writer.kill()
        writer.wait()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(("-wal", "-shm", ".tmp"))]


def test_a_file_that_is_there_is_not_overwritten_also_if_it_is_a_broken_link(made: Recipe, tmp_path: Path) -> None:
    with voted.opened(made):
        pass
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "link"):
        with pytest.raises(UserError, match=f"{name}: it is there already"):
            back_up(made, tmp_path / name)
    assert (tmp_path / "there").read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_without_a_database_and_on_postgresql_it_is_one_line(made: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no database yet"):
        back_up(made, tmp_path / "copy")
    annotation = made.annotation.model_copy(update={"database": "postgresql://u:secret@host/team"})
    with pytest.raises(UserError, match="pg_dump .* team") as told:
        back_up(made.model_copy(update={"annotation": annotation}), tmp_path / "copy")
    assert "secret" not in str(told.value) and not (tmp_path / "copy").exists()


def test_a_damaged_database_leaves_no_copy(made: Recipe, tmp_path: Path) -> None:
    with voted.opened(made):
        pass
    file = sqlite_file(made)
    size = os.path.getsize(file)
    with open(file, "r+b") as database:
        database.seek(size // 2)
        database.write(os.urandom(size // 4))
    with pytest.raises(StageError, match="votes.sqlite"):
        back_up(made, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

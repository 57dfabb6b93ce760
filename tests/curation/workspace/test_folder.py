"""The workspace: files whole or not at all, one stage at a time, digests."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import StageError, UserError
from curation.workspace import Workspace
from curation.workspace.digests import canonical, digest, file_digest, table_digest
from curation.workspace.files import footer, replacing, write_table, write_text

NOISE = pa.table({"x": np.random.default_rng(0).integers(0, 2**62, 400_000)})  # 3 MB that do not compress


def files_below(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte; only root may make one."""
    folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    try:
        if mounted.returncode != 0:
            pytest.skip("no right to mount a small file system")
        yield folder
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process cannot write to: as root, after giving root's rights up for the while."""
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_the_folder_contract() -> None:
    workspace = Workspace("/w")
    paths = {
        "samples/web/00001.parquet": workspace.samples("web", "00001"),
        "samples/web/files.parquet": workspace.folder_listing("web"),
        "signals/photo/web/00001.parquet": workspace.signal("photo", "web", "00001"),
        "signals/.wide/web/00001.parquet": workspace.wide("web", "00001"),
        "selection/web/00001.parquet": workspace.selection("web", "00001"),
        "captions/web/00001.parquet": workspace.captions("web", "00001"),
        "votes.parquet": workspace.votes,
        "levels.parquet": workspace.levels,
        "shards/quality": workspace.product("quality"),
    }
    assert {str(p.relative_to("/w")): p for p in paths.values()} == paths


def test_shards_are_listed_sorted_without_the_listing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.shards("web") == []
    for shard in ("00010", "00002", "files"):
        write_text(tmp_path / "samples" / "web" / f"{shard}.parquet", "")
    assert workspace.shards("web") == ["00002", "00010"]


def test_replacing_makes_the_folders_and_leaves_only_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and str(os.getpid()) in temporary.name
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert files_below(tmp_path) == ["c.txt"]


@pytest.mark.parametrize("error", [ValueError("a mistake"), KeyboardInterrupt(), OSError(errno.EIO, "disk broken")])
def test_replacing_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "c.txt"
    path.write_text("old")
    with pytest.raises(StageError if isinstance(error, OSError) else type(error)), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert files_below(tmp_path) == ["c.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_no_space_left_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StageError) as caught:
        write_table(path, pa.table({"x": [1]}))
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "old" and files_below(tmp_path) == ["x.parquet"]


def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk: Path) -> None:
    path = small_disk / "samples" / "x.parquet"
    with pytest.raises(StageError) as caught:
        write_table(path, NOISE)
    assert "No space left on device" in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(StageError, match="No space left on device"):
        write_text(small_disk / "x.txt", "x" * 2_000_000)
    assert files_below(small_disk) == []
    write_text(small_disk / "x.txt", "fits")  # what the failed writes took is free again


def test_a_folder_that_cannot_be_written(read_only: Path) -> None:
    with pytest.raises(StageError, match="Permission denied") as caught:
        write_text(read_only / "x.txt", "x")
    assert "\n" not in str(caught.value)
    with pytest.raises(StageError, match="Permission denied"):
        write_table(read_only / "below" / "x.parquet", pa.table({"x": [1]}))


@pytest.mark.parametrize("below", ["", "work"])
def test_a_workspace_that_cannot_be_written_is_a_users_mistake(read_only: Path, below: str) -> None:
    with pytest.raises((UserError, StageError), match="Permission denied") as caught:
        with Workspace(read_only / below).lock("index"):
            pass
    assert str(read_only) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_in_the_place_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        with Workspace(tmp_path / "work").lock("index"):
            pass


@contextlib.contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the workspace's lock."""
    code = (
        "import sys, time; from curation.workspace import Workspace\n"
        "with Workspace(sys.argv[1]).lock('score'):\n    print('held', flush=True); time.sleep(60)"
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
        with pytest.raises(StageError) as caught, workspace.lock("index"):
            pass
        message = str(caught.value)
        assert "curate score" in message and f"process {process.pid} " in message and str(tmp_path) in message
        assert "\n" not in message
        process.send_signal(signal.SIGKILL)
        process.wait()
    with workspace.lock("index"):
        said = json.loads((tmp_path / ".lock.json").read_text())
        assert said["stage"] == "index" and said["pid"] == os.getpid()


def test_a_lock_is_released_after_an_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(ValueError), workspace.lock("index"):
        raise ValueError
    with workspace.lock("score"):
        pass
    assert ".lock.json" not in files_below(tmp_path)


def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    with workspace.lock("score"):
        left = workspace.signal("photo", "c", "00000").parent / ".00000.parquet.host.1.tmp"
        left.parent.mkdir(parents=True)
        left.write_text("half")
        said = (workspace.root / ".lock.json").read_text()
    with workspace.lock("score"):
        assert left.exists()  # the last run ended well: nobody looks
    (workspace.root / ".lock.json").write_text(said)  # as a killed run leaves it
    with workspace.lock("score"):
        assert not left.exists()


def test_notes_come_back_from_the_footer(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, pa.table({"key": ["a"]}), "f" * 64, engine="local", 说明="中文")
    assert footer(path) == {"fingerprint": "f" * 64, "rows": "1", "engine": "local", "说明": "中文"}
    assert pq.read_table(path)["key"].to_pylist() == ["a"]


def test_an_absent_or_damaged_file_has_no_footer(tmp_path: Path) -> None:
    assert footer(tmp_path / "x.parquet") is None
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no more")
    assert footer(tmp_path / "x.parquet") is None


def test_the_same_table_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / name, pa.table({"x": [1, None], "y": ["a", "b"]}), "f", note="n")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_vectors_are_written_as_they_are_and_other_columns_by_a_list_of_their_values(tmp_path: Path) -> None:
    """For each number of a vector to be looked up takes most of the time of writing."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(80).astype(np.float16)), 4)
    others = pa.table({"key": ["a", "b"] * 10, "x.y": [1.5] * 20, "boxes": [[[1, 2]], None] * 10,
                       "both": [{"n": 1, "s": ["t"]}] * 20})  # fmt: skip
    for name, table in (("with", others.append_column("v", vectors)), ("without", others)):
        write_table(tmp_path / name, table)
    groups = {name: pq.ParquetFile(tmp_path / name).metadata.row_group(0) for name in ("with", "without")}
    pages = {}
    for name, group in groups.items():
        data = (tmp_path / name).read_bytes()
        columns = [group.column(i) for i in range(group.num_columns)]
        pages[name] = {c.path_in_schema: (c.has_dictionary_page, data[c.dictionary_page_offset or c.data_page_offset :]
                                          [: c.total_compressed_size]) for c in columns}  # fmt: skip
    has_dictionary, _ = pages["with"].pop("v.list.element")
    assert not has_dictionary
    assert pages["with"] == pages["without"] and all(has for has, _ in pages["without"].values())
    assert pq.read_table(tmp_path / "with")["v"].combine_chunks().equals(vectors)


def test_canonical_json_knows_no_order() -> None:
    assert canonical({"b": [1, 2.5], "a": {"z": None, "y": "中"}}) == '{"a":{"y":"中","z":null},"b":[1,2.5]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    assert digest([]) == hashlib.sha256(b"[]").hexdigest()


TABLE = pa.table({"key": ["a", "bc", None, "d"], "n": pa.array([1, 2, 3, None], pa.int64())})


def test_a_table_digest_does_not_know_chunks() -> None:
    pieces = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 2), TABLE.slice(3)])
    assert pieces["key"].num_chunks == 3
    assert table_digest(pieces, ["key", "n"]) == table_digest(TABLE, ["key", "n"])
    assert table_digest(TABLE.slice(1, 2), ["key"]) == table_digest(TABLE.take([1, 2]), ["key"])


@pytest.mark.parametrize(
    "other",
    [
        TABLE.take([1, 0, 2, 3]),
        TABLE.slice(0, 3),
        TABLE.set_column(0, "key", pa.array(["ab", "c", None, "d"])),
        TABLE.set_column(0, "key", pa.array(["a", "bc", "", "d"])),
        TABLE.set_column(0, "key", pa.array(["a", "bc", "None", "d"])),
        TABLE.set_column(1, "n", pa.array([1, 2, 4, None], pa.int64())),
    ],
)
def test_a_table_digest_knows_every_value_and_its_row(other: pa.Table) -> None:
    assert table_digest(other, ["key", "n"]) != table_digest(TABLE, ["key", "n"])


def test_a_table_digest_reads_the_named_columns_only() -> None:
    assert table_digest(TABLE.drop_columns(["n"]), ["key"]) == table_digest(TABLE, ["key"])


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert file_digest(path) == hashlib.sha256(b"three").hexdigest()

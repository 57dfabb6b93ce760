"""Files are written whole or not at all, and read as they were written."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import StageError
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

"""The files below a folder: links to folders followed once, nothing opened that would block."""

import os
from pathlib import Path

import fsspec
import pytest

from curation.corpora.walk import walk


def files(root: Path) -> tuple[list[str], list[str]]:
    found = walk(fsspec.filesystem("file"), str(root))
    return [os.path.relpath(path, root) for path in found.files], found.notes


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_a_folder_that_is_linked_into_the_corpus_is_read_and_named(tmp_path: Path) -> None:
    fill(tmp_path, "elsewhere/b.jpg", "elsewhere/deep/c.jpg", "corpus/a.jpg")
    (tmp_path / "corpus/more").symlink_to(tmp_path / "elsewhere")
    paths, notes = files(tmp_path / "corpus")
    assert paths == ["a.jpg", "more/b.jpg", "more/deep/c.jpg"]
    assert len(notes) == 1 and "leads out of the corpus" in notes[0] and "elsewhere" in notes[0]


@pytest.mark.parametrize("target", [".", "..", "deep", "../corpus/deep"])
def test_a_link_that_loops_is_not_followed_and_named(tmp_path: Path, target: str) -> None:
    fill(tmp_path / "corpus", "a.jpg", "deep/b.jpg")
    (tmp_path / "corpus/deep/link").symlink_to(tmp_path / "corpus" / target)
    paths, notes = files(tmp_path / "corpus")
    assert [path for path in paths if "link" not in path] == ["a.jpg", "deep/b.jpg"]
    assert len(paths) == 2
    assert len(notes) >= 1 and "deep/link" in notes[0]


def test_two_links_to_one_folder_are_one(tmp_path: Path) -> None:
    fill(tmp_path, "elsewhere/b.jpg", "corpus/a.jpg")
    for name in ("x", "y"):
        (tmp_path / "corpus" / name).symlink_to(tmp_path / "elsewhere")
    paths, notes = files(tmp_path / "corpus")
    assert paths == ["a.jpg", "x/b.jpg"] and len(notes) == 2 and "read under another path" in notes[1]


def test_links_that_lead_around_each_other_end(tmp_path: Path) -> None:
    fill(tmp_path, "one/a.jpg", "two/b.jpg")
    (tmp_path / "one/two").symlink_to(tmp_path / "two")
    (tmp_path / "two/one").symlink_to(tmp_path / "one")
    assert files(tmp_path / "one")[0] == ["a.jpg", "two/b.jpg"]


def test_pipes_and_devices_are_named_and_never_opened(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "00000.tar")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    paths, notes = files(tmp_path)
    assert paths == ["a.jpg", "broken.jpg"]
    assert sorted(note.split(": ")[0].rpartition("/")[2] for note in notes) == ["00000.tar", "zero.jpg"]


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.jpg", "real/.hidden/b.jpg", "real/.c.jpg")
    (tmp_path / "corpus").symlink_to("real")
    assert files(tmp_path / "corpus") == (["a.jpg"], [])

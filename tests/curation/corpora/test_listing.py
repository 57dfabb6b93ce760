"""Which shards a corpus has."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.corpora.listing import FOLDER_SHARD, deal, list_sources
from curation.corpora.readers import Source
from curation.errors import UserError
from curation.recipe.sections import Corpus


def sources_of(path: Path | str, format: str = "folder", listing: dict | None = None) -> list[Source]:
    return list_sources(Corpus(name="c", path=str(path), format=format), listing).sources


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


@pytest.mark.slow
def test_img2dataset_folders_are_one_shard_each(crawl) -> None:
    for format, folder in crawl.folders.items():
        assert [s.shard for s in sources_of(folder, format)] == ["00000"]


def test_shards_are_sorted_by_name_wherever_they_lie(tmp_path: Path) -> None:
    fill(tmp_path, "b/00001.tar", "a/00010.tar", "00002.tar", ".hidden.tar", "notes.txt", "00002_stats.json")
    sources = sources_of(tmp_path, "webdataset")
    assert [s.shard for s in sources] == ["00001", "00002", "00010"]
    assert [s.relative_path for s in sources] == ["b/00001.tar", "00002.tar", "a/00010.tar"]


@pytest.mark.parametrize(("format", "ending"), [("webdataset", "tar"), ("parquet", "parquet")])
def test_two_shards_of_one_name_are_refused(tmp_path: Path, format: str, ending: str) -> None:
    fill(tmp_path, f"a/00000.{ending}", f"b/00000.{ending}")
    with pytest.raises(UserError, match="corpora.c.path: two shards are named 00000") as caught:
        sources_of(tmp_path, format)
    assert f"a/00000.{ending}" in str(caught.value) and f"b/00000.{ending}" in str(caught.value)


@pytest.mark.parametrize("format", ["webdataset", "parquet", "files", "folder"])
def test_a_folder_that_is_missing_or_holds_nothing_is_refused(tmp_path: Path, format: str) -> None:
    fill(tmp_path, "notes.txt")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match=r"^corpora\.c\.path: ") as caught:
            sources_of(folder, format)
        assert str(folder) in str(caught.value)


def test_a_plain_folder_lists_what_may_be_an_image(tmp_path: Path) -> None:
    fill(
        tmp_path, "b.jpg", "a.JPG", "deep/er/c.png", "odd.xyz", "none", "a.txt", "deep/er/c.json", "index.parquet",
        ".hidden.jpg", ".cache/d.jpg", "deep/.git/e.jpg", "Thumbs.csv", "it's #1 (é).webp",
    )  # fmt: skip
    (source,) = sources_of(tmp_path)
    assert source.shard == "00000"
    assert source.members == ["a.JPG", "b.jpg", "deep/er/c.png", "it's #1 (é).webp"]


def test_a_files_corpus_has_a_shard_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, "00001/b.jpg", "00001/b.txt", "00000/a.jpg", "00000.parquet", "00000_stats.json", "loose.jpg")
    sources = sources_of(tmp_path, "files")
    assert [(s.shard, s.members) for s in sources] == [("00000", ["a.jpg"]), ("00001", ["b.jpg"])]


def test_a_corpus_at_a_url_reads_as_a_local_one(tmp_path: Path, image_bytes: Callable[..., bytes]) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/curate-test/x/a.jpg": image_bytes(1), "/curate-test/x/a.txt": b"text"})
    try:
        (source,) = sources_of("memory://curate-test/x")
        (sample,) = source.samples()
        assert (sample.member, sample.caption, sample.data) == ("a.jpg", "text", image_bytes(1))
        assert source.read("a.jpg", 0, len(sample.data)) == sample.data
    finally:
        memory.rm("/curate-test", recursive=True)


def test_files_are_dealt_in_order_into_full_shards() -> None:
    files = [f"{i:06d}.jpg" for i in range(2 * FOLDER_SHARD + 1)]
    shards = deal(files, {})
    assert FOLDER_SHARD == 10_000
    assert list(shards) == ["00000", "00001", "00002"]
    assert [len(m) for m in shards.values()] == [10_000, 10_000, 1]
    assert [m for members in shards.values() for m in members] == files


def test_new_files_go_to_new_shards_and_nothing_moves() -> None:
    before = deal(["b", "d"], {})
    after = deal(["a", "b", "c", "d", "e"], before)
    assert after == {"00000": ["b", "d"], "00001": ["a", "c", "e"]}
    assert deal(["a"], after) == after  # what is gone keeps its place
    assert deal([], {}) == {}


def test_dealing_leaves_the_listing_alone() -> None:
    listing = {"00000": ["b"]}
    deal(["a", "b"], listing)
    assert listing == {"00000": ["b"]}


def test_a_linked_folder_in_a_circle_does_not_hang(tmp_path: Path) -> None:
    fill(tmp_path, "a/b.jpg")
    os.symlink(tmp_path, tmp_path / "a" / "again")
    (source,) = sources_of(tmp_path)
    assert "a/b.jpg" in source.members

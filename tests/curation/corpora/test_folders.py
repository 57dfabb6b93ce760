"""Folders of images as people have them: captions, metadata tables, kohya's folders, names in any encoding, and what is
no image."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import stages
from pipelines.summary import Summary
from tests import bench


def indexed(folder: Path) -> tuple[dict[str, dict[str, Any]], Summary]:
    """The rows by member, and the summary of the stage."""
    made = bench.recipe(folder, corpora=[{"name": "c", "path": "./raw", "format": "folder"}])
    summary = stages.index(bench.opened(made), None)
    files = sorted(path for path in (folder / "work/samples/c").glob("*.parquet") if path.stem != "files")
    return {row["member"]: row for path in files for row in bench.rows(path)}, summary


def picture(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bench.encoded(bench.picture(number)))


@pytest.mark.parametrize("kind", ["txt", "caption", "cap"])
def test_a_caption_stands_beside_its_image(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "raw/22.05.jpg")
    (tmp_path / f"raw/22.05.{kind}").write_text("一只猫")
    assert indexed(tmp_path)[0]["22.05.jpg"]["caption"] == "一只猫"


def test_metadata_of_an_image_folder_is_found_in_every_folder_above(tmp_path: Path) -> None:
    for number, name in enumerate(["a.jpg", "train/b.jpg", "train/x/c.jpg"]):
        picture(tmp_path / "raw" / name, number)
    outer = [{"file_name": "a.jpg", "text": "outer a"}, {"file_name": "train/b.jpg", "text": "outer b", "license": "x"}]
    (tmp_path / "raw/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in outer) + "{broken\n")
    with open(tmp_path / "raw/train/metadata.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["file_name", "text"], ["b.jpg", "inner b"], ["x/c.jpg", "inner c"]])
    rows, summary = indexed(tmp_path)
    assert {member: row["caption"] for member, row in rows.items()} == {
        "a.jpg": "outer a", "train/b.jpg": "inner b", "train/x/c.jpg": "inner c"
    }  # fmt: skip
    assert any("metadata.jsonl has 1 line that cannot be read" in note for note in summary.notes)


def test_a_changed_table_of_metadata_is_read_again(tmp_path: Path) -> None:
    picture(tmp_path / "raw/a.jpg")
    (tmp_path / "raw/metadata.jsonl").write_text('{"file_name": "a.jpg", "text": "first"}')
    assert indexed(tmp_path)[0]["a.jpg"]["caption"] == "first"
    (tmp_path / "raw/metadata.jsonl").write_text('{"file_name": "a.jpg", "text": "second"}')
    assert indexed(tmp_path)[0]["a.jpg"]["caption"] == "second"


def test_a_folder_of_kohyas_trainer_tells_repeats_and_class(tmp_path: Path) -> None:
    picture(tmp_path / "raw/10_sks dog/a.jpg")
    for number, folder in enumerate(("plain", "10", "a_b"), 1):
        picture(tmp_path / "raw" / folder / "b.jpg", number)
    rows, _ = indexed(tmp_path)
    assert (rows["10_sks dog/a.jpg"]["meta_repeats"], rows["10_sks dog/a.jpg"]["meta_class"]) == (10, "sks dog")
    assert [rows[f"{folder}/b.jpg"]["meta_repeats"] for folder in ("plain", "10", "a_b")] == [None] * 3
    assert rows["plain/b.jpg"]["caption"] is None


def test_what_is_no_image_is_counted_apart(tmp_path: Path) -> None:
    picture(tmp_path / "raw/a.jpg")
    (tmp_path / "raw/b.img").write_bytes(bench.encoded(bench.picture(1), "png"))
    (tmp_path / "raw/broken.jpg").write_bytes(b"no picture")
    for name in ("Thumbs.db", "a.xmp", "film.mov", "page.html", "none"):
        (tmp_path / "raw" / name).write_bytes(b"no picture")
    rows, summary = indexed(tmp_path)
    assert {member: row["status"] for member, row in rows.items()} == {
        "a.jpg": "ok",
        "b.img": "ok",
        "broken.jpg": "failed",
    }
    assert summary.failed == {"not_an_image": 1}


def test_a_name_in_another_encoding_is_a_key_and_is_read(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number, name in enumerate(["图二.jpg", "图三.jpg"]):
        with open(os.path.join(os.fsencode(tmp_path / "raw"), name.encode("gb18030")), "wb") as file:
            file.write(bench.encoded(bench.picture(number)))
        with open(
            os.path.join(os.fsencode(tmp_path / "raw"), name.replace("jpg", "txt").encode("gb18030")), "wb"
        ) as file:
            file.write(name.encode())
    rows, _ = indexed(tmp_path)
    assert len(rows) == 2 and {row["status"] for row in rows.values()} == {"ok"}
    assert {row["caption"] for row in rows.values()} == {"图二.jpg", "图三.jpg"}
    assert all("\\x" in member and "\ufffd" not in member for member in rows)
    made = bench.recipe(tmp_path, corpora=[{"name": "c", "path": "./raw", "format": "folder"}])
    assert stages.score(bench.opened(made), None).failed == {}


def test_a_linked_folder_is_told_and_a_pipe_stops_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "raw/a.jpg")
    picture(tmp_path / "elsewhere/b.jpg", 1)
    (tmp_path / "raw/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw/loop").symlink_to(tmp_path / "raw")
    os.mkfifo(tmp_path / "raw/pipe.jpg")
    os.mkfifo(tmp_path / "raw/a.txt")
    rows, _ = indexed(tmp_path)
    assert set(rows) == {"a.jpg", "linked/b.jpg"}


@pytest.mark.parametrize("name", ["a.TXT", "a.Caption", "a.jpg.txt", "a.JSON"])
def test_a_text_is_found_whatever_its_case_and_by_the_images_whole_name(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "raw/a.jpg")
    (tmp_path / "raw" / name).write_text('{"caption": "text"}' if "json" in name.lower() else "text")
    assert indexed(tmp_path)[0]["a.jpg"]["caption"] == "text"


@pytest.mark.parametrize(
    "text, captions",
    [
        ("file_name,text\na.jpg,hi, there, more\nsub/é.jpg,fine\n", ["hi", "fine"]),
        ("file_name;text\na.jpg;one, two\nsub\\e\u0301.jpg;three\n", ["one, two", "three"]),
        ("file_name,text\na.jpg," + "x" * 200_000 + "\n", ["x" * 200_000, None]),
    ],
    ids=["too many fields", "semicolons, backslashes, decomposed", "a long field"],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str, captions: list[str | None]) -> None:
    picture(tmp_path / "raw/a.jpg")
    picture(tmp_path / "raw/sub/é.jpg", 1)
    (tmp_path / "raw/metadata.csv").write_text(text)
    rows, _ = indexed(tmp_path)
    assert [rows["a.jpg"]["caption"], rows["sub/é.jpg"]["caption"]] == captions


def test_a_line_separator_within_a_caption_ends_no_line_of_metadata(tmp_path: Path) -> None:
    picture(tmp_path / "raw/a.jpg")
    (tmp_path / "raw/metadata.jsonl").write_text('{"file_name": "a.jpg", "text": "one\u2028two\x85three"}\n')
    rows, summary = indexed(tmp_path)
    assert rows["a.jpg"]["caption"].startswith("one") and summary.notes == []

"""Hostile Parquet, as shards and beside tars: broken files, and columns of another type, schema or encoding."""

import io
import tarfile
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.corpora.listing import list_sources
from curation.errors import reason_of
from tests import bench
from tests.hostile import Sandbox, check_indexed, damaged, emptied_folder, fuzzed, indexed, pictures, tar_bytes


@cache
def parquet_bytes(compression: str, with_images: bool) -> bytes:
    columns: dict[str, Any] = {
        "key": [f"{n:03d}" for n in range(5)],
        "caption": ["a", "中文", None, "", "e"],
        "url": [f"http://x/{n}.jpg" for n in range(5)],
        "score": [0.5, float("nan"), None, 3.0, 4.0],
        "tags": [["a"], [], None, ["b", "c"], ["d"]],
    }
    if with_images:
        columns["jpg"] = [*pictures()[:3], None, pictures()[4]]
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=2, compression=compression)
    return buffer.getvalue()


@st.composite
def damaged_parquet(draw: st.DrawFn, with_images: bool) -> bytes:
    whole = parquet_bytes(draw(st.sampled_from(["none", "snappy", "zstd"])), with_images)
    body = draw(damaged(st.just(whole[:-8]))) if draw(st.booleans()) else None
    if body is not None:  # with the footer's length and the end mark in place, so that it is opened
        return body + whole[-8:]
    return draw(damaged(st.just(whole)))


@given(data=damaged_parquet(with_images=True))
@fuzzed
def test_a_damaged_parquet_shard_gives_what_can_be_read_and_says_so(sandbox: Sandbox, raw: Path, data: bytes) -> None:
    (emptied_folder(raw) / "00000.parquet").write_bytes(data)
    ended = sandbox(indexed, raw, "parquet")
    check_indexed(ended, "00000")
    assert ended["error"] or ended["damage"] or len(ended["rows"]) == 4


@given(data=damaged_parquet(with_images=False))
@fuzzed
def test_a_damaged_table_beside_a_tar_is_named_in_one_line(sandbox: Sandbox, raw: Path, data: bytes) -> None:
    (emptied_folder(raw) / "00000.tar").write_bytes(tar_bytes(tarfile.PAX_FORMAT))
    (raw / "00000.parquet").write_bytes(data)
    ended = sandbox(indexed, raw, "webdataset")
    check_indexed(ended, "00000.parquet")
    assert ended["error"] or len(ended["rows"]) == 3


@pytest.mark.parametrize("columns", [
    {"key": [1, 2], "jpg": [b"x", b"y"]},
    {"key": [None, None], "jpg": [b"x", b"y"]},
    {"key": [["a"], ["b"]], "jpg": [b"x", b"y"]},
    {"key": ["", "b"], "jpg": [b"x", b"y"]},
    {"key": [b"\xff", b"b"], "jpg": [b"x", b"y"]},
    {"jpg": [b"x", b"y"], "caption": [1, 2], "url": [1.5, None]},
    {"jpg": [b"x", b"y"], "caption": ["a\0b", "\ud7ff"]},
], ids=str)  # fmt: skip
def test_parquet_columns_of_another_type_cost_no_row(raw: Path, columns: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(columns), emptied_folder(raw) / "00000.parquet")
    ended = indexed(raw, "parquet")
    check_indexed(ended, "00000")
    assert [reason_of(row["error"]) for row in ended["rows"]] == ["not_an_image", "not_an_image"]


@pytest.mark.parametrize("columns", [
    {"key": ["a"], "caption": ["no image"]},
    {"key": ["a"], "jpg": ["text"]},
    {"key": ["a"], "jpg": [[1, 2]]},
], ids=["no image", "image as text", "image as list"])  # fmt: skip
def test_parquet_of_another_schema_costs_itself_and_says_so(raw: Path, columns: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(columns), emptied_folder(raw) / "00000.parquet")
    ended = indexed(raw, "parquet")
    assert ended["rows"] == [] and "no column of image bytes" in ended["damage"]


def test_parquet_keys_that_differ_in_unicode_form_only_are_one(raw: Path) -> None:
    keys = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    pq.write_table(pa.table({"key": keys, "jpg": pictures()[:2]}), emptied_folder(raw) / "00000.parquet")
    rows = indexed(raw, "parquet")["rows"]
    assert [row["status"] for row in rows] == ["ok", "failed"] and rows[1]["error"].startswith("duplicate_member")


@pytest.mark.parametrize("place", ["shard", "table"])
def test_parquet_texts_in_another_encoding_cost_no_row(raw: Path, place: str) -> None:
    broken = pa.array([b"caf\xe9", b"fine"]).view(pa.string())  # as writers that do not look leave it
    columns: dict[str, Any] = {"key": ["a", "c"], "caption": broken, "licence": broken}
    if place == "shard":
        pq.write_table(pa.table(columns | {"jpg": pictures()[:2]}), emptied_folder(raw) / "00000.parquet")
    else:
        pq.write_table(pa.table(columns), emptied_folder(raw) / "00000.parquet")
        bench.write_tar(raw / "00000.tar", {"a.jpg": pictures()[0], "c.jpg": pictures()[1]})
    ended = indexed(raw, "parquet" if place == "shard" else "webdataset")
    check_indexed(ended, "00000")
    assert [row["caption"] for row in ended["rows"]] == ["caf\ufffd", "fine"]
    assert [row["meta_licence"] for row in ended["rows"]] == ["caf\ufffd", "fine"]


def test_a_broken_further_column_costs_no_picture(raw: Path) -> None:
    """The images are read from one column, their licences from another."""
    table = pa.table({"key": ["a", "b"], "jpg": pictures()[:2], "licence": ["x" * 50, "y" * 50]})
    path = emptied_folder(raw) / "00000.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False)
    at = pq.ParquetFile(path).metadata.row_group(0).column(2).data_page_offset
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])
    ended = indexed(raw, "parquet")
    assert [row["status"] for row in ended["rows"]] == ["ok", "ok"]
    assert ended["damage"].startswith("damaged Parquet file: ")


@pytest.mark.slow
def test_a_shard_that_broke_after_the_index_fails_its_rows_or_itself(raw: Path) -> None:
    path = emptied_folder(raw) / "00000.parquet"
    pq.write_table(pa.table({"key": ["a", "b"], "jpg": pictures()[:2]}), path, compression="none", use_dictionary=False)
    source = list_sources(
        bench.recipe(raw.parent, corpora=[{"name": "c", "path": "./raw", "format": "parquet"}]).corpora[0]
    ).sources[0]
    at = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])
    with pytest.raises(OSError) as caught:
        source.read("a", 0, len(pictures()[0]))
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"key": ["a", "b"], "jpg": pa.array([None, None], pa.binary())}), path)
    assert list_sources(source.corpus).sources[0].read("a", 0, 10) == b""

"""Raw shards: every sample in order, whatever is wrong with its neighbours, and its bytes by place."""

import gzip
import io
import json
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.corpora.listing import list_sources
from curation.corpora.readers import RawSample, Source
from curation.recipe.sections import Corpus
from tests import bench

JPEG = b"\xff\xd8 one \xff\xd9"
PNG = b"\x89PNG two"


def source_of(path: Path, format: str = "webdataset") -> Source:
    """The only shard of a corpus folder."""
    (source,) = list_sources(Corpus(name="c", path=str(path), format=format)).sources
    return source


def samples_of(path: Path, format: str = "webdataset") -> list[RawSample]:
    return list(source_of(path, format).samples())


@pytest.fixture
def tar_of(tmp_path: Path, make_tar: Callable[..., Path]) -> Callable[..., Source]:
    """Writes one tar of these members and opens it."""

    def write(*members: tuple[str, bytes]) -> Source:
        make_tar(tmp_path / "00000.tar", members)
        return source_of(tmp_path)

    return write


def pairs(source: Source) -> list[tuple[str, bytes]]:
    return [(s.member, s.data) for s in list(source.samples())]


# --- img2dataset's own output


@pytest.mark.slow
@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_img2dataset_shards_give_every_image_with_its_text(crawl, format: str) -> None:
    source = source_of(crawl.folders[format], format)
    samples = list(source.samples())
    assert source.damage is None and source.without_image == 1
    by_url = {s.url: s for s in samples}
    expected = {row["url"]: row for row in crawl.rows if not row["url"].endswith("missing.jpg")}
    assert by_url.keys() == expected.keys() and len(samples) == len(expected)
    for url, row in expected.items():
        sample = by_url[url]
        assert sample.data == crawl.served["/" + url.rsplit("/", 1)[1]]
        assert (sample.caption or "") == (row["caption"] or "")
        assert sample.error is None


@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_read_returns_exactly_the_bytes_in_any_order(crawl, format: str) -> None:
    source = source_of(crawl.folders[format], format)
    samples = list(source.samples())
    for sample in reversed(samples + samples[::2]):
        assert source.read(sample.member, sample.offset, len(sample.data)) == sample.data
    source.close()


def test_img2dataset_members_are_its_keys(crawl) -> None:
    keys = sorted(f"{i:09d}" for i in range(10))
    for format, ending in (("webdataset", ""), ("parquet", ""), ("files", ".jpg")):
        members = [s.member for s in samples_of(crawl.folders[format], format)]
        assert {m.removesuffix(ending) for m in members} < set(keys) and len(members) == 9
        assert all(m.endswith(ending) for m in members)


def test_relative_path_and_stamp(crawl) -> None:
    source = source_of(crawl.folders["webdataset"])
    assert (source.shard, source.relative_path) == ("00000", "00000.tar")
    assert source.stamp() == source_of(crawl.folders["webdataset"]).stamp()


# --- tars


def test_a_sample_is_the_members_of_one_name(tar_of: Callable[..., Source]) -> None:
    source = tar_of(
        ("a.jpg", JPEG),
        ("a.json", b'{"caption": "not this", "url": "http://x/a", "width": 3, "key": "a"}'),
        ("a.txt", b" the text \n"),
        ("b.PNG", PNG),
    )
    a, b = list(source.samples())
    assert (a.member, a.data, a.caption, a.url, a.meta) == ("a", JPEG, "the text", "http://x/a", {"width": 3})
    assert (b.member, b.data, b.caption, b.url, b.meta) == ("b", PNG, None, None, {})
    assert source.damage is None
    for sample in (b, a):
        assert source.read(sample.member, sample.offset, len(sample.data)) == sample.data


def test_inner_slashes_are_kept_and_names_end_at_the_first_dot(tar_of: Callable[..., Source]) -> None:
    source = tar_of(("x.y/a.jpg", JPEG), ("z/a.jpg", PNG), ("z/b.seg.jpg", JPEG))
    assert pairs(source) == [("x.y/a", JPEG), ("z/a", PNG), ("z/b", JPEG)]


def test_every_picture_of_a_sample_is_a_row_by_its_own_name(tar_of: Callable[..., Source]) -> None:
    source = tar_of(("a.jpg", JPEG), ("a.seg.png", PNG), ("a.png", PNG), ("a.txt", b"both"))
    samples = list(source.samples())
    assert [(s.member, s.data, s.caption) for s in samples] == [
        ("a", JPEG, "both"), ("a.seg", PNG, "both"), ("a.png", PNG, "both")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "b.jpg", "a.jpg"],
        ["a.jpg", "a.jpg"],
        ["a.jpg", "a.txt", "a.jpg", "a.txt"],
        [unicodedata.normalize("NFC", "é.jpg"), "b.jpg", unicodedata.normalize("NFD", "é.jpg")],
    ],
    ids=["apart", "together", "with text", "composed and decomposed"],
)
def test_a_name_used_twice_fails_the_second_row(tar_of: Callable[..., Source], names: list[str]) -> None:
    samples = list(tar_of(*((name, JPEG) for name in names)).samples())
    assert len(samples) == sum(name.endswith(".jpg") for name in names)
    assert [s.error.reason for s in samples if s.error] == ["duplicate_member"]
    assert samples[0].error is None and samples[-1].error is not None


def test_what_is_no_image_by_its_name_is_ignored(tar_of: Callable[..., Source]) -> None:
    source = tar_of(
        ("README.md", b"x"), ("index.parquet", b"x"), ("a.npy", b"x"), ("a.json", b"{}"), (".hidden.jpg", JPEG),
        ("._b.jpg", b"macOS"), ("b.jpg", JPEG), ("c.mov", b"film"), ("Thumbs.db", b"x"), ("d", b"x"),
    )  # fmt: skip
    assert pairs(source) == [("b", JPEG)]
    assert source.others == {"md": 1, "parquet": 1, "npy": 1, "mov": 1, "db": 1, "": 1}


def test_a_file_of_an_unknown_ending_is_what_its_first_bytes_are(tar_of: Callable[..., Source]) -> None:
    jpeg, png = bench.encoded(bench.picture(0)), bench.encoded(bench.picture(1), "png")
    assert pairs(tar_of(("a.img", jpeg), ("a.cap", b"x"), ("b", png), ("c.xyz", b"no"))) == [("a", jpeg), ("b", png)]


def test_links_and_folders_are_skipped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("d.jpg")
        info.size = len(JPEG)
        tar.addfile(info, io.BytesIO(JPEG))
    assert pairs(source_of(tmp_path)) == [("d", JPEG)]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(tmp_path: Path, format: int) -> None:
    name = "长" * 60 + "/" + "x" * 120
    with tarfile.open(tmp_path / "00000.tar", "w", format=format) as tar:
        info = tarfile.TarInfo(f"{name}.jpg")
        info.size = len(JPEG)
        tar.addfile(info, io.BytesIO(JPEG))
    assert pairs(source_of(tmp_path)) == [(name, JPEG)]


@pytest.mark.parametrize(
    ("json_bytes", "caption"),
    [
        (b'{"caption": "\\u8336"}', "茶"),
        (b'{"caption": 3}', None),
        (b'{"caption": ["", "a", "b"]}', "a"),
        (b'{"caption": NaN}', None),
        (b'{"TEXT": "t", "caption": "c"}', "c"),
        (b'{"TEXT": "t"}', "t"),
        (b'\xef\xbb\xbf{"caption": "x"}', "x"),
        (b'{"caption": null}', None),
        (b"{not json", None),
        (b"[1, 2]", None),
        (b"\xff\xfe", None),
    ],
)
def test_the_caption_without_a_txt_is_the_jsons(
    tar_of: Callable[..., Source], json_bytes: bytes, caption: str | None
) -> None:
    (sample,) = list(tar_of(("a.jpg", JPEG), ("a.json", json_bytes)).samples())
    assert sample.caption == caption and sample.error is None


def test_an_empty_txt_is_an_empty_caption(tar_of: Callable[..., Source]) -> None:
    (sample,) = list(tar_of(("a.jpg", JPEG), ("a.json", b'{"caption": "x"}'), ("a.txt", b"")).samples())
    assert sample.caption == ""


@pytest.mark.parametrize(
    "data, caption, note",
    [
        ("一只猫坐在窗台上".encode("gb18030"), "一只猫坐在窗台上", None),
        ("茶".encode("utf-16"), "茶", None),
        ("一只".encode("gb18030") + b"\xff\xfe\x80", None, "undecodable"),
        (b"a \x1b[31mred\x1b[0m dress", "a red dress", "control_characters"),
        ("a\u202etac".encode(), "atac", "control_characters"),
        (b"one\r\ntwo", "one\ntwo", None),
    ],
)
def test_a_caption_is_text_or_null(
    tar_of: Callable[..., Source], data: bytes, caption: str | None, note: str | None
) -> None:
    (sample,) = list(tar_of(("a.jpg", JPEG), ("a.txt", data)).samples())
    assert (sample.caption, sample.note) == (caption, note)


def test_broken_json_is_told(tar_of: Callable[..., Source]) -> None:
    (sample,) = list(tar_of(("a.jpg", JPEG), ("a.json", b"{broken")).samples())
    assert (sample.caption, sample.note) == (None, "broken_json")


def three(tmp_path: Path, make_tar: Callable[..., Path]) -> Path:
    return make_tar(tmp_path / "00000.tar", [(f"{n}.jpg", n.encode() * 3000) for n in "abc"])


@pytest.mark.parametrize(
    ("cut", "whole", "rows"),
    [(0, 0, 0), (100, 0, 0), (512, 0, 1), (1000, 0, 1), (3584, 1, 1), (3600, 1, 1), (4096, 1, 2), (5000, 1, 2)],
)
def test_a_truncated_tar_keeps_what_lies_before(
    tmp_path: Path, make_tar: Callable[..., Path], cut: int, whole: int, rows: int
) -> None:
    path = three(tmp_path, make_tar)
    path.write_bytes(path.read_bytes()[:cut])
    source = source_of(tmp_path)
    samples = list(source.samples())
    assert source.damage and "\n" not in source.damage
    good = [s for s in samples if s.error is None]
    assert [(s.member, s.data) for s in good] == [(n, n.encode() * 3000) for n in "abc"[:whole]]
    assert len(samples) <= rows
    assert all(s.error.reason == "truncated" for s in samples[whole:])


def test_a_tar_without_its_end_mark_is_noted(tmp_path: Path, make_tar: Callable[..., Path]) -> None:
    path = three(tmp_path, make_tar)
    path.write_bytes(path.read_bytes()[: 3 * (512 + 3072)])
    source = source_of(tmp_path)
    assert [s.member for s in list(source.samples())] == ["a", "b", "c"]
    assert source.damage and "end mark" in source.damage


def test_garbage_in_place_of_a_header_is_noted(tmp_path: Path, make_tar: Callable[..., Path]) -> None:
    path = three(tmp_path, make_tar)
    data = bytearray(path.read_bytes())
    data[3584 : 3584 + 512] = b"garbage!" * 64
    path.write_bytes(data)
    source = source_of(tmp_path)
    assert [s.member for s in list(source.samples())] == ["a"]
    assert source.damage and "3584" in source.damage


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100, gzip.compress(b"x" * 5000, mtime=0), bytes(200)])
def test_what_is_no_tar_is_noted(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "00000.tar").write_bytes(data)
    source = source_of(tmp_path)
    assert list(source.samples()) == []
    assert source.damage and "\n" not in source.damage


def test_an_empty_tar_is_whole(tar_of: Callable[..., Source]) -> None:
    source = tar_of()
    assert list(source.samples()) == [] and source.damage is None


@pytest.mark.parametrize("size", [-512, -1024])
def test_a_negative_size_ends_the_tar(tmp_path: Path, make_tar: Callable[..., Path], size: int) -> None:
    path = three(tmp_path, make_tar)
    data = bytearray(path.read_bytes())
    header = data[3584:4096]
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[3584:4096] = header
    path.write_bytes(data)
    source = source_of(tmp_path)
    samples = []
    for sample in source.samples():
        samples.append(sample)
        assert len(samples) < 10, "it goes round in circles"
    assert source.damage and samples[0].member == "a" and samples[0].error is None


# --- Parquet


def write_parquet(path: Path, rows: int = 6, **columns: list) -> Path:
    table = {"key": [f"{i:03d}" for i in range(rows)], "jpg": [b"%d" % i * (i + 1) for i in range(rows)]} | columns
    pq.write_table(pa.table(table), path, row_group_size=2)
    return path


def test_rows_of_a_parquet_file_in_order(tmp_path: Path) -> None:
    jpg = [b"0", None, b"2", b"", b"4", b"5"]
    write_parquet(tmp_path / "x.parquet", jpg=jpg, caption=list("abcdef"), url=[None] * 6)
    source = source_of(tmp_path, "parquet")
    samples = list(source.samples())
    assert [(s.member, s.data, s.caption) for s in samples] == [
        ("000", b"0", "a"), ("002", b"2", "c"), ("003", b"", "d"), ("004", b"4", "e"), ("005", b"5", "f")
    ]  # fmt: skip
    assert source.without_image == 1
    for sample in samples[::-1]:
        assert source.read(sample.member, sample.offset, len(sample.data)) == sample.data
    with pytest.raises(OSError):
        source.read("999", 6, 1)
    source.close()


def test_a_key_used_twice_fails_the_second_row(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", key=["a", "b", "a", "c", "d", "e"])
    errors = [s.error and s.error.reason for s in samples_of(tmp_path, "parquet")]
    assert errors[2] == "duplicate_member" and errors.count(None) == 5


def test_rows_without_a_key_are_numbered(tmp_path: Path) -> None:
    pq.write_table(pa.table({"png": [b"a", b"b"]}), tmp_path / "x.parquet")
    assert [s.member for s in samples_of(tmp_path, "parquet")] == ["0", "1"]


@pytest.mark.parametrize("columns", [{"text": ["a"]}, {"thumbnail_hash": [b"a"]}])
def test_a_table_without_image_bytes_costs_itself(tmp_path: Path, columns: dict) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    source = source_of(tmp_path, "parquet")
    assert list(source.samples()) == [] and source.table is None
    assert source.damage and "no column of image bytes" in source.damage


@pytest.mark.parametrize("data", [b"", b"PAR1 and no more", b"\0" * 100])
def test_what_is_no_parquet_file_is_noted(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(data)
    source = source_of(tmp_path, "parquet")
    assert list(source.samples()) == []
    assert source.damage and "\n" not in source.damage


def test_a_damaged_row_group_keeps_what_lies_before(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"jpg": [bytes([i]) * 200 for i in range(192)]}), path, row_group_size=64)
    at = pq.ParquetFile(path).metadata.row_group(2).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    source = source_of(tmp_path, "parquet")
    assert [s.data for s in source.samples()] == [bytes([i]) * 200 for i in range(128)]
    assert source.damage and "\n" not in source.damage


# --- files of their own


def test_a_file_has_its_text_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.b.jpg").write_bytes(JPEG)
    (tmp_path / "a.b.txt").write_text("dotted")
    (tmp_path / "c.png").write_bytes(PNG)
    (tmp_path / "c.json").write_text(json.dumps({"caption": "茶", "url": "http://x/c", "licence": "cc0"}))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e.webp").write_bytes(JPEG)
    a, c, e = samples_of(tmp_path, "folder")
    assert (a.member, a.caption) == ("a.b.jpg", "dotted")
    assert (c.member, c.caption, c.url, c.meta) == ("c.png", "茶", "http://x/c", {"licence": "cc0"})
    assert (e.member, e.data, e.caption) == ("d/e.webp", JPEG, None)


def test_a_vanished_file_is_gone_and_its_neighbours_are_not(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(JPEG)
    source = source_of(tmp_path, "folder")
    (tmp_path / "b.jpg").unlink()
    assert [(s.member, s.error.reason if s.error else "") for s in source.samples()] == [
        ("a.jpg", ""), ("b.jpg", "gone"), ("c.jpg", "")
    ]  # fmt: skip


def test_the_stamp_changes_with_a_file_its_text_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    stamps = [source_of(tmp_path, "folder").stamp()]
    (tmp_path / "a.txt").write_text("x")
    stamps.append(source_of(tmp_path, "folder").stamp())
    (tmp_path / "a.jpg").write_bytes(JPEG + b"more")
    stamps.append(source_of(tmp_path, "folder").stamp())
    source = source_of(tmp_path, "folder")
    (tmp_path / "a.jpg").unlink()
    stamps.append(source.stamp())
    assert all(a != b for i, a in enumerate(stamps) for b in stamps[:i])


def test_a_text_that_comes_as_json_changes_the_stamp(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    before = source_of(tmp_path, "folder").stamp()
    (tmp_path / "a.json").write_text('{"caption": "new"}')
    assert source_of(tmp_path, "folder").stamp() != before

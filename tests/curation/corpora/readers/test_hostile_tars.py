"""Hostile tars and folders: whatever their headers, members and names hold, nothing is lost without a word."""

import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.corpora.captions import text_file
from tests import bench
from tests.hostile import SECONDS, Sandbox, check_indexed, damaged, emptied_folder, fuzzed, indexed, pictures, tar_bytes


def mended_sums(data: bytes) -> bytes:
    """A tar with the checksum of each header put right, so that its other fields are believed."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        header = out[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(out)


@st.composite
def damaged_tar(draw: st.DrawFn) -> bytes:
    whole = tar_bytes(draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))
    data = bytearray(whole)
    headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    for _ in range(draw(st.integers(0, 2))):  # a field of a header: name, mode, size, type, prefix …
        at = draw(st.sampled_from(headers)) + draw(st.sampled_from([0, 3, 100, 124, 125, 135, 156, 157, 345]))
        value = draw(st.binary(min_size=1, max_size=12) | st.sampled_from([b"\x80" + b"\xff" * 11, b"7" * 11, b"L"]))
        data[at : at + len(value)] = value
    made = bytes(data)
    if made == whole or draw(st.booleans()):
        made = draw(damaged(st.just(made)))
    return mended_sums(made) if draw(st.booleans()) else made


@given(data=damaged_tar())
@fuzzed
def test_a_damaged_tar_gives_what_can_be_read_and_says_so(sandbox: Sandbox, raw: Path, data: bytes) -> None:
    (emptied_folder(raw) / "00000.tar").write_bytes(data)
    ended = sandbox(indexed, raw, "webdataset")
    check_indexed(ended, "00000.tar")
    assert ended["error"] is None
    assert ended["damage"] or len(ended["rows"]) >= 1


def with_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


ABSURD = {
    "a member of 8 EiB": with_header("b.jpg", 2**63 - 1),
    "a member of 2^88 bytes": with_header("b.jpg", 2**80),
    "a folder of 8 EiB": with_header("b", 2**63 - 1, tarfile.DIRTYPE),
    "a name of 4 EiB": with_header("b.jpg", 2**62, tarfile.GNUTYPE_LONGNAME),
    "a PAX header of 4 GiB": with_header("b.jpg", 2**32, tarfile.XHDTYPE),
    "ten thousand long names": (with_header("././@LongLink", 1, tarfile.GNUTYPE_LONGNAME) + bytes(512)) * 10_000,
    "a sparse member": with_header("b.jpg", 0, tarfile.GNUTYPE_SPARSE),
    "a PAX record without end": with_header("b", 20, tarfile.XHDTYPE) + b"99999999999 path=x\n" + bytes(493),
    "a PAX size of minus one": with_header("b", 11, tarfile.XHDTYPE) + b"11 size=-1\n" + bytes(501)
    + with_header("b.jpg", 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_headers_end_the_tar_and_cost_nothing_before_them(sandbox: Sandbox, raw: Path, kind: str) -> None:
    good = with_header("a.jpg", len(pictures()[0])) + pictures()[0]
    good += bytes(-len(good) % 512)
    (emptied_folder(raw) / "00000.tar").write_bytes(
        good + ABSURD[kind] + good.replace(b"a.jpg", b"z.jpg", 1) + bytes(1024)
    )
    begun = time.monotonic()
    ended = sandbox(indexed, raw, "webdataset")
    check_indexed(ended, "00000.tar")
    assert time.monotonic() - begun < SECONDS
    assert ended["error"] is None and [row["status"] for row in ended["rows"]][:1] == ["ok"]
    assert ended["damage"] or [row["status"] for row in ended["rows"][1:]] == ["failed", "ok"]


@pytest.mark.parametrize("format", ["webdataset", "folder"])
def test_a_file_that_no_picture_is_as_long_as_is_not_read(sandbox: Sandbox, tmp_path: Path, format: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    if format == "folder":
        with open(raw / "b.jpg", "wb") as file:
            file.truncate(3 << 30)  # a hole: it takes no disk
        (raw / "a.jpg").write_bytes(pictures()[0])
    else:
        with open(raw / "00000.tar", "wb") as file:
            for name, size in (("a.jpg", len(pictures()[0])), ("b.jpg", 3 << 30)):
                info = tarfile.TarInfo(name)
                info.size = size
                file.write(info.tobuf(tarfile.GNU_FORMAT))
                if name == "a.jpg":
                    file.write(pictures()[0])
                file.seek(-size % 512 + (size if name == "b.jpg" else 0), os.SEEK_CUR)
            file.write(bytes(1024))
    ended = sandbox(indexed, raw, format)
    assert [row["status"] for row in ended["rows"]] == ["ok", "failed"] and ended["damage"] is None
    assert ended["rows"][1]["error"].startswith("too_large: 3,221,225,472 bytes")


JSONS = [
    b"[" * 100_000, b'{"a":' * 100_000, b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", b"\xff\xfe\x00", b'{"a": 1e999}',
    b'{"a": ' + b"9" * 6000 + b"}", b'"text"', b"null", b"", b'{"a": "\\u0000"}', b'{"": {"": []}}', b"{" * 10,
    b'{"key": "x", "caption": {"no": "text"}, "url": ["u"]}',
]  # fmt: skip


@given(text=st.binary(max_size=60), meta=st.sampled_from(JSONS) | st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
@example(text=bytes(range(256)), meta=JSONS[0])
@example(text=b"", meta=JSONS[1])
@example(text=b"", meta=JSONS[2])
@fuzzed
def test_whatever_lies_beside_a_picture_it_is_indexed(sandbox: Sandbox, raw: Path, text: bytes, meta: bytes) -> None:
    bench.write_tar(emptied_folder(raw) / "00000.tar", {"a.jpg": pictures()[0], "a.txt": text, "a.json": meta,
                                                 "b.jpg": pictures()[1], "b.json": b'{"a": 1}'})  # fmt: skip
    ended = sandbox(indexed, raw, "webdataset")
    check_indexed(ended, "00000")
    assert [row["status"] for row in ended["rows"]] == ["ok", "ok"]
    assert ended["rows"][0]["caption"] == text_file(text)[0]


@pytest.mark.slow
def test_pipes_devices_and_folders_in_the_place_of_files_stop_nothing(sandbox: Sandbox, raw: Path) -> None:
    emptied_folder(raw)
    (raw / "a.jpg").write_bytes(pictures()[0])
    for name in ("a.txt", "a.json", "folder.jpg"):
        (raw / name).mkdir()
    os.mkfifo(raw / "pipe.jpg")
    (raw / "endless.jpg").symlink_to("/dev/zero")
    (raw / "linked.jpg").symlink_to("pipe.jpg")
    (raw / "nowhere.jpg").symlink_to("missing")
    ended = sandbox(indexed, raw, "folder")
    assert [(row["member"], row["status"]) for row in ended["rows"]] == [("a.jpg", "ok"), ("nowhere.jpg", "gone")]

"""Hostile input: whatever a picture, a container or a file of the workspace holds, every image ends with a status and
a reason, in little memory and time, and no fault of the disk becomes wrong data."""

import hashlib
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import struct
import tarfile
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.captions import stage as captions
from curation.corpus import list_sources, open_source
from curation.errors import StageError, UserError
from curation.images import ImageError, Picture, decode, probe
from curation.index import known_shard
from curation.ledger import Ledger
from curation.recipe import Recipe
from curation.select import Selection
from curation.shards import build
from curation.shards.strip import StripError, strip_metadata
from curation.signals.base import Row, Scores, SignalParams
from curation.signals.photo import Photo
from curation.tasks import Watch
from curation.workspace import Workspace, footer
from tests import bench

REASONS = {"empty", "not_an_image", "truncated", "corrupt", "too_large", "unreadable", "duplicate_member", "bad_name"}
MEMORY = 8 << 30
"""Bytes of address space that a child process may take beside what it begins with; threads reserve much of it."""
SECONDS = 30
"""That one call in it may take."""

fuzzed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # not to shrink: a call that hangs takes half a minute each time
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


# --- a process of its own, for what native decoders are fed


def _limit() -> None:
    begun = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (begun + MEMORY, begun + MEMORY))


def _timed(function: Callable[..., Any], *args: Any) -> Any:
    signal.alarm(SECONDS)  # its default is to end the process
    try:
        return function(*args)
    finally:
        signal.alarm(0)


class Sandbox:
    """Calls functions in a process of little memory, which may die or hang without taking the tests with it."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        self.pool = self.pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _limit)
        try:
            return self.pool.submit(_timed, function, *args).result()
        except BrokenProcessPool:
            self.pool = None
            pytest.fail(f"{function.__name__}: the process crashed, or took more than {SECONDS} s")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    box = Sandbox()
    yield box
    if box.pool:
        box.pool.shutdown()


# --- corruptions


@st.composite
def damaged(draw: st.DrawFn, wholes: st.SearchStrategy[bytes]) -> bytes:
    """A good file with one to three faults: cut, flipped bits, overwritten or missing runs, foreign parts."""
    data = bytearray(draw(wholes))
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, min(64, len(data) - 1)) | st.just(len(data) - 1))
        run = draw(st.sampled_from([1, 4, 12, 100, 600]))
        fault = draw(st.sampled_from(["cut", "flip", "zero", "ones", "lost", "doubled", "header", "spliced"]))
        if fault == "cut":
            del data[at:]
        elif fault == "flip":
            for place in draw(st.lists(st.integers(at, min(at + run, len(data) - 1)), min_size=1, max_size=6)):
                data[place] ^= 1 << draw(st.integers(0, 7))
        elif fault in ("zero", "ones"):
            data[at : at + run] = (b"\0" if fault == "zero" else b"\xff") * len(data[at : at + run])
        elif fault == "lost":
            del data[at : at + run]
        elif fault == "doubled":
            data[at:at] = data[at : at + run]
        elif fault == "header":
            data[:run] = draw(wholes)[:run]
        else:
            data[at:] = draw(wholes)[at:]
    return bytes(data)


@cache
def pictures() -> list[bytes]:
    """Small good files of the formats that the web is made of."""
    plain, clear = bench.picture(1, (48, 36)), bench.picture(2, (40, 40)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((40, 40)))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        bench.encoded(plain, exif=exif.tobytes()),
        bench.encoded(bench.picture(3, (50, 30)), progressive=True, subsampling=0),
        bench.encoded(plain.convert("L")),
        bench.encoded(plain.convert("CMYK")),
        bench.encoded(plain, "PNG", exif=exif.tobytes()),
        bench.encoded(clear, "PNG"),
        bench.encoded(plain.quantize(16), "PNG"),
        bench.encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"),
        bench.encoded(plain, "WEBP", exif=exif.tobytes()),
        bench.encoded(clear, "WEBP", lossless=True),
        bench.encoded(plain, "WEBP", save_all=True, append_images=[clear.resize((48, 36))]),
        bench.encoded(plain, "GIF", save_all=True, append_images=[plain.rotate(90)]),
    ]


# --- a corpus of damaged pictures


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


def fates(folder: Path, files: list[bytes]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Indexes, scores and selects a tar of these files: the samples, the photo scores, the funnel."""
    shutil.rmtree(folder / "work", ignore_errors=True)
    bench.write_tar(folder / "raw" / "00000.tar", {f"{n:03d}.jpg": data for n, data in enumerate(files)})
    made = bench.recipe(
        folder,
        signals={"photo": {}, "caption": {}, "aesthetic": {}},
        select={"where": {"bright": "brightness >= 0", "told": "caption_words >= 0", "beauty": "aesthetic >= 1"}},
    )
    bench.index(made)
    bench.score(made)
    funnel = Selection(made).write()
    assert funnel.complete and funnel.input == len(files)
    workspace = Workspace(made.workspace)
    samples = bench.rows(workspace.samples("c", "00000"))
    chosen = bench.rows(workspace.selection("c", "00000"))
    assert [row["key"] for row in chosen] == [row["key"] for row in samples]
    assert sum(row["fate"] == "kept" for row in chosen) == funnel.kept
    sidecar = workspace.signal("photo", "c", "00000")
    scores = bench.rows(sidecar) if sidecar.exists() else [{"photo_state": "skipped", "brightness": None}] * len(files)
    return samples, scores, funnel.as_dict()


@given(files=st.lists(damaged(st.sampled_from(pictures())), min_size=8, max_size=12))
@settings(fuzzed, max_examples=30)
def test_every_damaged_picture_ends_with_a_status_and_a_reason(
    sandbox: Sandbox, corpus: Path, files: list[bytes]
) -> None:
    samples, scores, funnel = sandbox(fates, corpus, files)
    assert len(samples) == len(scores) == len(files)
    for sample, photo, data in zip(samples, scores, files, strict=True):
        assert sample["sha256"] == hashlib.sha256(data).hexdigest()
        if sample["status"] == "failed":
            assert sample["error"].split(":")[0] in REASONS and "\n" not in sample["error"]
            assert photo["photo_state"] == "skipped" and photo["brightness"] is None
            continue
        assert sample["status"] == "ok" and sample["min_side"] >= 1
        if photo["photo_state"] == "failed":
            assert photo["photo_error"].split(":")[0] in REASONS and "\n" not in photo["photo_error"]
            assert photo["brightness"] is None
        else:
            assert photo["photo_state"] == "scored" and 0 <= photo["brightness"] <= 1 and photo["sharpness"] >= 0
    assert funnel["failed"] == sum(s["status"] == "failed" for s in samples)


def stripped(data: bytes) -> str:
    """What becomes of a file that is about to be published."""
    try:
        pixels, format = decode(data, 64), probe(data).format
    except ImageError as error:
        return error.reason
    if format not in ("jpeg", "png", "webp"):
        return "rewritten"
    try:
        published = strip_metadata(data, format)
    except StripError as error:
        return "refused" if "\n" not in str(error) else str(error)
    return "same" if np.array_equal(decode(published, 64), pixels) else "other pixels"


@given(data=damaged(st.sampled_from(pictures())))
@fuzzed
def test_a_damaged_picture_that_is_published_has_the_pixels_that_were_scored(sandbox: Sandbox, data: bytes) -> None:
    assert sandbox(stripped, data) in REASONS | {"rewritten", "refused", "same"}


# --- bombs


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, row: bytes, *before: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of equal rows, well packed; `row` without its filter byte."""
    packer = zlib.compressobj(6)
    packed = b"".join(packer.compress(b"\0" + row) for _ in range(height)) + packer.flush() if row else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    """The file with other numbers in its header."""
    return data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :]


def webp_bomb() -> bytes:
    """An extended WebP whose canvas is as large as the format allows; its picture is small."""
    data = pictures()[9] if pictures()[9][12:16] == b"VP8X" else pictures()[10]
    return patched(data, 24, "<HBHB", 16_383 & 0xFFFF, 0, 16_383 & 0xFFFF, 0)


def tiff_bomb() -> bytes:
    """A TIFF whose directory says 60,000 × 60,000."""
    data = bytearray(bench.encoded(bench.picture(1, (8, 8)), "TIFF"))
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, at)[0]):
        place = at + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] in (256, 257):
            struct.pack_into("<HII", data, place + 2, 4, 1, 60_000)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(30_000, 30_000, b""),
    "png that really unpacks": lambda: png(9_000, 9_000, bytes(27_000)),
    "gif": lambda: patched(bench.encoded(bench.picture(1, (8, 8)), "GIF"), 6, "<HH", 65_535, 65_535),
    "webp": webp_bomb,
    "bmp": lambda: patched(bench.encoded(bench.picture(1, (8, 8)), "BMP"), 18, "<ii", 40_000, 40_000),
    "tiff": tiff_bomb,
}


def cost(data: bytes, side: int) -> tuple[str, float, int]:
    """What reading a picture ends with, the seconds and the MiB by which it has made the process grow."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        decode(data, side)
        ended = "decoded"
    except ImageError as error:
        ended = str(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return ended, time.monotonic() - begun, grown // 1024


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_declared_size(sandbox: Sandbox, kind: str) -> None:
    ended, seconds, grown = sandbox(cost, BOMBS[kind](), 512)
    assert re.fullmatch(r"too_large: declared size \d+x\d+ is over 64 megapixels", ended)
    assert seconds < 5 and grown < 32


@pytest.mark.parametrize("before", [
    chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)),
    chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(200_000_000), 9)),
    chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(200_000_000), 9)),
], ids=["zTXt", "iTXt", "iCCP"])  # fmt: skip
def test_metadata_that_unpacks_to_much_costs_little(sandbox: Sandbox, before: bytes) -> None:
    ended, seconds, grown = sandbox(cost, png(8, 8, bytes(24), before), 512)
    assert ended == "decoded" or ended.split(":")[0] in REASONS
    assert seconds < 5 and grown < 80


def test_the_largest_picture_that_is_read_fits_into_a_workers_memory() -> None:
    box = Sandbox()  # a new one, whose largest size so far is small
    for depth, colour, bytes_a_pixel in ((16, 0, 2), (8, 2, 3)):  # gray, then colour
        data = png(8_000, 8_000, bytes(8_000 * bytes_a_pixel), depth=depth, colour=colour)
        ended, _, grown = box(cost, data, 512)
        assert ended == "decoded" and grown < 800
    assert box.pool
    box.pool.shutdown()


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


# --- odd pictures with sane scores


def photo(data: bytes) -> Scores:
    """The photo statistics of one file."""
    return Photo(SignalParams()).score_one(Row(Picture(data), {}, {}))


def turned(orientation: int, format: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return bench.encoded(bench.picture(7, (400, 300)), format, exif=exif.tobytes(), **options)


UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_a_turned_picture_scores_as_its_upright_twin(format: str, orientation: int) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    upright = bench.picture(7, (400, 300)).transpose(UPRIGHT[orientation])
    assert photo(turned(orientation, format, **options)) == photo(bench.encoded(upright, "PNG"))


def test_a_turned_jpeg_scores_as_its_upright_twin() -> None:
    given = photo(turned(6, "JPEG", quality=95))
    twin = photo(bench.encoded(bench.picture(7, (400, 300)).transpose(UPRIGHT[6]), quality=95))
    for name in ("brightness", "contrast", "clip_low", "clip_high", "border_share"):
        assert given[name] == pytest.approx(twin[name], abs=0.01), name
    assert given["sharpness"] == pytest.approx(twin["sharpness"], rel=0.05)
    assert bin(given["phash"] ^ twin["phash"]).count("1") <= 2


def test_white_on_nothing_is_white() -> None:
    white = Image.new("RGBA", (300, 200), (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), (50, 50, 250, 150))
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        scores = photo(bench.encoded(white, format, **options))
        assert scores["brightness"] == 1 and scores["clip_high"] == 1 and scores["phash"] is None
    black = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    assert photo(bench.encoded(black, "PNG"))["brightness"] == 1
    black.putalpha(128)
    assert photo(bench.encoded(black, "PNG"))["brightness"] == pytest.approx(0.5, abs=0.01)


def test_sixteen_bit_gray_scores_as_its_eight_bit_twin() -> None:
    gray = np.asarray(bench.picture(4, (320, 240)).convert("L"))
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    given, twin = photo(bench.encoded(deep, "PNG")), photo(bench.encoded(Image.fromarray(gray), "PNG"))
    assert given == twin
    assert 0.2 < given["brightness"] < 0.8 and given["clip_high"] < 0.2


def test_cmyk_is_as_bright_as_its_rgb_twin() -> None:
    image = bench.picture(5, (320, 240))
    given, twin = photo(bench.encoded(image.convert("CMYK"), quality=95)), photo(bench.encoded(image, quality=95))
    assert given["brightness"] == pytest.approx(twin["brightness"], abs=0.02)
    assert given["contrast"] == pytest.approx(twin["contrast"], abs=0.02)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_an_animation_scores_as_its_first_frame(format: str) -> None:
    first, second = bench.picture(6, (200, 150)).quantize(200).convert("RGB"), Image.new("RGB", (200, 150), "black")
    options = {"lossless": True} if format == "WEBP" else {}
    moving = bench.encoded(first, format, save_all=True, append_images=[second, second], **options)
    assert photo(moving) == photo(bench.encoded(first, format, **options))


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (2, 3)])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "I;16"])
def test_the_smallest_and_the_thinnest_have_finite_scores(size: tuple[int, int], mode: str) -> None:
    values = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values)
    image = Image.fromarray(values[:, :, 0].astype(np.uint16) * 200) if mode == "I;16" else image.convert(mode)
    scores = photo(bench.encoded(image, "PNG"))
    assert all(value is None or np.isfinite(value) for value in scores.values())
    assert 0 <= scores["brightness"] <= 1 and 0 <= scores["border_share"] <= 1 and 0 <= scores["seam_score"] <= 1


# --- containers


@cache
def tar_bytes(format: int) -> bytes:
    """Three pictures with texts and JSON, one of them with a long and foreign name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for n, name in enumerate(["a", "图" * 50 + "/b", "c"]):
            for ending, data in (("jpg", pictures()[n]), ("txt", b"text"), ("json", b'{"url": "http://x/", "n": 1}')):
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


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


def indexed(raw: Path, format: str) -> dict[str, Any]:
    """Indexes a corpus anew and reads back what is there: rows, damage, or the error that ended it."""
    folder = raw.parent
    shutil.rmtree(folder / "work", ignore_errors=True)
    made = bench.recipe(folder, corpora=[{"name": "c", "path": f"./{raw.name}", "format": format}])
    try:
        bench.index(made)
    except (UserError, StageError) as error:
        return {"rows": [], "damage": None, "error": str(error), "other": [], "notes": {"rows": 0, "failed": 0}}
    samples = Workspace(made.workspace).samples("c", "00000")
    rows = bench.rows(samples)
    (source,) = list_sources(made.corpora[0])
    source = open_source(made.corpora[0], source.shard, source.path, source.members)
    other = []
    for row in rows:
        if row["status"] == "ok":
            try:
                data = source.read(row["member"], row["offset"], row["length"])
            except OSError as error:
                data = str(error).encode()
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                other.append(row["key"])
    notes = known_shard(Workspace(made.workspace), Ledger(Workspace(made.workspace), "index"), "c", "00000")
    assert notes is not None
    return {"rows": rows, "damage": notes["damage"], "error": None, "other": other, "notes": notes}


def check(ended: dict[str, Any], name: str) -> None:
    """Nothing is lost without a word: statuses, reasons, keys, counts, and bytes that are those that were indexed."""
    assert ended["other"] == []
    if ended["error"]:
        assert "\n" not in ended["error"] and (name in ended["error"] or "no column of image bytes" in ended["error"])
    rows = ended["rows"]
    assert len(rows) == ended["notes"]["rows"]
    assert sum(row["status"] == "failed" for row in rows) == ended["notes"]["failed"]
    for row in rows:
        assert row["status"] in ("ok", "failed")
        assert (row["error"] is None) == (row["status"] == "ok")
        assert row["error"] is None or (row["error"].split(":")[0] in REASONS and "\n" not in row["error"])
    keys = [row["key"] for row in rows if row["status"] == "ok"]
    assert len(set(keys)) == len(keys)
    assert ended["damage"] is None or (ended["damage"] and "\n" not in ended["damage"])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("containers") / "raw"
    folder.mkdir()
    return folder


def emptied(raw: Path) -> Path:
    shutil.rmtree(raw)
    raw.mkdir()
    return raw


@given(data=damaged_tar())
@fuzzed
def test_a_damaged_tar_gives_what_can_be_read_and_says_so(sandbox: Sandbox, raw: Path, data: bytes) -> None:
    (emptied(raw) / "00000.tar").write_bytes(data)
    ended = sandbox(indexed, raw, "webdataset")
    check(ended, "00000.tar")
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
    (emptied(raw) / "00000.tar").write_bytes(good + ABSURD[kind] + good.replace(b"a.jpg", b"z.jpg", 1) + bytes(1024))
    begun = time.monotonic()
    ended = sandbox(indexed, raw, "webdataset")
    check(ended, "00000.tar")
    assert time.monotonic() - begun < SECONDS
    assert ended["error"] is None and [row["status"] for row in ended["rows"]][:1] == ["ok"]
    assert ended["damage"] or [row["status"] for row in ended["rows"][1:]] == ["failed", "ok"]


@given(data=damaged_parquet(with_images=True))
@fuzzed
def test_a_damaged_parquet_shard_gives_what_can_be_read_and_says_so(sandbox: Sandbox, raw: Path, data: bytes) -> None:
    (emptied(raw) / "00000.parquet").write_bytes(data)
    ended = sandbox(indexed, raw, "parquet")
    check(ended, "00000")
    assert ended["error"] or ended["damage"] or len(ended["rows"]) == 4


@given(data=damaged_parquet(with_images=False))
@fuzzed
def test_a_damaged_table_beside_a_tar_is_named_in_one_line(sandbox: Sandbox, raw: Path, data: bytes) -> None:
    (emptied(raw) / "00000.tar").write_bytes(tar_bytes(tarfile.PAX_FORMAT))
    (raw / "00000.parquet").write_bytes(data)
    ended = sandbox(indexed, raw, "webdataset")
    check(ended, "00000.parquet")
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
    pq.write_table(pa.table(columns), emptied(raw) / "00000.parquet")
    ended = indexed(raw, "parquet")
    check(ended, "00000")
    assert [row["error"].split(":")[0] for row in ended["rows"]] == ["not_an_image", "not_an_image"]


@pytest.mark.parametrize("columns", [
    {"key": ["a"], "caption": ["no image"]},
    {"key": ["a"], "jpg": ["text"]},
    {"key": ["a"], "jpg": [[1, 2]]},
], ids=["no image", "image as text", "image as list"])  # fmt: skip
def test_parquet_of_another_schema_is_refused_in_one_line(raw: Path, columns: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(columns), emptied(raw) / "00000.parquet")
    assert "no column of image bytes" in indexed(raw, "parquet")["error"]


def test_parquet_keys_that_differ_in_unicode_form_only_are_one(raw: Path) -> None:
    keys = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    pq.write_table(pa.table({"key": keys, "jpg": pictures()[:2]}), emptied(raw) / "00000.parquet")
    rows = indexed(raw, "parquet")["rows"]
    assert [row["status"] for row in rows] == ["ok", "failed"] and rows[1]["error"].startswith("duplicate_member")


@pytest.mark.parametrize("place", ["shard", "table"])
def test_parquet_texts_in_another_encoding_cost_no_row(raw: Path, place: str) -> None:
    broken = pa.array([b"caf\xe9", b"fine"]).view(pa.string())  # as writers that do not look leave it
    columns: dict[str, Any] = {"key": ["a", "c"], "caption": broken, "licence": broken}
    if place == "shard":
        pq.write_table(pa.table(columns | {"jpg": pictures()[:2]}), emptied(raw) / "00000.parquet")
    else:
        pq.write_table(pa.table(columns), emptied(raw) / "00000.parquet")
        bench.write_tar(raw / "00000.tar", {"a.jpg": pictures()[0], "c.jpg": pictures()[1]})
    ended = indexed(raw, "parquet" if place == "shard" else "webdataset")
    check(ended, "00000")
    assert [row["caption"] for row in ended["rows"]] == ["caf\ufffd", "fine"]
    assert [row["meta_licence"] for row in ended["rows"]] == ["caf\ufffd", "fine"]


def test_a_broken_further_column_costs_no_picture(raw: Path) -> None:
    """The images are read from one column, their licences from another."""
    table = pa.table({"key": ["a", "b"], "jpg": pictures()[:2], "licence": ["x" * 50, "y" * 50]})
    path = emptied(raw) / "00000.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False)
    at = pq.ParquetFile(path).metadata.row_group(0).column(2).data_page_offset
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])
    ended = indexed(raw, "parquet")
    assert [row["status"] for row in ended["rows"]] == ["ok", "ok"]
    assert ended["damage"].startswith("damaged Parquet file: ")


def test_a_shard_that_broke_after_the_index_fails_its_rows_or_itself(raw: Path) -> None:
    path = emptied(raw) / "00000.parquet"
    pq.write_table(pa.table({"key": ["a", "b"], "jpg": pictures()[:2]}), path, compression="none", use_dictionary=False)
    source = list_sources(
        bench.recipe(raw.parent, corpora=[{"name": "c", "path": "./raw", "format": "parquet"}]).corpora[0]
    )[0]
    at = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])
    with pytest.raises(OSError) as caught:
        source.read("a", 0, len(pictures()[0]))
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"key": ["a", "b"], "jpg": pa.array([None, None], pa.binary())}), path)
    assert list_sources(source.corpus)[0].read("a", 0, 10) == b""


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
    bench.write_tar(emptied(raw) / "00000.tar", {"a.jpg": pictures()[0], "a.txt": text, "a.json": meta,
                                                 "b.jpg": pictures()[1], "b.json": b'{"a": 1}'})  # fmt: skip
    ended = sandbox(indexed, raw, "webdataset")
    check(ended, "00000")
    assert [row["status"] for row in ended["rows"]] == ["ok", "ok"]
    assert ended["rows"][0]["caption"] == text.decode("utf-8", "replace").strip()


def test_pipes_devices_and_folders_in_the_place_of_files_stop_nothing(sandbox: Sandbox, raw: Path) -> None:
    emptied(raw)
    (raw / "a.jpg").write_bytes(pictures()[0])
    for name in ("a.txt", "a.json", "folder.jpg"):
        (raw / name).mkdir()
    os.mkfifo(raw / "pipe.jpg")
    (raw / "endless.jpg").symlink_to("/dev/zero")
    (raw / "linked.jpg").symlink_to("pipe.jpg")
    (raw / "nowhere.jpg").symlink_to("missing")
    ended = sandbox(indexed, raw, "folder")
    assert [(row["member"], row["status"]) for row in ended["rows"]] == [("a.jpg", "ok"), ("nowhere.jpg", "gone")]


# --- the workspace's own files, damaged by the disk


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A small finished job, and a copy of its workspace."""
    folder = tmp_path_factory.mktemp("job")
    members: dict[str, bytes] = {}
    for n in range(4):
        members |= {f"{n}.jpg": bench.encoded(bench.picture(n, (96, 72))), f"{n}.txt": b"picture %d" % n}
    bench.write_tar(folder / "raw" / "00000.tar", members)
    (folder / "files").mkdir()
    for n in range(3):
        (folder / "files" / f"{n}.jpg").write_bytes(bench.encoded(bench.picture(10 + n, (96, 72))))
    made = bench.recipe(
        folder,
        corpora=[{"name": "c", "path": "./raw"}, {"name": "f", "path": "./files", "format": "folder"}],
        signals={"photo": {}, "aesthetic": {}},
        select={"where": {"bright": "brightness >= 0"}},
    )
    run(made)
    shutil.copytree(folder / "work", folder / "kept")
    return made, folder / "kept"


def run(made: Recipe, stages: str = "index score select caption build") -> None:
    """Runs some of the stages in this process."""
    if "index" in stages:
        bench.index(made)
    if "score" in stages:
        bench.score(made)
    if "select" in stages:
        Selection(made).write()
    if "caption" in stages:
        ledger = Ledger(Workspace(made.workspace), "caption", writable=True)
        for task in captions.plan(made).tasks:
            ledger.add(task.corpus, task.shard, task.run(Watch()).line)
    plans = build.plan(made)
    ledger = Ledger(Workspace(made.workspace), "build-shards", writable=True)
    for phase in plans:
        for shard in phase.stale:
            ledger.add(shard.corpus, shard.shard, shard.run(Watch()).line)
    build.finish(made, plans)


def page_of(path: Path) -> int:
    """The place of the first column's first page."""
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    return min(at for at in (column.dictionary_page_offset, column.data_page_offset) if at)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> bytes:
    """The file with other rows under the same footer, as an old backup may be."""
    table = pq.read_table(path)
    buffer = io.BytesIO()
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), buffer, compression="zstd")
    return buffer.getvalue()


FAULTS: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda path: b"",
    "half": lambda path: path.read_bytes()[: path.stat().st_size // 2],
    "end": lambda path: path.read_bytes()[:-5],
    "zeros": lambda path: bytes(path.stat().st_size),
    "page": lambda path: patched(path.read_bytes(), page_of(path), "40s", b"\xff" * 40),  # type: ignore[arg-type]
    "a row less": lambda path: rewritten(path, lambda table: table.slice(1)),
    "other order": lambda path: rewritten(path, lambda table: table.take(list(range(table.num_rows))[::-1])),
}
FILES = {
    "samples": "samples/c/00000.parquet",
    "listing": "samples/f/files.parquet",
    "signal": "signals/photo/c/00000.parquet",
    "wide": "signals/.wide/c/00000.parquet",
    "selection": "selection/c/00000.parquet",
    "captions": "captions/c/00000.parquet",
    "product": "shards/concept/000000.parquet",
    "plan": "shards/.plan/concept/000000.parquet",
}


def after(made: Recipe, kept: Path, file: str, data: bytes, stages: str = "index score select caption build") -> None:
    """Damages one file of the finished job and runs it again: it is as it was, or one line names the file."""
    work = Path(made.workspace)
    shutil.rmtree(work)
    shutil.copytree(kept, work)
    (work / file).write_bytes(data)
    try:
        run(made, stages)
    except (UserError, StageError) as error:
        assert "\n" not in str(error) and str(work / file) in str(error), str(error)
    else:
        done, whole = bench.tree(work), bench.tree(kept)
        assert done.keys() == whole.keys()
        assert [name for name in whole if done[name] != whole[name] and not same_rows(work / name, kept / name)] == []


def same_rows(one: Path, other: Path) -> bool:
    """Whether two tables say the same: some bits of a page's header, which no checksum covers, mean nothing."""
    return one.suffix == ".parquet" and pq.read_table(one).equals(pq.read_table(other))


ALIGNED = {"a row less": ("samples", "signal", "wide", "selection", "captions"),
           "other order": ("signal", "selection", "captions")}  # fmt: skip


def cases() -> list[Any]:
    pairs = [(n, f) for n in FILES for f in FAULTS if f not in ALIGNED or n in ALIGNED[f]]
    return pairs


@pytest.mark.parametrize(("name", "fault"), cases())
def test_a_damaged_file_of_the_workspace_is_made_again_or_named(
    workspace: tuple[Recipe, Path], name: str, fault: str
) -> None:
    made, kept = workspace
    after(made, kept, FILES[name], FAULTS[fault](kept / FILES[name]))


@pytest.mark.parametrize("fault", ["empty", "half", "end", "zeros", "page"])
@pytest.mark.parametrize(("name", "stages"), [("selection", "caption build"), ("selection", "build"),
                                              ("captions", "build"), ("wide", "build")])  # fmt: skip
def test_a_later_stage_alone_says_what_is_damaged(
    workspace: tuple[Recipe, Path], name: str, stages: str, fault: str
) -> None:
    made, kept = workspace
    try:
        after(made, kept, FILES[name], FAULTS[fault](kept / FILES[name]), stages)
    except AssertionError as error:  # the file, or the shard and the stage to run
        if not re.search(r"c/00000.*run `curate (select|caption) RECIPE`", str(error)):
            raise


LINES = [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"define": 3}', b'{"shard": 3}', b'{"shard": "c/00000", "files": 3}',
         b'{"shard": "c/00000"}', b"[" * 10_000]  # fmt: skip


@pytest.mark.parametrize(("stage", "line"), [
    pytest.param(s, n, id=f"{s}-{i}")
    for s in ("index", "score", "caption") for i, n in enumerate(LINES)
])  # fmt: skip
def test_a_damaged_line_of_the_ledger_costs_one_more_look(
    workspace: tuple[Recipe, Path], stage: str, line: bytes
) -> None:
    made, kept = workspace
    file = f".ledger/{stage}.jsonl"
    after(made, kept, file, (kept / file).read_bytes() + b"\n" + line)


def test_a_damaged_funnel_is_made_again(workspace: tuple[Recipe, Path]) -> None:
    after(*workspace, "selection/funnel.json", b"[]")


@pytest.mark.parametrize("fault", ["empty", "half", "end", "zeros"])
def test_a_damaged_product_tar_is_made_again(workspace: tuple[Recipe, Path], fault: str) -> None:
    made, kept = workspace
    file = "shards/concept/000000.tar"
    after(made, kept, file, FAULTS[fault](kept / file))


@given(name=st.sampled_from(["samples", "signal", "captions", "product"]), place=st.floats(0, 1), bit=st.integers(0, 7))
@settings(fuzzed, max_examples=60)
def test_a_flipped_bit_in_a_page_is_never_believed(
    workspace: tuple[Recipe, Path], name: str, place: float, bit: int
) -> None:
    made, kept = workspace
    data = bytearray((kept / FILES[name]).read_bytes())
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # where the footer begins
    data[4 + int(place * (end - 5))] ^= 1 << bit
    after(made, kept, FILES[name], bytes(data))


def test_the_footer_of_an_untouched_workspace_is_whole(workspace: tuple[Recipe, Path]) -> None:
    made, kept = workspace
    assert all(footer(kept / file) for file in FILES.values())
    after(made, kept, FILES["samples"], (kept / FILES["samples"]).read_bytes())

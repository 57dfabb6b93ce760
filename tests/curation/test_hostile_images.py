"""Hostile pictures: each ends with a status and a reason, in little memory and time, or with scores that are sane."""

import hashlib
import re
import resource
import shutil
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.errors import reason_of
from curation.images import ImageError, Picture, decode, probe
from curation.models.plugin import PluginParams
from curation.selection.stage import Selection
from curation.shards.strip_metadata import StripError, strip_metadata
from curation.signals.base import Row, Scores
from curation.signals.photo import Photo
from curation.workspace import Workspace
from tests import bench
from tests.hostile import REASONS, Sandbox, damaged, fuzz, fuzzed, patched, pictures


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
    funnel = Selection(bench.opened(made)).write()
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
@fuzz(30)
def test_every_damaged_picture_ends_with_a_status_and_a_reason(
    sandbox: Sandbox, corpus: Path, files: list[bytes]
) -> None:
    samples, scores, funnel = sandbox(fates, corpus, files)
    assert len(samples) == len(scores) == len(files)
    for sample, photo, data in zip(samples, scores, files, strict=True):
        assert sample["sha256"] == hashlib.sha256(data).hexdigest()
        if sample["status"] == "failed":
            assert reason_of(sample["error"]) in REASONS and "\n" not in sample["error"]
            assert photo["photo_state"] == "skipped" and photo["brightness"] is None
            continue
        assert sample["status"] == "ok" and sample["min_side"] >= 1
        if photo["photo_state"] == "failed":
            assert reason_of(photo["photo_error"]) in REASONS and "\n" not in photo["photo_error"]
            assert photo["brightness"] is None
        else:
            assert photo["photo_state"] == "scored" and 0 <= photo["brightness"] <= 1 and photo["sharpness"] >= 0
    undecoded = sum(photo["photo_state"] == "failed" for photo in scores)
    assert funnel["failed"] == undecoded + sum(s["status"] == "failed" for s in samples)


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
    assert ended == "decoded" or reason_of(ended) in REASONS
    assert seconds < 5 and grown < 80


@pytest.mark.slow
def test_the_largest_picture_that_is_read_fits_into_a_workers_memory() -> None:
    box = Sandbox()  # a new one, whose largest size so far is small
    for depth, colour, bytes_a_pixel in ((16, 0, 2), (8, 2, 3)):  # gray, then colour
        data = png(8_000, 8_000, bytes(8_000 * bytes_a_pixel), depth=depth, colour=colour)
        ended, _, grown = box(cost, data, 512)
        assert ended == "decoded" and grown < 800
    assert box.pool
    box.pool.shutdown()


# --- odd pictures with sane scores


def photo(data: bytes) -> Scores:
    """The photo statistics of one file's pixels."""
    scores = Photo(PluginParams()).score_one(Row(Picture(data), {}, {}))
    return {name: value for name, value in scores.items() if name not in ("bits_per_pixel", "jpeg_quality")}


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

"""HEIC and JPEG XL: recognized by their bytes, read with the packages of an extra, else refused with the remedy."""

import importlib.util
import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from curation.decoding import formats
from curation.errors import ImageError
from curation.images import MAX_PIXELS, Picture, decode, decode_whole, probe
from tests import profiles
from tests.curation.test_images import pixels_of, quarters, rgb, save, turned

DATA = Path(__file__).parents[2] / "data"
FILES = {format: (DATA / f"quarters.{format}").read_bytes() for format in ("heic", "jxl")}
READABLE = {format: importlib.util.find_spec(package) is not None for format, package in formats.PACKAGES.items()}


def needs(format: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not READABLE[format], reason=f"{formats.PACKAGES[format]} is not installed")


@pytest.fixture(autouse=True)
def plugins() -> None:
    """The packages also write the formats, which tests ask for."""
    for format in FILES:
        if READABLE[format]:
            formats.load_plugin(format)


both = pytest.mark.parametrize("format", [pytest.param(f, marks=needs(f)) for f in FILES])


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def in_container(stream: bytes) -> bytes:
    """A JPEG XL codestream in boxes, cut in two parts."""
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return head + box(b"jxlp", b"\0\0\0\0", stream[:40]) + box(b"jxlp", b"\x80\0\0\1", stream[40:])


def brands(major: bytes, *others: bytes) -> bytes:
    return box(b"ftyp", major, b"\0\0\0\0", *others) + box(b"meta")


@pytest.mark.parametrize(
    ("data", "format"),
    [
        *((brands(major), "heic") for major in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")),
        (brands(b"mif1", b"mif1", b"heic"), "heic"),
        (brands(b"msf1", b"hevc"), "heic"),
        (brands(b"mif1"), "heic"),
        (brands(b"mif1", b"avif", b"miaf"), None),
        (brands(b"avif", b"mif1"), None),
        (brands(b"avis", b"msf1"), None),
        (brands(b"isom", b"mp41"), None),
        (b"\xff\x0a\x00", "jxl"),
        (box(b"JXL ", b"\r\n\x87\n"), "jxl"),
        (b"\xff\xd8\xff", None),
        (b"\0\0\0\x18ftyp", None),
        (b"", None),
        *((data, format) for format, data in FILES.items()),
        (save(quarters(), "AVIF"), None),
    ],
)
def test_a_format_is_recognized_by_its_first_bytes(data: bytes, format: str | None) -> None:
    assert formats.format_of(data) == format


@pytest.mark.parametrize("format", FILES)
def test_without_its_package_a_file_fails_with_the_remedy(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.PACKAGES, format, "no_such_package")
    formats._load.cache_clear()
    try:
        for read in (probe, decode, lambda data: Picture(data).bgr(64)):
            with pytest.raises(ImageError, match=r"pip install 'curate\[formats\]'") as caught:
                read(FILES[format])
            assert caught.value.reason == format
        assert not formats.is_readable(format)
    finally:
        formats._load.cache_clear()


def test_the_packages_are_imported_only_for_such_a_file() -> None:
    code = (
        "import io, sys; from PIL import Image; from curation.images import decode\n"
        "buffer = io.BytesIO(); Image.new('RGB', (8, 8)).save(buffer, 'AVIF'); decode(buffer.getvalue())\n"
        "print(sorted({'pillow_heif', 'pillow_jxl'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@both
def test_the_picture_and_its_header_are_read(format: str) -> None:
    header = probe(FILES[format])
    assert (header.format, header.width, header.height, header.orientation) == (format, 96, 64, 1)
    assert np.abs(pixels_of(FILES[format]) - rgb(quarters())).mean() < 3
    assert decode(FILES[format], 48).shape == (32, 48, 3)
    assert not decode_whole(FILES[format])[1]  # neither file is in other colours than sRGB


@both
def test_a_cut_file_is_truncated(format: str) -> None:
    whole = save(Image.effect_noise((200, 160), 60).convert("RGB"), formats.OPENED_AS[format])
    for data in (FILES[format], whole, *([in_container(FILES[format])] if format == "jxl" else [])):
        assert decode(data).ndim == 3
        for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
            with pytest.raises(ImageError, match="^truncated: "):
                decode(data[: int(len(data) * share)])


@both
def test_damaged_bytes_give_a_picture_or_a_reason(format: str) -> None:
    random = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(FILES[format])
        for at in random.integers(0, len(data), 4):
            data[at] = random.integers(0, 256)
        try:
            assert decode(bytes(data), 512).shape[2] == 3
        except ImageError as error:
            assert error.reason in ("not_an_image", "truncated", "corrupt", "too_large")
            assert "\n" not in str(error) and "0x" not in str(error)


@both
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_upright(format: str, orientation: int) -> None:
    if format == "heic":  # its package writes the orientation as a property of the picture
        data = turned("HEIF", orientation, quality=95)
        right = rgb(Image.open(io.BytesIO(data)))
    else:
        data = with_orientation(FILES["jxl"], orientation)
        turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Image.Transpose
        image = quarters()
        right = rgb(image.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else image)
    assert (probe(data).height, probe(data).width) == right.shape[:2] == pixels_of(data).shape[:2]
    assert np.abs(pixels_of(data) - right).mean() < 6


def with_orientation(stream: bytes, orientation: int) -> bytes:
    """Puts an orientation into the header of `quarters.jxl`, whose metadata is all default (ISO/IEC 18181-1, D.3)."""
    size = "".join(f"{byte:08b}"[::-1] for byte in stream[2:4])[:9]
    depth, extra_channels, xyb, colours, tones, extensions, transform = "0001", "00", "1", "1", "1", "00", "1"
    fields = "01" + f"{orientation - 1:03b}"[::-1] + "000"  # not default; no animation
    bits = size + fields + depth + extra_channels + xyb + colours + tones + extensions + transform
    bits += "0" * (-len(bits) % 8)
    return stream[:2] + bytes(int(bits[n : n + 8][::-1], 2) for n in range(0, len(bits), 8)) + stream[4:]


def from_jpeg(folder: Path, **options: Any) -> bytes:
    """A JPEG XL that holds a JPEG, every bit of it; its package takes the JPEG from a file alone."""
    (folder / "a.jpg").write_bytes(save(quarters(), "JPEG", quality=95, **options))
    with Image.open(folder / "a.jpg") as image:
        return save(image, "JXL", lossless_jpeg=True)


@both
def test_a_wide_gamut_is_converted(format: str, tmp_path: Path) -> None:
    p3 = profiles.rgb_profile()
    if format == "jxl":
        data = from_jpeg(tmp_path, icc_profile=p3)
    else:
        data = save(quarters(), "HEIF", quality=95, icc_profile=p3)
    stored = Image.open(io.BytesIO(data))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(p3))
    right = ImageCms.profileToProfile(stored.convert("RGB"), profile, ImageCms.createProfile("sRGB"))
    assert right is not None
    pixels, converted = decode_whole(data)
    assert converted and np.abs(pixels[:, :, ::-1].astype(int) - rgb(right)).max() <= 1
    assert np.abs(rgb(right) - rgb(quarters())).max() > 20


@needs("jxl")
def test_a_turned_jpeg_within_a_jpeg_xl_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = from_jpeg(tmp_path, exif=exif.tobytes())
    assert (probe(data).width, probe(data).height) == (64, 96)
    assert np.abs(pixels_of(data) - rgb(quarters().transpose(Image.Transpose.ROTATE_270))).mean() < 6


@needs("jxl")
@pytest.mark.parametrize("wrap", [bytes, in_container], ids=["codestream", "container"])
@pytest.mark.parametrize(
    "size", [(8, 8), (256, 256), (264, 8), (300, 200), (1000, 10), (17, 5000), (320, 240), (90, 160)]
)
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(size: tuple[int, int], wrap: Callable[[bytes], bytes]) -> None:
    data = save(Image.new("RGB", size, "teal"), "JXL", quality=60)
    assert data.startswith(b"\xff\x0a")
    header = probe(wrap(data))
    assert (header.width, header.height) == size


@needs("jxl")
def test_a_jpeg_xl_over_the_limit_is_refused_by_its_header() -> None:
    # small 0, height of 18 bits, ratio 1: 65,536 x 65,536 pixels; then nothing
    bits = 0 | 2 << 1 | 65_535 << 3 | 1 << 21
    for data in (b"\xff\x0a" + bits.to_bytes(16, "little"), in_container(b"\xff\x0a" + bits.to_bytes(60, "little"))):
        with pytest.raises(ImageError, match="^too_large: declared size 65536x65536") as caught:
            probe(data)
        assert str(MAX_PIXELS // 1_000_000) in str(caught.value)


@needs("heic")
def test_a_heic_over_the_limit_is_refused_by_its_header() -> None:
    data = FILES["heic"]
    size = data.index(b"ispe") + 8
    with pytest.raises(ImageError, match="^too_large: declared size 30000x30000"):
        probe(data[:size] + struct.pack(">II", 30_000, 30_000) + data[size + 8 :])

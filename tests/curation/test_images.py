"""Reading images: headers, upright reduced pixels, and a reason for whatever cannot be read whole."""

import csv
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageFile, ImageOps

from curation.images import MAX_PIXELS, MAX_PIXELS_BASELINE_JPEG, ImageError, Picture, decode, fit, probe, reduction
from tests import bench

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
BAD = Path(__file__).resolve().parents[3] / "shared" / "badimages"


def save(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Four plain colours, so that every turn and mirror image differs."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (200, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 200)
    pixels[height // 2 :, width // 2 :] = (220, 220, 60)
    return Image.fromarray(pixels)


def turned(format: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(quarters(), format, exif=exif.tobytes(), **options)


def rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def pixels_of(data: bytes, side: int | None = None) -> np.ndarray:
    return decode(data, side)[:, :, ::-1].astype(int)


def resized_png(data: bytes, width: int, height: int) -> bytes:
    """A PNG whose header claims another size, its checksum put right."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = next(at for marker in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(marker)) > 0)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes every time that pixels are decoded."""
    seen: list[str] = []
    real_load, real_decode = ImageFile.ImageFile.load, simplejpeg.decode_jpeg

    def load(self: ImageFile.ImageFile) -> object:
        seen.append(self.format)
        return real_load(self)

    def decode_jpeg(*args: object, **options: object) -> object:
        seen.append("jpeg")
        return real_decode(*args, **options)

    for kind in (ImageFile.ImageFile, *{type(Image.open(io.BytesIO(save(quarters(), k)))) for k in KINDS}):
        if "load" in vars(kind):
            real = kind.load
            monkeypatch.setattr(
                kind, "load", lambda self, real=real: seen.append(self.format) or real(self), raising=True
            )
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode_jpeg)
    return seen


@pytest.mark.parametrize("format", KINDS)
def test_header_says_format_and_size_and_decodes_nothing(
    format: str, image_bytes: Callable[..., bytes], loads: list[str]
) -> None:
    header = probe(image_bytes(1, format, (70, 41)))
    assert (header.format, header.width, header.height) == (format.lower(), 70, 41)
    assert header.orientation == 1
    assert header.reducible == (format == "JPEG")
    assert loads == []


@pytest.mark.parametrize("format", KINDS)
def test_pixels_are_blue_green_red_bytes_as_pillow_decodes_them(
    format: str, image_bytes: Callable[..., bytes], loads: list[str]
) -> None:
    data = image_bytes(2, format, (70, 41))
    pixels = decode(data)
    assert loads  # the fixture sees a decode, so that its silence means something
    assert pixels.dtype == np.uint8 and pixels.shape == (41, 70, 3) and pixels.flags.c_contiguous
    assert np.abs(pixels_of(data) - rgb(Image.open(io.BytesIO(data)))).max() <= 3


def test_an_mpo_is_its_first_jpeg() -> None:
    second = Image.new("RGB", (96, 64), "black")
    data = save(quarters(), "MPO", save_all=True, append_images=[second])
    assert probe(data).format == "jpeg"
    assert np.abs(pixels_of(data) - rgb(quarters())).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options"),
    [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 95})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_orientation_is_pillows_at_every_size(format: str, options: dict, orientation: int) -> None:
    data = turned(format, orientation, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    header = probe(data)
    assert (header.width, header.height) == upright.size
    assert header.orientation == orientation
    assert np.abs(pixels_of(data) - rgb(upright)).max() <= 4
    small = pixels_of(data, 48)
    assert small.shape[:2] == (upright.height // 2, upright.width // 2)
    assert np.abs(small - rgb(upright.reduce(2))).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_upright_once(orientation: int) -> None:
    data = save(quarters(), "TIFF", tiffinfo={0x0112: orientation})
    upright = rgb(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    header = probe(data)
    assert (header.height, header.width) == upright.shape[:2]
    assert np.array_equal(pixels_of(data), upright)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*" + b"\xff" * 40])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_costs_no_picture(format: str, exif: bytes) -> None:
    data = save(quarters(), format, exif=exif)
    assert probe(data).orientation == 1
    assert decode(data).shape == (64, 96, 3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_out_of_range_is_none(orientation: int) -> None:
    assert probe(turned("JPEG", orientation)).orientation == 1


@pytest.mark.parametrize(
    ("width", "height", "side", "expected"),
    [
        (512, 300, 512, 1),
        (1023, 300, 512, 2),  # half of it, rounded up, is 512
        (1022, 300, 512, 1),
        (1024, 700, 512, 2),
        (700, 2047, 512, 4),
        (700, 2044, 512, 2),
        (4096, 10, 512, 8),
        (100_000, 10, 512, 8),
        (100, 80, 512, 1),
        (1, 1, 1, 8),
    ],
)
def test_reduction_is_the_largest_that_keeps_the_side(width: int, height: int, side: int, expected: int) -> None:
    assert reduction(width, height, side) == expected


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((1000, 700), 512, (1000, 700)),
        ((1025, 700), 512, (513, 350)),
        ((300, 1030), 128, (38, 129)),
        ((90, 60), 512, (90, 60)),
        ((90, 60), None, (90, 60)),
    ],
)
def test_decode_gives_the_smallest_reduction_and_never_scales_up(
    format: str, size: tuple[int, int], side: int | None, expected: tuple[int, int], image_bytes: Callable[..., bytes]
) -> None:
    pixels = decode(image_bytes(3, format, size), side)
    assert (pixels.shape[1], pixels.shape[0]) == expected
    whole = Image.open(io.BytesIO(image_bytes(3, format, size))).convert("RGB")
    assert np.abs(pixels[:, :, ::-1].astype(int) - rgb(whole.resize(expected, Image.Resampling.BOX))).mean() < 6


def transparent(mode: str) -> Image.Image:
    """Left half black and invisible, right half black and opaque."""
    alpha = np.zeros((8, 16), np.uint8)
    alpha[:, 8:] = 255
    black = np.zeros((8, 16), np.uint8)
    channels = [black] * (len(mode) - 1) + [alpha]
    return Image.fromarray(np.dstack(channels), mode)


def keyed(mode: str) -> bytes:
    """A PNG whose one transparent colour fills the left half; the right half is of another."""
    image = Image.new(mode, (16, 8), 0)
    image.paste(1, (8, 0, 16, 8))
    if mode == "P":
        image.putpalette([10, 10, 10, 20, 20, 20])
    return save(image, "PNG", transparency=0)


TRANSPARENT = {
    "rgba png": lambda: save(transparent("RGBA"), "PNG"),
    "la png": lambda: save(transparent("LA"), "PNG"),
    "rgba webp": lambda: save(transparent("RGBA"), "WEBP", lossless=True),
    "rgba tiff": lambda: save(transparent("RGBA"), "TIFF"),
    "rgba avif": lambda: save(transparent("RGBA"), "AVIF", quality=100),
    "gif": lambda: save(transparent("RGBA"), "GIF"),
    "palette png": lambda: keyed("P"),
    "gray png": lambda: keyed("L"),
    "gray 16-bit png": lambda: keyed("I;16"),
    "rgb png": lambda: save(Image.fromarray(rgb_halves()), "PNG", transparency=(0, 0, 0)),
}


def rgb_halves() -> np.ndarray:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 20
    return pixels


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparency_lies_on_white(kind: str) -> None:
    pixels = pixels_of(TRANSPARENT[kind]())
    assert (pixels[:, :7] >= 250).all()
    assert (pixels[:, 9:] <= 30).all()


def test_half_transparent_is_half_white() -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert np.abs(pixels_of(save(image, "PNG")) - 127).max() <= 1


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    values = np.array([[0, 255, 256, 12_800, 40_000, 51_200, 65_535]], np.uint16)
    pixels = pixels_of(save(Image.fromarray(values), "PNG"))
    assert np.abs(pixels[0, :, 0] - values[0] // 256).max() <= 1
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()


def test_sixteen_bit_gray_tiff_is_scaled_not_clipped() -> None:
    values = np.array([[0, 12_800, 40_000, 65_535]], np.uint16)
    assert np.abs(pixels_of(save(Image.fromarray(values), "TIFF"))[0, :, 0] - values[0] // 256).max() <= 1


def test_cmyk_jpeg_goes_through_pillow() -> None:
    data = save(quarters().convert("CMYK"), "JPEG", quality=95)
    assert not probe(data).reducible
    assert np.array_equal(pixels_of(data), rgb(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(("mode", "format"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF")])
def test_gray_and_palette_become_three_channels(mode: str, format: str) -> None:
    image = quarters().convert(mode)
    pixels = pixels_of(save(image, format))
    assert pixels.shape == (64, 96, 3)
    assert np.abs(pixels - rgb(image)).mean() < 2


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_its_first_frame(format: str) -> None:
    red, blue = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    pixels = pixels_of(save(red, format, save_all=True, append_images=[blue], duration=100))
    assert pixels[..., 0].mean() > 240 and pixels[..., 2].mean() < 15


WHOLE = {
    "jpeg": ("JPEG", {"quality": 90}),
    "progressive jpeg": ("JPEG", {"quality": 90, "progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 80}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "deflated tiff": ("TIFF", {"compression": "tiff_deflate"}),
    "avif": ("AVIF", {"quality": 80}),
    "cmyk jpeg": ("JPEG", {"quality": 90, "cmyk": True}),
}


@pytest.mark.parametrize("side", [None, 64])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_truncated_file_is_an_error_never_part_of_a_picture(kind: str, side: int | None) -> None:
    format, options = WHOLE[kind]
    options = dict(options)
    image = Image.effect_noise((200, 160), 60).convert("CMYK" if options.pop("cmyk", False) else "RGB")
    data = save(image, format, **options)
    whole = decode(data, side)
    for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95):
        with pytest.raises(ImageError):
            decode(data[: int(len(data) * share)], side)
    for missing in (1, 2, 3, 5, 8, 13, 21, 34):  # some ends hold no pixels: then the picture is whole
        try:
            assert np.array_equal(decode(data[:-missing], side), whole), missing
        except ImageError:
            continue


@pytest.mark.parametrize(
    "end", [bytes(10_000), bytes(10_000) + b"\xff\xd9", b"\xff\xd9"], ids=["zeros", "both", "mark"]
)
def test_a_cut_jpeg_is_an_error_whatever_fills_it_up(end: bytes) -> None:
    data = save(Image.effect_noise((200, 160), 60).convert("RGB"), "JPEG", quality=90)
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2] + end)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>403</body></html>", "not_an_image"),
        (b"\0" * 1000, "not_an_image"),
        (b"\xff\xd8", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"GIF89a", None),
        (b"RIFF\0\0\0\0WEBP", None),
        (b"%PDF-1.7\n", "not_an_image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(data: bytes, reason: str | None) -> None:
    for read in (probe, decode, lambda d: Picture(d).bgr(512)):
        with pytest.raises(ImageError) as caught:
            read(data)
        assert caught.value.reason == (reason or caught.value.reason)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(caught.value.reason)


@pytest.mark.parametrize(
    ("kind", "width", "height", "limit"),
    [
        ("JPEG", 20_001, 20_000, MAX_PIXELS_BASELINE_JPEG),
        ("JPEG", 65_000, 65_000, MAX_PIXELS_BASELINE_JPEG),
        ("progressive", 8_001, 8_000, MAX_PIXELS),
        ("cmyk", 8_001, 8_000, MAX_PIXELS),
        ("PNG", 8_001, 8_000, MAX_PIXELS),
        ("PNG", 2_000_000_000, 2_000_000_000, MAX_PIXELS),
    ],
)
def test_declared_size_over_the_limit_is_refused_before_decoding(
    kind: str, width: int, height: int, limit: int, loads: list[str]
) -> None:
    data = oversized(kind, width, height)
    assert width * height > limit
    loads.clear()
    for read in (probe, decode, lambda d: decode(d, 64), lambda d: Picture(d).bgr(64)):
        with pytest.raises(ImageError) as caught:
            read(data)
        assert caught.value.reason == "too_large"
        assert f"{width}x{height}" in str(caught.value)
    assert loads == []


@pytest.mark.parametrize(
    ("kind", "width", "height"), [("JPEG", 20_000, 20_000), ("progressive", 8_000, 8_000), ("PNG", 8_000, 8_000)]
)
def test_declared_size_at_the_limit_is_read(kind: str, width: int, height: int) -> None:
    header = probe(oversized(kind, width, height))
    assert (header.width, header.height) == (width, height)


def oversized(kind: str, width: int, height: int) -> bytes:
    if kind == "PNG":
        return resized_png(save(quarters(), "PNG"), width, height)
    image = quarters().convert("CMYK") if kind == "cmyk" else quarters()
    return resized_jpeg(save(image, "JPEG", progressive=kind == "progressive"), width, height)


def test_a_picture_keeps_what_it_has_decoded(loads: list[str]) -> None:
    data = save(Image.effect_noise((1200, 900), 60).convert("RGB"), "JPEG")
    loads.clear()
    picture = Picture(data)
    assert picture.bgr(512) is picture.bgr(600)  # both at half size
    assert picture.bgr(512).shape == (450, 600, 3)
    assert picture.bgr(700).shape == (900, 1200, 3)
    assert np.array_equal(picture.bgr(512), decode(data, 512))
    assert len([k for k in loads if k == "jpeg"]) == 3


def test_fit_averages_down_and_leaves_small_pictures_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 800, 3), dtype=np.uint8)
    assert fit(pixels, 200).shape == (100, 200, 3)
    assert fit(pixels, 800) is pixels and fit(pixels, 900) is pixels
    assert fit(np.zeros((1, 3000, 3), np.uint8), 512).shape == (1, 512, 3)
    assert abs(float(fit(pixels, 8).mean()) - float(pixels.mean())) < 1


@pytest.mark.parametrize("format", KINDS)
def test_flipped_bytes_give_a_picture_or_an_image_error(format: str) -> None:
    whole = save(Image.effect_noise((60, 40), 60).convert("RGB"), format)
    random = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 4):
            data[at] = random.integers(0, 256)
        try:
            pixels = decode(bytes(data), 512)
        except ImageError as error:
            assert error.reason in ("not_an_image", "truncated", "corrupt", "too_large")
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


def bad_images() -> list:
    index = BAD / "index.csv"
    if not index.exists():
        return [pytest.param("", "", marks=pytest.mark.skip(reason="shared/badimages is not there"))]
    with open(index, newline="", encoding="utf-8") as file:
        return [pytest.param(row["file"], row["expected"], id=row["file"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "expected"), bad_images())
def test_odd_and_hostile_files(name: str, expected: str) -> None:
    data = (BAD / name).read_bytes()
    try:
        pixels = decode(data, 512)
    except ImageError as error:
        assert expected != "decode", str(error)
        assert error.reason.isidentifier() and "\n" not in str(error)
    else:
        assert expected != "reject"
        header = probe(data)
        factor = reduction(header.width, header.height, 512)
        assert pixels.shape == (-(-header.height // factor), -(-header.width // factor), 3)


def test_junk_before_a_scan_does_not_hide_that_the_scan_is_damaged() -> None:
    data = bench.encoded(bench.picture(3), quality=90)
    frame = data.index(b"\xff\xc0")
    junk = data[:frame] + b"twelve bytes" + data[frame:]
    np.testing.assert_array_equal(decode(junk), decode(data))
    with pytest.raises(ImageError, match="corrupt.*0xd9"):
        decode(junk[:-2] + b"left over from the scan" + junk[-2:])

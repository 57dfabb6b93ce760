"""Colours are those that LittleCMS finds by the file's profile; a profile that does not fit changes nothing."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from curation.decoding.png import MAX_PROFILE
from curation.images import decode, decode_whole, probe
from tests import bench, profiles
from tests.curation.test_images import pixels_of, quarters, rgb, save, transparent, turned

P3 = profiles.rgb_profile()
SRGB = ImageCms.createProfile("sRGB")


def by_littlecms(image: Image.Image, profile: bytes) -> np.ndarray:
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return rgb(ImageCms.profileToProfile(image, opened, SRGB, outputMode="RGB"))


def undone(data: bytes) -> Image.Image:
    """The pixels of a file as Pillow decodes them, without regard to the profile."""
    return Image.open(io.BytesIO(data))


SMOOTH = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn) for turn in (0, 90, 180)])
FILES: dict[str, Callable[[bytes], bytes]] = {
    "jpeg": lambda icc: save(SMOOTH, "JPEG", quality=95, icc_profile=icc),
    "progressive jpeg": lambda icc: save(SMOOTH, "JPEG", quality=95, progressive=True, icc_profile=icc),
    "png": lambda icc: save(SMOOTH, "PNG", icc_profile=icc),
    "palette png": lambda icc: save(SMOOTH.quantize(64), "PNG", icc_profile=icc),
    "webp": lambda icc: save(SMOOTH, "WEBP", lossless=True, icc_profile=icc),
    "tiff": lambda icc: save(SMOOTH, "TIFF", icc_profile=icc),
    "deflated tiff": lambda icc: save(SMOOTH, "TIFF", compression="tiff_deflate", icc_profile=icc),
    "avif": lambda icc: save(SMOOTH, "AVIF", quality=95, icc_profile=icc),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_wide_gamut_is_converted_as_littlecms_does(kind: str) -> None:
    data = FILES[kind](P3)
    assert probe(data).profile == P3
    right = by_littlecms(undone(data).convert("RGB"), P3)
    assert np.abs(right - rgb(undone(data))).max() > 40  # else a conversion would not be seen
    assert np.abs(pixels_of(data) - right).max() <= 4
    pixels, converted = decode_whole(data)
    assert converted and np.array_equal(pixels, decode(data))
    small = pixels_of(data, 128)
    assert np.abs(small - rgb(Image.fromarray(right.astype(np.uint8)).reduce(2))).mean() < 2


@pytest.mark.parametrize("profile", [ImageCms.ImageCmsProfile(SRGB).tobytes(), profiles.rgb_profile(profiles.SRGB)])
@pytest.mark.parametrize("kind", FILES)
def test_an_edition_of_srgb_changes_no_pixel(kind: str, profile: bytes) -> None:
    data = FILES[kind](profile)
    pixels, converted = decode_whole(data)
    assert not converted and probe(data).profile == profile
    assert np.abs(pixels[:, :, ::-1].astype(int) - rgb(undone(data))).max() <= 3


@pytest.mark.parametrize(
    "profile",
    [
        b"garbage",
        P3[:200],
        profiles.gray_profile(1.8),
        profiles.cmyk_profile(),
        profiles.rgb_profile(padding=MAX_PROFILE),
    ],
    ids=["garbage", "cut", "for gray", "for a press", "too long"],
)
@pytest.mark.parametrize("kind", FILES)
def test_a_profile_that_does_not_fit_changes_no_pixel(kind: str, profile: bytes) -> None:
    data, plain = FILES[kind](profile), FILES[kind](b"")
    pixels, converted = decode_whole(data)
    assert not converted and np.array_equal(pixels, decode(plain))


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_inks_are_converted_by_the_profile_of_their_press(format: str) -> None:
    profile, options = profiles.cmyk_profile(), {"quality": 95} if format == "JPEG" else {}
    data = save(quarters().convert("CMYK"), format, icc_profile=profile, **options)
    image = undone(data)
    assert image.mode == "CMYK"
    right = by_littlecms(image, profile)
    assert np.abs(right - rgb(image)).mean() > 10
    assert np.array_equal(pixels_of(data), right) and decode_whole(data)[1]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_gray_is_converted_by_its_curve(format: str) -> None:
    profile = profiles.gray_profile(1.0)
    data = save(Image.linear_gradient("L"), format, icc_profile=profile)
    right = by_littlecms(undone(data), profile)
    assert np.abs(right - rgb(undone(data))).max() > 40
    assert np.abs(pixels_of(data) - right).max() <= 4


def test_gray_of_sixteen_bits_is_converted_too() -> None:
    profile = profiles.gray_profile(1.0)
    values = (np.arange(256, dtype=np.uint16) * 257)[None]
    data = save(Image.fromarray(values), "TIFF", icc_profile=profile)
    right = by_littlecms(Image.fromarray(np.arange(256, dtype=np.uint8)[None]), profile)
    assert np.abs(pixels_of(data) - right).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_lies_on_white_after_the_conversion(format: str) -> None:
    image = transparent("RGBA")
    image.paste((200, 60, 40, 255), (8, 0, 16, 8))
    data = save(image, format, icc_profile=P3, **({"lossless": True} if format == "WEBP" else {}))
    right = by_littlecms(Image.new("RGB", (1, 1), (200, 60, 40)), P3)[0, 0]
    assert (pixels_of(data)[:, :8] == 255).all() and np.abs(pixels_of(data)[:, 8:] - right).max() <= 1


@pytest.mark.parametrize("format", ["JPEG", "AVIF"])
def test_a_turned_picture_is_converted_and_upright(format: str) -> None:
    data = turned(format, 6, quality=95, icc_profile=P3)
    upright = rgb(undone(turned(format, 1, quality=95))).transpose(1, 0, 2)[:, ::-1].astype(np.uint8)
    right = by_littlecms(Image.fromarray(np.ascontiguousarray(upright)), P3)
    assert np.abs(pixels_of(data) - right).max() <= 4


def test_lab_is_converted() -> None:
    lab = ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(quarters(), SRGB, lab, outputMode="LAB")
    assert image is not None
    assert np.abs(pixels_of(save(image, "TIFF")) - rgb(quarters())).mean() < 3  # eight bits of L*a*b* are coarse


SIZE = 4_000_000
LONG = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"private " * (SIZE // 8)
HUGE: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "xmp": LONG},
    "TIFF": {"tiffinfo": {700: LONG}},
    "AVIF": {"quality": 95, "xmp": LONG},
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_metadata_of_megabytes_costs_no_picture(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = HUGE.get(format, {}) | {"icc_profile": profiles.rgb_profile(padding=SIZE // 2)}
    if format not in ("JPEG", "TIFF"):
        exif[0x9286] = "x" * SIZE
        options["exif"] = exif.tobytes()
    data = save(quarters(), format, **options)
    assert len(data) > SIZE / 2
    orientation = 6 if "exif" in options else 1
    assert probe(data).orientation == orientation
    plain = turned(format, orientation, **HUGE.get(format, {}) | {"icc_profile": P3})
    assert np.abs(pixels_of(data) - pixels_of(plain)).max() <= 3


def test_a_jpeg_with_many_segments_of_metadata_is_the_same_picture() -> None:
    data = bench.encoded(quarters())
    segments = b"".join(
        kind + (len(body) + 2).to_bytes(2) + body
        for kind, name in ((b"\xff\xe1", b"http://ns.adobe.com/xmp/extension/\0"), (b"\xff\xe1", b"Exif\0\0"),
                           (b"\xff\xed", b"Photoshop 3.0\0"), (b"\xff\xfe", b""))
        for body in [name + bytes(65_000)] * 40
    )  # fmt: skip
    assert np.array_equal(decode(data[:2] + segments + data[2:]), decode(data))

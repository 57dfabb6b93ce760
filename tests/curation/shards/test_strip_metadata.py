import csv
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, ImageSequence, PngImagePlugin

from curation.images import probe
from curation.shards.strip_metadata import StripError, strip_metadata

pytestmark = pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file")

MARK = b"PRIVATE-4711"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + MARK + b"</x:xmpmeta>"
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BLOCK = {"jpeg": 36, "png": 38, "webp": 34}
"""Bytes of the one-tag EXIF block in each format."""
BAD_IMAGES = Path(__file__).parents[4] / "shared" / "badimages"


def picture(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """48 x 32 pixels, smooth and noisy, every quadrant different."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :48]
    planes = [rows * 7, columns * 5, rows * 2 + columns * 3, 60 + rows + columns]
    pixels = np.stack(planes, axis=2) + rng.integers(0, 20, (32, 48, 4))
    image = Image.fromarray((pixels % 256).astype(np.uint8), "RGBA")
    if mode == "RGBA":
        return image
    if mode == "I;16":
        return Image.fromarray((pixels[:, :, 0] * 250).astype(np.uint16))
    return image.convert("RGB").convert(mode)


def exif(orientation: int | None = None) -> bytes:
    """A camera's EXIF: position, serial number, thumbnail-sized note, and the orientation."""
    block = Image.Exif()
    block[0x010F] = MARK.decode()  # Make
    if orientation is not None:
        block[0x0112] = orientation
    block.get_ifd(0x8769)[0xA431] = MARK.decode()  # BodySerialNumber
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 29: MARK.decode()})
    return block.tobytes()


def text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", MARK.decode())
    info.add_text("Comment", MARK.decode(), zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add(b"tIME", struct.pack(">H5B", 2020, 1, 2, 3, 4, 5))
    info.add(b"prVt", MARK)
    info.add(b"gAMA", struct.pack(">I", 45455))
    return info


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(mode: str = "RGB", orientation: int | None = 1, **options: Any) -> bytes:
    """A JPEG with EXIF, XMP, a comment, Photoshop data, an MPF and a JFXX segment and a tail."""
    data = save(picture(mode), "JPEG", exif=exif(orientation), xmp=XMP, comment=MARK, icc_profile=ICC, **options)
    more = [(0xE0, b"JFXX\0\x10"), (0xE2, b"MPF\0"), (0xED, b"Photoshop 3.0\0"), (0xE5, b"")]
    at = data.index(b"\xff\xdb")
    planted = b"".join(segment(code, body + MARK) for code, body in more)
    return data[:at] + planted + data[at:] + MARK


def segment(code: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(payload) + 2) + payload


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + crc


def png(mode: str = "RGB", orientation: int | None = 1, **options: Any) -> bytes:
    data = save(picture(mode), "PNG", exif=exif(orientation), icc_profile=ICC, pnginfo=text(), **options)
    return data[:-12] + png_chunk(b"tEXt", b"Late\0" + MARK) + data[-12:] + MARK


def webp(mode: str = "RGB", orientation: int | None = 1, **options: Any) -> bytes:
    block = exif(orientation).removeprefix(b"Exif\0\0")  # OpenCV does not read it with that prefix
    data = save(picture(mode), "WEBP", exif=block, xmp=XMP, icc_profile=ICC, **options)
    data += b"priv" + struct.pack("<I", len(MARK)) + MARK
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:] + MARK


ANIMATION: dict[str, Any] = {"save_all": True, "duration": 40, "append_images": [picture("RGB", 1), picture("RGB", 2)]}

FILES: dict[str, Callable[..., bytes]] = {
    "jpeg baseline": jpeg,
    "jpeg progressive": lambda **o: jpeg(progressive=True, **o),
    "jpeg gray": lambda **o: jpeg("L", **o),
    "jpeg CMYK": lambda **o: jpeg("CMYK", **o),
    "jpeg RGB, as Adobe": lambda **o: jpeg(keep_rgb=True, **o),
    "jpeg with restarts": lambda **o: jpeg(restart_marker_blocks=2, **o),
    "png RGB": png,
    "png RGBA": lambda **o: png("RGBA", **o),
    "png palette, transparency": lambda **o: png("P", transparency=3, **o),
    "png gray 16 bit": lambda **o: png("I;16", **o),
    "png one bit": lambda **o: png("1", **o),
    "png animated": lambda **o: png(**ANIMATION, **o),
    "webp lossy": webp,
    "webp lossless": lambda **o: webp(lossless=True, **o),
    "webp lossy alpha": lambda **o: webp("RGBA", **o),
    "webp lossless alpha": lambda **o: webp("RGBA", lossless=True, **o),
    "webp animated": lambda **o: webp(**ANIMATION, **o),
}


def strip(data: bytes, name: str) -> bytes:
    return strip_metadata(data, name.split()[0])


def pillow_pixels(data: bytes) -> list[tuple[object, ...]] | str:
    """Every frame as Pillow decodes it, of an MPO the first; or why it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
            if image.width * image.height > 10_000_000:
                return "too large to try"
            frames = 1 if image.format == "MPO" else None
            return [
                (
                    frame.mode,
                    frame.size,
                    frame.info.get("transparency"),
                    frame.info.get("duration"),
                    frame.getpalette(),
                    frame.tobytes(),
                )
                for frame in list(ImageSequence.all_frames(image))[:frames]
            ]
    except Exception as error:  # hostile files: Pillow raises nearly anything
        return type(error).__name__


def opencv_pixels(data: bytes, flags: int) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert pixels is not None
    return pixels


def info(data: bytes) -> dict[Any, Any]:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.info


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8])
def test_pixels_profile_and_orientation_stay_and_nothing_else(name: str, orientation: int | None) -> None:
    data = FILES[name](orientation=orientation)
    stripped = strip(data, name)

    assert MARK in data and MARK not in stripped
    assert XMP[:10] not in stripped
    assert pillow_pixels(stripped) == pillow_pixels(data)
    for flags in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR):  # the second applies the orientation
        assert np.array_equal(opencv_pixels(stripped, flags), opencv_pixels(data, flags))
    assert info(stripped)["icc_profile"] == ICC
    before, after = (Image.open(io.BytesIO(file)) for file in (data, stripped))
    assert dict(after.getexif()) == ({0x0112: orientation} if orientation not in (None, 1) else {})
    assert probe(stripped) == probe(data)
    upright = [ImageOps.exif_transpose(image).tobytes() for image in (before, after)]
    assert upright[0] == upright[1]

    assert strip(stripped, name) == stripped
    assert len(stripped) < len(data)


@pytest.mark.parametrize("name", FILES)
def test_what_is_kept_is_the_picture_the_profile_and_at_most_one_block(name: str) -> None:
    plain = strip(FILES[name](orientation=1), name)
    turned = strip(FILES[name](orientation=6), name)
    assert len(turned) == len(plain) + BLOCK[name.split()[0]]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_metadata_comes_back_as_it_was(mode: str) -> None:
    data = save(picture(mode), "JPEG", icc_profile=ICC)
    assert strip_metadata(data, "jpeg") == data


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "I;16"])
def test_a_png_without_metadata_comes_back_as_it_was(mode: str) -> None:
    data = save(picture(mode), "PNG", icc_profile=ICC)
    assert strip_metadata(data, "png") == data


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_without_metadata_comes_back_as_it_was(lossless: bool) -> None:
    data = save(picture(), "WEBP", lossless=lossless)
    assert strip_metadata(data, "webp") == data


def test_adobe_and_colour_chunks_are_kept() -> None:
    cmyk = strip_metadata(jpeg("CMYK"), "jpeg")
    assert info(cmyk)["adobe"] == info(jpeg("CMYK"))["adobe"]
    assert info(strip_metadata(png(dpi=(300, 300)), "png"))["gamma"] == 0.45455
    for strips, file in (("jpeg", jpeg(dpi=(300, 300))), ("png", png(dpi=(300, 300)))):
        assert info(strip_metadata(file, strips))["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_metadata_between_scans_goes() -> None:
    data = jpeg(progressive=True)
    cut = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    planted = data[:cut] + segment(0xFE, MARK) + segment(0xE1, XMP) + data[cut:]
    assert strip_metadata(planted, "jpeg") == strip_metadata(data, "jpeg")


def test_the_thumbnail_of_jfif_goes() -> None:
    data = save(picture(), "JPEG")
    jfif = segment(0xE0, data[6:18] + b"\x02\x02" + MARK)
    assert strip_metadata(data[:2] + jfif + data[20:], "jpeg") == data


def test_the_second_picture_of_an_mpo_goes() -> None:
    second = picture("RGB", 1)
    data = save(picture(), "MPO", save_all=True, append_images=[second], exif=exif(6))
    stripped = strip_metadata(data, "jpeg")
    image = Image.open(io.BytesIO(stripped))
    assert image.format == "JPEG" and probe(stripped) == probe(data)
    assert pillow_pixels(stripped) == pillow_pixels(data)
    assert stripped.count(b"\xff\xd8\xff") == 1


def test_the_exif_of_a_webp_is_read_with_the_prefix_of_jpeg_too() -> None:
    data = save(picture(), "WEBP", exif=exif(6), icc_profile=ICC, **ANIMATION)
    assert b"Exif\0\0MM" in data
    assert strip_metadata(data, "webp") == strip(FILES["webp animated"](orientation=6), "webp")


def test_unknown_chunks_inside_the_frames_of_a_webp_go() -> None:
    data = save(picture(), "WEBP", **ANIMATION)
    at = data.index(b"ANMF")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    end = at + 8 + size + size % 2
    planted = b"priv" + struct.pack("<I", len(MARK)) + MARK
    frame = b"ANMF" + struct.pack("<I", end - at - 8 + len(planted)) + data[at + 8 : end] + planted
    body = data[8:at] + frame + data[end:]
    assert strip_metadata(b"RIFF" + struct.pack("<I", len(body)) + body, "webp") == data


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = save(picture(), "JPEG")
    planted = data[:20] + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff" + MARK) + data[20:]
    assert strip_metadata(planted, "jpeg") == data


def test_other_formats_are_named() -> None:
    with pytest.raises(ValueError, match='"gif"; known: jpeg, png, webp'):
        strip_metadata(b"GIF89a", "gif")


JPEG, PNG, WEBP = save(picture(), "JPEG"), save(picture(), "PNG"), save(picture("RGBA"), "WEBP")


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("jpeg", b"", "no start-of-image"),
        ("jpeg", PNG, "no start-of-image"),
        ("jpeg", JPEG[:2] + b"\0" + JPEG[2:], "no start-of-image"),
        ("jpeg", JPEG[:-2], "ends before the end-of-image"),
        ("jpeg", JPEG[:2] + JPEG[-2:], "no scan"),
        ("jpeg", JPEG[:2] + b"\xff\xe1\0\0" + JPEG[2:], "byte 2 has a wrong length"),
        ("jpeg", JPEG[:2] + b"\xff\x05" + JPEG[2:], "unexpected marker FF05 at byte 2"),
        ("jpeg", JPEG[:2] + segment(0xDA, b"") + JPEG[2:], "out of order"),
        ("jpeg", JPEG[:-2] + segment(0xE1, MARK) + b"abc" + JPEG[-2:], "no marker at byte"),
        ("png", JPEG, "no PNG signature"),
        ("png", PNG[:-12], "ends inside the chunk"),
        ("png", PNG[:8] + PNG[-12:], "unexpected chunk at byte 8"),
        ("png", PNG[:33] + PNG[-12:], "no pixels"),
        ("png", PNG[:-12] + png_chunk(b"tEXt", b"") + png_chunk(b"IDAT", b"") + PNG[-12:],
         "pixels in two places"),
        ("png", PNG[:33] + png_chunk(b"CgBI", b"") + PNG[33:], "unknown critical chunk CgBI"),
        ("png", PNG[:29] + b"\0\0\0\0" + PNG[33:], "wrong checksum in the IHDR chunk"),
        ("webp", PNG, "no RIFF header"),
        ("webp", WEBP[:-1], "shorter than its header says"),
        ("webp", WEBP[:4] + b"\x04\0\0\0" + WEBP[8:], "neither a picture nor"),
        ("webp", WEBP[:4] + struct.pack("<I", 22) + WEBP[8:], "without a picture"),
        ("webp", WEBP[:4] + struct.pack("<I", 23) + WEBP[8:], "runs past the end"),
        ("webp", WEBP[:20] + b"\x12" + WEBP[21:], "animation without frames"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(format: str, data: bytes, message: str) -> None:
    with pytest.raises(StripError, match=message) as caught:
        strip_metadata(data, format)
    assert "\n" not in str(caught.value)


def test_a_long_run_of_fill_bytes_takes_linear_time() -> None:
    for fill in (b"\xff" * 5_000_000, b"\xff\0" * 2_500_000, b"\0" * 5_000_000):
        assert strip_metadata(JPEG[:20] + fill + JPEG[20:], "jpeg") == JPEG
        with pytest.raises(StripError):
            strip_metadata(JPEG[:-2] + fill, "jpeg")


GOOD = [(name, FILES[name](orientation=6)) for name in FILES]


@given(
    file=st.sampled_from(GOOD),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    length=st.floats(0, 1) | st.just(1.0),
)
@settings(max_examples=400, deadline=2000)
def test_damage_raises_nothing_but_a_strip_error(
    file: tuple[str, bytes], edits: list[tuple[float, int]], length: float
) -> None:
    name, good = file
    damaged = bytearray(good)
    for place, value in edits:
        damaged[round(place * (len(good) - 1))] = value
    try:
        stripped = strip(bytes(damaged[: round(length * len(good))]), name)
    except StripError as error:
        assert "\n" not in str(error)
    else:
        assert len(stripped) <= len(good)


def bad_images() -> list[Path]:
    if not BAD_IMAGES.is_dir():
        return []
    with open(BAD_IMAGES / "index.csv", encoding="utf-8", newline="") as index:
        paths = [BAD_IMAGES / row["file"] for row in csv.DictReader(index)]
    return [path for path in paths if path.suffix in (".jpg", ".png", ".webp", ".mpo", ".apng")]


@pytest.mark.skipif(not BAD_IMAGES.is_dir(), reason="no folder of odd images beside the repository")
@pytest.mark.parametrize("path", bad_images(), ids=lambda path: path.name)
def test_odd_images_are_refused_or_keep_their_pixels(path: Path) -> None:
    data = path.read_bytes()
    starts = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"RI": "webp"}
    format = starts.get(data[:2], "jpeg")
    try:
        stripped = strip_metadata(data, format)
    except StripError:
        # what nobody can decode; a file that lacks its end is refused although some can
        assert isinstance(pillow_pixels(data), str)
    else:
        assert pillow_pixels(stripped) == pillow_pixels(data)
        assert strip_metadata(stripped, format) == stripped

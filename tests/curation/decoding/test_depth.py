"""Samples of more than eight bits are scaled by a stated range, or fail; no picture comes out black or white."""

import io
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.images import ImageError, probe
from tests.curation.test_images import pixels_of, save

SHORT, LONG, FLOAT, DOUBLE = 3, 4, 11, 12
RAMP = np.add.outer(np.arange(40), np.arange(60)) / 98
"""40 × 60 pixels, from 0 at the top left to 1 at the bottom right."""
SHOWN = np.rint(RAMP * 255)


def tiff(values: np.ndarray, order: str = "<", photometric: int = 1, bits: int | None = None, **tags: float) -> bytes:
    """An uncompressed TIFF 6.0 of one strip, gray or RGB, of any type of samples."""
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    form = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    size = bits or values.dtype.itemsize * 8
    pixels = values.astype(values.dtype.newbyteorder(order)).tobytes() if bits is None else packed_12(values)
    entries: list[tuple[int, int, list[float]]] = [
        (256, LONG, [width]), (257, LONG, [height]), (258, SHORT, [size] * samples), (259, SHORT, [1]),
        (262, SHORT, [photometric]), (273, LONG, [8]), (277, SHORT, [samples]), (278, LONG, [height]),
        (279, LONG, [len(pixels)]), (339, SHORT, [form] * samples),
    ]  # fmt: skip
    entries += [({"smin": 340, "smax": 341}[name], DOUBLE, [value]) for name, value in tags.items()]
    at = 8 + len(pixels)
    beyond = at + 2 + 12 * len(entries) + 4
    directory, extra = struct.pack(order + "H", len(entries)), b""
    for tag, kind, numbers in entries:
        content = struct.pack(order + {SHORT: "H", LONG: "I", DOUBLE: "d"}[kind] * len(numbers), *numbers)
        directory += struct.pack(order + "HHI", tag, kind, len(numbers))
        directory += content.ljust(4, b"\0") if len(content) <= 4 else struct.pack(order + "I", beyond + len(extra))
        extra += content if len(content) > 4 else b""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return start + pixels + directory + bytes(4) + extra


def packed_12(values: np.ndarray) -> bytes:
    """Two samples in three bytes."""
    first, second = values.reshape(-1, 2).T.astype(int)
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()


def scaled(kind: Any, low: float = 0, high: float | None = None) -> np.ndarray:
    """The ramp from `low` to `high`, by default the range of an integer type."""
    high = float(np.iinfo(kind).max) if high is None else high
    return (low + RAMP * (high - low)).astype(kind)


WHOLE_RANGE: dict[str, Callable[[], bytes]] = {
    "I;16": lambda: tiff(scaled(np.uint16)),
    "I;16B": lambda: tiff(scaled(np.uint16), ">"),
    "I;16, deflated": lambda: save(Image.fromarray(scaled(np.uint16)), "TIFF", compression="tiff_deflate"),
    "I;16, white is zero": lambda: tiff(65535 - scaled(np.uint16), photometric=0),
    "12 bits": lambda: tiff(scaled(np.uint16, 0, 4095), bits=12),
    "12 bits in 16": lambda: tiff(scaled(np.uint16, 0, 4095)),
    "16 bits, signed": lambda: tiff(scaled(np.int16, -32768, 32767)),
    "16 bits, signed, part of the range": lambda: tiff(scaled(np.int16, -1000, 3000)),
    "32 bits, unsigned": lambda: tiff(scaled(np.uint32)),
    "32 bits, signed, big-endian": lambda: tiff(scaled(np.int32, 0, 70_000), ">"),
    "32 bits, unsigned, small values": lambda: tiff(scaled(np.uint32, 0, 1000)),
    "32 bits, signed": lambda: tiff(scaled(np.int32, -(2**31), 2**31 - 1)),
    "32 bits, signed, small values": lambda: save(Image.fromarray(scaled(np.int32, -500, 500)), "TIFF"),
    "F, 0 to 1": lambda: tiff(scaled(np.float32, 0, 1)),
    "F, big-endian": lambda: tiff(scaled(np.float32, 0, 1), ">"),
    "F, 0 to 255": lambda: tiff(scaled(np.float32, 0, 255)),
    "F, 0 to 65535": lambda: save(Image.fromarray(scaled(np.float32, 0, 65535)), "TIFF"),
    "F, as small as can be": lambda: tiff(scaled(np.float32, 0, 1e-30)),
    "F, as large as can be": lambda: tiff(scaled(np.float32, -3e38, 3e38)),
    "F, white is zero": lambda: tiff(1 - scaled(np.float32, 0, 1), photometric=0),
    "16-bit gray PNG": lambda: save(Image.fromarray(scaled(np.uint16)), "PNG"),
}


@pytest.mark.parametrize("kind", WHOLE_RANGE)
def test_a_deep_gray_picture_shows_all_its_shades(kind: str) -> None:
    data = WHOLE_RANGE[kind]()
    assert (probe(data).width, probe(data).height) == (60, 40)
    assert np.abs(pixels_of(data) - SHOWN[..., None]).max() <= 1


def test_sixteen_bits_are_scaled_by_their_type_not_by_the_picture() -> None:
    assert np.abs(pixels_of(tiff(scaled(np.uint16, 8192, 16384)))[..., 0] - (32 + RAMP * 32)).max() <= 1


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint32])
def test_the_range_that_a_file_gives_is_taken(kind: Any) -> None:
    values = scaled(kind, 100, 200)
    assert np.abs(pixels_of(tiff(values, smin=0, smax=400))[..., 0] - (63.75 + RAMP * 63.75)).max() <= 2
    clipped = pixels_of(tiff(values, smin=150, smax=160))[..., 0]
    assert clipped.min() == 0 and clipped.max() == 255
    assert np.abs(pixels_of(tiff(values, smin=7, smax=7))[..., 0] - SHOWN).max() <= 3  # no range at all


def test_equal_samples_have_a_shade_where_the_file_gives_the_range() -> None:
    assert np.abs(pixels_of(tiff(np.full((4, 6), 0.5, np.float32), smin=0, smax=1)) - 127.5).max() <= 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_fail(odd: float) -> None:
    values = scaled(np.float32, 0, 1)
    values[3, 4] = odd
    for data in (tiff(values), tiff(values, smin=0, smax=1)):
        with pytest.raises(ImageError, match="^no_range: .*NaN or infinities"):
            pixels_of(data)


@pytest.mark.parametrize("value", [0, 1, 200])
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint32])
def test_equal_samples_without_a_range_fail(kind: Any, value: int) -> None:
    with pytest.raises(ImageError, match=f"^no_range: all samples are {value}, "):
        pixels_of(tiff(np.full((4, 6), value, kind)))


def coloured(channels: int) -> np.ndarray:
    ramps = [RAMP, RAMP[::-1], RAMP[:, ::-1], np.ones_like(RAMP)]
    return (np.stack(ramps[:channels], axis=2) * 65535).astype(np.uint16)


def opencv(ending: str, values: np.ndarray) -> bytes:
    order = [2, 1, 0, 3][: values.shape[2]]
    return cv2.imencode(ending, np.ascontiguousarray(values[:, :, order]))[1].tobytes()


COLOURED: dict[str, Callable[[], bytes]] = {
    "RGB TIFF": lambda: tiff(coloured(3), photometric=2),
    "RGB TIFF, big-endian": lambda: tiff(coloured(3), ">", photometric=2),
    "RGB TIFF, packed": lambda: opencv(".tiff", coloured(3)),
    "RGB PNG": lambda: opencv(".png", coloured(3)),
    "RGBA PNG": lambda: opencv(".png", coloured(4)),
}


@pytest.mark.parametrize("kind", COLOURED)
def test_sixteen_bits_of_colour_are_scaled_by_their_type(kind: str) -> None:
    assert np.abs(pixels_of(COLOURED[kind]()) - coloured(3) / 257).max() <= 1


def test_a_sixteen_bit_transparent_png_lies_on_white() -> None:
    values = coloured(4)
    values[:20, :, 3] = 0
    pixels = pixels_of(opencv(".png", values))
    assert (pixels[:20] == 255).all() and np.abs(pixels[20:] - coloured(3)[20:] / 257).max() <= 1


UNSUPPORTED = {
    "64-bit floats": lambda: tiff(RAMP),
    "floating RGB": lambda: tiff(np.dstack([RAMP] * 3).astype(np.float32), photometric=2),
    "32 bits, unsigned, big-endian": lambda: tiff(scaled(np.uint32), ">"),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_samples_that_nobody_here_reads_are_named(kind: str) -> None:
    for read in (probe, pixels_of):
        with pytest.raises(ImageError, match="^unsupported: a TIFF whose samples"):
            read(UNSUPPORTED[kind]())


def test_the_drawn_tiff_is_what_pillow_takes_it_for() -> None:
    image = Image.open(io.BytesIO(tiff(scaled(np.float32, 0, 1), ">", smin=0, smax=1)))
    assert image.mode == "F" and np.allclose(np.asarray(image), RAMP)
